"""The coordinator's machine when members are missing: roll calls, answers, recovered sums, who is
waited for, and kill -9."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.protocols.private_sum.answers import ANSWER_NONCE
from agent.protocols.private_sum.membership import CONTRIBUTION_NONCE, nonce
from agent.wire import coordination, messages
from agent.wire.envelope import Envelope
from broker.coordinator.actions import Compute, Publish
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.protocols.private_sum.records import Answer, CloseRound, OpenRound, RollCall
from tests.support.hand_made import RESULT, ROLL, ROUND, SCHEDULE, World, assert_refused, of_kind, published
from tests.support.quick_arithmetic import remembered, small_modulus


@pytest.fixture(scope="module", autouse=True)
def arithmetic_is_quick() -> Iterator[None]:
    with remembered(), small_modulus():
        yield


@pytest.fixture
def four(tmp_path: Path) -> Iterator[World]:
    """One cohort of four, of whom three answer."""
    world = World(tmp_path, 4)
    yield world
    world.close()


@pytest.fixture
def eight(tmp_path: Path) -> Iterator[World]:
    """Two cohorts of four; a sum for each."""
    world = World(tmp_path, 8, cohort=4)
    yield world
    world.close()


def present(roll: bytes) -> int:
    return int(messages.read_roll(Envelope(roll).unverified())[1])


def closing(actions: list[Any]) -> CloseRound:
    (closed,) = of_kind(actions, CloseRound)
    assert isinstance(closed, CloseRound)
    return closed


def cohort_names(world: World) -> list[list[str]]:
    cohorts = [cohort for unit in world.machine._sets.cohorts for cohort in unit]
    return [[world.names[index] for index in cohort] for cohort in cohorts]


# -- the roll call


def test_the_roll_call_is_recorded_before_it_is_published_and_the_opening_taken_back(four: World) -> None:
    sent = four.contributions(four.open(), four.names[1:])
    four.send("contribution", sent)
    record, cleared, called = four.do(four.machine.tick(5.0), 5.0)
    assert record == RollCall("main", 1, 0, called.payload)
    assert cleared == Publish(ROUND, b"", retain=True)
    assert called == Publish(ROLL, record.message, retain=True)
    assert present(record.message) == 0b1110
    assert four.machine.tick(6.0) == []


def test_a_missing_members_sum_is_recovered_and_the_result_names_it(four: World) -> None:
    roll = four.call(four.names[1:])
    actions = four.send("answer", four.answers(roll), 5.5)
    closed = closing(actions)
    assert (closed.status, closed.missing, closed.sums) == (coordination.COMPLETE, ["b0"], [101 + 102 + 103])
    assert four.result(closed.message) == (0, "complete", ["b0"], [306])
    assert published(actions, ROLL) == [b""]
    assert published(actions, RESULT) == [closed.message]
    assert four.machine.refused == {}


def test_three_answers_of_four_are_enough_and_the_fourth_is_late(four: World) -> None:
    roll = four.call()
    answers = four.answers(roll)
    actions = four.send("answer", {name: answers[name] for name in four.names[:3]})
    assert (closing(actions).sums, closing(actions).missing) == ([406], [])
    assert_refused(four, "late", "b3", "answer", answers["b3"])


def test_cohorts_open_by_themselves_and_their_sums_add_up(eight: World) -> None:
    first, second = cohort_names(eight)
    roll = eight.call([*first[1:], *second[:3]])
    answers = eight.answers(roll)
    early = eight.send("answer", {name: answers[name] for name in first[1:]})
    assert of_kind(early, CloseRound) == []
    closed = closing(eight.send("answer", {name: answers[name] for name in second[:3]}))
    left = sorted([first[0], second[3]])
    assert (closed.status, closed.missing) == (coordination.COMPLETE, left)
    assert closed.sums == [sum(100 + index for index, name in enumerate(eight.names) if name not in left)]


def test_a_cohort_that_does_not_answer_is_left_out_when_the_time_is_over(eight: World) -> None:
    first, second = cohort_names(eight)
    roll = eight.call()
    answers = eight.answers(roll)
    eight.send("answer", {name: answers[name] for name in [*first[:3], *second[:2]]})
    assert of_kind(eight.machine.tick(4.9), CloseRound) == []
    closed = closing(eight.do(eight.machine.tick(5.0), 5.0))
    assert (closed.status, closed.missing) == (coordination.COMPLETE, sorted(second))
    assert closed.sums == [sum(100 + eight.names.index(name) for name in first)]


def test_a_cohort_with_too_few_contributors_is_not_listed_at_all(eight: World) -> None:
    first, second = cohort_names(eight)
    roll = eight.call([*first, *second[:2]])
    assert present(roll) == sum(1 << eight.names.index(name) for name in first)
    assert_refused(eight, "not-listed", second[0], "answer", eight.members[second[0]].answer(roll))
    closed = closing(eight.send("answer", {name: p for name, p in eight.answers(roll).items() if name != first[0]}))
    assert closed.missing == sorted(second)


def test_a_sealed_fleet_opens_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    world = World(tmp_path, 8, cohort=4, seal=1)
    first, second = cohort_names(world)
    roll = world.call([*first[1:], *second[1:]])
    answers = world.answers(roll)
    assert of_kind(world.send("answer", {name: answers[name] for name in first[1:]}), CloseRound) == []
    closed = closing(world.send("answer", {name: answers[name] for name in second[1:]}))
    left = sorted([first[0], second[0]])
    assert (closed.status, closed.missing) == (coordination.COMPLETE, left)
    assert closed.sums == [sum(100 + index for index, name in enumerate(world.names) if name not in left)]
    opening = published(world.do(world.machine.tick(10.0), 10.0), ROUND)[0]
    world.send("contribution", world.contributions(opening, [*first, *second[:2]]), 11.0)
    closed = closing(world.do(world.machine.tick(15.0), 15.0))
    assert (closed.round, closed.status, closed.missing) == (1, coordination.INCOMPLETE, sorted(second[2:]))
    world.close()


def test_a_contributor_whose_blinding_too_few_hold_is_left_out_and_its_key_stood_in_for(four: World) -> None:
    """It says itself that all hold them: the holders' word counts."""
    opening = four.open()
    b0, *others = four.members.values()
    sent = {member.name: member.contribution(opening, 100 + member.index, holds=0b1110) for member in others[1:]}
    sent |= {"b0": b0.contribution(opening, 900), "b1": others[0].contribution(opening, 101)}
    (roll,) = published(four.send("contribution", sent), ROLL)
    assert present(roll) == 0b1110
    closed = closing(four.send("answer", four.answers(roll)))
    assert (closed.missing, closed.sums) == (["b0"], [306])


