"""`hum-sim demo`: a broker, a coordinator and boards on this machine, and every published sum
checked."""

import json
import math
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from agent.joye_libert.cohorts import threshold
from agent.wire.messages import MEMBERS_MOST
from broker.cli.authority import Seal
from broker.coordinator.protocols.private_sum.roster import CONSISTENCY_CHECK_FROM
from host_sim import ending
from host_sim.data import households
from host_sim.demo.demo import Demo, Row
from host_sim.demo.display import Display
from host_sim.fleet.faults import Faults
from host_sim.fleet.pace import pace
from host_sim.options import Data, Heap, OptionError, Runtime, new_folder

MASKS_MOST = 24
# A late board's delay is longer than the window, and shorter than its patience with an unanswered
# ping.
LATE_WINDOW_MOST = 7.0
LATE_BY_S = 1.5
# Seconds of a round that each board costs two cores: its contribution and answer, and a power more
# to recover others; all that are ours to choose are longer on a machine that is slow, or busy.
# A round that is not over when the next one is due has no sum, and machines are slow at times.
LEAST_S = 3.0
BOARD_S = {"micropython": 0.12, "cpython": 0.03}
RECOVERY_S = {"micropython": 0.45, "cpython": 0.05}
RECOVERY_LEAST_S = {"micropython": 3.0, "cpython": 0.5}
# From switching a board on to where it says that it is here; so long is a round, if one comes back.
JOIN_LEAST_S = {"micropython": 3.0, "cpython": 1.0}
JOIN_S = {"micropython": 0.25, "cpython": 0.02}
# So long the others wait for boards that are absent, before they sum without them.
PATIENCE_LEAST_S, PATIENCE_S = 15.0, 1.5
# So long the others may wait for a vouch of one that was listed and killed.
CONSISTENCY_CHECK_S = 5.0

Rounds = Annotated[
    int | None,
    typer.Option(help="How many rounds; round r sums column s[r mod 48]; default 10, 5 with --kill or --late.", min=1),
]
Kill = Annotated[
    int, typer.Option(help="So many boards are killed in the middle of the second round, and stay dead.", min=0)
]
Late = Annotated[
    int,
    typer.Option(
        help="So many boards are too late for every round from the second on; each such round lasts its whole window.",
        min=0,
    ),
]
Absent = Annotated[
    int,
    typer.Option(help="So many boards are never started: the others sum without them from the first round on.", min=0),
]
Return = Annotated[
    int | None, typer.Option("--return", help="In this round one of the absent boards is switched on.", min=1)
]
Interval = Annotated[
    float | None,
    typer.Option(help="Seconds between two rounds' openings; default: what the boards need.", min=0.1),
]
Window = Annotated[
    float | None,
    typer.Option(
        help="Seconds that a round waits for contributions, at most 4/5 of the interval; default 30, less with --late.",
        min=0.1,
    ),
]


def demo(
    boards: Annotated[int, typer.Option(help=f"How many boards, 2 to {MEMBERS_MOST}, one household each.")] = 12,
    rounds: Rounds = None,
    data: Data = households.DEFAULT,
    runtime: Runtime = "micropython",
    heap: Heap = "192k",
    kill: Kill = 0,
    late: Late = 0,
    absent: Absent = 0,
    back: Return = None,
    cohort: Annotated[int, typer.Option(help="The most boards that share keys with each other.", min=4, max=64)] = 32,
    seal: Annotated[Seal, typer.Option(help="What opens: each cohort's sum, or only the whole fleet's.")] = Seal.COHORT,
    interval: Interval = None,
    window: Window = None,
    output: Annotated[Path | None, typer.Option(help="Folder for logs and the picture; default out/demo-TIME.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON line a round, and a last one with ok, on standard output.")
    ] = False,
) -> None:
    """Run a broker, a coordinator and boards, and check every published sum against the truth.

    Exit status 0 only if every published sum was exact over the boards that it names, and every
    round published one; with --kill or --late, if any round did.
    """
    _check(boards, runtime, heap, cohort, (kill, late, absent))
    rounds = rounds or (5 if kill or late else 10)
    _check_return(boards, cohort, rounds, absent, back)
    seconds_apart, seconds_open = _timing(boards, runtime, kill, late, interval, window)
    if back is not None and interval is None:
        seconds_apart = max(seconds_apart, pace() * (JOIN_LEAST_S[runtime] + JOIN_S[runtime] * boards))
    started = time.monotonic()
    fleet = households.load(data, boards)
    folder = new_folder(output, "demo")
    options = {
        "rounds": rounds,
        "interval": seconds_apart,
        "window": seconds_open,
        "runtime": runtime,
        "heap": heap,
        "masks_target": min(rounds, MASKS_MOST),
        "cohort": cohort,
        "seal": list(Seal).index(seal),
    }
    if absent:
        options["patience"] = pace() * (PATIENCE_LEAST_S + PATIENCE_S * boards)
    faults = Faults(kill, late, seconds_open + LATE_BY_S, absent, back)
    rows, ok = _run(folder, fleet, options, faults, as_json)
    _sum_up(rows, ok, _picture(folder, rows, fleet), started, {"boards": boards, "runtime": runtime}, as_json)
    raise typer.Exit(0 if ok else 1)


