"""One picture of what the operator sees, the sum, against what nobody sees, the households' own curves."""

from decimal import Decimal
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from host_sim.demo import Row

SEEN = "#0b6e4f"
HIDDEN = "#b8b8b8"


def draw(path: Path, rows: list[Row], households: list[list[int]], scale: int, boards: int) -> None:
    """Write a PNG of the published sums of `rows`, and of the same rounds' readings in `households` (one list a board)."""
    rounds = [row.round for row in rows]
    figure, axes = pyplot.subplots(figsize=(10, 5.2), layout="constrained")
    for index, day in enumerate(households):
        values = [float(Decimal(day[r % len(day)]) / scale) for r in rounds]
        label = f"{boards} households: never leave their boards" if index == 0 else None
        axes.plot(rounds, values, color=HIDDEN, linewidth=1.2, linestyle=(0, (4, 2)), label=label)
    published = [(row.round, float(row.sum)) for row in rows if row.sum is not None]
    if published:
        xs, ys = zip(*published, strict=True)
        axes.plot(xs, ys, color=SEEN, linewidth=2.6, marker="o", markersize=6, label="the sum: all that the coordinator learns")
    lost = [row.round for row in rows if row.sum is None]
    if lost:
        axes.plot(lost, [0] * len(lost), "x", color="#b00020", label="incomplete round: no sum published")
    axes.set_title("What a street used, and what nobody saw", loc="left", fontsize=14, fontweight="bold")
    axes.set_xlabel("round (one half hour each)")
    axes.set_ylabel("Wh per half hour")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center right")
    axes.grid(axis="y", color="#eeeeee")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