def test_a_missing_member_whose_key_too_few_hold_leaves_no_sum(four: World) -> None:
    four.first_set()
    four.all_ready(["b0", "b1", "b2"])
    four.say("b3", "ready", four.members["b3"].ready(holds=0b1110))
    opening = published(four.do(four.machine.tick(0.0), 0.0), ROUND)[0]
    four.send("contribution", four.contributions(opening, four.names[1:]))
    closed = closing(four.do(four.machine.tick(5.0), 5.0))
    assert (closed.status, closed.missing, closed.why) == (coordination.INCOMPLETE, ["b0"], "no-list")


# -- what is refused


def test_answers_before_the_roll_call_are_early_and_after_the_close_late(four: World) -> None:
    plain = messages.answer(bytes(16), None)
    four.open()
    early = four.members["b0"].sealed("answer", 0, plain)
    assert_refused(four, "early", "b0", "answer", early)
    four.do(four.machine.tick(5.0), 5.0)
    assert_refused(four, "late", "b0", "answer", early, 5.5)
    assert_refused(four, "early", "b0", "answer", four.members["b0"].sealed("answer", 1, plain), 5.5)


def test_the_same_answer_again_is_a_duplicate_and_another_a_conflict(four: World) -> None:
    roll = four.call(four.names[1:])
    answers = four.answers(roll)
    (record,) = four.say("b1", "answer", answers["b1"], 5.5)
    assert isinstance(record, Answer)
    assert_refused(four, "duplicate", "b1", "answer", answers["b1"], 5.5)
    assert_refused(four, "conflict", "b1", "answer", four.members["b1"].answer(roll, blinding_off=1), 5.5)
    four.restart().link_up(6.0)
    assert_refused(four, "duplicate", "b1", "answer", answers["b1"], 6.5)
    assert_refused(four, "conflict", "b1", "answer", four.members["b1"].answer(roll, blinding_off=1), 6.5)