def _check(boards: int, runtime: str, heap: str, cohort: int, faults: tuple[int, int, int]) -> None:
    if not 2 <= boards <= MEMBERS_MOST:
        raise OptionError(f"--boards {boards}: a group has 2 to {MEMBERS_MOST} boards")
    if runtime not in ("micropython", "cpython"):
        raise OptionError(f"--runtime {runtime}: micropython or cpython")
    if not re.fullmatch(r"[1-9][0-9]{0,9}[kKmM]?", heap):
        raise OptionError(f"--heap {heap}: a size such as 192k")
    smallest = boards // math.ceil(boards / cohort)
    if smallest < min(3, boards):
        raise OptionError(f"--cohort {cohort}: of {boards} boards one cohort would have {smallest}, too few to hide in")
    if sum(faults) >= boards:
        told = " ".join(
            f"--{name} {count}" for name, count in zip(("kill", "late", "absent"), faults, strict=True) if count
        )
        raise OptionError(f"{told}: of {boards} boards one at least must be left")


def _check_return(boards: int, cohort: int, rounds: int, absent: int, back: int | None) -> None:
    smallest = boards // math.ceil(boards / cohort)
    if absent > smallest - threshold(smallest):
        least = threshold(smallest)
        raise OptionError(f"--absent {absent}: of a cohort of {smallest} boards {least} at least must be there")
    if back is not None and not (absent and back < rounds):
        raise OptionError(f"--return {back}: a round before the last, with --absent 1 or more")


def _timing(
    boards: int, runtime: str, kill: int, late: int, interval: float | None, window: float | None
) -> tuple[float, float]:
    """Return (interval, window) in seconds: what was asked for, else what the boards need on two
    cores as fast as these are now."""
    for value in (interval, window):
        if value is not None and not math.isfinite(value):
            raise OptionError("--interval and --window: finite numbers of seconds")
    if window is None:
        window = min(LATE_WINDOW_MOST, pace() * (1.5 + boards / 16)) if late else 30.0
    if late and window > LATE_WINDOW_MOST:
        raise OptionError(f"--window {window:g}: with --late at most {LATE_WINDOW_MOST:g} seconds")
    if interval is None:
        interval = max(LEAST_S, BOARD_S[runtime] * boards)
        if kill or late:
            interval += RECOVERY_LEAST_S[runtime] + RECOVERY_S[runtime] * boards
            interval += CONSISTENCY_CHECK_S if boards >= CONSISTENCY_CHECK_FROM else 0.0
        interval *= pace()
        if late:
            interval += window
    return interval, window


def _run(
    folder: Path, fleet: households.Fleet, options: dict[str, Any], faults: Faults, as_json: bool
) -> tuple[list[Row], bool]:
    """Run the demo and show it. Returns its rows, and whether all was exact."""
    boards, heap = len(fleet.load), options["heap"]

    async def run(display: Display) -> tuple[list[Row], bool]:
        def on_row(row: Row) -> None:
            display.row(row)
            if as_json:
                print(row.to_json(), flush=True)

        running = Demo(folder, fleet, options, on_row, display.progress, display.say, faults)
        ok = await running.run()
        return running.rows, ok

    with Display(boards, _for_people(as_json)) as display:
        micropython = options["runtime"] == "micropython"
        kind = f"MicroPython boards (heap {heap})" if micropython else "boards in this process"
        display.say(f"starting a broker, {boards} {kind} and the coordinator")
        display.say(f"logs and picture: {folder}")
        return ending.run(lambda: run(display))


def _picture(folder: Path, rows: list[Row], fleet: households.Fleet) -> Path:
    from host_sim.demo.chart import draw

    path = folder / "sum.png"
    draw(path, rows, fleet.load, fleet.scale, len(fleet.load))
    return path


def _sum_up(rows: list[Row], ok: bool, picture: Path, started: float, run: dict[str, Any], as_json: bool) -> None:
    latencies = [row.latency_ms for row in rows if row.latency_ms is not None]
    median = round(statistics.median(latencies), 1) if latencies else None
    seconds = round(time.monotonic() - started, 1)
    summary = {"ok": ok, "rounds": len(rows), **run, "median_latency_ms": median, "seconds": seconds}
    if as_json:
        print(json.dumps(summary | {"picture": str(picture)}), flush=True)
    print(
        f"{_verdict(rows, ok)}; median latency {median} ms; {seconds} s\npicture: {picture}", file=_for_people(as_json)
    )


def _for_people(as_json: bool) -> TextIO:
    """Return where the table and the closing lines go: beside JSON they are no more than
    progress."""
    return sys.stderr if as_json else sys.stdout


def _verdict(rows: list[Row], ok: bool) -> str:
    without = sum(row.sum is None for row in rows)
    if not ok:
        return "NOT every round published an exact sum"
    return "every published sum was exact" + (f", {without} of {len(rows)} rounds had none" if without else "")
