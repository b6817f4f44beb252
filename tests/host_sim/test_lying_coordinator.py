"""A coordinator that lies: what it says are bytes on topics, and what it learns is computed from
all that it gets for them.

The boards are real machines on the simulated network. The attacker has the coordinator's private
key, everything that was ever on the network, and the memory of as many boards as the protocol lets
it have: c - t of a cohort of c. Its best computation is made in two ways: with the coordinator's
own arithmetic on the real answers, and as linear algebra over all that it knows, which tells
whether any combination at all gives one honest board's reading. Each attack that fails here is
followed by a control that succeeds: the same computation with one share more, or with boards that
lack the check in question.
"""

import os
import random
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from gmpy2 import invert, powmod

from agent.joye_libert import blinding, cohorts, integer_shares, masks, parameters
from agent.joye_libert.packing import Packing
from agent.meters.simulated import SimulatedMeter
from agent.protocols.base.identity import CLOSE_WINDOW, Policy
from agent.protocols.private_sum import answers as roll_call
from agent.protocols.private_sum.mail import BLINDING, KEY_SHARE, mail_nonce
from agent.protocols.private_sum.roster_part import read_part
from agent.wire import cbor, coordination, envelope, rosters, topics
from agent.wire.envelope import Context, Envelope
from broker.coordinator.actions import Publish
from broker.coordinator.protocols.private_sum.answers import Answers, Layout
from broker.coordinator.protocols.private_sum.arithmetic import aggregation, recovery
from broker.coordinator.protocols.private_sum.arithmetic.recovery import WrongShares
from broker.coordinator.protocols.private_sum.outgoing import SumOutgoing
from broker.coordinator.protocols.private_sum.records import ActiveSet, Answer, Contribution, Counted
from broker.coordinator.protocols.private_sum.roll_call import bitmap, members
from broker.coordinator.protocols.private_sum.sets.in_force import InForce, Sets
from broker.coordinator.protocols.private_sum.uploads import Uploads
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from host_sim.virtual.network import Network, VirtualClock
from host_sim.virtual.street import SimulatedBoard, Street
from tests.support.quick_arithmetic import remembered

C = 7  # the smallest cohort in which two may collude
VICTIM = 0
READINGS = [31_007, 17_011, 23_029, 47_041, 11_059, 53_077, 29_083, 7_001]
EVERYONE = (1 << C) - 1
WITHOUT = EVERYONE & ~(1 << VICTIM)


@pytest.fixture(scope="module", autouse=True)
def arithmetic_is_quick() -> Iterator[None]:
    """The boards of all worlds have the same keys."""
    with remembered():
        yield


@lru_cache(64)
def unmask_factor(bits: int, number: int, exponent: int, set_digest: bytes) -> int:
    scope = ("sim", "main", 1)
    return aggregation.unmask_factor(parameters.load(f"hum-{bits}"), scope, number, exponent, set_digest)


# -- what anybody could know


class Knowledge:
    """All that the attacker knows of one round, as linear equations modulo a prime over what it
    does not know.

    Unknown are, for each honest member, its reading, the coefficients of its blinding's polynomial
    and those of its key's. The key's are in exponents: there too nothing but linear combinations
    can be had, if the paper's assumption (section 7) holds.
    """

    def __init__(self, size: int, threshold: int, colluders: Iterable[int], p: int) -> None:
        self._p = p
        self._threshold = threshold
        self._honest = [member for member in range(size) if member not in colluders]
        self._reduced: dict[int, list[int]] = {}
        # The zero-sum keys, the coordinator's parts and the colluders' parts leave this one
        # equation.
        self._add([("key", member, 0, 1) for member in self._honest])
        for x in (member + 1 for member in colluders):
            for member in self._honest:
                self._add(self._share("blinding", [member], x))
                self._add(self._share("key", [member], x))

    def ciphertext(self, member: int) -> None:
        """The member's ciphertext is known."""
        if member in self._honest:
            self._add([("reading", member, 0, 1), ("blinding", member, 0, 1), ("key", member, 0, 1)])

    def answer(self, helper: int, present: int) -> None:
        """The helper's answer to a list is known."""
        listed = [member for member in self._honest if present >> member & 1]
        self._add(self._share("blinding", listed, helper + 1))
        missing = [member for member in self._honest if not present >> member & 1]
        self._add(self._share("key", missing, helper + 1))

    def blinding_share(self, helper: int, dealer: int) -> None:
        """One share of one member's blinding is known."""
        self._add(self._share("blinding", [dealer], helper + 1))

    def tells(self, member: int) -> bool:
        """Whether the member's reading is a linear combination of what is known. If it is not,
        every reading fits all that is."""
        return not any(self._reduce(self._row([("reading", member, 0, 1)])))

    def _share(self, kind: str, dealers: Iterable[int], x: int) -> list[tuple[str, int, int, int]]:
        return [(kind, dealer, k, pow(x, k, self._p)) for dealer in dealers for k in range(self._threshold)]

    def _row(self, terms: Iterable[tuple[str, int, int, int]]) -> list[int]:
        width = 1 + 2 * self._threshold
        row = [0] * (width * len(self._honest))
        for kind, member, k, factor in terms:
            start = {"reading": 0, "blinding": 1, "key": 1 + self._threshold}[kind]
            row[width * self._honest.index(member) + start + k] += factor
        return row

    def _reduce(self, row: list[int]) -> list[int]:
        for pivot, known in self._reduced.items():
            if row[pivot]:
                factor = row[pivot]
                row = [(a - factor * b) % self._p for a, b in zip(row, known, strict=True)]
        return row

    def _add(self, terms: Iterable[tuple[str, int, int, int]]) -> None:
        row = self._reduce(self._row(terms))
        pivot = next((at for at, value in enumerate(row) if value), None)
        if pivot is not None:
            scale = pow(row[pivot], -1, self._p)
            self._reduced[pivot] = [value * scale % self._p for value in row]


