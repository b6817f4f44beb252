"""`make faults`: run every fault, two at a time, and print one table of those that are still there.

Exit status: 0 when all scripts ran, whatever they found; 2 when one could not.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.faults import ROOT

FOLDERS = ("attacks", "field")
AT_ONCE = 2
LIMIT_S = 300  # for one script; the longest, with a fleet of its own, takes about two minutes
FAREWELL_S = 20  # for what a script has started to be stopped
STYLES = {"there": "red", "gone": "green", "broken": "bold yellow"}


@dataclass
class Row:
    """One line of the table; `state` is "there", "gone" or "broken"."""

    fault: str
    case: str
    state: str
    seen: str
    seconds: float


def faults() -> list[str]:
    """Return the names of all scripts, "folder.module"."""
    here = Path(__file__).parent
    return [f"{folder}.{path.stem}" for folder in FOLDERS for path in sorted((here / folder).glob("*.py"))]


def chosen(names: Iterable[str]) -> list[str]:
    """Return the scripts that `names` mean, with or without their folder; without names, all.
    Raises SystemExit."""
    every = faults()
    asked = [name.replace("/", ".").removesuffix(".py") for name in names]
    unknown = [name for name in asked if not any(name in (one, one.split(".")[1]) for one in every)]
    if unknown:
        print(f"faults: there is no {', '.join(unknown)}; there are {', '.join(every)}", file=sys.stderr)
        raise SystemExit(2)
    return [one for one in every if not asked or one in asked or one.split(".")[1] in asked]


async def _run(name: str, folder: Path) -> list[Row]:
    """Run one script in a process of its own; whatever it writes to a temporary folder is below
    `folder`."""
    temporary = folder / name
    temporary.mkdir()
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.one", name, cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    except TimeoutError:
        return [Row(name, "", "broken", f"not over after {LIMIT_S} s", LIMIT_S)]
    finally:
        await _end(process)
    seconds = round(time.monotonic() - begun, 1)
    try:
        found = json.loads(out)
    except ValueError:
        lines = err.decode(errors="replace").strip().splitlines()
        return [Row(name, "", "broken", lines[-1] if lines else f"ended with {process.returncode}", seconds)]
    return [Row(name, one["case"], "there" if one["present"] else "gone", one["seen"], seconds) for one in found]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let a script that still runs stop what it has started, and wait; then kill it."""
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), FAREWELL_S)
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def run_all(names: list[str]) -> list[Row]:
    """Run the scripts, and say on standard error how far this is."""
    progress = Console(stderr=True, highlight=False)
    turn = asyncio.Semaphore(AT_ONCE)
    rows: dict[str, list[Row]] = {}

    async def one(name: str) -> None:
        async with turn:
            rows[name] = await _run(name, folder)
        states = [row.state for row in rows[name]]
        said = ", ".join(f"{states.count(state)} {state}" for state in STYLES if state in states)
        progress.print(Text(f"{len(rows)}/{len(names)} {name}: {said}, {rows[name][0].seconds:.0f} s"), soft_wrap=True)

    with TemporaryDirectory(prefix="hum-faults-") as made:
        folder = Path(made)
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(one(name))
    return [row for name in names for row in rows[name]]


def table(rows: list[Row]) -> Table:
    """A table that fits 80 columns: a line for a script, or for each of its cases below its
    name."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    shown.add_column("fault", overflow="fold", max_width=30)
    shown.add_column("now", no_wrap=True)
    shown.add_column("seen", overflow="fold")
    last = folder = ""
    for row in rows:
        if row.fault.split(".")[0] != folder:
            folder = row.fault.split(".")[0]
            shown.add_row(Text(folder, style="bold"), "", "")
        name = row.fault.split(".")[1]
        if row.case and row.fault != last:
            shown.add_row(Text(name), "", "")
        last = row.fault
        first = Text(f"  {row.case}" if row.case else name)
        shown.add_row(first, Text(row.state, style=STYLES[row.state]), Text(row.seen))
    return shown


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Which faults are still there.")
    parser.add_argument("name", nargs="*", help="a script, as m2_starve; without a name, all of them")
    parser.add_argument("--json", action="store_true", help="one JSON object a line in place of the table")
    given = parser.parse_args()
    try:
        rows = asyncio.run(run_all(chosen(given.name)))
    except asyncio.CancelledError:
        print("faults: stopped", file=sys.stderr)
        return 130
    states = [row.state for row in rows]
    if given.json:
        for row in rows:
            print(json.dumps(asdict(row)))
    else:
        console = Console()
        console.print(table(rows))
        console.print(", ".join(f"{states.count(state)} {state}" for state in STYLES), highlight=False)
    return 2 if "broken" in states else 0


if __name__ == "__main__":
    sys.exit(_main())
