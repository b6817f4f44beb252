"""The coordinator's active sets: when it proposes which, whom it leaves out and why, how often, and
what it says to who comes back."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.joye_libert import blinding, cohorts, parameters
from agent.joye_libert.integer_shares import Sharing
from agent.runtime.net import mqtt_packets as packets
from agent.wire import active_sets, coordination, messages, topics
from agent.wire.envelope import Context, Envelope, seal
from broker.coordinator.actions import Publish
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.protocols.private_sum.records import (
    ActiveSet,
    CloseRound,
    Contribution,
    LeftOut,
    OpenRound,
    Standing,
)
from broker.coordinator.protocols.private_sum.sets import proposals, words
from broker.coordinator.protocols.private_sum.sets.backing_off import DAY_S, FIRST_S
from broker.coordinator.protocols.private_sum.sets.cost import LETTER_BYTES, of_cohort
from tests.support.hand_made import ACTIVE, ROLL, ROUND, SCHEDULE, World, assert_refused, of_kind, published
from tests.support.quick_arithmetic import remembered, small_modulus

PATIENCE, INTERVAL = SCHEDULE.patience, SCHEDULE.interval
CHOSEN = parameters.load("hum-2048")
FOR_EVER = replace(SCHEDULE, rounds=None)


@pytest.fixture(scope="module", autouse=True)
def arithmetic_is_quick() -> Iterator[None]:
    with remembered(), small_modulus():
        yield


@pytest.fixture
def six(tmp_path: Path) -> Iterator[World]:
    """One cohort of six, of whom five must be there."""
    world = World(tmp_path, 6, FOR_EVER)
    world.do(world.machine.link_up(0.0), 0.0)
    yield world
    world.close()


def proposed(actions: list[Any]) -> list[int]:
    return [record.members for record in of_kind(actions, ActiveSet)]


def left_out(actions: list[Any]) -> list[tuple[str, str]]:
    return [(record.device, record.reason) for record in of_kind(actions, LeftOut)]


def standing(world: World) -> dict[str, Any]:
    (one,) = world.home.storage.read(reading.status, "main")["sets"]
    return dict(one)


def whole_round(world: World, now: float, names: list[str] | None = None) -> list[Any]:
    """Open the next round at `now`, if it is not open, let `names` contribute and answer, and close
    it; return the actions."""
    world.tick(now)
    opening = world.machine._opening
    assert opening is not None
    done = world.send("contribution", world.contributions(opening, names), now + 1)
    if not published(done, ROLL):
        now += 4
        done += world.do(world.machine.tick(now + 1), now + 1)
    rolls = published(done, ROLL)
    return done + (world.send("answer", world.answers(rolls[0]), now + 2) if rolls else [])


# -- the first set


def test_the_first_set_is_proposed_as_soon_as_all_are_here(six: World) -> None:
    six.arrive(six.names[:5], 1.0)
    assert proposed(six.tick(2.0)) == []
    six.online("b5", True, 3.0)
    six.say("b5", "here", six.members["b5"].here(), 3.0)
    assert proposed(six.tick(3.05)) == [0b111111]


def test_after_patience_a_threshold_is_enough_and_less_never(six: World) -> None:
    six.arrive(six.names[:4], 1.0)
    assert proposed(six.tick(PATIENCE + 1000)) == []
    told = standing(six)
    assert (told["number"], told["active"], told["of"], told["needed"]) == (0, 0, 6, [5])
    assert {each["device"]: each["reason"] for each in told["left_out"]} == {
        **dict.fromkeys(six.names[:4], "waiting"),
        "b4": "not-here",
        "b5": "not-here",
    }
    six.online("b4", True, 2000.0)
    six.say("b4", "here", six.members["b4"].here(), 2000.0)
    assert proposed(six.tick(2000.0)) == [0b011111]


def test_before_patience_is_over_nobody_is_done_without(six: World) -> None:
    six.arrive(six.names[:5], 1.0)
    assert proposed(six.tick(PATIENCE - 0.1)) == []
    assert proposed(six.tick(PATIENCE)) == [0b011111]


def test_who_says_here_and_is_not_online_is_no_candidate(six: World) -> None:
    """What is retained at a broker may be of a board that died long ago."""
    six.arrive(six.names[:4], 1.0)
    for name in ("b4", "b5"):
        six.say(name, "here", six.members[name].here(), 1.0)
    six.online("b5", False, 1.0)
    assert proposed(six.tick(1000.0)) == []
    six.online("b4", True, 1000.0)
    assert six.machine._sets.active() == 0b011111


def test_a_set_is_signed_for_its_roster_and_recorded_before_it_is_published(six: World) -> None:
    for name in six.names:
        six.machine.presence(name, True, 1.0)
        six.say(name, "here", six.members[name].here(), 1.0)
    actions = six.machine.tick(1.0)
    (record,) = of_kind(actions, ActiveSet)
    said = Publish(ACTIVE, record.message, retain=True)
    assert actions.index(record) < actions.index(said)
    context = Context("test", "active", "main", 1, record.number, "coordinator", "")
    signed = Envelope(record.message).verify(bytes.fromhex(six.home.public), context)
    assert active_sets.read_active(signed) == (six.members["b0"].digest, 0, 0b111111)


def test_here_is_refused_unless_it_is_the_members_own_and_of_no_set(six: World) -> None:
    member = six.members["b0"]
    assert_refused(six, "bad-tag", "b1", "here", member.here())
    assert_refused(six, "not-a-member", "b9", "here", member.here())
    assert_refused(six, "oversized", "b0", "here", bytes(257))
    good = member.here(7)
    for at in range(len(good)):
        flipped = bytearray(good)
        flipped[at] ^= 1
        assert six.machine.message("b0", "here", bytes(flipped), 1.0) == []
    assert set(six.machine.refused) <= {"bad-tag", "malformed", "wrong-epoch", "not-a-member", "oversized"}


# -- a set is taken up


def test_a_round_opens_once_all_of_the_set_have_been_ready_in_it(six: World) -> None:
    six.first_set()
    six.all_ready(six.names[:5])
    assert of_kind(six.tick(5.0), OpenRound) == []
    six.say("b5", "ready", six.members["b5"].ready(), 6.0)
    assert of_kind(six.tick(6.0), OpenRound)[0].round == 0


def test_who_is_not_ready_in_time_is_left_out_and_named(six: World) -> None:
    six.first_set()
    six.all_ready(six.names[:5])
    assert proposed(six.tick(PATIENCE - 0.1)) == []
    actions = six.tick(PATIENCE)
    assert (proposed(actions), left_out(actions)) == ([0b011111], [("b5", "not-ready")])
    (record,) = of_kind(actions, LeftOut)
    assert record.until - record.at == FIRST_S and "b5" in record.line()[1]
    six.all_ready(six.names[:5])
    assert of_kind(six.tick(PATIENCE + 0.1), OpenRound) != []
    told = {each["device"]: each for each in standing(six)["left_out"]}
    assert (told["b5"]["reason"], told["b5"]["until"]) == ("not-ready", record.until)


def test_a_set_stays_where_fewer_than_the_threshold_would_be_left(six: World) -> None:
    six.first_set()
    six.all_ready(six.names[:4])
    for now in (PATIENCE, 5000.0, 100_000.0):
        assert proposed(six.tick(now)) == []
    assert {each["device"]: each["reason"] for each in standing(six)["left_out"]} == {
        "b4": "not-ready",
        "b5": "not-ready",
    }
    six.all_ready(six.names[4:])
    assert of_kind(six.tick(100_001.0), OpenRound) != []


def test_ready_of_another_set_is_refused(six: World) -> None:
    six.first_set()
    old = six.members["b0"].ready()
    six.all_ready(six.names[:5])
    six.tick(PATIENCE)
    assert_refused(six, "other-active", "b0", "ready", old)
    assert_refused(six, "other-active", "b5", "ready", six.members["b5"].ready())  # who is in none


# -- words


def test_a_dealer_that_dealt_nothing_and_says_that_all_hold_its_shares_is_left_out(six: World) -> None:
    six.first_set()
    for name in six.names[:5]:
        six.say(name, "ready", six.members[name].ready(holds=0b011111), 1.0)
    six.say("b5", "ready", six.members["b5"].ready(), 1.0)
    assert of_kind(six.tick(1.0), OpenRound) == []
    assert proposed(six.tick(INTERVAL)) == []  # what holders say may still be on its way
    actions = six.tick(INTERVAL + 1.0)
    assert (proposed(actions), left_out(actions)) == ([0b011111], [("b5", "false-held")])


def test_shares_that_are_on_their_way_name_nobody(six: World) -> None:
    six.first_set()
    for name in six.names[:5]:
        six.say(name, "ready", six.members[name].ready(holds=0b011111), 1.0)
    six.say("b5", "ready", six.members["b5"].ready(), 1.0)
    six.tick(1.0)
    for name in six.names[:5]:
        six.say(name, "ready", six.members[name].ready(), 5.0)
    assert of_kind(six.tick(5.0), OpenRound) != []
    assert left_out(six.tick(INTERVAL + 1.0)) == []


def test_who_denies_everybodys_shares_is_the_one_in_dispute(tmp_path: Path) -> None:
    """Three must be there: with the holder that denies them all keys are held by too few."""
    world = World(tmp_path, 4, FOR_EVER)
    world.first_set()
    for name in ("b0", "b1"):
        world.say(name, "ready", world.members[name].ready(holds=0b1011), 1.0)
    world.say("b2", "ready", world.members["b2"].ready(holds=0), 1.0)
    world.say("b3", "ready", world.members["b3"].ready(), 1.0)
    world.tick(1.0)
    actions = world.tick(INTERVAL + 1.0)
    assert ("b3", "false-held") in left_out(actions) or ("b2", "false-held") in left_out(actions)
    world.close()


def test_a_false_word_about_blinding_costs_no_round_and_is_named(six: World) -> None:
    six.first_set()
    six.all_ready()
    (opening,) = published(six.tick(1.0), ROUND)
    sent = {
        name: six.members[name].contribution(opening, 100 + index, holds=0b011111)
        for index, name in enumerate(six.names[:5])
    }
    sent["b5"] = six.members["b5"].contribution(opening, 900)
    (roll,) = published(six.send("contribution", sent, 2.0), ROLL)
    assert messages.read_roll(Envelope(roll).unverified())[1] == 0b011111
    (closed,) = of_kind(six.send("answer", six.answers(roll), 3.0), CloseRound)
    assert (closed.status, closed.missing) == (coordination.COMPLETE, ["b5"])
    actions = six.tick(3.05)
    assert (proposed(actions), left_out(actions)) == ([0b011111], [("b5", "false-held")])


cohorts_of_words = st.integers(3, 8).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.integers(0, count - 1),
        st.lists(st.integers(0, (1 << count) - 1), min_size=2 * count, max_size=2 * count),
    )
)


@given(cohorts_of_words)
def test_one_liar_among_honest_members_is_named_and_nobody_else(drawn: tuple[int, int, list[int]]) -> None:
    """Whatever it says of what it holds, and of who holds its shares, of which it dealt none."""
    count, liar, said = drawn
    everyone = (1 << count) - 1
    held = {i: everyone if i != liar else said[i] for i in range(count)}
    holds = {i: everyone & ~(1 << liar) if i != liar else said[count + i] for i in range(count)}
    harmed = [i for i in range(count) if words.holders(i, everyone, holds).bit_count() < count]
    named = words.believed_least(harmed, everyone, held, holds)
    disputed = (held[liar] | everyone & ~holds[liar]) & ~(1 << liar)
    if disputed.bit_count() > 1:
        assert named == 1 << liar


# -- between rounds


def test_nothing_is_proposed_while_a_round_is_open_or_answers_are_awaited(tmp_path: Path) -> None:
    world = World(tmp_path, 6, replace(FOR_EVER, interval=100, window=50, answers=50))
    world.do(world.machine.link_up(0.0), 0.0)
    world.arrive(world.names[:5])
    world.tick(PATIENCE)
    world.all_ready(world.names[:5])
    (opening,) = published(world.tick(PATIENCE), ROUND)
    world.online("b5", True, 21.0)
    world.say("b5", "here", world.members["b5"].here(), 21.0)
    assert world.machine.phase == "open" and proposed(world.tick(60.0)) == []
    (roll,) = published(world.send("contribution", world.contributions(opening, world.names[:5]), 65.0), ROLL)
    assert world.machine.phase == "roll" and proposed(world.tick(66.0)) == []
    world.send("answer", world.answers(roll), 67.0)
    assert proposed(world.tick(67.1)) == [0b111111]  # with one more no failure is the last
    world.close()


def five_of_six(six: World) -> None:
    """Bring the machine between two rounds, with five in the set and the sixth not there."""
    six.arrive(six.names[:5], 1.0)
    six.tick(PATIENCE)
    six.all_ready(six.names[:5], last=99)
    whole_round(six, PATIENCE, six.names[:5])
    assert six.machine.phase == "idle"


def test_a_candidate_is_let_in_and_costs_the_others_one_mask(six: World) -> None:
    five_of_six(six)
    six.online("b5", True, 28.0)
    six.say("b5", "here", six.members["b5"].here(), 28.0)
    assert six.machine._sets.active() == 0b011111
    assert proposed(six.tick(28.1)) == [0b111111]
    assert of_kind(six.tick(31.0), OpenRound) == []  # the round that is due waits for the masks
    six.all_ready(last=99)
    assert of_kind(six.tick(32.0), OpenRound)[0].round == 1


def test_where_a_failure_is_left_a_candidate_waits_for_an_interval(tmp_path: Path) -> None:
    world = World(tmp_path, 7, replace(FOR_EVER, interval=1000))  # five of seven must be there
    world.do(world.machine.link_up(0.0), 0.0)
    world.arrive(world.names[:6])
    world.tick(PATIENCE)
    world.all_ready(world.names[:6])
    whole_round(world, PATIENCE, world.names[:6])
    world.online("b6", True, 30.0)
    world.say("b6", "here", world.members["b6"].here(), 30.0)
    world.tick(30.0)
    world.online("b6", False, 500.0)  # it begins to wait anew
    world.tick(500.0)
    world.online("b6", True, 600.0)
    world.tick(600.0)
    world.machine._timing._due_at = 1e9  # no round comes between
    assert proposed(world.tick(1599.0)) == []
    assert proposed(world.tick(1600.0)) == [0b1111111]
    world.close()


def test_who_misses_sixteen_rounds_is_left_out_and_before_that_recovered(tmp_path: Path) -> None:
    world = World(tmp_path, 4, FOR_EVER)
    world.first_set()
    world.all_ready(last=99)
    gone = []
    for number in range(proposals.MISSED_MOST):
        assert gone == []
        (closed,) = of_kind(whole_round(world, 10.0 * number, world.names[:3]), CloseRound)
        assert (closed.sums, closed.missing) == ([303], ["b3"])
        gone = left_out(world.tick(10.0 * number + 7))
    assert gone == [("b3", "missing")] and world.machine._sets.active() == 0b0111
    world.close()


def test_a_round_without_a_list_takes_in_who_is_here_at_once(six: World) -> None:
    """Five must be there and are; one of them leaves, and the sixth comes."""
    five_of_six(six)
    six.online("b0", False, 30.0)
    (closed,) = of_kind(whole_round(six, 30.0, six.names[1:5]), CloseRound)
    assert closed.status == coordination.INCOMPLETE and proposed(six.tick(36.0)) == []
    six.say("b5", "here", six.members["b5"].here(), 38.0)
    actions = six.online("b5", True, 38.0)
    assert (proposed(actions), left_out(actions)) == ([0b111110], [("b0", "missing")])


# -- units


def test_a_unit_without_a_set_does_not_hold_up_the_others(tmp_path: Path) -> None:
    world = World(tmp_path, 8, FOR_EVER, cohort=4)
    first, second = ([world.names[i] for i in unit[0]] for unit in world.machine._sets.cohorts)
    world.do(world.machine.link_up(0.0), 0.0)
    world.arrive([*first, *second[:2]])
    world.all_ready(first)
    (opening,) = published(world.tick(0.1), ROUND)
    sets = messages.read_opening(opening)[2]
    assert [messages.digest_of(sets, at) == bytes(32) for at in (0, 1)] == [False, True]
    (roll,) = published(world.send("contribution", world.contributions(opening, first)), ROLL)
    (closed,) = of_kind(world.send("answer", world.answers(roll)), CloseRound)
    assert (closed.status, closed.missing) == (coordination.COMPLETE, sorted(second))
    world.close()


def test_of_a_sealed_fleet_a_threshold_of_each_cohort_must_be_there(tmp_path: Path) -> None:
    world = World(tmp_path, 8, FOR_EVER, cohort=4, seal=1)
    first, second = ([world.names[i] for i in cohort] for cohort in world.machine._sets.cohorts[0])
    world.do(world.machine.link_up(0.0), 0.0)
    world.arrive([*first, *second[:2]])
    assert proposed(world.tick(1000.0)) == []
    world.arrive([second[2]], 1000.0)
    assert world.machine._sets.active().bit_count() == 7
    world.close()


# -- who comes back


def coming(world: World, actions: list[Any], name: str) -> list[int]:
    """The rounds that `name` is told come next, each with a tag of its own key."""
    member, found = world.members[name], []
    for payload in published(actions, f"hum/v1/test/g/main/mail/{name}/coordinator"):
        epoch, number, tag = active_sets.read_coming(payload)
        context = Context("test", "coming", "main", 1, number, "coordinator", name, member.number)
        assert epoch == 1 and tag == active_sets.coming_tag(member.opening_key, context)
        found.append(number)
    return found


def test_who_comes_back_is_told_which_round_is_next_and_waited_for_by_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, 4, FOR_EVER)
    world.first_set()
    world.all_ready(["b0", "b1", "b2"], last=99)
    world.say("b3", "ready", world.members["b3"].ready(1), 0.0)
    world.online("b3", False, 0.5)
    for number in range(4):
        whole_round(world, 11.0 * number, world.names[:3])
    b3 = world.members["b3"]
    assert coming(world, world.online("b3", True, 37.0), "b3") == [4]
    assert coming(world, world.say("b3", "here", b3.here(), 37.0), "b3") == [4]
    assert coming(world, world.say("b3", "ready", b3.ready(2), 37.0), "b3") == [4]
    assert coming(world, world.say("b3", "here", b3.here(0), 37.0), "b3") == []  # it has to take up the set first
    (opening,) = published(world.tick(43.1), ROUND)  # at once: it has no mask, and is behind
    assert coming(world, world.online("b3", True, 43.5), "b3") == [5]
    assert published(world.send("contribution", world.contributions(opening, world.names[:3]), 44.0), ROLL) != []
    assert coming(world, world.say("b3", "ready", b3.ready(9), 45.0), "b3") == []
    world.close()


def test_nobody_is_told_of_a_round_that_it_can_take_part_in(six: World) -> None:
    six.first_set()
    six.all_ready(last=99)
    whole_round(six, 0.0)
    assert coming(six, six.online("b0", True, 8.0), "b0") == []


# -- restarts and restored copies


def test_a_restart_has_the_set_in_force_and_who_backs_off(six: World) -> None:
    six.first_set()
    six.all_ready(six.names[:5])
    six.tick(PATIENCE)
    six.all_ready(six.names[:5])
    machine = six.restart()
    said = six.do(machine.link_up(0.0), 0.0)
    (record,) = six.home.storage.read(reading.saved, "main", 1).sets.values()
    assert published(said, ACTIVE) == [record.message]
    assert of_kind(six.tick(0.0), OpenRound) != []
    assert machine._active._backing_off.reason("b5") == "not-ready"
    assert not machine._active._backing_off.is_over("b5", FIRST_S - 60)
    assert machine._active._backing_off.is_over("b5", FIRST_S)


def test_every_link_up_publishes_the_sets_and_the_first_takes_back_those_of_an_earlier_roster(six: World) -> None:
    def told(now: float) -> list[bool]:
        said = [one for one in six.machine.link_up(now) if isinstance(one, Publish) and "/active/" in one.topic]
        assert all(action.retain for action in said)
        return [bool(action.payload) for action in said]

    assert told(0.5) == [False] * messages.UNITS_MOST
    six.first_set()
    assert told(1.0) == [True]


@pytest.mark.parametrize("published_first", [False, True])
def test_a_number_is_never_used_twice_wherever_the_process_dies(tmp_path: Path, published_first: bool) -> None:
    """Killed between the decision and its record nobody has seen the set; after it the number is
    taken."""
    world = World(tmp_path, 4, FOR_EVER)
    world.do(world.machine.link_up(0.0), 0.0)
    for name in world.names:
        world.say(name, "here", world.members[name].here(), 0.0)
        if name != "b3":
            world.do(world.machine.presence(name, True, 0.0))
    actions = world.machine.presence("b3", True, 0.0)
    (record,) = of_kind(actions, ActiveSet)
    if published_first:
        world.do(actions)
    world.restart()
    world.do(world.machine.link_up(0.0), 0.0)
    numbers = [found.number for found in world.machine._sets.all()]
    assert numbers == ([record.number] if published_first else [])
    world.arrive()
    again = world.machine._sets.all()[0]
    assert (again.number == record.number) == published_first or again.number >= record.number
    world.close()


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(["propose", "copy", "restore", "restart"]), min_size=2, max_size=8))
def test_a_database_restored_from_an_older_copy_reuses_no_number(steps: list[str]) -> None:
    """The clock goes on while copies are made and restored: that is what a number hangs on."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), 3, FOR_EVER)
        clock = [1_800_000_000.0]
        numbers: list[int] = []
        world.home._workplace = replace(world.home._workplace, unix_time=lambda: clock[0])
        database, copy = Path(folder) / "coordinator" / "coordinator.db", Path(folder) / "copy.db"
        world.close()
        shutil.copy(database, copy)
        for step in steps:
            clock[0] += 1
            if step == "copy":
                shutil.copy(database, copy)
            elif step == "restore":
                shutil.copy(copy, database)
            machine = world.restart()
            world.do(machine.link_up(0.0), 0.0)
            if step == "propose":
                actions = world.do(machine._active._propose(0, 0b111, {}, 0.0))
                numbers += [record.number for record in of_kind(actions, ActiveSet)]
            world.close()
            for extra in ("-wal", "-shm"):
                Path(f"{database}{extra}").unlink(missing_ok=True)
        assert len(set(numbers)) == len(numbers) and numbers == sorted(numbers)


