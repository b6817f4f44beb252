"""What an operator's mistakes and a full disk do to a round at a real Mosquitto: one clear line, and
nothing that was receipted is lost."""

import asyncio
import logging
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from agent.crypto import accelerate
from agent.wire import coordination
from broker.cli.coordinator import _serve, _until_told
from broker.coordinator import linking
from broker.coordinator.home import Home, HomeError
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.schedule import Schedule
from broker.coordinator.service import Service
from broker.transport.link import Link
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.broker.truth.boards_by_hand import board
from tests.support.hand_made import World

pytestmark = pytest.mark.proof

WAIT_S = 200.0
PATIENT = Schedule(interval=1000, window=600, patience=600, rounds=1, answers=600)


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Disk:
    """A disk that takes no more pages of a database from fill() to make_room(): SQLite says that it
    is full."""

    def __init__(self, world: World) -> None:
        self._is_full = False
        event.listen(world.home.storage._engine, "checkout", self._limit)

    def fill(self) -> None:
        self._is_full = True

    def make_room(self) -> None:
        self._is_full = False

    def _limit(self, connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={1 if self._is_full else 1_000_000}")


def contributions(world: World) -> int:
    return len(world.home.storage.read(reading.saved, "main", 1).open_contributions)


@asynccontextmanager
async def boards(broker: MosquittoBroker, world: World) -> Any:
    tasks = [asyncio.create_task(board(broker, member, 100 + member.index)) for member in world.members.values()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_disk_that_fills_up_within_a_round_loses_nothing_that_was_receipted(tmp_path: Path) -> None:
    world = World(tmp_path / "world", 12, PATIENT)
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": world.names})
    disk = Disk(world)
    kept: list[int] = []

    async def main() -> None:
        await broker.start()
        link = Link(HOST, broker.port, "coordinator", broker.credentials["coordinator"], None)
        async with AsyncExitStack() as stack, asyncio.timeout(WAIT_S):
            stack.push_async_callback(broker.stop)
            async with boards(broker, world):
                running = asyncio.create_task(Service("test", [world.machine], world.home.storage, link).run())
                while not contributions(world) and not running.done():
                    await asyncio.sleep(0.005)
                disk.fill()  # in mid-round
                with pytest.raises(OperationalError, match="database or disk is full"):
                    await running
            kept.append(contributions(world))
            disk.make_room()
            async with boards(broker, world):
                await Service("test", [world.restart()], world.home.storage, link).run()

    asyncio.run(main())
    assert 0 < kept[0] < 12
    (row,) = world.home.storage.read(reading.results, "main", 2)
    assert (row["status"], row["missing"], row["sums"]) == (coordination.COMPLETE, [], [sum(range(100, 112))])
    world.close()


def test_a_full_disk_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    world = World(tmp_path / "world", 4, PATIENT)
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": world.names})
    disk = Disk(world)

    async def start() -> None:
        await broker.start()

    with asyncio.Runner() as runner:
        runner.run(start())
        link = Link(HOST, broker.port, "coordinator", broker.credentials["coordinator"], None)
        service = Service("test", [world.machine], world.home.storage, link)
        world.arrive()
        disk.fill()
        world.home.storage._engine.dispose()
        service._commits.note_health({f"b{at}": (1.0, {"phase": "x" * 4000}) for at in range(200)})
        with pytest.raises(HomeError) as caught:
            _until_told(world.home, _serve(service, "test", link, False, []))
        runner.run(broker.stop())
    line = str(caught.value)
    assert "coordinator.db: database or disk is full; nothing that was receipted is lost" in line
    assert "\n" not in line
    world.close()


def test_two_coordinators_by_mistake_are_named_and_the_second_stands_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {"SHORT_S": 1.5, "RECONNECT_S": 0.2, "TRIAL_S": 0.6, "AWAY_S": 2.0}.items():
        monkeypatch.setattr(linking, name, value)
    caplog.set_level(logging.INFO)
    world = World(tmp_path / "world", 4, PATIENT)
    world.home.storage.close()
    shutil.copytree(tmp_path / "world/coordinator", tmp_path / "moved")
    other = Home(tmp_path / "moved")
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": world.names})

    async def main() -> None:
        await broker.start()
        link = Link(HOST, broker.port, "coordinator", broker.credentials["coordinator"], None)
        async with AsyncExitStack() as stack, asyncio.timeout(WAIT_S):
            stack.push_async_callback(broker.stop)
            first = asyncio.create_task(Service("test", [world.machine], world.home.storage, link).run())
            await asyncio.sleep(2.5)  # it has held its link
            second = asyncio.create_task(Service("test", other.machines(PATIENT), other.storage, link).run())
            await asyncio.sleep(3.0)
            async with boards(broker, world):
                await first  # its round has its sum all the same
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)

    asyncio.run(main())
    named = [record for record in caplog.records if "another coordinator running" in record.getMessage()]
    assert 1 <= len(named) <= 2 and {record.levelno for record in named} == {logging.ERROR}
    (row,) = world.home.storage.read(reading.results, "main", 2)
    assert (row["status"], row["sums"]) == (coordination.COMPLETE, [406])
    assert other.storage.read(reading.results, "main", 2) == []
    assert not [record for record in caplog.records if "pending publish" in record.getMessage()]
    world.close()
    other.storage.close()
