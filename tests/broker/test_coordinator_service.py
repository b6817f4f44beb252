"""The coordinator as a process over a real Mosquitto: a round in which a board's last will is
heard, and input of no use is counted."""

import asyncio
import socket
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError

from agent.crypto import accelerate
from agent.runtime.net import mqtt_packets
from agent.wire import coordination, messages
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.schedule import Schedule
from broker.coordinator.service import Service
from broker.transport.link import Link, LinkError
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.broker.truth.boards_by_hand import arrive, board, client
from tests.support.hand_made import ROUND, Member, World

pytestmark = pytest.mark.alone

PATIENT = Schedule(interval=1000, window=600, patience=600, rounds=1, answers=600)
WAIT_S = 200.0


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


async def dying_board(broker: MosquittoBroker, member: Member) -> None:
    """Be ready, hear the opening, talk nonsense, and die: the broker publishes the last will."""
    state = f"hum/v1/test/dev/{member.name}/state"
    async with client(broker, member.name) as link:
        await arrive(link, member)
        async for message in link.messages:
            assert isinstance(message.payload, bytes)
            if message.payload and message.topic.matches(ROUND):
                break
            if message.payload:
                member.enter(message.payload)
                await link.publish(f"hum/v1/test/g/main/up/{member.name}/ready", member.ready(), qos=1, retain=True)
        await link.publish(state, b"no presence", qos=1)
        await link.publish(f"hum/v1/test/g/main/up/{member.name}/whatever", b"", qos=1)
        await link.publish(f"hum/v1/test/g/other/up/{member.name}/ready", b"x", qos=1)
    password, will = broker.credentials[member.name], (state, messages.presence(False), 1, True)
    with socket.create_connection((HOST, broker.port), WAIT_S) as raw:
        raw.sendall(mqtt_packets.connect("dying", 60, True, user=member.name, password=password, will=will))
        assert raw.recv(4)[3] == 0


def test_a_last_will_ends_the_waiting_and_the_sum_is_recovered(tmp_path: Path) -> None:
    world = World(tmp_path / "world", 4, PATIENT)
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": world.names})
    with (tmp_path / "broker" / "access").open("a") as rules:
        rules.write("user b0\ntopic write #\n")  # as of a broker that lets a board say anything

    async def main() -> None:
        await broker.start()
        try:
            link = Link(HOST, broker.port, "coordinator", broker.credentials["coordinator"], None)
            service = Service("test", [world.machine], world.home.storage, link)
            b0, *others = world.members.values()
            async with asyncio.timeout(WAIT_S):
                boards = (board(broker, member, 100 + member.index) for member in others)
                await asyncio.gather(service.run(), dying_board(broker, b0), *boards)
        finally:
            await broker.stop()

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < WAIT_S < PATIENT.window
    (row,) = world.home.storage.read(reading.results, "main", 2)
    assert (row["status"], row["missing"], row["sums"]) == (coordination.COMPLETE, ["b0"], [306])
    # "whatever" is nothing that the coordinator listens to.
    assert world.home.storage.refusals() == {"malformed": 1, "unknown-group": 1}
    world.close()


@pytest.mark.parametrize("error", [sqlite3.OperationalError("full"), SQLAlchemyError("full")], ids=["record", "rounds"])
def test_a_database_that_fails_ends_it_though_leaving_the_broker_fails_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The blind signer's record is no less a database: to go on would be to forget what was
    signed."""

    @asynccontextmanager
    async def lost(_service: Service) -> AsyncIterator[None]:
        try:
            yield
        finally:
            raise LinkError("gone")

    async def fail(_service: Service, _client: object) -> None:
        raise error

    monkeypatch.setattr(Service, "_connect", lost)
    monkeypatch.setattr(Service, "_serve", fail)
    world = World(tmp_path, 4)
    service = Service("test", [world.machine], world.home.storage, Link(HOST, 1, None, None, None))
    with pytest.raises(type(error), match="full"):
        asyncio.run(asyncio.wait_for(service.run(), WAIT_S))
    world.close()


def test_whose_answers_disagree_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path, 7, replace(PATIENT, interval=1e9, answers=1e9))  # on the clock that the service has
    roll = world.call()
    service = Service("test", [world.machine], world.home.storage, Link(HOST, 1, None, None, None))
    sent = world.answers(roll) | {"b2": world.members["b2"].answer(roll, blinding_off=10**30)}

    async def main() -> None:
        commits = asyncio.create_task(service._commits.run())
        for name, payload in sent.items():
            service._perform(world.machine, world.machine.message(name, "answer", payload, 1.0))
            async with asyncio.timeout(WAIT_S):
                while service._jobs.under_way:
                    await asyncio.sleep(0.01)
        service._powers.close()
        service._commits.end()
        await commits

    asyncio.run(main())
    (line,) = [record.message for record in caplog.records if "round 0" in record.message]
    assert line.startswith("round 0 of main: complete, 7 of 7 in ")
    assert line.endswith("; answers disagree: b0, b1, b3, b4, b5, b6 against b2")
    assert world.home.storage.refusals() == {"answers-disagree": 1}
    world.close()


def test_a_commit_that_fails_ends_it_and_nothing_is_published_that_was_to_follow_it(tmp_path: Path) -> None:
    world = World(tmp_path / "world", 4, PATIENT)
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": world.names})
    heard: list[bytes] = []

    async def listen() -> None:
        async with client(broker, "client") as link:
            await link.subscribe(ROUND, qos=1)
            async for message in link.messages:
                assert isinstance(message.payload, bytes)
                heard.append(message.payload)

    async def main() -> None:
        await broker.start()
        boards = (board(broker, member, 1) for member in world.members.values())
        others = [asyncio.create_task(work) for work in (listen(), *boards)]
        try:
            link = Link(HOST, broker.port, "coordinator", broker.credentials["coordinator"], None)
            service = Service("test", [world.machine], world.home.storage, link)
            with sqlite3.connect(tmp_path / "world" / "coordinator" / "coordinator.db") as database:
                database.execute("DROP TABLE rounds")
            database.close()
            async with asyncio.timeout(WAIT_S):
                with pytest.raises(SQLAlchemyError, match="no such table: rounds"):
                    await service.run()
            await asyncio.sleep(0.2)
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await broker.stop()

    asyncio.run(main())
    assert [payload for payload in heard if payload] == []
    world.close()


def test_what_is_recorded_when_it_is_cancelled_is_durable(tmp_path: Path) -> None:
    """Ctrl-C cancels run(): what machines have asked to be recorded by then is written first."""
    world = World(tmp_path, 4, PATIENT)
    world.first_set()
    service = Service("test", [world.machine], world.home.storage, Link(HOST, 1, None, None, None))
    slow = threading.Event()
    commit = world.home.storage.commit

    def slowly(*arguments: Any) -> None:
        slow.wait(WAIT_S)
        commit(*arguments)

    world.home.storage.commit = slowly  # type: ignore[method-assign]  # a disk that is slow

    async def main() -> None:
        running = asyncio.create_task(service.run())
        await asyncio.sleep(0.1)
        for name, member in world.members.items():
            service._perform(world.machine, world.machine.message(name, "ready", member.ready(), 0.0))
            await asyncio.sleep(0.05)  # the first is at it, the others wait
        running.cancel()
        await asyncio.sleep(0.1)
        assert not running.done()
        slow.set()
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    assert set(world.home.storage.read(reading.saved, "main", 1).masks_until) == set(world.names)
    world.close()
