"""A slot over time, in equal steps of UTC. No I/O."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from broker.client.units import unit_of
from broker.gateway.rounds import Round


@dataclass(frozen=True)
class Step:
    """What was measured after `start`, in Unix seconds, up to the next step's: a sum of what adds
    up, a mean of powers; None if no round was complete. `summed` is the fewest members in a sum,
    `members` the most that there were; `off_grid` tells how many of the rounds were on request."""

    start: int
    value: float | None
    rounds: int
    summed: int | None
    members: int | None
    off_grid: int = 0


def bounds(since: float, until: float, step: int) -> tuple[int, int]:
    """Return the first step's start, and the last one's end."""
    return math.floor(since / step) * step, math.ceil(until / step) * step


def steps(rounds: Iterable[Round], slot: str, begin: int, end: int, step: int) -> list[Step]:
    """Return the steps from `begin` to `end`, which are multiples of `step`, of the complete
    `rounds` of a group that have the slot.

    An instant on the border of two steps belongs to the first: its sum is of the time before it.
    """
    found: dict[int, list[Round]] = {}
    for one in rounds:
        if one.sums is not None and slot in one.slots:
            at = one.closed if one.instant is None else one.instant
            found.setdefault((math.ceil(at / step) - 1) * step, []).append(one)
    return [_step(start, found.get(start, []), slot) for start in range(begin, end, step)]


def _step(start: int, rounds: list[Round], slot: str) -> Step:
    if not rounds:
        return Step(start, None, 0, None, None)
    values = [(one.sums or ())[one.slots.index(slot)] for one in rounds]
    value = sum(values) / len(values) if unit_of(slot) == "W" else float(sum(values))
    summed, members = min(len(one.summed) for one in rounds), max(len(one.members) for one in rounds)
    return Step(start, value, len(rounds), summed, members, len([one for one in rounds if one.off_grid]))
