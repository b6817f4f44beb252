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
from broker.mosquitto.configuration import BrokerError
from host_sim import households
from host_sim.compiled import CompileError
from host_sim.demo import Demo, Row
from host_sim.display import Display
from host_sim.fleet import FleetError

MASKS_MOST = 24

app = typer.Typer(
    help="Hum's simulator: real boards' code on this machine.", no_args_is_help=True, add_completion=False
)


class OptionError(Exception):
    """An option's value is of no use. args[0] says what is."""


@app.callback()
def _commands() -> None:
    """Keep `demo` a command of its own, however many there are."""


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


def _check(boards: int, runtime: str, heap: str, seconds: tuple[float, float]) -> None:
    if not 2 <= boards <= MEMBERS_MOST:
        raise OptionError(f"--boards {boards}: a group has 2 to {MEMBERS_MOST} boards")
    if runtime not in ("micropython", "cpython"):
        raise OptionError(f"--runtime {runtime}: micropython or cpython")
    if not re.fullmatch(r"[1-9][0-9]{0,9}[kKmM]?", heap):
        raise OptionError(f"--heap {heap}: a size such as 160k")
    if not all(math.isfinite(value) for value in seconds):
        raise OptionError("--interval and --window: finite numbers of seconds")


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


@app.command()
def demo(
    boards: Annotated[int, typer.Option(help="How many boards, one household each.")] = 12,
    rounds: Annotated[int, typer.Option(help="How many rounds; round r sums column s[r mod 48].", min=1)] = 10,
    data: Annotated[
        Path, typer.Option(help="FILE.csv[.gz]: id, date, s00..s47 in Wh; a row is a board.")
    ] = households.DEFAULT,
    runtime: Annotated[
        str, typer.Option(help="micropython: a process each; cpython: agents in this process.")
    ] = "micropython",
    heap: Annotated[str, typer.Option(help="Heap of each MicroPython board.")] = "160k",
    interval: Annotated[float, typer.Option(help="Seconds between two rounds' openings.", min=0.1)] = 1.5,
    window: Annotated[float, typer.Option(help="Seconds that a round waits for contributions.", min=0.1)] = 30.0,
    output: Annotated[Path | None, typer.Option(help="Folder for logs and the picture; default out/demo-TIME.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON line a round, and a last one with ok, on standard output.")
    ] = False,
) -> None:
    """Run a broker, a coordinator and boards, and check every published sum. Exit status 0 only if all were exact."""
    _check(boards, runtime, heap, (interval, window))
    started = time.monotonic()
    fleet = households.load(data, boards)
    folder = _folder(output)
    options = {
        "rounds": rounds,
        "interval": interval,
        "window": window,
        "runtime": runtime,
        "heap": heap,
        "masks_target": min(rounds, MASKS_MOST),
    }

    async def run(display: Display) -> tuple[Demo, bool]:
        def on_row(row: Row) -> None:
            display.row(row)
            if as_json:
                print(row.to_json(), flush=True)

        _cancel_by_signal()
        running = Demo(folder, fleet, options, on_row, display.progress)
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
    verdict = "every published sum was exact" if ok else "NOT every round published an exact sum"
    print(f"{verdict}; median latency {median} ms; {seconds} s\npicture: {picture}", file=sys.stderr)
    raise typer.Exit(0 if ok else 1)


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 1."""
    try:
        app()
    except (OptionError, FleetError, BrokerError, CompileError, households.DataError) as error:
        raise SystemExit(f"hum-sim: {error}") from None
    except OSError as error:
        raise SystemExit(f"hum-sim: {error}") from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("hum-sim: stopped; nothing is left running", file=sys.stderr)
        raise SystemExit(130) from None