def test_who_is_not_listed_may_not_answer(four: World) -> None:
    roll = four.call(four.names[1:])
    assert_refused(four, "not-listed", "b0", "answer", four.members["b0"].answer(roll), 5.5)


def test_an_answer_is_malformed_unless_all_in_it_is_in_range(four: World) -> None:
    roll = four.call(four.names[1:])
    member = four.members["b1"]
    size, n, residue_bytes = member.field.size, member.chosen.n, member.chosen.residue_bytes
    good = bytes(residue_bytes - 1) + b"\x02"
    zero = bytes(size)
    plains = [
        b"",
        messages.answer(zero, None),  # a member is missing: its exponent is to be recovered
        messages.answer(zero[1:], good),
        messages.answer(zero + b"\x00", good),
        messages.answer(member.field.p.to_bytes(size, "big"), good),
        messages.answer(zero, good[1:]),
        *(messages.answer(zero, number.to_bytes(residue_bytes, "big")) for number in (0, n, 5 * n, n**2, n**2 + 1)),
    ]
    for plain in plains:
        assert_refused(four, "malformed", "b1", "answer", member.sealed("answer", 0, plain), 5.5)
    swapped = member.sealed("answer", 0, messages.answer(zero, good), nonce(CONTRIBUTION_NONCE, 0))
    assert_refused(four, "malformed", "b1", "answer", swapped, 5.5)
    assert_refused(four, "bad-tag", "b2", "answer", four.answers(roll)["b1"], 5.5)


def test_a_recovery_that_nobody_asked_for_is_malformed(four: World) -> None:
    four.call()
    member = four.members["b1"]
    plain = messages.answer(bytes(member.field.size), bytes(member.chosen.residue_bytes - 1) + b"\x02")
    assert_refused(four, "malformed", "b1", "answer", member.sealed("answer", 0, plain))


def test_every_flipped_bit_of_an_answer_and_every_truncation_is_refused(four: World) -> None:
    payload = four.answers(four.call(four.names[1:]))["b1"]
    for at in range(len(payload)):
        flipped = bytearray(payload)
        flipped[at] ^= 1 << (at % 8)
        before = sum(four.machine.refused.values())
        assert four.machine.message("b1", "answer", bytes(flipped), 5.5) == []
        assert four.machine.message("b1", "answer", payload[:at], 5.5) == []
        assert sum(four.machine.refused.values()) == before + 2
    assert set(four.machine.refused) <= {"malformed", "bad-tag", "wrong-epoch", "early", "other-active"}
    assert of_kind(four.say("b1", "answer", payload, 5.5), Answer) != []


def test_a_contribution_is_no_answer(four: World) -> None:
    sent = four.contributions(four.open())
    four.send("contribution", sent)
    assert_refused(four, "malformed", "b1", "answer", sent["b1"])
    dressed = four.members["b1"].sealed("contribution", 0, messages.answer(bytes(16), None), nonce(ANSWER_NONCE, 0))
    assert_refused(four, "bad-tag", "b1", "answer", dressed)


# -- wrong answers


