"""The coordinator's machine, byte by byte: what it takes, what it refuses and under which name, what it records before it speaks."""

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.joye_libert import parameters
from agent.protocols.private_sum import CONTRIBUTION_NONCE, READY_NONCE, nonce
from agent.protocols.private_sum import PrivateSum as BoardMachine
from agent.protocols.provision import Provision
from agent.wire import cbor, coordination, messages
from agent.wire.envelope import Context, Envelope, EnvelopeError, seal
from broker.authority import Authority
from broker.coordinator.actions import CloseRound, Contribution, Horizon, OpenRound, Publish
from broker.coordinator.home import Home
from broker.coordinator.protocols.private_sum import PrivateSum, Schedule
from host_sim.observer import Subscription, read_result

NAMES = ["b0", "b1", "b2"]
SCHEDULE = Schedule(interval=10, window=5, patience=20, rounds=4)
ROUND, RESULT, ROSTER = (f"hum/v1/test/g/main/{kind}" for kind in ("round", "result", "roster"))
N = parameters.load("hum-2048").n


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Member:
    """A board's real machine with a dictionary for a flash and a reading that is set."""

    def __init__(self, name: str, authority: bytes) -> None:
        self.name = name
        private = p256.generate(os.urandom)
        self.public = p256.public_key(private)
        self.machine = BoardMachine(Provision("test", "main", name, private, self.public, authority, 3, 4))
        self.masks: dict[int, bytes] = {}
        self.reading = [0]
        self.said: list[tuple[str, bytes]] = []

    def hear(self, topic: str, payload: bytes) -> list[tuple[str, bytes]]:
        """Take a message, do all idle work, and return what the board published: (kind, payload)."""
        self.said = []
        self._do(self.machine.message(topic, payload))
        while (actions := self.machine.idle()) is not None:
            self._do(actions)
        return self.said

    def _do(self, actions: list[Any]) -> None:
        for kind, *arguments in actions:
            if kind == "mask":
                self.masks[arguments[1]] = arguments[2]
            elif kind == "take":
                self._do(self.machine.taken(*arguments, self.masks.pop(arguments[1], None), self.reading))
            elif kind == "spend":
                self._do(self.machine.spent(*arguments))
            elif kind == "publish":
                self.said.append((arguments[0].rpartition("/")[2], arguments[1]))

    def context(self, kind: str, number: int, **other: Any) -> Context:
        place = {
            "deployment": "test",
            "group": "main",
            "epoch": 1,
            "sender": self.name,
            "receiver": "coordinator",
        } | other
        return Context(
            place["deployment"], kind, place["group"], place["epoch"], number, place["sender"], place["receiver"]
        )

    def sealed(self, kind: str, number: int, plain: bytes, nonce_of: bytes | None = None, **other: Any) -> bytes:
        """Seal anything as the board itself could, had it been broken into."""
        chosen = nonce_of or nonce(CONTRIBUTION_NONCE if kind == "contribution" else READY_NONCE, number)
        return seal(self.machine._round_key, chosen, self.context(kind, number, **other), plain)


