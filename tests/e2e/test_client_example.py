"""docs/examples/read_sums.py as a reader would type it, with a real coordinator and a real
Mosquitto, in a folder that holds the result key only."""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.crypto import accelerate
from broker.coordinator.service import Service
from broker.transport.link import Link
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.broker.test_coordinator_service import PATIENT
from tests.broker.truth.boards_by_hand import board
from tests.support.hand_made import World

pytestmark = pytest.mark.alone

PROJECT = Path(__file__).parents[2]
EXAMPLE = PROJECT / "docs/examples/read_sums.py"
WAIT_S = 200.0


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def test_the_example_prints_a_sum_as_it_comes_and_the_last_one_when_it_comes_late(tmp_path: Path) -> None:
    world = World(tmp_path / "world", 4, PATIENT)
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": world.names})
    reader = tmp_path / "reader"
    reader.mkdir()
    shutil.copy(world.home.result_keys.path("main"), reader)

    async def example() -> str:
        """Run it, and return the first line that it prints."""
        arguments = [HOST, str(broker.port), "test", world.authority, broker.credentials["client"]]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, EXAMPLE, *arguments, cwd=reader, env=environment, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout
            return (await process.stdout.readline()).decode()
        finally:
            process.kill()
            await process.wait()

    async def main() -> list[str]:
        await broker.start()
        early = asyncio.create_task(example())
        try:
            async with asyncio.timeout(WAIT_S):
                link = Link(HOST, broker.port, "coordinator", broker.credentials["coordinator"], None)
                service = Service("test", [world.machine], world.home.storage, link)
                boards = (board(broker, member, 100 + member.index) for member in world.members.values())
                await asyncio.gather(service.run(), *boards)
                return [await early, await example()]
        finally:
            early.cancel()
            await asyncio.gather(early, return_exceptions=True)
            await broker.stop()

    told = asyncio.run(main())
    assert told == ["main 0 - {'load': 406} without []\n"] * 2
    assert [path.name for path in reader.iterdir()] == ["main.key"]
    world.close()