def test_a_wrong_blinding_share_does_not_spoil_the_sum_with_two_to_spare(tmp_path: Path) -> None:
    world = World(tmp_path, 7)  # five of seven answer
    roll = world.call()
    answers = world.answers(roll) | {"b1": world.members["b1"].answer(roll, blinding_off=10**30)}
    assert of_kind(world.send("answer", {name: answers[name] for name in world.names[:6]}), CloseRound) == []
    closed = closing(world.say("b6", "answer", answers["b6"]))
    assert (closed.status, closed.missing, closed.sums) == (coordination.COMPLETE, [], [sum(range(100, 107))])
    sides = [["b0", "b2", "b3", "b4", "b5", "b6"], ["b1"]]
    assert closed.disagree == [sides] and closed.withstands == 1
    assert world.machine.refused == {"answers-disagree": 1}
    assert world.home.storage.read(reading.results, "main", 1)[0]["disagree"] == closed.disagree
    world.close()


def test_a_wrong_recovery_share_does_not_spoil_the_sum_with_two_to_spare(tmp_path: Path) -> None:
    world = World(tmp_path, 10)  # seven of ten answer
    roll = world.call(world.names[1:])
    answers = world.answers(roll) | {"b2": world.members["b2"].answer(roll, recovery_off=1)}
    first = [name for name in world.names[1:] if name != "b9"]
    assert of_kind(world.send("answer", {name: answers[name] for name in first}, 5.5), CloseRound) == []
    closed = closing(world.say("b9", "answer", answers["b9"], 5.5))
    assert (closed.status, closed.missing, closed.sums) == (coordination.COMPLETE, ["b0"], [sum(range(101, 110))])
    assert closed.disagree == [[["b1", *world.names[3:]], ["b2"]]] and closed.withstands == 1
    world.close()


def test_one_wrong_answer_with_one_to_spare_leaves_no_sum_and_both_sides_are_told(four: World) -> None:
    roll = four.call()
    answers = four.answers(roll) | {"b1": four.members["b1"].answer(roll, blinding_off=10**30)}
    assert of_kind(four.send("answer", answers), CloseRound) == []
    closed = closing(four.do(four.machine.tick(5.0), 5.0))
    assert (closed.status, closed.missing, closed.sums) == (coordination.INVALID, [], None)
    assert closed.disagree == [[["b0", "b2", "b3"], ["b1"]]]
    assert four.machine.refused == {"answers-disagree": 1}
    assert four.home.storage.read(reading.shown, "main", 1)[0]["disagree"] == closed.disagree
    assert "answers disagree" in closed.line()[1]


def test_wrong_answers_without_one_to_spare_make_the_round_invalid(four: World) -> None:
    roll = four.call(four.names[1:])
    answers = four.answers(roll) | {"b1": four.members["b1"].answer(roll, recovery_off=1)}
    four.send("answer", answers, 5.5)
    closed = closing(four.do(four.machine.tick(9.0), 9.0))
    assert (closed.status, closed.missing, closed.sums) == (coordination.INVALID, ["b0"], None)
    assert four.machine.refused == {"wrong-sum": 1}


def test_too_few_answers_make_the_round_incomplete(four: World) -> None:
    answers = four.answers(four.call(four.names[1:]))
    four.send("answer", {name: answers[name] for name in ("b1", "b2")}, 5.5)
    assert four.machine.tick(8.9) == []
    closed = closing(four.do(four.machine.tick(9.0), 9.0))
    assert (closed.status, closed.missing) == (coordination.INCOMPLETE, ["b0", "b3"])
    assert closed.line()[1] == (
        "round 0 of main: incomplete; too few answers, 2 of 4, and it takes 3; missing: b0 (no-reading), b3 (no-answer)"
    )
    assert four.machine.refused == {}


# -- the next round is due


def test_a_round_that_waits_for_answers_is_closed_when_the_next_one_opens(tmp_path: Path) -> None:
    world = World(tmp_path, 4, replace(SCHEDULE, answers=600))
    world.call(world.names[1:])
    assert world.machine.tick(9.9) == []
    assert closing(world.do(world.machine.tick(10.0), 10.0)).round == 0
    assert of_kind(world.do(world.machine.tick(10.0), 10.0), OpenRound)[0].round == 1
    world.close()


