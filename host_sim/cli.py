"""The `hum-sim` command: a fleet of boards on one machine."""

import asyncio
import json
import math
import re
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from agent.wire.messages import MEMBERS_MOST
from broker.authority import AUDIT_FROM
from broker.cli import Seal
from broker.mosquitto.configuration import BrokerError
from firmware.compiled import CompileError
from host_sim import households
from host_sim.demo import Demo, Row
from host_sim.display import Display
from host_sim.faults import Faults
from host_sim.figure_commands import FigureOptionError
from host_sim.figure_commands import add as add_figures
from host_sim.fleet import FleetError
from host_sim.overlay_commands import OverlayError, overlay
from host_sim.query_commands import query

MASKS_MOST = 24
# A late board's delay is longer than the window, and shorter than its patience with an unanswered ping.
LATE_WINDOW_MOST = 7.0
LATE_BY_S = 1.5
# Seconds of a round that each board costs two cores: its contribution and answer, and a power more to recover others.
LEAST_S = 3.0  # a round that is not over when the next one is due has no sum, and machines are slow at times
BOARD_S = {"micropython": 0.12, "cpython": 0.03}
RECOVERY_S = {"micropython": 0.45, "cpython": 0.05}
RECOVERY_LEAST_S = {"micropython": 3.0, "cpython": 0.5}
AUDIT_S = 5.0  # so long the others may wait for a vouch of one that was listed and killed

app = typer.Typer(
    help="Hum's simulator: real boards' code on this machine.", no_args_is_help=True, add_completion=False
)
bench = typer.Typer(help="Measurements: each against a baseline of the same run.", no_args_is_help=True)
app.add_typer(bench, name="bench")
app.command()(overlay)
add_figures(app, bench)
app.command("query")(query)


class OptionError(Exception):
    """An option's value is of no use. args[0] says what is."""


@app.callback()
@bench.callback()
def _commands() -> None:
    """Keep commands by name, however many there are."""


def _folder(output: Path | None) -> Path:
    folder = output or Path("out") / time.strftime("demo-%Y%m%d-%H%M%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise OptionError(f"--output {folder}: {error.strerror}") from None
    if used:
        raise OptionError(f"{folder} is not empty; choose another --output")
    return folder


def _check(boards: int, runtime: str, heap: str, cohort: int, faults: tuple[int, int]) -> None:
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
        raise OptionError(f"--kill {faults[0]} --late {faults[1]}: of {boards} boards one at least must be left")


def _timing(
    boards: int, runtime: str, kill: int, late: int, interval: float | None, window: float | None
) -> tuple[float, float]:
    """Return (interval, window) in seconds: what was asked for, else what the boards need on two cores."""
    for value in (interval, window):
        if value is not None and not math.isfinite(value):
            raise OptionError("--interval and --window: finite numbers of seconds")
    if window is None:
        window = 1.5 + boards / 16 if late else 30.0
    if late and window > LATE_WINDOW_MOST:
        raise OptionError(f"--window {window:g}: with --late at most {LATE_WINDOW_MOST:g} seconds")
    if interval is None:
        interval = max(LEAST_S, BOARD_S[runtime] * boards)
        if kill or late:
            interval += RECOVERY_LEAST_S[runtime] + RECOVERY_S[runtime] * boards
            interval += AUDIT_S if boards >= AUDIT_FROM else 0.0
        if late:
            interval += window
    return interval, window


def _cancel_by_signal() -> None:
    """Ctrl-C, SIGTERM and a closed terminal cancel the running task, once: no further one disturbs its stopping all parts."""
    task = asyncio.current_task()
    assert task
    pending = [task.cancel]

    def cancel() -> None:
        if pending:
            pending.pop()()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, cancel)


def _verdict(rows: list[Row], ok: bool) -> str:
    without = sum(row.sum is None for row in rows)
    if not ok:
        return "NOT every round published an exact sum"
    return "every published sum was exact" + (f", {without} of {len(rows)} rounds had none" if without else "")