class World:
    """A coordinator's folder with a roster of three, its machine, and the three boards. All work for the rounds is done."""

    def __init__(self, folder: Path, schedule: Schedule = SCHEDULE) -> None:
        self.schedule = schedule
        authority = Authority.init(folder / "authority", "test")
        pinned = bytes.fromhex(authority.public)
        self.members = {name: Member(name, pinned) for name in NAMES}
        for name, member in self.members.items():
            authority.enrol("main", name, member.public.hex())
        self.home = Home.init(folder / "coordinator", "test", pinned)
        _, roster = authority.sign_roster("main", self.home.public, [("load", 0, 1000)], "private-sum", "hum-2048")
        self.home.adopt("main", roster)
        self.said = {name: member.hear(ROSTER, roster) for name, member in self.members.items()}
        self.restart()

    def restart(self) -> PrivateSum:
        (self.machine,) = self.home.machines(self.schedule)
        return self.machine

    def close(self) -> None:
        self.home.storage.close()

    def do(self, actions: list[Any]) -> list[Any]:
        """Record what is to be recorded, as the service does, and return the actions."""
        self.home.storage.commit([action for action in actions if not isinstance(action, Publish)], {})
        return actions

    def all_ready(self) -> None:
        for name, said in self.said.items():
            for kind, payload in said:
                self.do(self.machine.message(name, kind, payload, 0.0))

    def open(self, now: float = 0.0) -> bytes:
        """Bring the machine to an open round and return the opening."""
        self.do(self.machine.link_up(now))
        self.all_ready()
        opened = self.do(self.machine.tick(now))
        return published(opened, ROUND)[-1]

    def contributions(self, opening: bytes, names: list[str] = NAMES) -> dict[str, bytes]:
        made = {}
        for index, name in enumerate(names):
            self.members[name].reading = [100 + index]
            ((_, payload),) = [said for said in self.members[name].hear(ROUND, opening) if said[0] == "contribution"]
            made[name] = payload
        return made

    def result(self, payload: bytes) -> tuple[int, int, list[str], list[int] | None]:
        place = Subscription("test", "main", 1, bytes.fromhex(self.home.public), self.home.result_key)
        return read_result(place, payload)


def published(actions: list[Any], topic: str) -> list[bytes]:
    return [action.payload for action in actions if isinstance(action, Publish) and action.topic == topic]


