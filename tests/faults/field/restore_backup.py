"""A coordinator whose database is put back from an older copy opens dead rounds for as long as the
copy is old.

The copy is a backup made while it ran, or the file without its write-ahead log, which holds no
rounds. The boards go on; a real broker, a coordinator's process and four boards take part.

What must hold: the first round after the restoration has its sum.
"""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from host_sim.fleet.fleet import Fleet
from host_sim.fleet.plan import Plan
from tests.faults import ROOT
from tests.faults.verdict import Verdict

BOARDS = 4
INTERVAL_S = 4.0
COPIED, LOST = 2, 5  # rounds
JOIN_S = 90


def plan() -> Plan:
    columns = {f"b{index:03d}": [[100 * (index + 1) + row for row in range(48)]] for index in range(BOARDS)}
    return Plan(
        columns=columns, slots=[("load", 0, 100000)], rounds=30, interval=INTERVAL_S, window=INTERVAL_S * 0.7,
        runtime="cpython", heap="192k", masks_target=8, patience=120,
    )  # fmt: skip


def results(state: Path) -> list[dict[str, Any]]:
    """Return what `hum result` shows of the rounds that are closed, the first one first."""
    command = [sys.executable, "-m", "broker", "result", "--state", str(state), "--json", "--last", "40"]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    rows = [json.loads(line) for line in shown.stdout.splitlines() if line.startswith("{")]
    return sorted(rows, key=lambda row: row["round"])


async def beyond(
    fleet: Fleet, number: int, seconds: float, statuses: Sequence[str] = ("complete", "incomplete", "invalid")
) -> list[dict[str, Any]]:
    """Wait for a round above `number` to be closed with one of `statuses`; return all such. Raises
    AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rows = [row for row in results(fleet.folder / "coordinator") if row["round"] > number]
        rows = [row for row in rows if row["status"] in statuses]
        if rows:
            return rows
        assert fleet.coordinator and fleet.coordinator.returncode is None, "the coordinator has ended"
        await asyncio.sleep(INTERVAL_S / 4)
    raise AssertionError(f"no such round after {number} within {seconds:.0f} s")


def copy(database: Path, to: Path, whole: bool) -> None:
    if not whole:
        shutil.copy(database, to)
        return
    opened = sqlite3.connect(database)
    opened.execute("VACUUM INTO ?", (str(to),))
    opened.close()


async def restored(case: str, whole: bool) -> Verdict:
    fleet = Fleet(Path(mkdtemp()), plan(), lambda device, event, fields: None)
    state = fleet.folder / "coordinator"
    database, backup = state / "coordinator.db", fleet.folder / "backup.db"
    try:
        await fleet.start(lambda done, total: None)
        await beyond(fleet, COPIED - 1, JOIN_S)
        copy(database, backup, whole)
        rows = await beyond(fleet, LOST - 1, JOIN_S, ["complete"])  # the control
        assert fleet.coordinator
        fleet.coordinator.kill()
        await fleet.coordinator.ended(JOIN_S)
        for end in ("-wal", "-shm"):
            database.with_name(database.name + end).unlink(missing_ok=True)
        shutil.copy(backup, database)
        held = results(state)
        last = held[-1]["round"] if held else -1
        await fleet.start_coordinator()
        first = (await beyond(fleet, last, JOIN_S))[0]
    finally:
        await fleet.stop()
    kept = f"rounds up to {last}" if held else "no round"
    seen = f"the copy holds {kept}; lost after {rows[-1]['round']}; then round {first['round']} is {first['status']}"
    return Verdict(first["status"] != "complete", seen, case)


async def fault() -> list[Verdict]:
    return [await restored("backup", True), await restored("without its log", False)]
