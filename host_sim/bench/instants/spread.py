"""When boards read, and when their answers come: `hum-sim bench spread`.

Groups of the real machines, one after the other, each on a simulated network of its own; clocks
drift, deliveries take their time, and some boards lose their link before an opening and hear it
late. The baseline of the same run has no instants: all answer at once.
"""

import random
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.meters.simulated import SimulatedMeter
from agent.wire import messages
from agent.wire.envelope import Envelope
from broker.cli.tables import show_figures
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.schedule import Schedule
from host_sim.virtual.network import Network, VirtualClock
from host_sim.virtual.street import BEGIN_UNIX, Street
from host_sim.years.crypto import TOY, toy_arithmetic

if TYPE_CHECKING:
    from agent.wire.messages import Slot

MEMBERS = 20  # of a group
ROUNDS = 2
TICK_S = 1.0  # of the coordinators, which open rounds at whole seconds
PPM = 100  # the most that an oscillator is wrong by
DELAYS_S = (0.02, 0.5)  # of one delivery in a hundred ten times that
LOST = 0.02  # of the boards lose their link before a round, until half of the lead is over
SCHEDULE = Schedule(interval=150.0, window=60.0, patience=30.0, rounds=ROUNDS, answers=20.0, instants=True)
NOTES = (
    f"oscillators wrong by up to {PPM} ppm; a delivery takes {DELAYS_S[0]:g} to {DELAYS_S[1]:g} s, one in a hundred ten times that; "
    f"{LOST:.0%} of the boards hear an opening when half of the lead is over",
    "read, ms after the instant: by a clock that is right; without instants, after the opening",
)


class WrongSum(Exception):
    """A round had no sum, or a wrong one. args[0] says which."""


class _Meter(SimulatedMeter):
    """Notes when it is read."""

    def __init__(self, columns: list[list[int]], clock: VirtualClock, read: list[tuple[int, float]]) -> None:
        super().__init__(columns)
        self._clock = clock
        self._noted = read

    def read(self, round: int, counted: bool, resend: bool, slots: "list[Slot]") -> list[int]:
        """Return the values of `round`."""
        self._noted.append((round, self._clock.now))
        return super().read(round, counted, resend, slots)


class _Watched(Network):
    """Notes when rounds open, and when each board's contribution leaves first."""

    def __init__(self, clock: VirtualClock, chance: random.Random) -> None:
        super().__init__(clock, self._delay)
        self.opened: dict[int, float] = {}
        self.sent: dict[tuple[str, int], float] = {}
        self._chance = chance

    def _delay(self, receiver: str, topic: str) -> list[float]:
        return [self._chance.uniform(*DELAYS_S) * (10 if self._chance.random() < 0.01 else 1)]

    def publish(self, sender: str, topic: str, payload: bytes, retain: bool = False) -> None:
        """Relay, and take note."""
        kind = topic.rsplit("/", 1)[1]
        if kind == "round" and payload:
            self.opened.setdefault(messages.read_opening(payload)[1], self.clock.now)
        if kind == "contribution":
            self.sent.setdefault((sender, Envelope(payload).round), self.clock.now)
        super().publish(sender, topic, payload, retain)
        self.log.clear()


def group(chance: random.Random, schedule: Schedule, spread: int, members: int) -> tuple[list[float], list[float]]:
    """Let one group go through all rounds. Return the seconds from each round's instant, or opening
    without one, to each reading of a board, and to when each contribution left. Raises WrongSum."""
    clock = VirtualClock()
    network = _Watched(clock, chance)
    read: list[tuple[int, float]] = []
    rows = [[chance.randrange(1000) for _ in range(ROUNDS)] for _ in range(members)]
    with tempfile.TemporaryDirectory() as folder:
        street = Street(network, Path(folder), rows, schedule, ROUNDS, 4, 0, False, spread, TOY, TICK_S)
        for board, row in zip(street.boards, rows, strict=True):
            board.drift = chance.uniform(-PPM, PPM) / 1e6
            board.meter = _Meter([row], clock, read)
        street.start()
        _run(street, schedule, chance)
        storage = street.coordinator.home.storage
        results = storage.read(reading.results, "main", ROUNDS)
        storage.close()
    readings = dict(zip((board.name for board in street.boards), rows, strict=True))
    for one in results:
        listed = (values for name, values in readings.items() if name not in one["missing"])
        if one["sums"] != [sum(values[one["round"]] for values in listed)]:
            raise WrongSum(f"{members} members, spread {spread}: {one}")
    began = {one["round"]: one["instant"] - BEGIN_UNIX for one in results} if schedule.instants else network.opened
    return [at - began[number] for number, at in read], [at - began[number] for (_, number), at in network.sent.items()]


def _run(street: Street, schedule: Schedule, chance: random.Random) -> None:
    """Let all rounds pass; before each, some boards lose their link."""
    clock = street.network.clock
    for number in range(1, ROUNDS + 3):
        clock.run(number * schedule.interval - schedule.lead - 5)
        without = chance.sample(street.boards, round(LOST * len(street.boards)))
        for board in without:
            street.network.disconnect(board.name)
        clock.run(number * schedule.interval - schedule.lead / 2)
        for board in without:
            board.link()
    clock.run((ROUNDS + 3) * schedule.interval)


def measure(boards: int, spread: int, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return the figures of each case. Raises WrongSum."""
    cases = {"at once": (replace(SCHEDULE, instants=False), 0), "instants": (SCHEDULE, 0)}
    cases[f"instants, spread {spread} s"] = SCHEDULE, spread
    figures = {}
    with toy_arithmetic():
        for name, (schedule, seconds) in cases.items():
            read: list[float] = []
            sent: list[float] = []
            groups = -(-boards // MEMBERS)
            for number in range(groups):
                say(f"{name}: group {number + 1}")
                chance = random.Random(number)
                of_group = group(chance, schedule, seconds, (boards + number) // groups)
                read += of_group[0]
                sent += of_group[1]
            figures[name] = _figures(read, sent)
    return figures


def _figures(read: list[float], sent: list[float]) -> dict[str, Any]:
    seconds = Counter(int(at // 1) for at in sent)
    return {
        "readings": len(read),
        "read, ms after the instant: median": round(1000 * statistics.median(read)),
        "read: earliest": round(1000 * min(read)),
        "read: 99 of 100 by": round(1000 * statistics.quantiles(read, n=100)[-1]),
        "read: latest": round(1000 * max(read)),
        "answers in the busiest second of a round": round(max(seconds.values()) / ROUNDS, 1),
        "answers leave within, s": round(max(sent) - min(sent), 1),
    }


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print what measure() returned as a table on standard output."""
    show_figures("Instants: when boards read, and when they answer", figures, NOTES)
