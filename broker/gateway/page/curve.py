"""The small curve of a group: lines of an SVG picture, with gaps where nothing was summed. No
I/O."""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 300, 56
MARGIN = 4
GAP = 1.5  # intervals


class Curve(NamedTuple):
    """`lines` are the points of each line without a gap, as SVG has them; `zero` is where zero is,
    from above; `low` and `high` are the least and the greatest value."""

    lines: list[str]
    zero: float
    low: float
    high: float


def curve(points: Sequence[tuple[float, float | None]], interval: float) -> Curve | None:
    """Return the curve of (time in seconds, value) in the order of time; None of fewer than two
    values. A value of None, or more than GAP intervals without any, is a gap."""
    values = [value for _, value in points if value is not None]
    if len(values) < 2:
        return None
    begin, span = points[0][0], max(1.0, points[-1][0] - points[0][0])
    low, high = min(0.0, *values), max(0.0, *values)
    scale = (HEIGHT - 2 * MARGIN) / ((high - low) or 1.0)

    def place(at: float, value: float) -> str:
        across = MARGIN + (at - begin) / span * (WIDTH - 2 * MARGIN)
        return f"{across:.1f},{MARGIN + (high - value) * scale:.1f}"

    lines: list[list[str]] = [[]]
    before = begin
    for at, value in points:
        if value is None or at - before > GAP * interval:
            lines.append([])
        if value is not None:
            lines[-1].append(place(at, value))
            before = at
    # A line of one point is drawn as a dot.
    drawn = [" ".join(line * 2 if len(line) == 1 else line) for line in lines if line]
    return Curve(drawn, MARGIN + high * scale, min(values), max(values))