# -- the attacker


class World:
    """Boards that have dealt their shares, and the attacker in the coordinator's place. `told` has,
    for each round and board, the last list that a right tag commended to it before it answered."""

    def __init__(
        self,
        folder: Path,
        colluders: int | None = None,
        policy: Policy | None = None,
        size: int = C,
        sealed: int = 0,
        audit: bool = False,
    ) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock)
        with mock.patch.object(os, "urandom", random.Random(5).randbytes):
            rows = [[0, 100_000]] * size
            shape = {"cohort": sealed, "seal": cohorts.SEAL_FLEET} if sealed else {}
            street = Street(self.network, folder, rows, Schedule(10, 5, 5), masks=4, audit=audit, **shape)
        self.boards = street.boards
        for board, reading in zip(self.boards, READINGS[:size], strict=True):
            board.meter = SimulatedMeter([[reading]])
            if policy:
                board._identity.policy = policy
        self.threshold = cohorts.threshold(size)
        count = size - self.threshold if colluders is None else colluders
        self.colluders = list(range(size - count, size))
        self.told: dict[tuple[int, str], int] = {}
        self._take_the_coordinator(folder / "coordinator")
        for board in self.boards:
            board.start()
        self.say(self.outgoing.retained("roster", self.scope.signed_roster))
        self.clock.run(5)
        self.enter((1 << size) - 1)

    def _take_the_coordinator(self, folder: Path) -> None:
        from broker.coordinator.home import Home

        home = Home(folder)
        ((group, epoch, signed),) = home.storage.rosters()
        home.storage.close()
        parsed = Envelope(signed)
        digest = parsed.digest(Context("sim", "roster", group, epoch, 0, "authority", ""))
        roster = rosters.read_roster(parsed.unverified())
        self.scope = Scope("sim", group, epoch, digest, signed, roster)
        self.private = (folder / "coordinator.key").read_bytes()
        self.parameters = parameters.load(roster.parameters)
        self._n = self.parameters.n
        secrets = aggregation.Secrets(self.private, self.scope, read_part(roster.part), self.parameters)
        self.sets = Sets(self.scope, secrets, {})
        self.outgoing = SumOutgoing(self.scope, self.private, home.result_keys.of("main"), self.sets)
        self.names = roster.names()
        self.packing = Packing(roster.slots, len(self.names), self.parameters.bits)
        self.field = blinding.field(self.packing.bits)
        everyone = (1 << len(self.names)) - 1
        self.uploads = Uploads(self.scope, secrets.here_keys, self.sets, self.parameters, self.field, everyone)

    # -- what it says

    def say(self, action: Publish) -> None:
        self.network.publish(topics.COORDINATOR, action.topic, action.payload, action.retain)
        self.clock.run(self.clock.now + 1)

    def enter(self, active: int, number: int = 1, to: Iterable[int] | None = None) -> InForce:
        """Sign a set, say it to all boards, or to those in `to` alone, and give them time to take it
        up. What is said and computed from now on is under this one, until use()."""
        message = self.outgoing.active(0, number, active)
        if to is None:
            self.say(self.outgoing.retained_active(0, message))
        for index in to or ():
            self.boards[index]._receive(topics.active("sim", "main", 0), message)
        self.clock.run(self.clock.now + 5)
        self.current = self.sets.put(ActiveSet("main", 1, 0, number, active, message, 0.0))
        return self.current

    def use(self, earlier: InForce) -> None:
        """Say and compute under an earlier set again."""
        self.current = self.sets.put(earlier.record)

    def open(self, number: int, absent: int = 0) -> None:
        """Open a round; all boards take part in it. Each is told that its last reading was
        counted."""
        counted = {name: Counted("main", name, 1, number - 1) for name in self.names if number}
        self.say(self.outgoing.retained("round", self.outgoing.opening(number, {0}, absent, counted, 0)))
        self.say(self.outgoing.retained("round", b""))

    def roll(self, number: int, present: int, to: Iterable[int] | None = None, digest: bytes | None = None) -> bytes:
        """Make a roll call that is right for the members `to` (all), and has wrong tags for the
        others."""
        digest = digest or self.current.digest
        tags = []
        for index, name in enumerate(self.names):
            context = self.scope.down("roll", number, name, self.current.number)
            key = self.current.keys.opening_keys.get(name)
            right = key and (to is None or index in to)
            tags.append(envelope.roll_tag(key, context, digest, present) if key and right else bytes(16))
        payload = coordination.roll(digest, present, tags)
        return bytes(envelope.sign(self.private, self.scope.down("roll", number, ""), payload))

    def call(self, number: int, present: int, to: Iterable[int] | None = None) -> None:
        """Call the roll of the members `to`."""
        before = self.answers(number)
        self.say(self.outgoing.retained("roll", self.roll(number, present, to)))
        for name in self.answers(number).keys() - before.keys():
            self.told[number, name] = present

    # -- what it gets

    def _uploaded(self, number: int, kind: str) -> dict[str, bytes]:
        """Return what each board sent for a round; that it never sent two things is asserted on the
        way."""
        found: dict[str, bytes] = {}
        for sender, topic, payload in self.network.log:
            if topic.endswith("/" + kind) and Envelope(payload).round == number:
                assert found.setdefault(sender, payload) == payload, f"{sender} sent two {kind}s for round {number}"
        return found

    def ciphertexts(self, number: int) -> dict[str, int]:
        sent = self._uploaded(number, "contribution")
        own = {name: raw for name, raw in sent.items() if Envelope(raw).number == self.current.number}
        read = {n: self.uploads.contribution(n, self.names.index(n), Envelope(raw))[0] for n, raw in own.items()}
        return {name: int.from_bytes(ciphertext, "big") for name, ciphertext in read.items()}

    def answers(self, number: int) -> dict[str, bytes]:
        return self._uploaded(number, "answer")

    def own_answer(self, index: int, number: int, present: int) -> tuple[int, int]:
        """Compute what a colluder can answer, to any list: (summed blinding shares, recovery
        share)."""
        board, field = self.boards[index], self.field
        batch, at = number // field.batch, number % field.batch * field.size
        seed = board.machine._standing.sharing.blinding_seed
        x = self.position(index)
        total = blinding.share(seed, number, x, self.threshold, field) if present >> index & 1 else 0
        exponent = 0
        for peer in self.active():
            if peer != index and present >> peer & 1:
                share = self._share(board, batch, peer)
                total += int.from_bytes(share[at : at + field.size], "big")
            elif peer != index:
                exponent += int.from_bytes(self._share(board, None, peer), "big")
        return total % field.p, int(powmod(self.base(number), exponent, self._n**2))

    @staticmethod
    def _share(board: SimulatedBoard, batch: int | None, peer: int) -> bytes:
        share = board.shares.load(batch, peer)
        if share is None:
            raise WrongShares("never dealt")
        return bytes(share)

    def active(self) -> list[int]:
        return members(self.current.members)

    def position(self, index: int) -> int:
        """Return where a member's shares are, under the set in use."""
        return 1 + self.active().index(index)

    def base(self, number: int) -> int:
        x0, x1 = masks.base(self.parameters, "sim", "main", 1, number, 0, self.current.digest)
        return int(x0 + self._n * x1)

    def points(self, number: int, present: int) -> tuple[dict[int, int], dict[int, int]]:
        """Return (blinding, recovery) by position: all answers to this list, the colluders'
        included."""
        blinded, recovered = {}, {}
        for index in self.colluders:
            x = self.position(index)
            blinded[x], recovered[x] = self.own_answer(index, number, present)
        for name, raw in self.answers(number).items():
            if self.told[number, name] == present and self.names.index(name) not in self.colluders:
                missing = present.bit_count() < len(self.active())
                parts = self.uploads.answer(name, self.names.index(name), Envelope(raw), missing)
                x = self.position(self.names.index(name))
                blinded[x] = int.from_bytes(parts[0], "big")
                if parts[1] is not None:
                    recovered[x] = int.from_bytes(parts[1], "big")
        return blinded, recovered

    # -- what it makes of it

    def total(self, number: int, present: int, points: tuple[dict[int, int], dict[int, int]] | None = None) -> int:
        """Return the sum of the readings on the list. Raises WrongShares."""
        blinded, recovered = points or self.points(number, present)
        missing = present.bit_count() < len(self.active())
        ciphertexts = self.ciphertexts(number)
        product = unmask_factor(self.parameters.bits, number, self.current.unit.exponent, self.current.digest)
        for index in members(present):
            product = product * ciphertexts[self.names[index]] % self._n**2
        cohort = recovery.Cohort(len(self.active()), self.threshold, missing, blinded, recovered if missing else {})
        fits: Callable[[int], bool] = lambda packed: packed <= 100_000 * present.bit_count()  # noqa: E731
        return recovery.open_unit(self.parameters, product, [cohort], self.field.p, fits).total

    def difference(self, number: int) -> int:
        """Return the victim's reading from the sum with it and the sum without it. Raises
        WrongShares."""
        return self.total(number, EVERYONE) - self.total(number, WITHOUT)

    def without_mask(self, number: int) -> int:
        """Return the victim's blinded plaintext, from its ciphertext and t recovery shares for it
        alone."""
        _, recovered = self.points(number, WITHOUT)
        xs = sorted(recovered)[: self.threshold]
        weights, scale = recovery.lagrange(xs)
        power = 1
        for x, weight in zip(xs, weights, strict=True):
            power = power * powmod(recovered[x], weight, self._n**2) % self._n**2
        delta = integer_shares.Sharing(C, self.threshold, C, self.parameters).delta
        factor = scale * delta
        square = self._n**2
        opened = powmod(self.ciphertexts(number)[self.names[VICTIM]], factor, square) * invert(power, square) % square
        quotient, rest = divmod(opened - 1, self._n)
        assert rest == 0, "the recovered mask is the victim's"
        return int(quotient * invert(factor, self._n) % self._n)

    def knowledge(self, number: int) -> Knowledge:
        """Return all that is known of a round."""
        known = Knowledge(len(self.names), self.threshold, self.colluders, self.field.p)
        for name in self.ciphertexts(number):
            known.ciphertext(self.names.index(name))
        for name in self.answers(number):
            known.answer(self.names.index(name), self.told[number, name])
        return known

    def honest(self) -> list[int]:
        return [index for index in range(len(self.boards)) if index not in self.colluders]

    def refused(self, index: int = VICTIM) -> dict[str, int]:
        """Return what a board has refused since the last time it was asked, by name."""
        counts = dict(self.boards[index].machine.refused)
        self.boards[index].machine.refused.clear()
        return counts

    def reboot(self, board: SimulatedBoard) -> None:
        board.crash()
        board.start()
        self.clock.run(self.clock.now + 1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def nothing_comes_out(world: World, number: int) -> None:
    assert not any(world.knowledge(number).tells(member) for member in world.honest())
    with pytest.raises(WrongShares):
        world.difference(number)


# -- the same computations, where there is no lie


def test_an_honest_round_gives_the_sum_and_no_reading(world: World) -> None:
    world.open(0)
    world.call(0, EVERYONE)
    assert world.total(0, EVERYONE) == sum(READINGS[:C])
    assert not any(world.knowledge(0).tells(member) for member in world.honest())
    assert [world.refused(index) for index in range(C)] == [{}] * C


def test_an_honest_round_with_a_dead_board_gives_the_sum_of_the_others(world: World) -> None:
    world.boards[VICTIM].crash()
    world.open(0)
    world.call(0, WITHOUT)
    assert world.total(0, WITHOUT) == sum(READINGS[1:C])
    assert not any(world.knowledge(0).tells(member) for member in world.honest())


# -- different lists to different boards


def split(world: World, number: int, without: list[int]) -> None:
    """Show the members `without` the list without the victim, and the others the list with it."""
    world.open(number)
    world.call(number, WITHOUT, to=without)
    world.call(number, EVERYONE, to=[index for index in range(C) if index not in without])


def test_two_lists_never_both_reach_enough_answers_however_the_honest_are_split(world: World) -> None:
    others = [index for index in world.honest() if index != VICTIM]
    for number in range(len(others) + 1):
        split(world, number, others[:number])
        with_it, without_it = (len(world.points(number, present)[0]) for present in (EVERYONE, WITHOUT))
        assert with_it + without_it == len(world.honest()) + 2 * len(world.colluders)
        assert min(with_it, without_it) < world.threshold
        nothing_comes_out(world, number)
        assert set(world.answers(number)) >= {world.names[index] for index in world.honest()}
        assert all(world.refused(index) == {"bad-tag": 1} for index in world.honest())


def test_answers_to_one_list_do_not_stand_in_for_the_other(world: World) -> None:
    split(world, 0, [1, 2])
    blinded, recovered = world.points(0, EVERYONE)
    others, helped = world.points(0, WITHOUT)
    assert len(blinded) == len(others | blinded) - 2 == world.threshold
    assert world.total(0, EVERYONE) == sum(READINGS[:C])  # five of seven have answered to this list
    mixed = blinded | others
    with pytest.raises(WrongShares, match="too-few-answers"):
        world.total(0, WITHOUT, (mixed, helped))
    with pytest.raises(WrongShares, match="wrong-sum"):
        world.total(0, EVERYONE, ({x: mixed[x] for x in (1, 2, 3, 4, 5)}, recovered))


def test_with_half_instead_of_two_thirds_the_same_lie_would_succeed(tmp_path: Path) -> None:
    """The control: with a threshold of c // 2 + 1 and the same two colluders, two answers to each
    list are enough."""
    with mock.patch.object(cohorts, "threshold", lambda size: size // 2 + 1):
        world = World(tmp_path, colluders=2)
        assert world.threshold == 4
        split(world, 0, [1, 2])
        assert world.knowledge(0).tells(VICTIM)
        assert world.difference(0) == READINGS[VICTIM]
        split(world, 1, [1])  # one answer less, and it does not
        nothing_comes_out(world, 1)


def reach(c: int, t: int) -> list[tuple[int, int]]:
    """Return the splits of the t honest members of a cohort of c, the other c - t colluding, with t
    answers to either list."""
    pairs = [
        (without, t - without) for without in range(t)
    ]  # the victim is not among those who see the list without it
    return [pair for pair in pairs if min(pair) + c - t >= t]


def test_no_cohort_has_a_split_that_serves_both_lists_and_half_as_threshold_would() -> None:
    for c in range(2, 65):
        assert reach(c, cohorts.threshold(c)) == []
    assert all(reach(c, c // 2 + 1) for c in range(6, 65))
    # Where 3t = 2c + 1 there is no room left: with one colluder more than c - t, one split does
    # serve both.
    for c in (4, 7, 10, 64):
        t = cohorts.threshold(c)
        honest = t - 1
        assert any(min(without, honest - without) + c - honest >= t for without in range(honest))


def test_no_lists_whatever_give_one_reading() -> None:
    """Each honest board may be shown a list of its own, as long as it is one that it answers."""
    t, colluders = cohorts.threshold(C), [5, 6]
    chance = random.Random(3)
    for _ in range(150):
        known = Knowledge(C, t, colluders, 65_537)
        few = [bitmap(chance.sample(range(C), chance.randint(t, C))) for _ in range(chance.randint(1, 5))]
        for member in range(5):
            known.ciphertext(member)
            fitting = [present for present in few if present >> member & 1]
            if fitting:
                known.answer(member, chance.choice(fitting))
        assert not any(known.tells(member) for member in range(5))


def sealed_total(world: World, number: int, shown: dict[int, int]) -> int:
    """Return the sum over the fleet from the answers of cohorts that were shown different lists;
    `shown` is by member."""
    layout = Layout.of(world.scope.roster)
    present = bitmap(index for index, listed in shown.items() if listed >> index & 1)
    answers = Answers(layout, {0: world.current.unit}, b"", present)
    contributions = {}
    for name, ciphertext in world.ciphertexts(number).items():
        place = ("main", 1, number, name, b"")
        contributions[name] = Contribution(*place, ciphertext.to_bytes(512, "big"), 0, 0, b"")
        if name in world.answers(number):
            index = world.names.index(name)
            missing = answers.has_missing(index)
            parts = world.uploads.answer(name, index, Envelope(world.answers(number)[name]), missing)
            answers.add(Answer(*place, *parts))
    factor = partial(unmask_factor, 2048, number, world.current.unit.exponent, world.current.digest)
    answers.take(0, answers.opening(0, factor, contributions, 60)())
    assert not answers.failed
    return answers.total()[0]


@pytest.mark.parametrize("audit", [False, True])
def test_cohorts_of_a_sealed_fleet_that_are_shown_different_lists_open_one_sum_and_only_one(
    tmp_path: Path, audit: bool
) -> None:
    """Each cohort vouches for its own part of the list, so the sum may lack more members than any
    board was told."""
    world = World(tmp_path, colluders=0, size=8, sealed=4, audit=audit)
    first, second = cohorts.assign(world.names, world.scope.digest, 4)
    everyone = (1 << 8) - 1
    without = {first[0]: everyone & ~(1 << first[1]), second[0]: everyone & ~(1 << second[1])}
    world.open(0)
    for cohort in (first, second):  # each is told that only one of its own is missing
        world.call(0, without[cohort[0]], to=cohort)
    shown = {index: without[cohort[0]] for cohort in (first, second) for index in cohort}
    summed = sum(READINGS) - READINGS[first[1]] - READINGS[second[1]]
    assert sealed_total(world, 0, shown) == summed
    answered = world.answers(0)
    for present in (everyone, without[first[0]], without[second[0]]):
        world.call(0, present)
    # Only who was left out and had not answered answers now; with the consistency check its cohort
    # has vouched for another list.
    left_out = set() if audit else {world.names[first[1]], world.names[second[1]]}
    assert answered.items() <= world.answers(0).items()
    assert world.answers(0).keys() - answered.keys() == left_out


# -- a roll call again


def test_a_roll_call_replayed_brings_the_same_bytes_or_nothing(world: World) -> None:
    world.open(0)
    first = world.roll(0, EVERYONE)
    world.call(0, EVERYONE)
    before = world.answers(0)
    world.say(world.outgoing.retained("roll", first))
    again = [payload for sender, topic, payload in world.network.log if topic.endswith("/answer")]
    assert len(again) > len(before)  # asked again, they have answered again
    assert set(again) == set(before.values())  # the same
    world.open(1)
    sent = len(world.network.log)
    world.say(world.outgoing.retained("roll", first))
    assert not [topic for _, topic, _ in world.network.log[sent:] if topic.endswith("/answer")]
    assert world.answers(1) == {}
    nothing_comes_out(world, 1)


def test_a_roll_call_under_another_round_epoch_or_roster_is_refused_by_name(world: World) -> None:
    world.open(0)
    asked = world.roll(0, EVERYONE)
    for raw, reason in (
        (forged(asked, number=1), "bad-tag"),
        (forged(asked, epoch=2), "wrong-epoch"),
        (world.roll(0, EVERYONE, digest=bytes(32)), "other-active"),
        (world.roll(1, EVERYONE), "not-contributed"),
        (world.roll(0xFFFFFFFF, EVERYONE), "not-contributed"),
    ):
        world.say(world.outgoing.retained("roll", raw))
        assert [world.refused(index) for index in range(C)] == [{reason: 1}] * C
    assert world.answers(0) == {}
    nothing_comes_out(world, 0)


def test_answers_of_one_round_do_not_open_the_next(world: World) -> None:
    world.open(0)
    world.call(0, EVERYONE)
    world.open(1)
    with pytest.raises(WrongShares, match="wrong-sum"):
        world.total(1, EVERYONE, world.points(0, EVERYONE))
    nothing_comes_out(world, 1)


# -- asked twice


def test_who_is_asked_twice_with_two_lists_answers_one(world: World) -> None:
    world.open(0)
    world.call(0, EVERYONE)
    answered = world.answers(0)
    world.call(0, WITHOUT)
    assert [world.refused(index) for index in range(C)] == [{"replayed": 1}] * C
    for board in world.boards:
        world.reboot(board)  # it reads the retained roll call again, the one with the other list
        assert board.machine.refused == {"replayed": 1}
    assert world.answers(0) == answered
    assert all(len(board.answers[1, 0]) == 1 for board in world.boards)
    nothing_comes_out(world, 0)


def test_who_is_asked_twice_before_it_has_answered_answers_the_first(world: World) -> None:
    world.open(0)
    both = [world.outgoing.retained("roll", world.roll(0, present)) for present in (WITHOUT, EVERYONE)]
    for action in both:  # in the same instant
        world.network.publish(topics.COORDINATOR, action.topic, action.payload, action.retain)
    world.clock.run(world.clock.now + 1)
    world.told = dict.fromkeys([(0, name) for name in world.names[1:]], WITHOUT) | {(0, world.names[0]): EVERYONE}
    assert world.total(0, WITHOUT) == sum(READINGS[1:C])
    assert [world.refused(index) for index in range(C)] == [{"absent": 1}] + [{"replayed": 1}] * (C - 1)
    nothing_comes_out(world, 0)


def test_boards_that_forgot_their_answer_would_tell(tmp_path: Path) -> None:
    """The control: three honest boards lose the record of their answer. With two it is not
    enough."""
    world = World(tmp_path)
    world.open(0)
    world.call(0, EVERYONE)
    with_it = world.points(0, EVERYONE)
    known = world.knowledge(0)
    forgetful = [index for index in world.honest() if index != VICTIM][:3]
    world.say(world.outgoing.retained("roll", b""))
    for index in forgetful:
        del world.boards[index].store.records["answered"]
        world.reboot(world.boards[index])
    world.network.log = [entry for entry in world.network.log if not entry[1].endswith("/answer")]
    world.call(0, WITHOUT, to=forgetful)
    assert set(world.answers(0)) == {world.names[index] for index in forgetful}
    for count, index in enumerate(forgetful, 1):
        assert not known.tells(VICTIM)
        known.answer(index, WITHOUT)
        assert known.tells(VICTIM) == (count == 3)
    assert world.total(0, EVERYONE, with_it) - world.total(0, WITHOUT) == READINGS[VICTIM]


# -- too few


def test_a_list_below_the_minimum_is_answered_by_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, policy=Policy(contributors_least=6))
    world.open(0)
    alone = bitmap([VICTIM, *world.colluders])
    for present, reason in (
        (alone, "too-few"),
        (bitmap([0, 1, *world.colluders]), "too-few"),  # one below the threshold
        (bitmap([0, 1, 2, *world.colluders]), "too-few"),  # enough to recover, too few for the policy
        (EVERYONE | 1 << C, "unknown-member"),
        (0, "absent"),
    ):
        world.call(0, present)
        for index in range(C):
            listed = present >> index & 1 or reason == "unknown-member"
            assert world.refused(index) == {reason if listed else "absent": 1}
    assert world.answers(0) == {}
    nothing_comes_out(world, 0)
    with pytest.raises(WrongShares, match="too-few-answers"):
        world.total(0, alone)


def test_who_checks_no_list_still_has_no_share_to_stand_in_for_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of the victim and two colluders: only these three can answer, and it takes five."""
    monkeypatch.setattr(roll_call.RollCall, "_check_list", lambda self, member, round, present: None)
    alone = bitmap([VICTIM, *world.colluders])
    world.open(0)
    world.call(0, alone)
    assert [world.refused(index) for index in range(C)] == [{}] + [{"no-share": 1}] * 4 + [{}] * 2
    assert set(world.answers(0)) == {world.names[index] for index in members(alone)}
    nothing_comes_out(world, 0)


@pytest.mark.parametrize("least", [3, 6])
def test_the_minimum_of_the_policy_guards_against_more_colluders_than_two(tmp_path: Path, least: int) -> None:
    """Four colluders and the victim are t: such a list tells its reading, unless the board's policy
    asks for more contributors."""
    world = World(tmp_path, colluders=4, policy=Policy(contributors_least=least))
    alone = bitmap([VICTIM, *world.colluders])
    world.open(0)
    world.call(0, alone)
    if least == 6:
        assert world.refused() == {"too-few": 1}
        assert world.answers(0) == {}
        nothing_comes_out(world, 0)
    else:  # the control
        assert world.knowledge(0).tells(VICTIM)
        assert world.total(0, alone) - sum(READINGS[index] for index in world.colluders) == READINGS[VICTIM]


def test_a_cohort_below_the_policy_gets_no_key_no_share_and_no_ciphertext(tmp_path: Path) -> None:
    world = World(tmp_path, colluders=0, policy=Policy(members_least=C + 1))
    world.open(0)
    assert world.ciphertexts(0) == {}
    assert not [topic for sender, topic, _ in world.network.log if sender != "coordinator" and "/g/" in topic]
    assert [world.refused(index) for index in range(C)] == [
        {"cohort-too-small": 1, "not-ready": 1, "wrong-epoch": 1}
    ] * C


# -- a live board marked dead


def test_a_live_board_marked_dead_shows_its_blinded_reading_and_no_more(world: World) -> None:
    seed = world.boards[VICTIM].machine._standing.sharing.blinding_seed
    seen = []
    for number in range(3):
        world.open(number, absent=1 << VICTIM)
        world.call(number, WITHOUT)
        assert world.refused() == {"absent": 1}
        world.call(number, EVERYONE)  # now it is told that it is there: it answers, the others do not again
        assert all(world.refused(index) == {"replayed": 1} for index in range(1, C))
        assert world.told[number, world.names[VICTIM]] == EVERYONE
        assert world.total(number, WITHOUT) == sum(READINGS[1:C])
        hidden = world.without_mask(number)
        assert hidden == (READINGS[VICTIM] + blinding.blind(seed, number, world.field)) % world.field.p
        seen.append(hidden)
        nothing_comes_out(world, number)
    # The same reading three times: three numbers of the size of p that have nothing in common.
    assert len(set(seen)) == 3
    assert all(hidden.bit_length() > 96 for hidden in seen)
    assert all((a - b) % world.field.p > 1 << 96 for a in seen for b in seen if a != b)


def test_a_live_board_marked_dead_is_told_by_its_own_blinding_shares_alone_from_t_on(world: World) -> None:
    """The control: what the blinding rests on is that nobody hands out a share of one board's
    alone."""
    world.open(0, absent=1 << VICTIM)
    world.call(0, WITHOUT)
    known, hidden = world.knowledge(0), world.without_mask(0)
    shares = {}
    for count, index in enumerate([5, 6, 1, 2, 3], 1):  # the colluders' first
        share = world.boards[index].shares.load(0, VICTIM)
        shares[index + 1] = int.from_bytes(share[: world.field.size], "big")
        known.blinding_share(index, VICTIM)
        assert known.tells(VICTIM) == (count == world.threshold)
        if count < world.threshold:
            with pytest.raises(WrongShares):
                recovery.blinding_sum(shares, world.threshold, world.field.p)
            guess = recovery.blinding_sum(shares, count, world.field.p)  # as if so many were enough
            assert (hidden - guess) % world.field.p > 100_000
    b = recovery.blinding_sum(shares, world.threshold, world.field.p)
    assert (hidden - b) % world.field.p == READINGS[VICTIM]


def test_without_blinding_a_live_board_marked_dead_would_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blinding, "blind", lambda seed, number, field: 0)
    world.open(0, absent=1 << VICTIM)
    world.call(0, WITHOUT)
    assert world.without_mask(0) == READINGS[VICTIM]


# -- an old share as a new one


def forged(raw: bytes, epoch: int | None = None, number: int | None = None, nonce: bytes | None = None) -> bytes:
    """Return an envelope with another epoch, round or nonce, and all else as it was."""
    tag = cbor.decode(raw)
    header = cbor.decode(tag.value[0])
    (binding,) = [key for key, value in header.items() if isinstance(value, list)]
    rest = header[binding][2:]
    header[binding] = [epoch or header[binding][0], header[binding][1] if number is None else number, *rest]
    parts = [cbor.encode(header), *tag.value[1:]]
    if nonce is not None:
        parts[1] = {5: nonce}
    return bytes(cbor.encode(cbor.Tag(tag.number, parts)))


def mail(world: World, sender: int, receiver: int, kind: int) -> bytes:
    """Return the first mail of a kind from one member to the other."""
    topic = topics.mail("sim", "main", world.names[receiver], world.names[sender])
    sent = [payload for _, at, payload in world.network.log if at == topic and Envelope(payload).nonce[0] == kind]
    return sent[0]


def post(world: World, receiver: str, sender: str, raw: bytes) -> None:
    world.network.publish("broker", topics.mail("sim", "main", receiver, sender), raw)
    world.clock.run(world.clock.now + 1)


@pytest.mark.parametrize("kind", [KEY_SHARE, BLINDING])
def test_a_share_replayed_as_another_is_refused_by_name(world: World, kind: int) -> None:
    a, b, c = world.names[1], world.names[VICTIM], world.names[2]
    raw = mail(world, 1, VICTIM, kind)
    other = BLINDING if kind == KEY_SHARE else KEY_SHARE
    before = [dict(board.store.records) for board in world.boards]
    for receiver, sender, data, reason in (
        (b, c, raw, "bad-tag"),  # of another sender
        (c, a, raw, "bad-tag"),  # to another receiver
        (b, "stranger", raw, "not-in-cohort"),
        (b, b, raw, "not-in-cohort"),
        (b, topics.COORDINATOR, raw, "replayed"),
        (b, a, forged(raw, epoch=2), "wrong-epoch"),
        (b, a, forged(raw, number=32), "malformed"),
        (b, a, forged(raw, number=32, nonce=mail_nonce(kind, kind, 32)), "bad-tag"),  # of another round or batch
        (b, a, forged(raw, nonce=mail_nonce(other, other, 0)), "bad-tag"),  # of another kind
        (b, a, forged(raw, nonce=mail_nonce(kind, other, 0)), "bad-tag"),
        (b, a, forged(raw, nonce=mail_nonce(6, kind, 0)), "bad-tag"),
        (b, a, forged(raw, nonce=bytes(13)), "malformed"),
        (b, a, bytes(1025), "oversized"),
    ):
        post(world, receiver, sender, data)
        assert world.refused(world.names.index(receiver)) == {reason: 1}, (receiver, sender, reason)
    assert [board.store.records for board in world.boards] == before


def test_a_share_replayed_in_its_own_place_changes_nothing(world: World) -> None:
    before = dict(world.boards[VICTIM].store.records)
    sent = len(world.network.log)
    for kind in (KEY_SHARE, BLINDING):
        post(world, world.names[VICTIM], world.names[1], mail(world, 1, VICTIM, kind))
    assert world.boards[VICTIM].store.records == before
    topic = topics.mail("sim", "main", world.names[1], world.names[VICTIM])
    replies = [entry for entry in world.network.log[sent:] if entry[0] == world.names[VICTIM]]
    assert [(at, Envelope(payload).nonce[0]) for _, at, payload in replies] == [(topic, 6), (topic, 6)]  # acknowledged


def test_shares_of_a_batch_that_is_over_are_refused(world: World) -> None:
    batch = world.field.batch
    raw = mail(world, 1, VICTIM, BLINDING)
    world.open(batch)  # a board that is not ready for this round deals for it
    world.clock.run(world.clock.now + 20)
    for index in range(C):
        world.refused(index)
    post(world, world.names[VICTIM], world.names[1], raw)
    assert world.refused() == {"wrong-batch": 1}
    assert not [name for name in world.boards[VICTIM].store.records if name.startswith("blind-1-0-")]
    world.open(batch + 1)
    world.call(batch + 1, EVERYONE)
    assert world.total(batch + 1, EVERYONE) == sum(READINGS[:C])


# -- the difference of two rounds


def test_lists_that_differ_by_one_are_answered_so_often_and_no_more(tmp_path: Path) -> None:
    """Readings that stay the same make the difference of two rounds a reading: the policy bounds
    how often."""
    world = World(tmp_path, policy=Policy(close_most=2))
    for number, present in enumerate([EVERYONE, WITHOUT, EVERYONE]):
        world.open(number)
        world.call(number, present)
    assert world.total(0, EVERYONE) - world.total(1, WITHOUT) == READINGS[VICTIM]
    for index in range(C):
        world.refused(index)
    for number in (3, 4):
        world.open(number)
        world.call(number, WITHOUT)
        assert [world.refused(index) for index in range(C)] == [{"absent": 1}] + [{"differencing": 1}] * (C - 1)
        assert world.answers(number) == {}
        nothing_comes_out(world, number)
        for board in world.boards:
            world.reboot(board)  # the count is durable
            board.machine.refused.clear()
    world.open(5)
    world.call(5, EVERYONE)  # the list that it was stays allowed
    assert world.total(5, EVERYONE) == sum(READINGS[:C])
    late = CLOSE_WINDOW + 1  # a number far off is not 48 contributions
    world.open(late - 1)
    world.clock.run(world.clock.now + 20)
    world.open(late)
    world.call(late, WITHOUT)
    nothing_comes_out(world, late)


def test_a_signature_that_is_wrong_is_counted_though_the_tag_was_right(world: World) -> None:
    """The tag makes a board answer; that nobody could show the list to others afterwards does not
    go unseen."""
    world.open(0)
    raw = bytearray(world.roll(0, EVERYONE))
    raw[-1] ^= 1
    world.say(world.outgoing.retained("roll", bytes(raw)))
    world.say(world.outgoing.retained("roll", b""))
    world.clock.run(world.clock.now + 10)
    assert [world.refused(index) for index in range(C)] == [{"bad-signature": 1}] * C


def test_the_same_opening_after_a_reboot_brings_the_same_ciphertext(world: World) -> None:
    world.open(0)
    sent: dict[str, Any] = world.ciphertexts(0)
    for board in world.boards:
        world.reboot(board)
    world.open(0)
    assert world.ciphertexts(0) == sent  # _uploaded() asserts that there is but one of each board
