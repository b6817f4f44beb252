"""One picture of what the operator sees, the sum, against what nobody sees, the households' own
curves."""

import math
import statistics
from decimal import Decimal
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from host_sim.data.households import SLOTS
from host_sim.demo.demo import Row
from host_sim.palette import FONT_POINTS, HIDDEN, LOST, SEEN

# Half hours from one label of the time axis to the next, and how many labels there may be.
TICKS = (1, 2, 4, 6, 12, 24, 48)
TICKS_MOST = 9
# Of the height of the axes: how far apart the texts beside them are at least.
TEXT_APART = 0.18


def draw(path: Path, rows: list[Row], households: list[list[int]], scale: int, boards: int) -> None:
    """Write a PNG of the published sums of `rows`, and of the same rounds' readings in `households`
    (one list a board)."""
    with matplotlib.rc_context({"font.size": FONT_POINTS}):
        figure = picture(rows, households, scale, boards)
        figure.savefig(path, dpi=130)
        pyplot.close(figure)


def picture(rows: list[Row], households: list[list[int]], scale: int, boards: int) -> Figure:
    """Return what draw() writes. Each curve has its text at its right end, in its colour."""
    rounds = [row.round for row in rows]
    curves = [[float(Decimal(day[r % len(day)]) / scale) for r in rounds] for day in households]
    sums = [math.nan if row.sum is None else float(row.sum) for row in rows]
    lost = [row.round for row in rows if row.sum is None]
    figure, axes = pyplot.subplots(figsize=(10, 5.4), layout="constrained")
    dots = "o" if len(rounds) == 1 else ""
    for curve in curves:
        axes.plot(
            rounds, curve, color=HIDDEN, linewidth=1.1, linestyle=(0, (4, 2)), marker=dots, markersize=4, alpha=0.8
        )
    axes.plot(rounds, sums, color=SEEN, linewidth=3, marker="o", markersize=6 if len(rounds) <= SLOTS else 0)
    [crosses] = axes.plot(lost, [0] * len(lost), "x", color=LOST, markersize=9, markeredgewidth=2.5, clip_on=False)
    crosses.set_in_layout(bool(lost))  # the layout takes no crosses for one in the picture's corner
    axes.set_title("What a street used, and what nobody saw", loc="left", fontsize=FONT_POINTS + 3, fontweight="bold")
    axes.set_ylabel("Wh per half hour")
    if min(0.0, *(value for curve in [sums, *curves] for value in curve if not math.isnan(value))) == 0:
        axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    _time_axis(axes, rounds)
    known = [value for value in sums if not math.isnan(value)]
    mean = statistics.mean(curve[-1] for curve in curves)
    texts = [(f"{boards} households:\nnobody saw them", HIDDEN, mean)]
    if known:
        texts.append(("the sum: all the\ncoordinator learns", SEEN, known[-1]))
    if lost:
        count = "1 round" if len(lost) == 1 else f"{len(lost)} rounds"
        texts.append((f"{count}\nwithout a sum", LOST, 0.0))
    _beside(axes, texts)
    return figure


def _time_axis(axes: Axes, rounds: list[int]) -> None:
    """Round r is half hour r mod 48 of the day; a label stands where its half hour begins."""
    span = rounds[-1] - rounds[0] + 1
    step = next((step for step in TICKS if span / step <= TICKS_MOST), TICKS[-1] * math.ceil(span / SLOTS / TICKS_MOST))
    ticks = [r for r in range(rounds[0], rounds[-1] + 1) if r % step == 0]
    axes.set_xticks(ticks, [f"{r % SLOTS // 2:02}:{r % 2 * 30:02}" for r in ticks])
    axes.set_xlabel(f"time of day (rounds {rounds[0]} to {rounds[-1]}, one each half hour)")


def _beside(axes: Axes, texts: list[tuple[str, str, float]]) -> None:
    """Write (text, colour, y) right of the axes, each as near to its y as the one below it lets it
    be."""
    low, high = axes.get_ylim()
    floor = 0.05
    at = []
    for text, colour, y in sorted(texts, key=lambda entry: entry[2]):
        place = max(floor, (y - low) / (high - low))
        at.append((text, colour, place))
        floor = place + TEXT_APART
    over = max(0.0, at[-1][2] - 0.95)
    for text, colour, place in at:
        axes.text(1.02, place - over, text, color=colour, transform=axes.transAxes, va="center", fontweight="bold")
