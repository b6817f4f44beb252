"""Figures 4 to 8 of Tremel et al., from our own runs: each function runs what it shows and writes a
CSV and a PNG.

Figures 5 to 7 are of the boards' own machines over the simulated network
(host_sim/gossip/simulation.py), with the paper's latency; in Figures 6 and 7 the paper's RSA-2048
operations take their time, and t, the failures that a query tolerates, is the paper's ceil(log2 n),
or as many as there are groups for.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib import pyplot, rc_context
from matplotlib.axes import Axes

from agent.protocols.base.overlay import log2_ceil
from agent.protocols.gossip.overlay.sizes import FEW
from host_sim.data import households
from host_sim.gossip import convergence, suitable_sizes
from host_sim.gossip.costs import Costs
from host_sim.gossip.simulation import Setting, Simulation
from host_sim.palette import FONT_POINTS, HIDDEN, LOST, SEEN

FLEXIBLE = "#2f6db5"
HOUSEHOLDS = 682  # all that the default data has; the paper had 1,019
TOLERATE_LOAD = 2  # Figure 5: failures that its queries tolerate
HALF = 32  # bits of the lower of two sums in one value
SIZES = (13, 29, 53, 101, 197, 389, 797, 1019)
PROTOCOLS = ("gossip", "gossip-bft")
APART = 1.5  # times the size before: so far apart are two sizes that both have room for their text
# One line may lie on the other: the upper one is narrow and broken.
WIDE: dict[str, Any] = {"color": SEEN, "linewidth": 5, "marker": "o", "markersize": 10, "label": "no failures"}
NARROW: dict[str, Any] = {
    "color": LOST, "linewidth": 2, "linestyle": (0, (4, 2)), "marker": "o", "markersize": 5, "label": "t failures"
}  # fmt: skip

Say = Callable[[str], None]


class FigureError(Exception):
    """A figure cannot be made. args[0] says why."""


def sizes_gaps(folder: Path, say: Say) -> dict[str, Any]:
    """Figure 4: distances between suitable sizes up to 20,000,000."""
    figures = suitable_sizes.measure(suitable_sizes.MOST, lambda done: say(f"figure 4: {done:,}"))
    gaps = figures.pop("gaps")
    _table(folder / "figure-4.csv", ("gap", "times"), gaps.items())

    def draw(axes: Axes) -> None:
        axes.bar(list(gaps), list(gaps.values()), width=1.8, color=SEEN)
        axes.set_yscale("log")
        axes.set_xlabel("distance from a suitable size to the next")
        axes.set_ylabel("times")
        axes.set_title(f"{figures['suitable']:,} suitable sizes up to {figures['most']:,}", loc="left")

    _picture(folder / "figure-4.png", draw)
    return figures


def day_of_load(folder: Path, say: Say, boards: int = HOUSEHOLDS) -> dict[str, Any]:
    """Figure 5: a day of queries, each for two sums: the load that could run at another time, and
    the rest.

    One value carries both: shiftable * 2^32 + rest, in the data's units; the sum of the rest stays
    below 2^32.
    """
    fleet = households.load(households.DEFAULT, boards)
    if fleet.shiftable is None:
        raise FigureError("figure 5: the households' file has no columns f00 to f47")
    rows = []
    for slot in range(households.SLOTS):
        say(f"figure 5: half hour {slot + 1} of {households.SLOTS}, {boards} households")
        flexible = [day[slot] for day in fleet.shiftable]
        rest = [load[slot] - part for load, part in zip(fleet.load, flexible, strict=True)]
        values: list[int | None] = [part << HALF | other for part, other in zip(flexible, rest, strict=True)]
        setting = Setting(boards, tolerate=TOLERATE_LOAD, number=slot + 1, seed=slot + 1, values=values)
        outcome = Simulation(setting).run()
        if outcome.accepted is None:
            raise FigureError(f"figure 5: half hour {slot + 1}: no result accepted: {outcome.reason}")
        told = divmod(outcome.accepted["sum"], 1 << HALF)
        wh = [number / fleet.scale for number in (*told, sum(flexible), sum(rest))]
        rows.append((slot, *wh, outcome.counted, round(outcome.query_ms, 1)))
    names = ("half_hour", "shiftable_wh", "rest_wh", "true_shiftable_wh", "true_rest_wh", "counted", "query_ms")
    _table(folder / "figure-5.csv", names, rows)
    hours = [slot / 2 for slot in range(households.SLOTS)]

    def draw(axes: Axes) -> None:
        shiftable, rest = ([row[place] / 1000 for row in rows] for place in (1, 2))
        truth = [(row[3] + row[4]) / 1000 for row in rows]
        axes.bar(hours, rest, width=0.42, align="edge", color=LOST, label="reported: the rest")
        axes.bar(
            hours, shiftable, width=0.42, align="edge", bottom=rest, color=FLEXIBLE, label="reported: could be shifted"
        )
        axes.step([*hours, 24], [*truth, truth[-1]], where="post", color="black", linewidth=1.5, label="true sum")
        axes.set_xticks(range(0, 25, 4))
        axes.set_xlabel("hour of the day")
        axes.set_ylabel("kWh in half an hour")
        axes.set_title(f"What {boards} households answered", loc="left")
        axes.legend(frameon=False)

    _picture(folder / "figure-5.png", draw)
    exact = sum(row[1:3] == row[3:5] for row in rows)
    return {"households": boards, "queries": len(rows), "exact": exact, "tolerated": TOLERATE_LOAD}


def tolerated(protocol: str, n: int) -> int:
    """Return t for n nodes: ceil(log2 n), or as many as leave two nodes to each of t + 1 groups, of
    2t + 1 for gossip-bft."""
    t: int = min(log2_ceil(n), (n - 2) // (4 if protocol == "gossip-bft" else 2))
    return t


class Costly:
    """The runs that Figures 6 and 7 share: each protocol and size, with no and with t failed nodes.
    Made once, when asked for."""

    def __init__(self, most: dict[str, int], seeds: int) -> None:
        """`most` is the greatest size for each protocol: a query of many nodes takes minutes."""
        self._most = most
        self._seeds = seeds
        self._rows: list[dict[str, Any]] = []

    def rows(self, say: Say) -> list[dict[str, Any]]:
        """Return one row a protocol, size and number of failed nodes: means over the seeds."""
        if not self._rows:
            for protocol in PROTOCOLS:
                for n in (n for n in SIZES if n <= self._most[protocol]):
                    for failed in (0, tolerated(protocol, n)):
                        say(f"figures 6 and 7: {protocol}, {n} nodes, {failed} failed")
                        self._rows.append(self._row(protocol, n, failed))
        return self._rows

    def _row(self, protocol: str, n: int, failed: int) -> dict[str, Any]:
        tolerate = tolerated(protocol, n)
        runs = [
            Simulation(Setting(n, failed, protocol, tolerate, seed=seed, costs=Costs())).run()
            for seed in range(1, self._seeds + 1)
        ]
        row: dict[str, Any] = {"protocol": protocol, "nodes": n, "tolerated": tolerate, "failed": failed}
        row |= {name: round(sum(getattr(run, name) for run in runs) / len(runs), 1) for name in MEANS}
        return row | {"exact": sum(run.exact for run in runs), "runs": len(runs)}


MEANS = ("query_ms", "messages", "cells", "bytes")


def query_time(folder: Path, say: Say, costly: Costly) -> dict[str, Any]:
    """Figure 6: simulated milliseconds from a query to its accepted result, RSA-2048 as the paper
    had it."""
    return _by_size(folder, 6, costly.rows(say), "query_ms", 1.0, "simulated ms for a query")


def data_sent(folder: Path, say: Say, costly: Costly) -> dict[str, Any]:
    """Figure 7: what a board sends in a query, in bytes of real envelopes."""
    return _by_size(folder, 7, costly.rows(say), "bytes", 1000.0, "kB that a board sends in a query")


def _by_size(
    folder: Path, number: int, rows: list[dict[str, Any]], name: str, unit: float, label: str
) -> dict[str, Any]:
    """Write the rows, and draw `name` against the size: one panel a protocol, one line for no and
    one for t failures."""
    _table(folder / f"figure-{number}.csv", tuple(rows[0]), [row.values() for row in rows])

    def draw(axes: Axes, protocol: str) -> None:
        shown = [row for row in rows if row["protocol"] == protocol]
        for some, look in ((False, WIDE), (True, NARROW)):
            line = [row for row in shown if (row["failed"] > 0) == some]
            axes.plot([row["nodes"] for row in line], [row[name] / unit for row in line], **look)
        axes.set_ylim(bottom=0, top=1.3 * axes.get_ylim()[1])
        axes.set_ylabel(label)
        axes.set_title(protocol, loc="left")
        axes.legend(frameon=False, loc="upper left")
        _size_axis(axes, {row["nodes"]: row["tolerated"] for row in shown})

    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    _pictures(folder / f"figure-{number}.png", [partial(draw, protocol=one) for one in protocols])
    return {"rows": rows}


def _size_axis(axes: Axes, tolerated_by: dict[int, int]) -> None:
    """Below each size its t, where there is room; and a line where phases change
    (agent/protocols/gossip/plan.py, FEW)."""
    sizes = sorted(tolerated_by)
    roomy = [n for n, after in pairwise(sizes) if after >= APART * n] + sizes[-1:]
    axes.set_xscale("log")
    axes.set_xticks(roomy, [f"{n}\nt = {tolerated_by[n]}" for n in roomy])
    axes.minorticks_off()
    axes.set_xlabel("nodes, and t: the failures tolerated")
    if sizes[0] <= FEW < sizes[-1]:
        axes.axvline(FEW, color=HIDDEN, linewidth=1.2, linestyle=(0, (2, 3)))
        text = f" over {FEW} nodes:\n shorter phases"
        in_axes = axes.get_xaxis_transform()
        axes.text(FEW, 0.97, text, color=HIDDEN, transform=in_axes, va="top", fontsize=FONT_POINTS - 3)


def spreading(folder: Path, say: Say) -> dict[str, Any]:
    """Figure 8: how fast one node's value reaches all living ones, over the overlay and by random
    push."""
    curves = convergence.measure(say=lambda phase: say(f"figure 8: {phase}"))
    longest = max(len(curve.known) for curve in curves)
    known = [curve.known + [1.0] * (longest - len(curve.known)) for curve in curves]
    names = [f"{curve.way}, {curve.failed:.0%} failed" for curve in curves]
    shares = [tuple(round(line[r], 5) for line in known) for r in range(longest)]
    _table(folder / "figure-8.csv", ("round", *names), [(r, *row) for r, row in enumerate(shares)])
    colours = dict(zip(convergence.SHARES, (SEEN, FLEXIBLE, HIDDEN, LOST), strict=True))

    def draw(axes: Axes) -> None:
        for curve, line, name in zip(curves, known, names, strict=True):
            style = "-" if curve.way == "overlay" else ":"
            text = f"{name}: {curve.mean_rounds:g} rounds"
            axes.plot([100 * share for share in line], style, color=colours[curve.failed], linewidth=2.2, label=text)
        axes.set_xlabel("rounds")
        axes.set_ylabel("% of living nodes that know")
        axes.set_title(f"One value to {convergence.NODES:,} nodes", loc="left")
        axes.legend(frameon=False, fontsize=FONT_POINTS - 5)

    _picture(folder / "figure-8.png", draw)
    table = [{name: value for name, value in asdict(curve).items() if name != "known"} for curve in curves]
    return {"nodes": convergence.NODES, "runs": convergence.RUNS, "curves": table}


def make(folder: Path, only: Sequence[int], boards: int, costly: Costly, say: Say) -> dict[str, Any]:
    """Write the figures `only` (4 to 8) to the folder; `boards`: the households of Figure 5.
    Returns {"figure-N": its figures}."""
    makers: dict[int, Callable[[], dict[str, Any]]] = {
        4: lambda: sizes_gaps(folder, say),
        5: lambda: day_of_load(folder, say, boards),
        6: lambda: query_time(folder, say, costly),
        7: lambda: data_sent(folder, say, costly),
        8: lambda: spreading(folder, say),
    }
    return {f"figure-{number}": makers[number]() for number in only}


def _table(path: Path, names: Sequence[str], rows: Any) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)


def _picture(path: Path, draw: Callable[[Axes], None]) -> None:
    _pictures(path, [draw])


def _pictures(path: Path, panels: Sequence[Callable[[Axes], None]]) -> None:
    with rc_context({"font.size": FONT_POINTS}):
        figure, grid = pyplot.subplots(
            1, len(panels), figsize=(10 if len(panels) == 1 else 13, 5.4), layout="constrained", squeeze=False
        )
        for axes, draw in zip(grid[0], panels, strict=True):
            draw(axes)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#eeeeee")
            axes.set_axisbelow(True)
        figure.savefig(path, dpi=130)
        pyplot.close(figure)