@app.command()
def demo(
    boards: Annotated[int, typer.Option(help="How many boards, one household each.")] = 12,
    rounds: Annotated[
        int | None,
        typer.Option(
            help="How many rounds; round r sums column s[r mod 48]; default 10, 5 with --kill or --late.", min=1
        ),
    ] = None,
    data: Annotated[
        Path, typer.Option(help="FILE.csv[.gz]: id, date, s00..s47 in Wh; a row is a board.")
    ] = households.DEFAULT,
    runtime: Annotated[
        str, typer.Option(help="micropython: a process each; cpython: agents in this process.")
    ] = "micropython",
    heap: Annotated[str, typer.Option(help="Heap of each MicroPython board.")] = "192k",
    kill: Annotated[
        int, typer.Option(help="So many boards are killed in the middle of the second round, and stay dead.", min=0)
    ] = 0,
    late: Annotated[
        int,
        typer.Option(
            help="So many boards are too late for every round from the second on; each such round lasts its whole window.",
            min=0,
        ),
    ] = 0,
    cohort: Annotated[int, typer.Option(help="The most boards that share keys with each other.", min=4, max=64)] = 32,
    seal: Annotated[Seal, typer.Option(help="What opens: each cohort's sum, or only the whole fleet's.")] = Seal.COHORT,
    interval: Annotated[
        float | None,
        typer.Option(help="Seconds between two rounds' openings; default: what the boards need.", min=0.1),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            help="Seconds that a round waits for contributions, at most 4/5 of the interval; default 30, less with --late.",
            min=0.1,
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for logs and the picture; default out/demo-TIME.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON line a round, and a last one with ok, on standard output.")
    ] = False,
) -> None:
    """Run a broker, a coordinator and boards, and check every published sum against the truth.

    Exit status 0 only if every published sum was exact over the boards that it names, and every round published one; with
    --kill or --late, if any round did.
    """
    _check(boards, runtime, heap, cohort, (kill, late))
    rounds = rounds or (5 if kill or late else 10)
    seconds_apart, seconds_open = _timing(boards, runtime, kill, late, interval, window)
    started = time.monotonic()
    fleet = households.load(data, boards)
    folder = _folder(output)
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
    faults = Faults(kill, late, seconds_open + LATE_BY_S)

    async def run(display: Display) -> tuple[Demo, bool]:
        def on_row(row: Row) -> None:
            display.row(row)
            if as_json:
                print(row.to_json(), flush=True)

        _cancel_by_signal()
        running = Demo(folder, fleet, options, on_row, display.progress, display.say, faults)
        return running, await running.run()

    with Display(boards) as display:
        kind = f"MicroPython boards (heap {heap})" if runtime == "micropython" else "boards in this process"
        display.say(f"starting a broker, {boards} {kind} and the coordinator")
        display.say(f"logs and picture: {folder}")
        finished, ok = asyncio.run(run(display))
    picture = folder / "sum.png"
    from host_sim.chart import draw

    draw(picture, finished.rows, fleet.load, fleet.scale, boards)
    latencies = [row.latency_ms for row in finished.rows if row.latency_ms is not None]
    median = round(statistics.median(latencies), 1) if latencies else None
    seconds = round(time.monotonic() - started, 1)
    summary = {"ok": ok, "rounds": len(finished.rows), "boards": boards, "runtime": runtime}
    summary |= {"median_latency_ms": median, "seconds": seconds, "picture": str(picture)}
    if as_json:
        print(json.dumps(summary), flush=True)
    print(
        f"{_verdict(finished.rows, ok)}; median latency {median} ms; {seconds} s\npicture: {picture}", file=sys.stderr
    )
    raise typer.Exit(0 if ok else 1)