def test_a_restored_copy_whose_set_the_boards_have_left_is_told_by_them(six: World) -> None:
    """One of six may lie; two that say the same do not."""
    six.first_set()
    number = six.members["b0"].number
    for name in six.names:
        six.say(name, "here", six.members[name].here(number + 50 if name == "b0" else number), 1.0)
    assert proposed(six.tick(1.0)) == []
    six.say("b1", "here", six.members["b1"].here(number + 40), 1.0)
    (record,) = of_kind(six.tick(1.1), ActiveSet)
    assert record.number > number + 40 and record.members == 0b111111


# -- how often


class Day:
    """Seven honest boards and b7, which flaps: a day of the coordinator's sets in virtual time,
    with rounds that are only said to have been.

    `habits` are what b7 does in one set after the other: be "ready" and vanish, be "never" ready,
    or say a "false" word about who holds its shares.
    """

    def __init__(self, folder: Path, interval: float, patience: float, habits: list[str]) -> None:
        schedule = replace(FOR_EVER, interval=interval, patience=patience)
        self.world = World(folder, 8, schedule)
        self.world.home._workplace = replace(self.world.home._workplace, unix_time=lambda: 1.8e9 + self.now)
        self.now = 0.0
        self.world.restart()
        self.sets: list[float] = []
        self._habits = habits
        self._interval = interval
        machine = self.machine = self.world.machine
        machine.link_up(0.0)
        for name in self.world.names:
            machine._active.presence(name, True)
            machine.message(name, "here", self.world.members[name].here(), 0.0)

    def run(self, seconds: float) -> None:
        while self.now < seconds:
            self.now += self._interval
            self._round()
            self._return()
            self.machine._active.note(self.now)
            self._take_up(self.machine._active.propose(self.now))

    def _take_up(self, actions: list[Any]) -> None:
        for record in of_kind(actions, ActiveSet):
            self.sets.append(self.now)
            habit = self._habits[len(self.sets) % len(self._habits)]
            honest = record.members & 0b1111111
            for index, name in enumerate(self.world.names):
                if not record.members >> index & 1:
                    continue
                member = self.world.members[name]
                member.enter(record.message)
                holds = record.members if habit != "false" else honest
                if index < 7 or habit != "never":
                    self.machine.message(name, "ready", member.ready(1 << 30, holds=holds), self.now)
            if record.members >> 7:
                self.machine._active.presence("b7", False)

    def _return(self) -> None:
        if not self.machine._sets.active() >> 7:
            self.machine._active.presence("b7", True)

    def _round(self) -> None:
        if self.machine._active.taken_up():
            there = self.machine._sets.active() & 0b1111111
            sent = {
                name: Contribution("main", 1, 0, name, b"", b"", there, there, b"")
                for index, name in enumerate(self.world.names)
                if there >> index & 1
            }
            self.machine._active.closed({0}, sent, there)

    def most_in_a_day(self) -> int:
        return max((sum(at <= other < at + DAY_S for other in self.sets) for at in self.sets), default=0)