def test_answers_are_awaited_beyond_the_interval_while_the_next_round_cannot_open(tmp_path: Path) -> None:
    world = World(tmp_path, 4, replace(SCHEDULE, answers=600))
    world.first_set()
    world.all_ready(last=0)  # nobody has a mask for round 1
    opening = published(world.do(world.machine.tick(0.0), 0.0), ROUND)[0]
    sent = {name: world.members[name].contribution(opening, 5, last=0) for name in world.names}
    (roll,) = published(world.send("contribution", sent), ROLL)
    assert world.machine.tick(29.9) == []
    assert closing(world.send("answer", world.answers(roll), 29.95)).sums == [20]
    world.close()


def test_the_last_scheduled_round_has_all_the_time_for_answers(tmp_path: Path) -> None:
    world = World(tmp_path, 4, replace(SCHEDULE, rounds=1, answers=60))
    roll = world.call(world.names[1:])
    assert world.machine.tick(64.9) == []
    assert closing(world.send("answer", world.answers(roll), 64.9)).sums == [306]
    assert world.machine.finished
    world.close()


# -- who is waited for


def test_nobody_waits_for_a_member_that_is_offline(four: World) -> None:
    four.first_set()
    four.all_ready()
    assert published(four.machine.presence("b0", False, 0.0), ROUND) != []  # and the opening says who is absent
    opening = four.machine._opening
    assert opening and messages.read_opening(opening)[4] == 0b0001
    actions = four.send("contribution", four.contributions(opening, four.names[1:]))
    assert present(published(actions, ROLL)[0]) == 0b1110


def test_an_absent_member_that_can_be_done_without_does_not_hold_back_the_opening(four: World) -> None:
    four.first_set()
    four.all_ready(last=0)
    opening = published(four.do(four.machine.tick(0.0), 0.0), ROUND)[0]
    sent = {name: four.members[name].contribution(opening, 5, last=0) for name in four.names}
    four.send("answer", four.answers(published(four.send("contribution", sent), ROLL)[0]))
    four.all_ready(four.names[1:])  # b0 has no mask for round 1
    assert of_kind(four.machine.tick(10.0), OpenRound) == []
    assert published(four.machine.presence("b0", False, 10.0), ROUND) != []


def test_an_absent_member_whose_key_too_few_hold_is_waited_for(four: World) -> None:
    four.first_set()
    four.all_ready(["b0", "b1", "b2"])
    four.say("b3", "ready", four.members["b3"].ready(holds=0b1110))
    (opening,) = published(four.do(four.machine.presence("b0", False, 0.0)), ROUND)
    four.send("contribution", four.contributions(opening, four.names[1:]))
    assert four.machine.phase == "open"


def test_a_member_that_goes_offline_in_mid_round_ends_the_waiting(four: World) -> None:
    four.send("contribution", four.contributions(four.open(), four.names[1:]))
    assert four.machine.phase == "open"
    assert present(published(four.do(four.machine.presence("b0", False, 2.0), 2.0), ROLL)[0]) == 0b1110


def test_an_absent_members_contribution_counts_if_it_comes_in_time(four: World) -> None:
    opening = four.open()
    four.machine.presence("b0", False, 0.0)
    sent = four.contributions(opening)
    (roll,) = published(four.send("contribution", sent), ROLL)
    assert present(roll) == 0b1111


def test_who_missed_a_round_is_absent_until_it_is_heard(four: World) -> None:
    four.send("answer", four.answers(four.call(four.names[1:])), 5.5)
    absent = four.machine._members.absent
    assert absent() == 0b0001
    four.machine.presence("b0", True, 6.0)
    assert absent() == 0
    second = published(four.do(four.machine.tick(10.0), 10.0), ROUND)[0]
    four.send("contribution", four.contributions(second, four.names[1:]), 11.0)
    four.send("answer", four.answers(published(four.do(four.machine.tick(15.0), 15.0), ROLL)[0]), 15.5)
    assert absent() == 0b0001
    late = four.contributions(second, ["b0"])["b0"]
    assert four.machine.message("b0", "contribution", late[:-1] + bytes([late[-1] ^ 1]), 16.0) == []
    assert absent() == 0b0001  # whoever sent this, it was not the board
    assert four.machine.message("b0", "contribution", late, 16.0) == []
    assert (absent(), four.machine.refused) == (0, {"bad-tag": 1, "late": 1})
    for name in four.names:
        four.machine.presence(name, False, 16.0)
    four.say("b0", "ready", four.members["b0"].ready(9), 16.0)
    assert absent() == 0b1110


