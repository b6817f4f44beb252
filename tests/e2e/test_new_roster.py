"""A coordinator and four boards go on with new rosters while all of them run: one member is removed,
and comes back. Every sum is whole: none is lost to the change, and none is of two rosters."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from broker.authority.authority import Authority
from broker.cli.main import main
from broker.coordinator.history import Span, results
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.plan import GROUP, Plan
from tests.support.called import called

pytestmark = [pytest.mark.alone, pytest.mark.proof]

SLOTS = [("load", 0, 1000)]
READING = 100
WAIT_S = 300.0


def plan() -> Plan:
    columns = {f"b{number}": [[READING] * 400] for number in range(4)}
    return Plan(columns, SLOTS, rounds=400, interval=8, window=6, runtime="cpython", heap="", masks_target=6)


async def sums(fleet: Fleet, folder: Path, epoch: int, count: int) -> list[dict[str, Any]]:
    """Wait for `count` sums of an epoch, and return them."""
    async with asyncio.timeout(WAIT_S):
        while True:
            assert fleet.coordinator.returncode is None, "the coordinator has ended"
            found = [row for row in results(folder / "coordinator", None, Span(1000)) if row["epoch"] == epoch]
            if len([row for row in found if row["status"] == "complete"]) >= count:
                return found
            await asyncio.sleep(0.5)


def whole(rows: list[dict[str, Any]], members: int) -> None:
    """Check that each sum is of all who are not missing; a meter tells later what came too late."""
    for row in rows:
        if row["status"] == "complete":
            assert row["sums"][0] >= READING * (members - len(row["missing"])) and row["sums"][0] % READING == 0


async def renew(folder: Path, authority: Authority) -> int:
    """Sign the next roster, and hand it to the coordinator that runs."""
    public = (folder / "coordinator/coordinator.pub").read_text().strip()
    epoch, signed = authority.sign_roster(GROUP, public, SLOTS, "private-sum", "hum-2048")
    (folder / "next.cose").write_bytes(signed)
    command = ["coordinator", "adopt", f"{GROUP}=next.cose", "--json"]
    done = await asyncio.to_thread(called, main, "hum", folder, *command)
    accelerate.use_host_libraries()  # which a command takes back for the tests that follow it
    assert json.loads(done.stdout) == {"adopted": {GROUP: epoch}, "coordinator": "runs"}, done.stderr
    return epoch


async def _main(folder: Path) -> None:
    accelerate.use_host_libraries()
    fleet = Fleet(folder, plan(), lambda *_: None)
    await fleet.start(lambda done, total: None)
    try:
        authority = Authority(folder / "authority")
        whole(await sums(fleet, folder, 1, 2), 4)
        public = authority.members(GROUP)[3].public
        authority.remove("b3")
        second = await sums(fleet, folder, await renew(folder, authority), 2)
        whole(second, 3)
        assert not any("b3" in row["missing"] for row in second)
        authority.enrol(GROUP, "b3", public)
        third = await sums(fleet, folder, await renew(folder, authority), 3)
        whole(third, 4)
        everything = results(folder / "coordinator", GROUP, Span(1000))
        order = [row["epoch"] for row in everything]
        assert order == sorted(order)
        last = [row for row in everything if row["epoch"] == 1][-1]
        assert last["status"] == "complete", "the round in progress was ended by the change"
    finally:
        await fleet.stop()
    log = (folder / "coordinator.log").read_text()
    assert "epoch 2, 3 members; gone: b3" in log and "epoch 3, 4 members; new: b3" in log


def test_rosters_change_while_all_run(tmp_path: Path) -> None:
    try:
        asyncio.run(_main(tmp_path))
    finally:
        accelerate.install()
