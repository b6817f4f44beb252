"""A solar home of the simulated years, and its meter: four registers, which go on whatever the
board does.

Consumption is that of a real house (host_sim/data), half hours cut in two at random; the roof is
host_sim/data/solar. Now and then more flows than a reading may be."""

from collections import Counter
from random import Random

from host_sim.data import households, solar

DAYS = 60  # of the real house
SLOTS = solar.SLOTS
BURST = 5000  # Wh


class Home:
    """`energy` is what went through each register since the start, in Wh by slot."""

    def __init__(self, random: Random, days: list[list[int]]) -> None:
        self.energy: Counter[str] = Counter(dict.fromkeys(SLOTS, 0))
        self.silent = False
        self._random = random
        self._days = days
        self._start = {slot: random.randrange(20_000_000) for slot in SLOTS}
        self._quarter = random.randrange(365 * solar.QUARTERS)
        self._made: list[int] = []
        self._second = 0  # half of a half hour

    def next_quarter(self) -> dict[str, int]:
        """Return the Wh of the next quarter by slot."""
        day, quarter = divmod(self._quarter, solar.QUARTERS)
        if not self._made or not quarter:
            self._made = solar.generation(day % 365, self._random)
        self._quarter += 1
        return solar.net(day, quarter, self._consumed(day, quarter), self._made[quarter])

    def _consumed(self, day: int, quarter: int) -> int:
        kind = self._random.random()
        half = self._days[day % len(self._days)][quarter // 2]
        if quarter % 2:
            return self._second
        first = self._random.randint(0, half)
        self._second = half - first
        return 0 if kind < 0.05 else BURST if kind > 0.996 else first

    def add(self, amounts: dict[str, int]) -> None:
        """So much flows."""
        self.energy.update(amounts)

    # -- what its meter says

    def total(self, slot: str) -> int | None:
        return None if self.silent or slot not in SLOTS else self._start[slot] + self.energy[slot]

    def power(self, slot: str) -> int | None:
        return None

    def identity(self, slot: str) -> bytes:
        return b"home"

    def counters(self) -> dict[str, int]:
        return {}

    def trouble(self) -> str:
        return "silent" if self.silent else ""


def days() -> list[list[int]]:
    """Return the days of a real house: Wh of 48 half hours each."""
    return households.load(households.DEFAULT, DAYS).load