def test_the_presence_of_a_stranger_is_nothing(four: World) -> None:
    four.machine.presence("b9", False, 0.0)
    assert four.machine._members.absent() == 0


# -- kill -9


def test_a_restart_repeats_the_roll_call_and_never_makes_another(four: World) -> None:
    sent = four.contributions(four.open())
    four.send("contribution", {name: sent[name] for name in four.names[1:]})
    (roll,) = published(four.do(four.machine.tick(5.0), 5.0), ROLL)
    answers = four.answers(roll)
    four.say("b1", "answer", answers["b1"], 5.5)
    machine = four.restart()
    said = four.do(machine.link_up(100.0), 100.0)
    assert (published(said, ROUND), published(said, ROLL)) == ([b""], [roll])
    assert machine.phase == "roll"
    assert_refused(four, "late", "b0", "contribution", sent["b0"], 100.5)
    closed = closing(four.send("answer", {name: answers[name] for name in ("b2", "b3")}, 101.0))
    assert (closed.sums, closed.missing) == ([306], ["b0"])


def test_a_restart_gives_the_answers_their_time_again(four: World) -> None:
    four.call(four.names[1:])
    machine = four.restart()
    machine.link_up(100.0)
    assert machine.tick(103.9) == []
    assert closing(machine.tick(104.0)).status == coordination.INCOMPLETE


def test_a_roll_call_whose_record_was_not_written_is_made_anew_from_what_is_recorded(four: World) -> None:
    """The process dies between the decision and the transaction: nobody has seen that roll call, so
    another one is the first."""
    sent = four.contributions(four.open())
    four.send("contribution", {name: sent[name] for name in four.names[1:]})
    lost = published(four.machine.tick(5.0), ROLL)  # not recorded, not published
    four.restart().link_up(100.0)
    (roll,) = published(four.say("b0", "contribution", sent["b0"], 101.0), ROLL)
    assert (present(lost[0]), present(roll)) == (0b1110, 0b1111)


@pytest.mark.parametrize("dies_after", range(9))
def test_a_round_ends_well_wherever_the_process_is_killed(tmp_path: Path, dies_after: int) -> None:
    """Killed after so many transactions (0: never), before anything is published of what the last
    one was for."""
    world = World(tmp_path, 4, replace(SCHEDULE, answers=600))
    sent = world.contributions(world.open(), world.names[1:])
    commits, born, rolls, closed = 0, 0.0, set(), []

    def step(actions: list[Any]) -> None:
        nonlocal commits, born
        machine, jobs = world.machine, of_kind(actions, Compute)
        actions = world.do([action for action in actions if action not in jobs])
        closed.extend(of_kind(actions, CloseRound))
        recorded = any(not isinstance(action, Publish) for action in actions)
        commits += recorded
        if recorded and commits == dies_after:
            born = 50.0
            actions = world.do(world.restart().link_up(born))
        rolls.update(payload for payload in published(actions, ROLL) if payload)
        for job in jobs if machine is world.machine else []:
            step(machine.computed(job.key, job.job(), born + 5.6))

    for name, payload in sent.items():
        step(world.machine.message(name, "contribution", payload, born + 1))
    step(world.machine.tick(born + 5))
    (roll,) = rolls
    for name, payload in world.answers(roll).items():
        step(world.machine.message(name, "answer", payload, born + 5.5))
    if not closed:
        step(world.machine.tick(born + 5.7))  # of who died when the last answer was recorded
    assert (rolls, commits) == ({roll}, 8)
    (end,) = closed
    assert (end.status, end.sums, end.missing) == (coordination.COMPLETE, [306], ["b0"])
    assert published(world.machine.link_up(90.0), RESULT) == [end.message]
    assert [row["round"] for row in world.home.storage.read(reading.results, "main", 9)] == [0]
    world.close()