def of_kind(actions: list[Any], kind: type) -> list[Any]:
    return [action for action in actions if isinstance(action, kind)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def assert_refused(world: World, reason: str, device: str, kind: str, payload: bytes, now: float = 1.0) -> None:
    """The input is counted once under `reason`, calls for nothing, and leaves the machine's state as it was."""
    before = dict(world.machine.refused)
    state = (
        world.machine.next_round,
        dict(world.machine._horizons),
        dict(world.machine._current),
        world.machine._open_message,
    )
    assert world.machine.message(device, kind, payload, now) == []
    assert world.machine.refused == {**before, reason: before.get(reason, 0) + 1}
    machine = world.machine
    assert state == (machine.next_round, machine._horizons, machine._current, machine._open_message)


# -- a round that goes well


def test_a_contribution_is_recorded_before_its_receipt(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    record, receipt = world.machine.message("b0", "contribution", payload, 1.0)
    assert isinstance(record, Contribution)
    assert (record.device, record.round, record.digest) == ("b0", 0, sha256(payload).digest())
    assert receipt == Publish("hum/v1/test/g/main/mail/b0/coordinator", record.receipt)
    context = Context("test", "receipt", "main", 1, 0, "coordinator", "b0")
    signed = Envelope(record.receipt).verify(bytes.fromhex(world.home.public), context)
    assert messages.read_receipt(signed) == record.digest


def test_the_last_contribution_closes_the_round_with_the_exact_sum(world: World) -> None:
    sent = world.contributions(world.open())
    for name in NAMES[:2]:
        world.do(world.machine.message(name, "contribution", sent[name], 1.0))
    assert world.machine.next_round == 0
    actions = world.do(world.machine.message("b2", "contribution", sent["b2"], 1.25))
    (closed,) = of_kind(actions, CloseRound)
    assert (closed.status, closed.missing, closed.sums, closed.latency_ms) == (coordination.COMPLETE, [], [303], 1250.0)
    assert published(actions, RESULT) == [closed.message]
    assert world.result(closed.message) == (0, coordination.COMPLETE, [], [303])
    assert published(actions, ROUND) == [b""]
    assert world.machine.next_round == 1
    assert world.machine.refused == {}


def test_the_sum_is_not_in_the_result_for_who_has_not_the_key(world: World) -> None:
    sent = world.contributions(world.open())
    for name in NAMES:
        actions = world.do(world.machine.message(name, "contribution", sent[name], 1.0))
    (message,) = published(actions, RESULT)
    _, _, _, sealed = coordination.read_result(Envelope(message)._body)
    context = Context("test", "sums", "main", 1, 0, "coordinator", "clients")
    assert coordination.read_sums(Envelope(sealed).open(world.home.result_key, context)) == [303]
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


def test_a_duplicate_after_the_close_is_answered_too(world: World) -> None:
    sent = world.contributions(world.open())
    receipts = {}
    for name in NAMES:
        actions = world.do(world.machine.message(name, "contribution", sent[name], 1.0))
        receipts[name] = of_kind(actions, Publish)[0]
    for machine in (world.machine, world.restart()):
        assert machine.message("b1", "contribution", sent["b1"], 2.0) == [receipts["b1"]]
        assert machine.refused == {"duplicate": 1}


def test_another_contribution_for_the_same_round_is_a_conflict(world: World) -> None:
    payload = world.contributions(world.open())["b0"]
    world.do(world.machine.message("b0", "contribution", payload, 1.0))
    other = world.members["b0"].sealed("contribution", 0, messages.contribution(bytes(511) + b"\x02", 3))
    assert_refused(world, "conflict", "b0", "contribution", other)


def test_a_conflict_after_the_close_is_late(world: World) -> None:
    for name, payload in world.contributions(world.open()).items():
        world.do(world.machine.message(name, "contribution", payload, 1.0))
    other = world.members["b0"].sealed("contribution", 0, messages.contribution(bytes(511) + b"\x02", 3))
    assert_refused(world, "late", "b0", "contribution", other)


# -- what is refused


def test_a_contribution_between_two_rounds_is_early_or_late(world: World) -> None:
    sent = world.contributions(world.open())
    early = world.members["b0"].sealed("contribution", 1, messages.contribution(bytes(511) + b"\x02", 3))
    assert_refused(world, "early", "b0", "contribution", early)
    world.do(world.machine.tick(5.0))
    assert_refused(world, "late", "b0", "contribution", sent["b0"], 5.1)
    assert_refused(world, "early", "b0", "contribution", early, 5.1)  # round 1 is next, and not open


def test_an_envelope_of_another_epoch_is_refused(world: World) -> None:
    world.open()
    for epoch in (0, 2):
        payload = world.members["b0"].sealed(
            "contribution", 0, messages.contribution(bytes(511) + b"\x02", 3), epoch=epoch
        )
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
    (ready,) = [payload for kind, payload in world.said["b0"] if kind == "ready"]
    assert Envelope(ready).round == 3
    assert_refused(world, "early", "b0", "contribution", ready)
    swapped = world.members["b0"].sealed("ready", 0, messages.nothing(), nonce(CONTRIBUTION_NONCE, 0))
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
    assert set(world.machine.refused) <= {"malformed", "bad-tag", "wrong-epoch", "early"}
    assert world.do(world.machine.message("b0", "contribution", payload, 1.0)) != []


@pytest.mark.parametrize(
    "chosen",
    [bytes(13), nonce(READY_NONCE, 0), nonce(CONTRIBUTION_NONCE, 1), bytes([CONTRIBUTION_NONCE]) + bytes(11) + b"\x01"],
)
def test_a_nonce_that_is_not_the_rounds_is_refused(world: World, chosen: bytes) -> None:
    world.open()
    plain = messages.contribution(bytes(511) + b"\x02", 3)
    payload = world.members["b0"].sealed("contribution", 0, plain, chosen)
    assert_refused(world, "malformed", "b0", "contribution", payload)


@pytest.mark.parametrize("number", [0, N**2, N**2 + 1, (1 << 4096) - 1])
def test_a_ciphertext_out_of_range_is_refused(world: World, number: int) -> None:
    world.open()
    payload = world.members["b0"].sealed("contribution", 0, messages.contribution(number.to_bytes(512, "big"), 3))
    assert_refused(world, "malformed", "b0", "contribution", payload)


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        cbor.encode({}),
        cbor.encode({1: bytes(511), 2: 0}),
        cbor.encode({1: bytes(513), 2: 0}),
        cbor.encode({1: b"\x01" * 512, 2: -1}),
        cbor.encode({1: b"\x01" * 512, 2: 1 << 32}),
        cbor.encode({1: b"\x01" * 512, 2: True}),
        cbor.encode({1: b"\x01" * 512, 2: 0, 3: 0}),
        cbor.encode([b"\x01" * 512, 0]),
        cbor.encode({1: "x" * 512, 2: 0}),
    ],
)
def test_a_members_own_malformed_payload_is_refused(world: World, plain: bytes) -> None:
    world.open()
    assert_refused(world, "malformed", "b0", "contribution", world.members["b0"].sealed("contribution", 0, plain))


