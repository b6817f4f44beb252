"""When a group's next round is due: rounds come at equal intervals, which those before tell; those
off the grid, which somebody asked for, do not. No I/O."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from broker.gateway.rounds import Round

LOOKED_AT = 9  # rounds
LATE_S = 5.0  # for the way of a result


class Rhythm(NamedTuple):
    """The `last` round's time and the `interval`, in seconds; the next is at `due`, and something
    is broken if there is no result by `late`."""

    last: float
    interval: float

    @property
    def due(self) -> float:
        """When the next round is taken."""
        return self.last + self.interval

    @property
    def late(self) -> float:
        """When its result is missing: another one is due by then."""
        return self.due + self.interval + LATE_S


def taken_at(one: Round) -> float:
    """Return when a round's readings were taken, in Unix seconds, as far as that is known."""
    return float(one.closed if one.instant is None else one.instant)


def rhythm(rounds: Sequence[Round]) -> Rhythm | None:
    """Return the rhythm of a group's last rounds, which are in their order; None of fewer than
    two."""
    times = [taken_at(one) for one in rounds[-LOOKED_AT:] if not one.off_grid]
    between = [after - before for before, after in pairwise(times) if after > before]
    return Rhythm(times[-1], median(between)) if between else None
