"""Members made by hand from the agent's arithmetic, and a coordinator's machine around them, for
tests of the machine alone.

A member holds the others by reference and asks them for their shares at once: the mail between
boards is not what is tested here.
"""

import os
from pathlib import Path
from typing import Any

from gmpy2 import powmod

from agent.crypto import p256
from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import blinding, cohorts, integer_shares, masks, parameters, zero_sum
from agent.joye_libert.packing import Packing
from agent.protocols.private_sum.answers import ANSWER_NONCE
from agent.protocols.private_sum.entering import HERE_NONCE
from agent.protocols.private_sum.membership import CONTRIBUTION_NONCE, READY_NONCE, nonce
from agent.protocols.private_sum.roster_part import read_part
from agent.wire import active_sets, cbor, messages, rosters
from agent.wire.envelope import Context, Envelope, opening_tag, roll_tag, seal
from broker.authority.authority import Authority
from broker.client.access import Access, read_group
from broker.client.results import RoundResult, open_result
from broker.coordinator.actions import Publish
from broker.coordinator.home import Home
from broker.coordinator.protocols.private_sum.machine import PrivateSum
from broker.coordinator.protocols.private_sum.records import ActiveSet
from broker.coordinator.schedule import Schedule
from host_sim.virtual.at_once import at_once

NONCES = {"contribution": CONTRIBUTION_NONCE, "ready": READY_NONCE, "answer": ANSWER_NONCE}
LAST = 3  # the last round that members can take part in, unless told otherwise
SCHEDULE = Schedule(interval=10, window=5, patience=20, rounds=4, answers=4)
ROUND, ROLL, RESULT, ROSTER = (f"hum/v1/test/g/main/{kind}" for kind in ("round", "roll", "result", "roster"))
ACTIVE = "hum/v1/test/g/main/active/0"  # of the first unit
SLOTS = [("load", 0, 1000)]


