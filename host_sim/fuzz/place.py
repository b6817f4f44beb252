"""A network on which every message comes with mutants of it, before and after, and the watch over
what receivers do with them."""

import random
import sys
from collections import Counter
from typing import Any

from agent.wire import topics
from broker.coordinator.actions import Action, Publish
from broker.coordinator.machine import Machine
from broker.coordinator.service import Service
from broker.transport.link import Link
from host_sim.fuzz.mutations import Mutator
from host_sim.virtual.at_once import at_once
from host_sim.virtual.network import Handler, Network, VirtualClock

# There is much more mail between boards than of everything else; and what a forged set costs a
# board, its signature's check, is limited to one in a quarter of an hour.
SHARES = {"mail": 10, "active": 10}
WEIGHED = ("agent.", "broker.", "host_sim.virtual.")


class Violation(Exception):
    """A promise is broken. args[0] says which."""


class Tally:
    """What became of mutants: how many were delivered, by kind of topic; and how many of them made
    their receiver count something, said nothing, or did something."""

    def __init__(self) -> None:
        self.delivered: Counter[str] = Counter()
        self.refused = 0
        self.reasons: Counter[str] = Counter()

    @property
    def mutants(self) -> int:
        """How many were delivered in all."""
        return self.delivered.total()


class FuzzedNetwork(Network):
    """A broker that delivers, before and after each message, `around` mutants of it and of others.
    `refused(receiver)` is what the receiver has counted; presence, which nobody authenticates, is
    delivered once more at the end."""

    def __init__(self, clock: VirtualClock, drawn: random.Random, around: int) -> None:
        super().__init__(clock)
        self.tally = Tally()
        self.around = around
        self.receivers: dict[str, Any] = {}
        self._drawn = drawn
        self._mutator = Mutator(drawn)

    def _deliver(self, name: str, topic: str, payload: bytes) -> None:
        number = self._sessions[name].number

        def arrive() -> None:
            session = self._sessions.get(name)
            if session and session.number == number:
                self._arrive(name, session.handler, topic, payload)

        self.clock.after(0.001, arrive)

    def _arrive(self, name: str, handler: Handler, topic: str, payload: bytes) -> None:
        self._mutator.saw(topic, payload)
        around = max(1, self.around // SHARES.get(kind_of(topic), 1))
        before = self._drawn.randrange(around + 1)
        self._mutants(before, name, handler, topic, payload)
        handler(topic, payload)
        self._mutants(around - before, name, handler, topic, payload)
        if topic.endswith("/state"):
            handler(topic, payload)

    def _mutants(self, count: int, name: str, handler: Handler, topic: str, payload: bytes) -> None:
        kind = kind_of(topic)
        receiver = self.receivers[name]
        for _ in range(count):
            place, mutant = self._mutator.mutant(topic, payload)
            if not mutant and place.endswith("/roll"):
                # It takes back a roll call, as at the end of a round, and nobody authenticates it.
                mutant = b"\x00"
            before = sum(receiver.refused().values())
            try:
                handler(place, mutant)
            except Exception as error:
                told = f"{name} raised {error!r} for {mutant[:300].hex()} ({len(mutant)} bytes) at {place}"
                raise Violation(told) from error
            self.tally.delivered[kind] += 1
            self.tally.refused += sum(receiver.refused().values()) > before


def kind_of(topic: str) -> str:
    """Return the kind of a topic: what is in it, not whose it is."""
    levels = topics.split(topic) or ["", "", "", ""]
    if levels[1] == "dev" or levels[3] in ("up",):
        return levels[-1]
    return "mail from coordinator" if levels[-1] == topics.COORDINATOR else levels[3]


class Office(Service):
    """The coordinator's service, with its routing and its machines, on the simulated network: it
    has no database, and computes at once."""

    def __init__(self, network: Network, deployment: str, machines: list[Machine]) -> None:
        storage: Any = None  # nothing is made durable
        super().__init__(deployment, machines, storage, Link("", 0, None, None, None))
        self._network = network
        self._clock = lambda: network.clock.now
        self.records: list[Action] = []

    def connect(self) -> None:
        """Hear all that a coordinator hears, and say what is retained."""
        root = f"hum/v1/{self._deployment}"
        filters = [f"{root}/g/+/up/+/+", f"{root}/dev/+/state", f"{root}/dev/+/diag"]
        self._network.connect(topics.COORDINATOR, filters, self._route)
        for machine in self._machines.values():
            self._perform(machine, machine.link_up(self._network.clock.now))

    def tick(self) -> None:
        """Let time pass for the machines."""
        for machine in self._machines.values():
            self._perform(machine, machine.tick(self._network.clock.now))
            self._perform(machine, machine.prepare())

    def refused(self) -> Counter[str]:
        """Return what it and its machines have refused, by reason."""
        total = Counter(self._refused)
        for machine in self._machines.values():
            total.update(machine.refused)
        return total

    def heard_of(self) -> int:
        """Return how many boards' health it knows."""
        return self._reports.count()

    def _perform(self, machine: Machine, actions: list[Action]) -> None:
        done = at_once(machine, actions, self._network.clock.now)
        self.records += [action for action in done if not isinstance(action, Publish)]
        for action in done:
            if isinstance(action, Publish):
                self._network.publish(topics.COORDINATOR, action.topic, action.payload, action.retain)


def weight(root: object) -> int:
    """Return the bytes of all objects of boards and coordinator that `root` holds, without the
    network."""
    seen: set[int] = set()
    waiting = [root]
    total = 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | Network):
            continue
        seen.add(id(one))
        if isinstance(one, str | bytes | bytearray | int | float | dict | list | tuple | set | frozenset):
            total += sys.getsizeof(one)
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        elif type(one).__module__.startswith(WEIGHED) and hasattr(one, "__dict__"):
            total += sys.getsizeof(one)
            waiting += vars(one).values()
    return total