@pytest.mark.parametrize("interval", [pytest.param(10.0, marks=pytest.mark.proof), 120.0, 900.0, 3600.0])
@pytest.mark.parametrize("habits", [["ready"], ["never"], ["false"], ["ready", "never", "false", "ready", "ready"]])
def test_a_flapping_board_causes_at_most_24_sets_a_day_whatever_the_interval(
    tmp_path: Path, interval: float, habits: list[str]
) -> None:
    day = Day(tmp_path, interval, min(600.0, 2 * interval), habits)
    day.run(2 * DAY_S if interval >= 120 else DAY_S)
    assert 2 < day.most_in_a_day() <= 24
    day.world.close()


@pytest.mark.proof
def test_without_backing_off_a_flapping_board_causes_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals.BackingOff, "is_over", lambda self, name, now: True)
    day = Day(tmp_path, 120.0, 240.0, ["ready"])
    day.run(DAY_S)
    assert day.most_in_a_day() > 24
    day.world.close()


def test_boards_are_proposed_no_more_sets_than_they_take_up(six: World) -> None:
    six.first_set()
    active = six.machine._active
    for _ in range(proposals.TOKENS - 1):
        six.enter(active._propose(0, 0b111111, {}, 0.0))
    six.all_ready(six.names[:5])
    assert proposed(six.machine.tick(PATIENCE)) == []
    assert proposed(six.machine.tick(proposals.TOKEN_S - 1)) == []
    assert proposed(six.machine.tick(proposals.TOKEN_S)) != []