def steps(generator: Any) -> Any:
    """Run a generator to its end and return its value."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


class Member:
    """One board's keys and what it would send."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._private = p256.generate(os.urandom)
        self.public = p256.public_key(self._private)

    def join(self, signed: bytes, all_members: list["Member"]) -> None:
        """Know a roster of epoch 1, in which `all_members` stand in this order."""
        parsed = Envelope(signed)
        roster = rosters.read_roster(parsed.unverified())
        part = read_part(roster.part)
        names = roster.names()
        self.digest = parsed.digest(Context("test", "roster", "main", 1, 0, "authority", ""))
        self.index = names.index(self.name)
        assigned = cohorts.assign(names, self.digest, part.cohort)
        self.cohort_of_roster = [all_members[i] for i in next(cohort for cohort in assigned if self.index in cohort)]
        self.unit = 0 if part.seal else next(at for at, cohort in enumerate(assigned) if self.index in cohort)
        self.everyone = (1 << len(names)) - 1
        self.chosen = parameters.load("hum-2048")
        self.packing = Packing(roster.slots, len(names), self.chosen.bits)
        self.field = blinding.field(self.packing.bits)
        self.coordinator = roster.coordinator
        self.threshold = cohorts.threshold(len(self.cohort_of_roster))
        self.number = 0
        self._names, self._part, self._all = names, part, all_members
        secret = p256.ecdh(self._private, roster.coordinator)
        self._here_key, _ = zero_sum.round_keys(secret, self.digest, self.name)

    def enter(self, signed: bytes) -> None:
        """Take up an active set: all keys and seeds are new."""
        parsed = Envelope(signed)
        context = Context("test", "active", "main", 1, parsed.round, "coordinator", "")
        roster_digest, unit, active = active_sets.read_active(parsed.verify(self.coordinator, context))
        assert (roster_digest, unit) == (self.digest, self.unit) and active >> self.index & 1
        self.number, self.active, self.set_digest = parsed.round, active, parsed.digest(context)
        names, part = self._names, self._part
        self.cohort = [member for member in self.cohort_of_roster if active >> member.index & 1]
        exponent = zero_sum.offset(len(names), self.chosen)
        for near in cohorts.neighbours(self.index, names, self.digest, part.cohort, part.seal, active):
            secret = p256.ecdh(self._private, self._all[near].public)
            first, second = sorted((self.name, names[near]))
            key = zero_sum.pair_key(secret, self.set_digest, first, second, self.chosen)
            exponent += key if near < self.index else -key
        secret = p256.ecdh(self._private, self.coordinator)
        self.exponent = exponent + zero_sum.pair_key(secret, self.set_digest, self.name, "coordinator", self.chosen)
        self.round_key, self.opening_key = zero_sum.round_keys(secret, self.set_digest, self.name)
        self._key_seed, self._blinding_seed = (
            hkdf_sha256(self._private, self.set_digest, cbor.encode([f"hum/v1/{use}"]), 32)
            for use in ("key-shares", "blinding")
        )
        self.sharing = integer_shares.Sharing(len(self.cohort), self.threshold, len(names), self.chosen)

    def key_share(self, x: int) -> int:
        share = steps(integer_shares.share_steps(self._key_seed, self.exponent, x, self.sharing))
        return int.from_bytes(share, "big")

    def blinding_share(self, number: int, x: int) -> int:
        return int(blinding.share(self._blinding_seed, number, x, self.threshold, self.field))

    # -- messages

    def context(self, kind: str, number: int, **other: Any) -> Context:
        place = {
            "deployment": "test",
            "group": "main",
            "epoch": 1,
            "sender": self.name,
            "receiver": "coordinator",
            "of_set": self.number,
        } | other
        return Context(
            place["deployment"],
            kind,
            place["group"],
            place["epoch"],
            number,
            place["sender"],
            place["receiver"],
            place["of_set"],
        )

    def sealed(self, kind: str, number: int, plain: bytes, nonce_of: bytes | None = None, **other: Any) -> bytes:
        """Seal anything as the board itself could, had it been broken into."""
        chosen = nonce_of or nonce(NONCES[kind], number)
        return bytes(seal(self.round_key, chosen, self.context(kind, number, **other), plain))

    def here(self, number: int | None = None) -> bytes:
        """Say that it is here, with the set that is in force, or another."""
        number = self.number if number is None else number
        return bytes(
            seal(
                self._here_key,
                bytes([HERE_NONCE]) + number.to_bytes(4, "big") + bytes(8),
                self.context("here", 0, of_set=0),
                active_sets.here(number),
            )
        )

    def ready(self, last: int = LAST, held: int | None = None, holds: int | None = None) -> bytes:
        plain = messages.ready(*(self.active if bits is None else bits for bits in (held, holds)))
        return self.sealed("ready", last, plain, nonce(READY_NONCE, last, plain))

    def contribution(
        self, opening: bytes, reading: int, held: int | None = None, last: int = LAST, holds: int | None = None
    ) -> bytes:
        """Obey an opening."""
        _, number, sets, tags, absent, counted, time, instant = messages.read_opening(opening)
        digest = messages.digest_of(sets, self.unit)
        context = Context("test", "round", "main", 1, number, "coordinator", self.name, self.number)
        own = counted[8 * self.index :][:8]
        assert digest == self.set_digest
        assert tags[16 * self.index :][:16] == opening_tag(
            self.opening_key, context, digest, absent, own, time, instant
        )
        base = masks.base(self.chosen, "test", "main", 1, number, 0, self.set_digest)
        exponent = self.exponent.to_bytes(self.chosen.exponent_bytes, "big")
        mask = steps(masks.steps(base, exponent, self.chosen, masks.workspace(self.chosen)))
        blinded = self.pack(reading) + blinding.blind(self._blinding_seed, number, self.field)
        ciphertext = masks.protect(mask, blinded % self.field.p, self.chosen)
        held, holds = (self.active if bits is None else bits for bits in (held, holds))
        return self.sealed("contribution", number, messages.contribution(ciphertext, last, held, holds))

    def pack(self, reading: int) -> int:
        return int(self.packing.pack([reading]))

    def answer(self, roll: bytes, blinding_off: int = 0, recovery_off: int = 0) -> bytes:
        """Obey a roll call; with an offset, wrongly."""
        parsed = Envelope(roll)
        payload = parsed.verify(self.coordinator, Context("test", "roll", "main", 1, parsed.round, "coordinator", ""))
        sets, present, tags = messages.read_roll(payload)
        digest = messages.digest_of(sets, self.unit)
        context = Context("test", "roll", "main", 1, parsed.round, "coordinator", self.name, self.number)
        assert digest == self.set_digest
        assert tags[16 * self.index :][:16] == roll_tag(self.opening_key, context, digest, present)
        x = 1 + self.cohort.index(self)
        listed = [member for member in self.cohort if present >> member.index & 1]
        missing = [member for member in self.cohort if member not in listed]
        total = sum(member.blinding_share(parsed.round, x) for member in listed) + blinding_off
        recovery = None
        if missing:
            x0, x1 = masks.base(self.chosen, "test", "main", 1, parsed.round, 0, self.set_digest)
            exponent = sum(member.key_share(x) for member in missing) + recovery_off
            recovery = int(powmod(x0 + self.chosen.n * x1, exponent, self.chosen.n**2)).to_bytes(
                self.chosen.residue_bytes, "big"
            )
        plain = messages.answer((total % self.field.p).to_bytes(self.field.size, "big"), recovery)
        return self.sealed("answer", parsed.round, plain)


