"""The coordinator's machine, byte by byte: what it takes, what it refuses and under which name,
what it records before it speaks."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import time as unix_time
from typing import Any

import pytest

from agent.crypto import accelerate
from agent.joye_libert import parameters
from agent.protocols.private_sum.membership import CONTRIBUTION_NONCE, READY_NONCE, nonce
from agent.wire import cbor, coordination, messages
from agent.wire.envelope import Context, Envelope, EnvelopeError
from broker.coordinator.actions import Publish
from broker.coordinator.protocols.private_sum.records import CloseRound, Contribution, MasksUntil, OpenRound
from tests.support.hand_made import (
    LAST,
    RESULT,
    ROLL,
    ROSTER,
    ROUND,
    SCHEDULE,
    World,
    assert_refused,
    of_kind,
    published,
)

NAMES = ["b0", "b1", "b2"]
N = parameters.load("hum-2048").n
OTHER = messages.contribution(bytes(511) + b"\x02", LAST, 7, 7)


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


# -- a round that goes well


def test_a_contribution_is_recorded_before_its_receipt(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    record, receipt = world.machine.message("b0", "contribution", payload, 1.0)
    assert isinstance(record, Contribution)
    assert (record.device, record.round, record.digest) == ("b0", 0, sha256(payload).digest())
    assert receipt == Publish("hum/v1/test/g/main/mail/b0/coordinator", record.receipt)
    context = Context("test", "receipt", "main", 1, 0, "coordinator", "b0", world.members["b0"].number)
    signed = Envelope(record.receipt).verify(bytes.fromhex(world.home.public), context)
    assert messages.read_receipt(signed) == record.digest


def test_the_last_contribution_calls_the_roll_and_the_answers_close_the_round_with_the_exact_sum(world: World) -> None:
    sent = world.contributions(world.open())
    world.send("contribution", {name: sent[name] for name in NAMES[:2]})
    assert (world.machine.phase, world.machine.next_round) == ("open", 0)
    called = world.say("b2", "contribution", sent["b2"])
    assert (world.machine.phase, world.machine.next_round) == ("roll", 0)
    assert published(called, ROUND) == [b""]
    actions = world.send("answer", world.answers(published(called, ROLL)[0]), 1.25)
    (closed,) = of_kind(actions, CloseRound)
    assert (closed.status, closed.missing, closed.sums, closed.latency_ms) == (coordination.COMPLETE, [], [303], 1250.0)
    assert closed.disagree == []
    assert published(actions, RESULT) == [closed.message]
    assert world.result(closed.message) == (0, "complete", [], [303])
    assert published(actions, ROLL) == [b""]
    assert (world.machine.phase, world.machine.next_round) == ("idle", 1)
    assert world.machine.refused == {}


def test_the_sum_is_not_in_the_result_for_who_has_not_the_key(world: World) -> None:
    (message,) = published(world.whole_round(), RESULT)
    _, _, _, sealed, *_ = coordination.read_result(Envelope(message).unverified())
    context = Context("test", "sums", "main", 1, 0, "coordinator", "clients")
    assert coordination.read_sums(Envelope(sealed).open(world.home.result_keys.of("main"), context)) == [303]
    with pytest.raises(EnvelopeError, match="bad-tag"):
        Envelope(sealed).open(bytes(16), context)


# -- the same again, and something else instead


def test_a_duplicate_is_counted_and_answered_with_the_same_receipt(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    first = world.do(world.machine.message("b0", "contribution", payload, 1.0))
    for times in (1, 2):
        again = world.machine.message("b0", "contribution", payload, 1.5)
        assert again == [action for action in first if isinstance(action, Publish)]
        assert world.machine.refused == {"duplicate": times}


def test_a_duplicate_after_the_roll_call_and_after_the_close_is_answered_too(world: World) -> None:
    sent = world.contributions(world.open())
    actions = world.send("contribution", sent)
    (receipt,) = [
        Publish("hum/v1/test/g/main/mail/b1/coordinator", r.receipt) for r in of_kind(actions, Contribution)[1:2]
    ]
    assert world.machine.message("b1", "contribution", sent["b1"], 2.0) == [receipt]
    world.send("answer", world.answers(published(actions, ROLL)[0]))
    assert world.machine.next_round == 1
    world.machine.refused.clear()
    for machine in (world.machine, world.restart()):
        assert machine.message("b1", "contribution", sent["b1"], 2.0) == [receipt]
        assert machine.refused == {"duplicate": 1}


def test_another_contribution_for_the_same_round_is_a_conflict(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    world.do(world.machine.message("b0", "contribution", payload, 1.0))
    other = world.members["b0"].sealed("contribution", 0, OTHER)
    assert_refused(world, "conflict", "b0", "contribution", other)


def test_another_contribution_after_the_roll_call_is_late_even_from_who_is_listed(world: World) -> None:
    roll = world.call()
    other = world.members["b0"].sealed("contribution", 0, OTHER)
    assert_refused(world, "late", "b0", "contribution", other)
    world.send("answer", world.answers(roll))
    assert world.machine.phase == "idle"
    assert_refused(world, "late", "b0", "contribution", other)


# -- what is refused


def test_a_contribution_between_two_rounds_is_early_or_late(world: World) -> None:
    sent = world.contributions(world.open())
    early = world.members["b0"].sealed("contribution", 1, OTHER)
    assert_refused(world, "early", "b0", "contribution", early)
    world.do(world.machine.tick(5.0), 5.0)  # nobody contributed
    assert_refused(world, "late", "b0", "contribution", sent["b0"], 5.1)
    assert_refused(world, "early", "b0", "contribution", early, 5.1)  # round 1 is next, and not open


def test_an_envelope_of_another_epoch_is_refused(world: World) -> None:
    world.open()
    for epoch in (0, 2):
        payload = world.members["b0"].sealed("contribution", 0, OTHER, epoch=epoch)
        assert_refused(world, "wrong-epoch", "b0", "contribution", payload)


def test_who_is_not_a_member_is_refused(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    for device in ("b3", "coordinator", "client", ""):
        assert_refused(world, "not-a-member", device, "contribution", payload)
        assert_refused(world, "not-a-member", device, "ready", payload)


def test_an_unknown_kind_of_topic_is_refused(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    for kind in ("result", "mail", "", "contributions"):
        assert_refused(world, "wrong-topic", "b0", kind, payload)


def test_one_members_contribution_under_anothers_name_is_refused(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    assert_refused(world, "bad-tag", "b1", "contribution", payload)


def test_a_contribution_on_the_ready_topic_and_the_other_way_round_is_refused(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    assert_refused(world, "malformed", "b0", "ready", payload)
    ready = world.members["b0"].ready()
    assert Envelope(ready).round == 3
    assert_refused(world, "early", "b0", "contribution", ready)
    swapped = world.members["b0"].sealed("ready", 0, messages.ready(7, 7), nonce(CONTRIBUTION_NONCE, 0))
    assert_refused(world, "bad-tag", "b0", "contribution", swapped)


def test_oversized_input_is_refused_before_it_is_parsed(world: World) -> None:
    world.open()
    assert_refused(world, "oversized", "b0", "contribution", bytes(2049))
    assert_refused(world, "malformed", "b0", "contribution", bytes(2048))
    assert_refused(world, "oversized", "b0", "ready", bytes(100_000))


def test_every_truncation_is_refused(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    for length in range(len(payload)):
        assert_refused(world, "malformed", "b0", "contribution", payload[:length])
    assert_refused(world, "malformed", "b0", "contribution", payload + b"\x00")


def test_every_flipped_bit_is_refused(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    for at in range(len(payload)):
        flipped = bytearray(payload)
        flipped[at] ^= 1 << (at % 8)
        before = sum(world.machine.refused.values())
        assert world.machine.message("b0", "contribution", bytes(flipped), 1.0) == []
        assert sum(world.machine.refused.values()) == before + 1
    assert set(world.machine.refused) <= {"malformed", "bad-tag", "wrong-epoch", "early", "other-active"}
    assert world.do(world.machine.message("b0", "contribution", payload, 1.0)) != []


@pytest.mark.parametrize(
    "chosen",
    [bytes(13), nonce(READY_NONCE, 0), nonce(CONTRIBUTION_NONCE, 1), bytes([CONTRIBUTION_NONCE]) + bytes(11) + b"\x01"],
)
def test_a_nonce_that_is_not_the_rounds_is_refused(world: World, chosen: bytes) -> None:
    world.open()
    payload = world.members["b0"].sealed("contribution", 0, OTHER, chosen)
    assert_refused(world, "malformed", "b0", "contribution", payload)


@pytest.mark.parametrize("number", [0, N**2, N**2 + 1, (1 << 4096) - 1])
def test_a_ciphertext_out_of_range_is_refused(world: World, number: int) -> None:
    world.open()
    payload = world.members["b0"].sealed("contribution", 0, messages.contribution(number.to_bytes(512, "big"), 3, 7, 7))
    assert_refused(world, "malformed", "b0", "contribution", payload)


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        cbor.encode({}),
        cbor.encode({1: bytes(511), 2: 0, 3: 7, 4: 7}),
        cbor.encode({1: bytes(513), 2: 0, 3: 7, 4: 7}),
        cbor.encode({1: b"\x01" * 512, 2: -1, 3: 7, 4: 7}),
        cbor.encode({1: b"\x01" * 512, 2: 1 << 32, 3: 7, 4: 7}),
        cbor.encode({1: b"\x01" * 512, 2: True, 3: 7, 4: 7}),
        cbor.encode({1: b"\x01" * 512, 2: 0}),
        cbor.encode({1: b"\x01" * 512, 2: 0, 3: 8, 4: 7}),  # a member that the roster has not
        cbor.encode({1: b"\x01" * 512, 2: 0, 3: 7, 4: 8}),
        cbor.encode({1: b"\x01" * 512, 2: 0, 3: -1, 4: 7}),
        cbor.encode({1: b"\x01" * 512, 2: 0, 3: False, 4: 7}),
        cbor.encode({1: b"\x01" * 512, 2: 0, 3: 7}),
        cbor.encode({1: b"\x01" * 512, 2: 0, 3: 7, 4: 7, 5: 0}),
        cbor.encode([b"\x01" * 512, 0, 7, 7]),
        cbor.encode({1: "x" * 512, 2: 0, 3: 7, 4: 7}),
    ],
)
def test_a_members_own_malformed_payload_is_refused(world: World, plain: bytes) -> None:
    world.open()
    assert_refused(world, "malformed", "b0", "contribution", world.members["b0"].sealed("contribution", 0, plain))


@pytest.mark.parametrize("other", [{"deployment": "else"}, {"group": "else"}, {"sender": "b1"}, {"receiver": "b0"}])
def test_an_envelope_bound_to_another_place_is_refused(world: World, other: dict[str, str]) -> None:
    world.open()
    payload = world.members["b0"].sealed("contribution", 0, OTHER, **other)
    assert_refused(world, "bad-tag", "b0", "contribution", payload)


# -- ready


def masks_until(world: World, last: int, announced: int, held: int, holds: int = 7) -> MasksUntil:
    """What is known of b0 under the set in force."""
    return MasksUntil("main", 1, "b0", world.members["b0"].number, last, announced, held, holds)


def test_ready_is_recorded_and_its_replay_refused(world: World) -> None:
    world.first_set()
    ready = world.members["b0"].ready()
    assert world.machine.message("b0", "ready", ready, 0.0) == [masks_until(world, 3, 3, 7)]
    assert len(world.machine.ready) == 1
    assert_refused(world, "replayed", "b0", "ready", ready)
    older = world.members["b0"].ready(2)
    assert_refused(world, "replayed", "b0", "ready", older)
    assert_refused(world, "bad-tag", "b1", "ready", ready)


def test_who_holds_key_shares_is_what_the_holders_say_and_never_the_dealer(world: World) -> None:
    """A contribution may move masks_until in between; a "ready" for that very round is new all the
    same."""
    opening = world.open()
    moved = world.members["b0"].contribution(opening, 5, last=9)
    assert of_kind(world.say("b0", "contribution", moved), MasksUntil) == [masks_until(world, 9, 3, 7)]
    newer = world.members["b0"].ready(9, held=3, holds=5)
    assert world.say("b0", "ready", newer) == [masks_until(world, 9, 9, 3, 5)]
    assert world.restart()._members.key_held() == {0: 7, 1: 6, 2: 7}


@pytest.mark.parametrize("which", ["held", "holds"])
def test_a_ready_for_the_same_round_is_new_if_more_is_held_and_nothing_less_and_else_a_replay(
    world: World, which: str
) -> None:
    world.first_set()
    member = world.members["b0"]

    def said(bits: int) -> list[Any]:
        return world.say("b0", "ready", member.ready(3, **{which: bits}))

    for bits in (3, 7):
        assert said(bits) == [replace(masks_until(world, 3, 3, 7), **{which: bits})]
        for less in (5, 2, bits):
            assert_refused(world, "replayed", "b0", "ready", member.ready(3, **{which: less}))


def test_a_malformed_ready_is_refused(world: World) -> None:
    world.first_set()
    member = world.members["b0"]
    for plain in (b"", cbor.encode({}), cbor.encode({1: 7}), cbor.encode({1: True, 2: 7}), cbor.encode({1: 1, 2: -1})):
        sealed = member.sealed("ready", 9, plain, nonce(READY_NONCE, 9, plain or None))
        assert_refused(world, "malformed", "b0", "ready", sealed)
    assert_refused(world, "malformed", "b0", "ready", member.ready(9, held=8))  # a member that the roster has not
    assert_refused(world, "malformed", "b0", "ready", member.ready(9, holds=8))


def test_the_nonce_of_a_ready_is_of_all_that_it_says(world: World) -> None:
    world.first_set()
    member = world.members["b0"]
    plain, other = messages.ready(7, 7), messages.ready(7, 3)
    assert_refused(world, "malformed", "b0", "ready", member.sealed("ready", 9, plain, nonce(READY_NONCE, 9, other)))
    assert world.say("b0", "ready", member.sealed("ready", 9, plain, nonce(READY_NONCE, 9, plain))) != []


# -- rounds that do not go well


def test_a_round_with_too_few_members_has_no_sum_and_calls_no_roll(world: World) -> None:
    sent = world.contributions(world.open(), ["b1"])
    world.say("b1", "contribution", sent["b1"])
    assert world.machine.tick(4.9) == []
    actions = world.do(world.machine.tick(5.0), 5.0)
    (closed,) = of_kind(actions, CloseRound)
    assert (closed.status, closed.missing, closed.sums) == (coordination.INCOMPLETE, ["b0", "b2"], None)
    assert world.result(closed.message) == (0, "incomplete", ["b0", "b2"], None)
    assert (published(actions, RESULT), published(actions, ROUND)) == ([closed.message], [b""])
    assert published(actions, ROLL) == []


@pytest.mark.parametrize("ciphertext", [2, N, N + 1, N**2 - 1, 3**1000])
def test_a_members_garbage_gives_an_invalid_round_without_a_sum(world: World, ciphertext: int) -> None:
    sent = world.contributions(world.open(), ["b0", "b1"])
    plain = messages.contribution(ciphertext.to_bytes(512, "big"), 3, 7, 7)
    sent["b2"] = world.members["b2"].sealed("contribution", 0, plain)
    (roll,) = published(world.send("contribution", sent), ROLL)
    assert of_kind(world.send("answer", world.answers(roll), 1.5), CloseRound) == []
    assert world.machine.tick(4.9) == []
    (closed,) = of_kind(world.do(world.machine.tick(5.0), 5.0), CloseRound)  # answers are awaited for 4 s
    assert (closed.status, closed.missing, closed.sums) == (coordination.INVALID, [], None)
    assert world.result(closed.message) == (0, "invalid", [], None)
    assert world.machine.refused == {"wrong-sum": 1}


def test_a_member_that_claims_more_than_its_slot_holds_is_found_when_the_sum_leaves_the_range(world: World) -> None:
    sent = world.contributions(opening := world.open(), ["b0", "b1"])
    cheat = world.members["b2"]
    cheat.pack = lambda reading: 4000  # type: ignore[method-assign]  # the board's own check is gone
    sent["b2"] = cheat.contribution(opening, 0)
    (roll,) = published(world.send("contribution", sent), ROLL)
    world.send("answer", world.answers(roll))
    assert of_kind(world.do(world.machine.tick(5.0), 5.0), CloseRound)[0].status == coordination.INVALID
    assert world.machine.refused == {"wrong-sum": 1}


# -- restart


def test_a_restart_finishes_the_open_round(world: World) -> None:
    opening = world.open()
    sent = world.contributions(opening)
    first = world.say("b0", "contribution", sent["b0"])
    machine = world.restart()
    said = world.do(machine.link_up(100.0), 100.0)
    assert (published(said, ROUND), published(said, ROLL)) == ([opening], [b""])
    assert (machine.phase, machine.next_round, len(machine.ready)) == ("open", 0, 3)
    assert machine.message("b0", "contribution", sent["b0"], 101.0) == of_kind(first, Publish)
    called = world.send("contribution", {name: sent[name] for name in NAMES[1:]}, 101.0)
    actions = world.send("answer", world.answers(published(called, ROLL)[0]), 102.0)
    assert of_kind(actions, CloseRound)[0].sums == [303]


def test_a_restart_gives_the_open_round_its_window_again(world: World) -> None:
    world.open()
    machine = world.restart()
    world.do(machine.link_up(100.0), 100.0)
    assert of_kind(machine.tick(104.9), CloseRound) == []
    assert of_kind(machine.tick(105.0), CloseRound)[0].missing == NAMES


def test_a_restart_between_rounds_repeats_the_last_result_and_goes_on(world: World) -> None:
    world.open()
    (message,) = published(world.do(world.machine.tick(5.0), 5.0), RESULT)
    machine = world.restart()
    said = machine.link_up(50.0)
    assert (published(said, RESULT), published(said, ROUND)) == ([message], [b""])
    assert of_kind(machine.tick(50.0), OpenRound)[0].round == 1


def test_every_link_up_repeats_what_is_retained(world: World) -> None:
    opening = world.open()
    for now in (1.0, 2.0):
        said = world.machine.link_up(now)
        assert (published(said, ROUND), published(said, ROLL)) == ([opening], [b""])
        assert len(published(said, ROSTER)) == 1
        assert all(action.retain for action in said)


# -- the schedule


def test_nothing_happens_before_the_link_is_there(world: World) -> None:
    world.arrive()
    assert world.machine.tick(1000.0) == []


def test_rounds_open_at_the_interval_when_all_are_ready(world: World) -> None:
    actions = world.send("contribution", world.contributions(world.open(3.0)), 4.0)
    world.send("answer", world.answers(published(actions, ROLL)[0]), 4.5)
    assert of_kind(world.machine.tick(12.9), OpenRound) == []
    assert of_kind(world.machine.tick(13.0), OpenRound)[0].round == 1


def test_contributions_take_four_fifths_of_a_short_interval_and_the_next_round_opens_on_time(tmp_path: Path) -> None:
    world = World(tmp_path, schedule=replace(SCHEDULE, interval=1))
    world.open()
    assert world.machine.tick(0.79) == []
    assert of_kind(world.do(world.machine.tick(0.8), 0.8), CloseRound)[0].round == 0
    assert world.machine.tick(0.99) == []
    assert of_kind(world.machine.tick(1.0), OpenRound)[0].round == 1
    world.close()


def test_the_epoch_is_finished_after_the_scheduled_rounds(tmp_path: Path) -> None:
    world = World(tmp_path, schedule=replace(SCHEDULE, rounds=2, interval=1))
    world.open()
    now = 0.0
    while not world.machine.finished:
        now += 0.5
        world.do(world.machine.tick(now), now)
        assert now < 100
    assert world.machine.next_round == 2
    assert world.machine.tick(1000.0) == []
    assert world.restart().finished
    world.close()


def test_an_opening_tells_of_each_member_the_last_round_whose_published_sum_has_its_reading(world: World) -> None:
    def counted(opening: bytes) -> list[bytes]:
        field = messages.read_opening(opening)[5]
        return [field[at : at + 8] for at in range(0, len(field), 8)]

    zero = coordination.counted(1, 0)
    world.whole_round()
    opening = world.open(10.0)
    assert counted(opening) == [zero] * 3
    # Round 1 has no sum, though all contributed.
    world.send("contribution", world.contributions(opening), 10.5)
    (closed,) = of_kind(world.do(world.machine.tick(1000.0), 1000.0), CloseRound)
    assert (closed.round, closed.sums) == (1, None)
    world.restart()
    opening = world.open(1010.0)
    assert messages.read_opening(opening)[1] == 2 and counted(opening) == [zero] * 3


def test_an_opening_is_for_each_member_alone(world: World) -> None:
    """Each board obeys its own tag; another round's opening with the same tags opens nothing."""
    opening = world.open()
    epoch, number, digest, tags, absent, counted, time, instant = messages.read_opening(opening)
    assert counted == bytes(8 * len(NAMES)) and abs(time - unix_time()) < 60 and instant == 0
    rest = ([counted], time)
    assert (epoch, number, digest, absent) == (1, 0, world.members["b0"].set_digest, 0)
    for forged in (
        coordination.opening(epoch, number + 1, digest, [tags], absent, *rest),
        coordination.opening(epoch, number, digest, [tags], 4, *rest),
        coordination.opening(epoch, number, digest, [tags[16:], tags[:16]], absent, *rest),
        coordination.opening(epoch, number, digest, [tags], absent, [coordination.counted(1, 0)] * len(NAMES), time),
        coordination.opening(epoch, number, digest, [tags], absent, [counted], time + 1),
        coordination.opening(epoch, number, digest, [tags], absent, [counted], time, time + 1),
    ):
        for member in world.members.values():
            with pytest.raises(AssertionError):
                member.contribution(forged, 1)
    assert sorted(world.contributions(opening)) == NAMES
