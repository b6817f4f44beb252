"""Complete rounds of private sums among mutants: real boards, the real coordinator's service, and a
network that delivers every message with mutants of it (place.py). Arithmetic has a small modulus.

What must hold, or Violation is raised: each sum is exact over those that it names; nothing but
refusals comes of mutants, under names that diagnostics can carry; who is there is in the sum; and
boards and coordinator hold no more than they did before.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from agent.crypto import p256
from agent.meters.simulated import SimulatedMeter
from agent.protocols.base.identity import Identity
from agent.protocols.private_sum.roster_part import SumPart
from agent.wire import messages, rosters, topics
from agent.wire.envelope import Context, Envelope, sign
from broker.client.access import Access
from broker.client.reader import Reader
from broker.client.results import RoundResult
from broker.coordinator.protocols.private_sum.machine import PrivateSum
from broker.coordinator.protocols.private_sum.records import CloseRound, Counted, Saved
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from host_sim.fuzz.place import FuzzedNetwork, Office, Violation, weight
from host_sim.virtual.board import SimulatedBoard
from host_sim.virtual.network import VirtualClock
from host_sim.years.crypto import TOY, toy_arithmetic

DEPLOYMENT, GROUP = "fuzz", "street"
ROUND_S = 20.0
STEP_S = 0.5
SCHEDULE = Schedule(interval=ROUND_S, window=8.0, patience=0.0, answers=8.0)
EPOCH_ROUNDS = 40
HIGH = 3000
AROUND = 20  # mutants of a message
PATIENCE = 15  # times ROUND_S
REBOOTS = 0.005  # of a board, in a round
# What a board or a coordinator may hold more at the end than after its first rounds: counters by
# reason, lists that it has answered for, records of sets.
MORE_MOST = 65536
SETTLED_ROUNDS = 50
# The boards of a cohort of 4 are 8: five would be one of two, which sums nothing.
STREETS = (
    (4, SumPart()), (5, SumPart(audit=1)), (8, SumPart(cohort=4)), (8, SumPart(cohort=4, seal=1, audit=1)),
    (8, SumPart()), (4, SumPart(audit=1)),
)  # fmt: skip
Progress = Callable[[int], None]


class FuzzedBoard(SimulatedBoard):
    """A board that also says how it is."""

    def refused(self) -> dict[str, int]:
        """Return what it has refused, by reason."""
        counted: dict[str, int] = self.machine.refused
        return counted

    def report(self) -> None:
        """Send diagnostics."""
        health = (60, None, 7, 3, -70, 9000, 8192, 4, 5000, 2, 1, {"link-lost": 1}, {"meter": {"crc": 1}}, "checksum")
        phase, done, total = self.machine.progress()
        made = messages.diagnostics(phase, done, total, self.machine.masks(), 0, self.machine.refused, health)
        self._network.publish(self.name, topics.device(DEPLOYMENT, self.name, "diag"), made)


class Client:
    """Who reads the results."""

    def __init__(self, authority: bytes) -> None:
        self.reader = Reader(Access(DEPLOYMENT, authority, bytes(16)))
        self.results: list[RoundResult] = []

    def refused(self) -> dict[str, int]:
        """Return what it has refused, by reason."""
        return self.reader.refused

    def take(self, topic: str, payload: bytes) -> None:
        """Take a message."""
        result = self.reader.take(topic, payload, 0.0)
        if isinstance(result, RoundResult):
            self.results.append(result)


class Street:
    """Boards, a coordinator and a client among mutants, inside toy_arithmetic()."""

    def __init__(self, boards: int, seed: int, around: int = AROUND, part: SumPart | None = None) -> None:
        self.drawn = random.Random(seed)
        self.clock = VirtualClock()
        self.network = FuzzedNetwork(self.clock, self.drawn, around)
        self.part = part or SumPart()
        self.happened: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.rounds = self.epoch = self._waited = self._seen = 0
        self.weights: dict[str, list[int]] = {}
        self._authority = p256.generate(self.drawn.randbytes)
        self._coordinator = p256.generate(self.drawn.randbytes)
        authority = p256.public_key(self._authority)
        self.rows = {f"b{i:03d}": [self.drawn.randrange(HIGH) for _ in range(64)] for i in range(boards)}
        self.boards: dict[str, FuzzedBoard] = {}
        for name, row in self.rows.items():
            private = p256.generate(self.drawn.randbytes)
            identity = Identity(DEPLOYMENT, GROUP, name, private, p256.public_key(private), authority)
            self.boards[name] = FuzzedBoard(self.network, identity, SimulatedMeter([row]))
        self._publics = [(name, board._identity.public) for name, board in self.boards.items()]
        self.client = Client(authority)
        self.network.receivers = {**self.boards, "reader": self.client}
        self._counted: dict[str, Counted] = {}
        self.office = self._new_epoch()
        self.network.connect("reader", self.client.reader.filters(), self.client.take)
        for board in self.boards.values():
            board.start()

    def _new_epoch(self) -> Office:
        self.epoch += 1
        coordinator = p256.public_key(self._coordinator)
        roster = rosters.Roster("private-sum", TOY, [("load", 0, HIGH)], coordinator, self._publics, self.part.fields())
        context = Context(DEPLOYMENT, "roster", GROUP, self.epoch, 0, "authority", "")
        signed = sign(self._authority, context, roster.encode())
        scope = Scope(DEPLOYMENT, GROUP, self.epoch, Envelope(signed).digest(context), signed, roster)
        saved = Saved(counted=dict(self._counted))
        machine = PrivateSum(
            scope, self._coordinator, bytes(16), SCHEDULE, saved, lambda: 1_700_000_000 + self.clock.now
        )
        self.machine = machine
        office = Office(self.network, DEPLOYMENT, [machine])
        self.network.receivers[topics.COORDINATOR] = office
        self.office = office
        office.connect()
        return office

    def run(self, mutants: int, progress: Progress = lambda done: None) -> None:
        """Let rounds pass until so many mutants were delivered. Raises Violation."""
        while self.network.tally.mutants < mutants:
            until = self.clock.now + ROUND_S
            while self.clock.now < until:
                self.clock.run(self.clock.now + STEP_S)
                self.office.tick()
                self._look()
            self._disturb()
            self._relink()
            self.network.log.clear()
            progress(self.network.tally.mutants)
        self._check_results()

    def _relink(self) -> None:
        """Without a round for long all links are made anew: what is retained comes again."""
        self._waited = 0 if self.rounds != self._seen else self._waited + 1
        self._seen = self.rounds
        if self._waited > PATIENCE:
            self._waited = 0
            self.happened["links made anew"] += 1
            for board in self.boards.values():
                if board.running:
                    board.link()

    def _disturb(self) -> None:
        """Between rounds: boards go, come back, and tell how they are; at times a new epoch."""
        if self.machine.next_round >= EPOCH_ROUNDS and self.machine.phase == "idle":
            self.refused.update(self.office.refused())
            self._new_epoch()
        for board in self.boards.values():
            if board.running and self.drawn.random() < REBOOTS:
                self._keep(board)
                board.crash()
                self.clock.after(ROUND_S * 3 * self.drawn.random(), board.start)
                self.happened["reboots"] += 1
            elif board.running:
                board.report()

    def _keep(self, board: FuzzedBoard) -> None:
        self.refused.update(board.refused())
        board.machine.refused = {}

    def _look(self) -> None:
        records, self.office.records = self.office.records, []
        for record in records:
            if isinstance(record, Counted):
                self._counted[record.device] = record
            if isinstance(record, CloseRound):
                self._check(record)

    def _check(self, closed: CloseRound) -> None:
        self.rounds += 1
        self.happened["rounds without a sum"] += closed.sums is None
        if closed.sums is not None:
            named = [name for name in self.rows if name not in closed.missing]
            if closed.sums != [sum(self.rows[name][closed.round % 64] for name in named)]:
                raise Violation(f"the sum of round {closed.epoch}.{closed.round} is wrong")
            self.happened["exact sums"] += 1
            self.happened["sums of all"] += not closed.missing
        for name in (*self.rows, topics.COORDINATOR):
            held = weight(self.machine if name == topics.COORDINATOR else self.boards[name].machine)
            self.weights.setdefault(name, []).append(held)

    def _check_results(self) -> None:
        """What the reader took are results that the coordinator's machine has closed with."""
        for result in self.client.results:
            if result.sums is not None:
                named = [name for name in self.rows if name not in result.missing]
                if result.sums != [sum(self.rows[name][result.round % 64] for name in named)]:
                    raise Violation(f"the reader was told a wrong sum of round {result.epoch}.{result.round}")
        for name, held in self.weights.items():
            first = max(held[:SETTLED_ROUNDS])
            if max(held) > first + MORE_MOST:
                raise Violation(f"{name} held {max(held)} bytes, {first} in its first rounds")

    def report(self) -> dict[str, Any]:
        """Return the figures, with JSON types. Raises Violation if a reason has no name."""
        reasons = Counter(self.refused)
        for receiver in self.network.receivers.values():
            reasons.update(receiver.refused())
        for reason in reasons:
            if not topics.valid_name(reason):
                raise Violation(f"a reason without a name: {reason}")
        tally = self.network.tally
        return {
            "mutants": tally.mutants,
            "counted": tally.refused,
            "rounds": self.rounds,
            "results read": len(self.client.results),
            **dict(sorted(self.happened.items())),
            "epochs": self.epoch,
            "bytes held, most": max((max(held) for held in self.weights.values()), default=0),
            "delivered": dict(sorted(tally.delivered.items())),
            "refused": dict(sorted(reasons.items())),
        }


def play(mutants: int, seed: int, progress: Progress = lambda done: None) -> dict[str, Any]:
    """Deliver so many mutants in complete rounds, and return the report. Raises Violation."""
    boards, part = STREETS[seed % len(STREETS)]
    with toy_arithmetic():
        street = Street(boards, seed, part=part)
        street.run(mutants, progress)
        if not street.happened["sums of all"]:
            raise Violation("no sum has everybody")
        return street.report()