class World:
    """A coordinator's folder with a roster, its machine, and the boards; `names` in roster
    order."""

    def __init__(
        self,
        folder: Path,
        members: int = 3,
        schedule: Schedule = SCHEDULE,
        cohort: int = 32,
        seal: int = 0,
        spread: int = 0,
    ) -> None:
        self.schedule = schedule
        self.names = sorted(f"b{index}" for index in range(members))
        authority = Authority.init(folder / "authority", "test")
        self.authority = authority.public
        self.members = {name: Member(name) for name in self.names}
        for name, member in self.members.items():
            authority.enrol("main", name, member.public.hex())
        self.home = Home.init(folder / "coordinator", "test", bytes.fromhex(self.authority))
        _, self.roster = authority.sign_roster(
            "main", self.home.public, SLOTS, "private-sum", "hum-2048", cohort=cohort, seal=seal, spread=spread
        )
        self.home.adopt("main", self.roster)
        for member in self.members.values():
            member.join(self.roster, list(self.members.values()))
        self.restart()

    def restart(self) -> PrivateSum:
        (self.machine,) = self.home.machines(self.schedule)
        return self.machine

    def close(self) -> None:
        self.home.storage.close()

    def do(self, actions: list[Any], now: float = 1.0) -> list[Any]:
        """Compute what is to be computed, record what is to be recorded, as the service does, and
        return the actions."""
        actions = at_once(self.machine, actions, now)
        self.home.storage.commit([action for action in actions if not isinstance(action, Publish)], {})
        return actions

    def say(self, name: str, kind: str, payload: bytes, now: float = 1.0) -> list[Any]:
        """Let the machine take a message, and record what it wants recorded."""
        return self.do(self.machine.message(name, kind, payload, now), now)

    def all_ready(self, names: list[str] | None = None, last: int = LAST) -> None:
        for name in self.names if names is None else names:
            self.say(name, "ready", self.members[name].ready(last), 0.0)

    def arrive(self, names: list[str] | None = None, now: float = 0.0) -> None:
        """Let members, or `names`, come online and say that they are here."""
        for name in self.names if names is None else names:
            self.online(name, True, now)
            self.say(name, "here", self.members[name].here(), now)
        self.tick(now)

    def online(self, name: str, online: bool, now: float = 0.0) -> list[Any]:
        """Let a member, or its last will, say whether it is online; members take up what is
        proposed."""
        return self.enter(self.do(self.machine.presence(name, online, now), now))

    def enter(self, actions: list[Any]) -> list[Any]:
        """Let all members take up the sets that were published with these actions; return the
        actions."""
        for record in of_kind(actions, ActiveSet):
            for name in record_names(self, record):
                self.members[name].enter(record.message)
        return actions

    def tick(self, now: float) -> list[Any]:
        """Let time pass to `now`; members take up what is proposed."""
        return self.enter(self.do(self.machine.tick(now), now))

    def first_set(self, now: float = 0.0) -> None:
        """Bring the machine to a first set of all members, which they take up."""
        self.do(self.machine.link_up(now), now)
        if not self.machine._sets.all():
            self.arrive(now=now)

    def open(self, now: float = 0.0) -> bytes:
        """Bring the machine to an open round and return the opening."""
        self.first_set(now)
        self.all_ready()
        return published(self.do(self.machine.tick(now), now), ROUND)[-1]

    def contributions(self, opening: bytes, names: list[str] | None = None) -> dict[str, bytes]:
        """The contributions of `names`; the reading of member i is 100 + i."""
        return {
            name: self.members[name].contribution(opening, 100 + self.names.index(name))
            for name in (self.names if names is None else names)
        }

    def send(self, kind: str, payloads: dict[str, bytes], now: float = 1.0) -> list[Any]:
        """Send one message each; return all actions."""
        return [action for name, payload in payloads.items() for action in self.say(name, kind, payload, now)]

    def call(self, names: list[str] | None = None, now: float = 1.0) -> bytes:
        """Open a round, let `names` contribute and, if that is not all, the window pass; return the
        roll call."""
        sent = self.contributions(self.open(), names)
        called = published(self.send("contribution", sent, now), ROLL)
        return (called or published(self.do(self.machine.tick(5.0), 5.0), ROLL))[0]

    def answers(self, roll: bytes, names: list[str] | None = None) -> dict[str, bytes]:
        """The right answers of those listed, or of `names`."""
        present = messages.read_roll(Envelope(roll).unverified())[1]
        listed = [name for index, name in enumerate(self.names) if present >> index & 1]
        return {name: self.members[name].answer(roll) for name in (listed if names is None else names)}

    def whole_round(self) -> list[Any]:
        """A round that goes well; return all actions from the first contribution on."""
        actions = self.send("contribution", self.contributions(self.open()))
        return actions + self.send("answer", self.answers(published(actions, ROLL)[0]), 1.25)

    def client(self, payload: bytes) -> RoundResult:
        """What a client makes of a result."""
        access = Access("test", bytes.fromhex(self.authority), self.home.result_keys.of("main"))
        result = open_result(read_group(access, "main", self.roster), self.home.result_keys.of("main"), payload)
        assert isinstance(result, RoundResult)
        return result

    def result(self, payload: bytes) -> tuple[int, str, list[str], list[int] | None]:
        """Of it which round it is, its status, who is missing, and the sums."""
        result = self.client(payload)
        return result.round, result.status, result.missing, result.sums


def record_names(world: World, record: ActiveSet) -> list[str]:
    """The names of the members in a set."""
    return [name for index, name in enumerate(world.names) if record.members >> index & 1]


def published(actions: list[Any], topic: str) -> list[bytes]:
    return [action.payload for action in actions if isinstance(action, Publish) and action.topic == topic]


def of_kind(actions: list[Any], kind: type) -> list[Any]:
    return [action for action in actions if isinstance(action, kind)]


def assert_refused(world: World, reason: str, device: str, kind: str, payload: bytes, now: float = 1.0) -> None:
    """The input is counted once under `reason`, calls for nothing, and leaves the machine's state
    as it was."""
    machine = world.machine
    before, state = dict(machine.refused), snapshot(machine)
    assert machine.message(device, kind, payload, now) == []
    assert machine.refused == {**before, reason: before.get(reason, 0) + 1}
    assert snapshot(machine) == state


def snapshot(machine: PrivateSum) -> Any:
    answers = machine._answers
    given = None if answers is None else (answers.message, dict(answers._by_device), dict(answers.opened))
    return (
        machine.next_round,
        machine.phase,
        dict(machine._members.records),
        dict(machine._current),
        machine._opening,
        given,
    )