# -- what is told


def test_what_a_new_set_costs_is_what_the_specification_says_of_32(six: World) -> None:
    field = six.members["b0"].field
    cost = of_cohort(32, 34, CHOSEN, field)
    shares = cost.bytes - 31 * 2 * (field.batch * field.size + 2 * (LETTER_BYTES + 34))  # without the batches
    assert 19_000 < shares < 24_500 and 78 < cost.mask_seconds < 80 < cost.seconds < 125
    small = of_cohort(4, 34, CHOSEN, field)
    assert small.bytes < cost.bytes and small.seconds < cost.seconds and small.flash_bytes < cost.flash_bytes


@given(st.integers(2, 64), st.sampled_from([40, 200, 440]))
def test_what_a_set_costs_is_told_as_its_letters_have_it(members: int, bits: int) -> None:
    field = blinding.field(bits)
    threshold = cohorts.threshold(members)
    topic = topics.mail("north", "street", "meter-1", "meter-2")

    def on_the_wire(kind: str, round: int, payload: bytes) -> int:
        context = Context("north", kind, "street", 1, round, "meter-1", "meter-2", 1_800_000_000)
        return len(packets.publish(topic, seal(bytes(16), bytes(13), context, payload), 1, False, 1))

    acknowledged = on_the_wire("held", 0, messages.nothing())
    share = bytes(Sharing(members, threshold, members, CHOSEN).share_bytes)
    dealt = on_the_wire("key-share", 0, messages.share(share)) + acknowledged
    batch = on_the_wire("blinding", 64, messages.share(bytes(field.batch * field.size))) + acknowledged
    sent = (members - 1) * (dealt + 2 * batch)
    assert abs(of_cohort(members, len(topic), CHOSEN, field).bytes - sent) < 0.03 * sent


def test_standing_is_recorded_when_it_changes_and_not_else(six: World) -> None:
    six.arrive(now=1.0)
    assert standing(six)["taken_up"] is False
    assert of_kind(six.tick(10.0), Standing) == []
    six.all_ready()
    (told,) = of_kind(six.machine._active._changes(18.0), Standing)
    assert (told.taken_up, told.active, told.others) == (True, six.names, {})
