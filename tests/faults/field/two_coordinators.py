"""Two coordinators run from one folder's copies, and neither says so.

It was moved to another machine, and the old service is still enabled. They end each other's
session every second, and their logs fill with lines about lost links.

What must hold: one line in a log names another coordinator; SIGTERM ends a coordinator in good
order.
"""

import asyncio
import shutil
import signal
import sys
from pathlib import Path
from tempfile import mkdtemp

from host_sim.fleet.child import Child
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.plan import GROUP
from tests.faults import ROOT
from tests.faults.field.restore_backup import INTERVAL_S, JOIN_S, beyond, plan
from tests.faults.verdict import Verdict

TOGETHER_S = 6 * INTERVAL_S


def start_from(fleet: Fleet, state: Path, log: Path) -> Child:
    """Start a coordinator from `state`, as Fleet starts its own."""
    arguments = ["--state", state, "--roster", f"{GROUP}={fleet.enrolled.rosters[GROUP]}", "--port", fleet.broker.port]
    arguments += ["--interval", INTERVAL_S, "--window", fleet.plan.window, "--rounds", fleet.plan.rounds]
    arguments += ["--patience", fleet.plan.patience, "--at-once"]
    if fleet.broker.credentials:
        arguments += ["--credentials", fleet.folder / "broker" / "credentials.json"]
    with log.open("wb") as file:
        command = [sys.executable, "-m", "broker", "coordinator", *map(str, arguments)]
        return Child(command, ROOT, file, file)


async def fault() -> list[Verdict]:
    fleet = Fleet(Path(mkdtemp()), plan(), lambda device, event, fields: None)
    logs = [fleet.folder / "coordinator.log", fleet.folder / "second.log"]
    second = None
    try:
        await fleet.start(lambda done, total: None)
        await beyond(fleet, 0, JOIN_S)
        assert fleet.coordinator
        fleet.coordinator.send_signal(signal.SIGTERM)
        ended = await fleet.coordinator.ended(JOIN_S)
        moved = fleet.folder / "moved"
        shutil.copytree(fleet.folder / "coordinator", moved)
        await fleet.start_coordinator()
        second = start_from(fleet, moved, logs[1])
        await asyncio.sleep(TOGETHER_S)
    finally:
        if second:
            second.reap()
        await fleet.stop()
    lines = [line for log in logs for line in log.read_text().splitlines()]
    links = sum("linked to" in line for line in lines)
    assert links >= 2, "the two were never linked"
    named = sum("another coordinator" in line.lower() for line in lines)
    seen = f"{links} links in {TOGETHER_S:.0f} s, {len(lines)} lines in the logs, {named} name another coordinator"
    return [
        Verdict(not named, seen, "told of the other"),
        Verdict(ended != 0, f"SIGTERM: exit status {ended}", "ended in good order"),
    ]