@pytest.mark.parametrize("other", [{"deployment": "else"}, {"group": "else"}, {"sender": "b1"}, {"receiver": "b0"}])
def test_an_envelope_bound_to_another_place_is_refused(world: World, other: dict[str, str]) -> None:
    world.open()
    plain = messages.contribution(bytes(511) + b"\x02", 3)
    payload = world.members["b0"].sealed("contribution", 0, plain, **other)
    assert_refused(world, "bad-tag", "b0", "contribution", payload)


# -- ready


def test_ready_is_recorded_and_its_replay_refused(world: World) -> None:
    (ready,) = [payload for kind, payload in world.said["b0"] if kind == "ready"]
    world.do(world.machine.link_up(0.0))
    assert world.machine.message("b0", "ready", ready, 0.0) == [Horizon("main", 1, "b0", 3)]
    assert world.machine.ready_members == 1
    assert_refused(world, "replayed", "b0", "ready", ready)
    older = world.members["b0"].sealed("ready", 2, messages.nothing())
    assert_refused(world, "replayed", "b0", "ready", older)
    assert_refused(world, "bad-tag", "b1", "ready", ready)


def test_ready_with_more_to_say_is_malformed(world: World) -> None:
    for plain in (b"", cbor.encode({1: 1}), cbor.encode([])):
        payload = world.members["b0"].sealed("ready", 9, plain)
        assert_refused(world, "malformed", "b0", "ready", payload)


# -- rounds that do not go well


def test_a_round_with_missing_members_names_them_and_has_no_sum(world: World) -> None:
    sent = world.contributions(world.open(), ["b1"])
    world.do(world.machine.message("b1", "contribution", sent["b1"], 1.0))
    assert world.machine.tick(4.9) == []
    actions = world.do(world.machine.tick(5.0))
    (closed,) = of_kind(actions, CloseRound)
    assert (closed.status, closed.missing, closed.sums) == (coordination.INCOMPLETE, ["b0", "b2"], None)
    assert world.result(closed.message) == (0, coordination.INCOMPLETE, ["b0", "b2"], None)
    assert (published(actions, RESULT), published(actions, ROUND)) == ([closed.message], [b""])


@pytest.mark.parametrize("ciphertext", [2, N, N + 1, N**2 - 1, 3**1000])
def test_a_members_garbage_gives_an_invalid_round_without_a_sum(world: World, ciphertext: int) -> None:
    sent = world.contributions(world.open(), ["b0", "b1"])
    sent["b2"] = world.members["b2"].sealed(
        "contribution", 0, messages.contribution(ciphertext.to_bytes(512, "big"), 3)
    )
    for name in NAMES:
        actions = world.do(world.machine.message(name, "contribution", sent[name], 1.0))
    (closed,) = of_kind(actions, CloseRound)
    assert (closed.status, closed.missing, closed.sums) == (coordination.INVALID, [], None)
    assert world.result(closed.message) == (0, coordination.INVALID, [], None)
    assert world.machine.refused == {"wrong-sum": 1}


def test_a_member_that_claims_more_than_its_slot_holds_is_found_when_the_sum_leaves_the_range(world: World) -> None:
    opening = world.open()
    sent = world.contributions(opening, ["b0", "b1"])
    cheat = world.members["b2"].machine
    cheat._packing.pack = lambda values: values[0]  # the board's own check is gone
    world.members["b2"].reading = [4000]
    ((_, payload),) = [said for said in world.members["b2"].hear(ROUND, opening) if said[0] == "contribution"]
    for name, contribution in {**sent, "b2": payload}.items():
        actions = world.do(world.machine.message(name, "contribution", contribution, 1.0))
    assert of_kind(actions, CloseRound)[0].status == coordination.INVALID
    assert world.machine.refused == {"wrong-sum": 1}