@app.command()
def years(
    rounds: Annotated[int, typer.Option(help="How many rounds go wrong; 35,040 are a year.", min=1)] = 35_000,
    boards: Annotated[int, typer.Option(help="How many boards.", min=3, max=8)] = 4,
    seed: Annotated[int, typer.Option(help="What goes wrong when follows from it.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Simulate years of boards: links and messages lost, reboots, power cuts in the middle of a flash operation.

    Exit status 0 only if energy in was energy out, no round had two ciphertexts or answers, and every published sum was exact.
    """
    from rich.console import Console

    from host_sim.years import simulate
    from host_sim.years_board import Violation

    started = time.monotonic()
    try:
        with Console(stderr=True).status("starting") as status:
            figures = simulate(rounds, seed, boards, progress=lambda done: status.update(f"round {done}"))
    except Violation as violation:
        raise OptionError(f"years: seed {seed}: {violation}") from None
    figures |= {"seed": seed, "seconds": round(time.monotonic() - started, 1)}
    if as_json:
        print(json.dumps(figures), flush=True)
        return
    for name, value in figures.items():
        lines = value.items() if isinstance(value, dict) else [("", value)]
        for reason, count in lines:
            label = f"{name}: {reason}" if reason else name
            print(f"{label:48} {count:>12,}")


@bench.command("threshold")
def bench_threshold(
    clients: Annotated[int, typer.Option(help="How many clients.", min=2, max=1000)] = 100,
    dimension: Annotated[int, typer.Option(help="Values of 16 bits a client.", min=1, max=1_000_000)] = 10_000,
    failures: Annotated[float, typer.Option(help="Part of the clients that fail.", min=0.0, max=0.33)] = 0.3,
    bits: Annotated[int, typer.Option(help="Size of N: 1024, as the paper's, or 2048.")] = 1024,
    cohort: Annotated[int, typer.Option(help="Most clients of a cohort; 0: all are one cohort.", min=0, max=1000)] = 0,
    workers: Annotated[int, typer.Option(help="Processes for the recovery of a wide vector.", min=1, max=64)] = 1,
    scale: Annotated[
        int, typer.Option(help="Measure the paper's method on this many blocks and scale; 0: all.", min=0)
    ] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Time one round with failed clients: Hum's arithmetic against the paper's, in the same run, every sum checked."""
    from rich.console import Console

    from host_sim.bench_threshold import measure, show
    from host_sim.threshold_inputs import BenchError, Setting

    if bits not in (1024, 2048):
        raise OptionError(f"--bits {bits}: 1024 or 2048")
    if 0 < cohort < 4:
        raise OptionError(f"--cohort {cohort}: 4 or more, or 0")
    try:
        with Console(stderr=True).status("starting") as status:
            figures = measure(Setting(clients, dimension, failures, bits, cohort), workers, scale, status.update)
    except BenchError as error:
        raise OptionError(f"bench threshold: {error}") from None
    if as_json:
        print(json.dumps(figures), flush=True)
    else:
        show(figures)


@bench.command("footprint")
def bench_footprint(
    rounds: Annotated[int, typer.Option(help="How many rounds the heap is watched, about 1.5 s each.", min=20)] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure what the agent takes of a board: .mpy files, live heap after joining, and whether the heap grows in many rounds."""
    from host_sim.bench_cohort import WrongRound
    from host_sim.bench_footprint import measure, show
    from host_sim.bench_peers import BoardLost

    try:
        figures = measure(rounds, lambda phase: print(phase, file=sys.stderr, flush=True))
    except (BoardLost, WrongRound) as error:
        raise OptionError(f"bench footprint: {error}") from None
    if as_json:
        print(json.dumps(figures), flush=True)
    else:
        show(figures)


@bench.command("audit")
def bench_audit(
    members: Annotated[list[int] | None, typer.Option(help="Size of the cohort, repeatable; 32 takes minutes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure what the roll-call audit costs: messages, bytes and message times of a round with it and without it."""
    from host_sim.bench_audit import SIZES, WrongSum, measure, show

    sizes = members or list(SIZES)
    for size in sizes:
        if not 3 <= size <= MEMBERS_MOST:
            raise OptionError(f"--members {size}: 3 to {MEMBERS_MOST}")
    try:
        figures = measure(sizes, lambda phase: print(phase, file=sys.stderr, flush=True))
    except WrongSum as error:
        raise OptionError(f"bench audit: {error}") from None
    if as_json:
        print(json.dumps(figures), flush=True)
    else:
        show(figures)


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 1."""
    try:
        app()
    except (
        OptionError,
        OverlayError,
        FigureOptionError,
        FleetError,
        BrokerError,
        CompileError,
        households.DataError,
    ) as error:
        raise SystemExit(f"hum-sim: {error}") from None
    except OSError as error:
        raise SystemExit(f"hum-sim: {error}") from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("hum-sim: stopped; nothing is left running", file=sys.stderr)
        raise SystemExit(130) from None
