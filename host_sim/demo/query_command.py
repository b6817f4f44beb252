"""`hum-sim query`: boards on a real broker answer queries, and die in the middle of them."""

import json
import shutil
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.protocols import QUERIES
from agent.wire.messages import MEMBERS_MOST
from agent.wire.queries import PERIOD_LEAST, PERIOD_MOST
from broker.cli.tables import some, told
from broker.coordinator.protocols.gossip.asking import HONEST_LEAST
from host_sim import ending
from host_sim.data import households
from host_sim.demo.query import Asked, QueryDemo, Row
from host_sim.gossip.byzantine import HABITS
from host_sim.options import Data, Heap, OptionError, Runtime, new_folder, say

BINS = 8
WIDTH = 80


def asked(name: str, fleet: households.Fleet) -> Asked:
    """Return the query called `name`, with parameters that suit the readings. Raises
    OptionError."""
    if name in ("sum", "count", "mean", "variance", "min", "max"):
        return Asked(name)
    if name == "top-k":
        return Asked(name, (3,), ("--k", "3"))
    if name == "histogram":
        width = max(max(row) for row in fleet.load) // BINS + 1
        edges = ",".join(str(width * i) for i in range(BINS + 1))
        return Asked(name, (0, width, BINS), ("--edges", edges))
    raise OptionError(f"--query {name}: sum, count, mean, variance, min, max, histogram or top-k")


def query(
    boards: Annotated[int, typer.Option(help="How many boards, one household each.", min=3, max=MEMBERS_MOST)] = 13,
    kill: Annotated[int, typer.Option(help="So many boards are killed as each query's Shuffle begins.", min=0)] = 0,
    queries: Annotated[
        list[str] | None, typer.Option("--query", help="A function to ask for; repeatable; default: sum.")
    ] = None,
    protocol: Annotated[str, typer.Option(help=f"{', '.join(QUERIES)}.")] = "gossip",
    tolerate: Annotated[int, typer.Option(help="How many boards may fail.", min=1, max=9)] = 2,
    byzantine: Annotated[
        str | None, typer.Option(help=f"The last board has a bad habit: {', '.join(HABITS)}. With gossip-bft only.")
    ] = None,
    period: Annotated[
        int, typer.Option(help="Milliseconds of a round with a dead partner.", min=PERIOD_LEAST, max=PERIOD_MOST)
    ] = 1500,
    epsilon: Annotated[float, typer.Option(help="Noise on each group's result, of a sum; 0: none.", min=0)] = 0,
    record_epsilon: Annotated[float, typer.Option(help="Paired noise on each record of a sum; 0: none.", min=0)] = 0,
    data: Data = households.DEFAULT,
    runtime: Runtime = "micropython",
    heap: Heap = "256k",
    output: Annotated[Path | None, typer.Option(help="Folder for logs; default out/query-TIME.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON line a query, and a last one with ok, on standard output.")
    ] = False,
) -> None:
    """Run a broker, a coordinator and boards, ask queries, and check each answer.

    Exit status 0 only if every answer was exact over the boards that lived (and those of the killed
    that it counts), but for the noise asked for.
    """
    _check(protocol, kill, tolerate, byzantine, runtime)
    if boards - kill < tolerate + HONEST_LEAST:
        raise OptionError(
            f"--boards {boards}: with --tolerate {tolerate} boards answer if {tolerate + HONEST_LEAST} live"
        )
    fleet = households.load(data, boards)
    wanted = _wanted(queries or ["sum"], fleet, (epsilon, record_epsilon), bool(byzantine))
    folder = new_folder(output, "query")
    habits = {f"b{boards:03d}": byzantine} if byzantine else {}
    options = {"habits": habits, "runtime": runtime, "heap": heap, "protocol": protocol, "parameters": f"t{tolerate}"}
    started = time.monotonic()
    say(f"starting a broker, {boards} boards and the coordinator; logs: {folder}")
    count, ok = _run(folder, fleet, options, kill, period, wanted, as_json)
    summary = {"ok": ok, "queries": count, "boards": boards, "protocol": protocol, "killed_each": kill}
    summary["seconds"] = round(time.monotonic() - started, 1)
    if as_json:
        print(json.dumps(summary), flush=True)
    kind = "within its noise" if epsilon or record_epsilon else "exact"
    closing = f"{'every' if ok else 'NOT every'} answer was {kind}; {summary['seconds']} s"
    print(closing, file=sys.stderr if as_json else sys.stdout, flush=True)
    raise typer.Exit(0 if ok else 1)


def _check(protocol: str, kill: int, tolerate: int, byzantine: str | None, runtime: str) -> None:
    """Raise OptionError for options that do not go together."""
    if protocol not in QUERIES:
        raise OptionError(f"--protocol {protocol}: {', '.join(QUERIES)}")
    if kill > tolerate:
        raise OptionError(f"--kill {kill}: at most as many as --tolerate, which is {tolerate}")
    if byzantine and (byzantine not in HABITS or protocol != "gossip-bft" or runtime != "micropython"):
        raise OptionError(f"--byzantine {byzantine}: {', '.join(HABITS)}, with --protocol gossip-bft on MicroPython")


def _wanted(names: list[str], fleet: households.Fleet, epsilons: tuple[float, float], byzantine: bool) -> list[Asked]:
    wanted = [asked(name, fleet) for name in names]
    epsilon, record_epsilon = epsilons
    if epsilon or record_epsilon:
        if any(one.function != "sum" for one in wanted):
            raise OptionError("--epsilon and --record-epsilon are checked for --query sum only")
        wanted = [replace(one, epsilon=epsilon, record_epsilon=record_epsilon) for one in wanted]
    if byzantine:  # a range that leaves nobody honest out
        wanted = [replace(one, options=(*one.options, "--between", "0", "1000000")) for one in wanted]
    return wanted


def _run(
    folder: Path,
    fleet: households.Fleet,
    options: dict[str, Any],
    kill: int,
    period: int,
    wanted: list[Asked],
    as_json: bool,
) -> tuple[int, bool]:
    """Ask all and print each answer. Returns how many there were, and whether all were exact."""
    rows: list[Row] = []

    def on_row(row: Row) -> None:
        rows.append(row)
        print(row.to_json() if as_json else _line(row), flush=True)

    async def run() -> bool:
        return await QueryDemo(folder, fleet, options, kill, period, on_row, say).run(wanted)

    ok = ending.run(run)
    return len(rows), ok


def _line(row: Row) -> str:
    """Return what a query gave, its verdict and its cost, on lines that are no longer than WIDTH or
    the screen."""
    if row.result is None:
        lines = [f"{row.function}: {row.error}"]
    else:
        within = f"within the noise, at most {row.noise_most}" if row.noise_most else "exact"
        lines = [
            f"{row.function}: {told({name: row.result[name] for name in row.expected})}",
            f"  {within if row.exact else f'WRONG, {told(row.expected)} is true'}",
            f"  {row.seconds} s, {row.messages} messages, {row.bytes_median} bytes a board",
            f"  killed: {some(row.killed) or 'none'}",
        ]
    width = min(WIDTH, shutil.get_terminal_size().columns)
    return "\n".join(part for line in lines for part in textwrap.wrap(line, width, subsequent_indent="    "))
