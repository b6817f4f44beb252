"""Complete anonymous queries among mutants: real boards, the real coordinator's service, and a
network that delivers every message with mutants of it (place.py).

Each board reads another power of four, so a sum tells whose values are in it, each how often. What
must hold, or Violation is raised: an answer has the value of each board once at most, and as many
as it says; nothing but refusals comes of mutants; and nobody holds more than before.
"""

import random
from collections import Counter
from functools import partial
from typing import Any

from agent.crypto import p256
from agent.meters.simulated import SimulatedMeter
from agent.protocols import registry
from agent.protocols.base.identity import Identity
from agent.protocols.gossip.query_function import function_of
from agent.protocols.gossip.roster_part import query_part
from agent.wire import rosters, topics
from agent.wire.envelope import Context, Envelope, sign
from broker.coordinator.protocols.gossip import records
from broker.coordinator.protocols.gossip.machine import Gossip
from broker.coordinator.protocols.gossip.records import CloseQuery, Request, Saved
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from host_sim.fuzz.place import FuzzedNetwork, Office, Violation, weight
from host_sim.fuzz.rounds import DEPLOYMENT, GROUP, MORE_MOST, FuzzedBoard, Progress
from host_sim.virtual.network import VirtualClock
from host_sim.years.crypto import toy_arithmetic

BOARDS = 7
PERIOD_MS = 1000
STEP_S = 0.25
QUERY_S = 600.0  # no query takes as long
SETTLED = 5  # queries, after which nobody holds more and more
AROUND = 20


class QueryStreet:
    """Boards that answer queries of `protocol`, and a coordinator, among mutants; inside
    toy_arithmetic()."""

    def __init__(self, protocol: str, seed: int, around: int = AROUND) -> None:
        self.drawn = random.Random(seed)
        self.clock = VirtualClock()
        self.network = FuzzedNetwork(self.clock, self.drawn, around)
        self.happened: Counter[str] = Counter()
        self.values = {f"b{i:03d}": 4**i for i in range(BOARDS)}
        self.weights: dict[str, list[int]] = {}
        authority, coordinator = (p256.generate(self.drawn.randbytes) for _ in range(2))
        self.boards: dict[str, FuzzedBoard] = {}
        members = []
        for name, value in self.values.items():
            private = p256.generate(self.drawn.randbytes)
            members.append((name, p256.public_key(private)))
            identity = Identity(DEPLOYMENT, GROUP, name, private, members[-1][1], p256.public_key(authority))
            self.boards[name] = FuzzedBoard(
                self.network, identity, SimulatedMeter([[value]]), partial(registry.make, protocol)
            )
        slots, part = [("load", 0, 100_000)], query_part(b"")
        roster = rosters.Roster(protocol, "t1", slots, p256.public_key(coordinator), members, part)
        context = Context(DEPLOYMENT, "roster", GROUP, 1, 0, "authority", "")
        signed = sign(authority, context, roster.encode())
        scope = Scope(DEPLOYMENT, GROUP, 1, Envelope(signed).digest(context), signed, roster)
        now, random_bytes = lambda: 1_700_000_000 + self.clock.now, self.drawn.randbytes
        self.machine = Gossip(scope, coordinator, bytes(16), Schedule(1, 1, 60), Saved(), now, random_bytes)
        self.office = Office(self.network, DEPLOYMENT, [self.machine])
        self.network.receivers = {**self.boards, topics.COORDINATOR: self.office}
        self.office.connect()
        for board in self.boards.values():
            board.start()
        self.queries = 0

    def run(self, mutants: int, progress: Progress) -> None:
        """Ask until so many mutants were delivered. Raises Violation."""
        while self.network.tally.mutants < mutants:
            self.queries += 1
            request = Request(self.queries, GROUP, "load", "sum", [], None, PERIOD_MS)
            self.machine.ask([request])
            self._check(self._closed())
            for board in self.boards.values():
                board.report()
            self.network.log.clear()
            progress(self.network.tally.mutants)
        for name, held in self.weights.items():
            if max(held) > max(held[:SETTLED]) + MORE_MOST:
                raise Violation(f"{name} held {max(held)} bytes, {max(held[:SETTLED])} in its first queries")

    def _closed(self) -> CloseQuery:
        until = self.clock.now + QUERY_S
        while self.clock.now < until:
            self.clock.run(self.clock.now + STEP_S)
            self.office.tick()
            found, self.office.records = self.office.records, []
            for record in found:
                if isinstance(record, CloseQuery):
                    return record
        raise Violation(f"query {self.queries} has not ended")

    def _check(self, closed: CloseQuery) -> None:
        self.happened[closed.reason or closed.status] += 1
        if closed.status == records.COMPLETE:
            assert closed.state is not None
            asked = function_of("sum", [], None)
            total = asked.result(asked.decode(closed.state))["sum"]
            times = [total // 4**i % 4 for i in range(BOARDS)]
            if total >= 4**BOARDS or max(times) > 1 or sum(times) != closed.count:
                raise Violation(f"query {self.queries}: {closed.count} values make {total:o}")
            self.happened["answers of all"] += closed.count == BOARDS
        for name in (*self.boards, topics.COORDINATOR):
            held = weight(self.machine if name == topics.COORDINATOR else self.boards[name].machine)
            self.weights.setdefault(name, []).append(held)

    def report(self) -> dict[str, Any]:
        """Return the figures, with JSON types. Raises Violation if a reason has no name."""
        reasons: Counter[str] = Counter()
        for receiver in self.network.receivers.values():
            reasons.update(receiver.refused())
        for reason in reasons:
            if not topics.valid_name(reason):
                raise Violation(f"a reason without a name: {reason}")
        tally = self.network.tally
        return {
            "mutants": tally.mutants,
            "counted": tally.refused,
            "queries": self.queries,
            **dict(sorted(self.happened.items())),
            "bytes held, most": max((max(held) for held in self.weights.values()), default=0),
            "delivered": dict(sorted(tally.delivered.items())),
            "refused": dict(sorted(reasons.items())),
        }


def play(protocol: str, mutants: int, seed: int, progress: Progress = lambda done: None) -> dict[str, Any]:
    """Deliver so many mutants in complete queries, and return the report. Raises Violation."""
    with toy_arithmetic():
        street = QueryStreet(protocol, seed)
        street.run(mutants, progress)
        return street.report()