# -- restart


def test_a_restart_finishes_the_open_round(world: World) -> None:
    opening = world.open()
    sent = world.contributions(opening)
    first = world.do(world.machine.message("b0", "contribution", sent["b0"], 1.0))
    machine = world.restart()
    said = world.do(machine.link_up(100.0))
    assert published(said, ROUND) == [opening]
    assert (machine.next_round, machine.ready_members) == (0, 3)
    assert machine.message("b0", "contribution", sent["b0"], 101.0) == of_kind(first, Publish)
    world.do(machine.message("b1", "contribution", sent["b1"], 101.0))
    actions = world.do(machine.message("b2", "contribution", sent["b2"], 102.0))
    assert of_kind(actions, CloseRound)[0].sums == [303]


def test_a_restart_gives_the_open_round_its_window_again(world: World) -> None:
    world.open()
    machine = world.restart()
    world.do(machine.link_up(100.0))
    assert machine.tick(104.9) == []
    assert of_kind(machine.tick(105.0), CloseRound)[0].missing == NAMES


def test_a_restart_between_rounds_repeats_the_last_result_and_goes_on(world: World) -> None:
    world.open()
    (message,) = published(world.do(world.machine.tick(5.0)), RESULT)
    machine = world.restart()
    said = machine.link_up(50.0)
    assert (published(said, RESULT), published(said, ROUND)) == ([message], [b""])
    assert of_kind(machine.tick(50.0), OpenRound)[0].round == 1


def test_every_link_up_repeats_what_is_retained(world: World) -> None:
    opening = world.open()
    for now in (1.0, 2.0):
        said = world.machine.link_up(now)
        assert published(said, ROUND) == [opening]
        assert len(published(said, ROSTER)) == 1
        assert all(action.retain for action in said)


# -- the schedule


def test_nothing_happens_before_the_link_is_there(world: World) -> None:
    world.all_ready()
    assert world.machine.tick(1000.0) == []


def test_the_first_round_waits_for_all_members_but_not_beyond_patience(world: World) -> None:
    world.do(world.machine.link_up(0.0))
    assert world.machine.tick(19.9) == []
    assert of_kind(world.machine.tick(20.0), OpenRound)[0].round == 0


def test_rounds_open_at_the_interval_when_all_are_ready(world: World) -> None:
    sent = world.contributions(world.open(3.0))
    for name in NAMES:
        world.do(world.machine.message(name, "contribution", sent[name], 4.0))
    assert world.machine.tick(12.9) == []
    assert of_kind(world.machine.tick(13.0), OpenRound)[0].round == 1


def test_an_interval_shorter_than_the_window_does_not_cut_the_window_short(tmp_path: Path) -> None:
    world = World(tmp_path, replace(SCHEDULE, interval=1))
    world.open()
    assert world.machine.tick(4.9) == []
    assert of_kind(world.machine.tick(5.0), CloseRound)[0].round == 0
    assert of_kind(world.machine.tick(5.1), OpenRound)[0].round == 1
    world.close()


def test_the_epoch_is_finished_after_the_scheduled_rounds(tmp_path: Path) -> None:
    world = World(tmp_path, replace(SCHEDULE, rounds=2, interval=1))
    world.open()
    now = 0.0
    while not world.machine.finished:
        now += 0.5
        world.do(world.machine.tick(now))
        assert now < 100
    assert world.machine.next_round == 2
    assert world.machine.tick(1000.0) == []
    assert world.restart().finished
    world.close()


def test_an_opening_is_for_each_member_alone(world: World) -> None:
    """Each board obeys its own tag; another round's opening with the same tags opens nothing."""
    opening = world.open()
    epoch, number, digest, tags = messages.read_opening(opening)
    forged = coordination.opening(epoch, number + 1, digest, [tags])
    assert world.members["b0"].hear(ROUND, forged) == []
    assert world.members["b0"].machine.refused == {"bad-tag": 1}
    assert [kind for kind, _ in world.members["b0"].hear(ROUND, opening)] == ["contribution"]
