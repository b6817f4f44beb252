"""A protocol from outside on the operator's side: nothing but its declaration is known of it to
authority, home, storage, service and broker."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from agent.crypto import accelerate, p256
from agent.wire import topics
from agent.wire.envelope import Context, Envelope, seal
from broker.authority.authority import Authority
from broker.authority.errors import AuthorityError
from broker.coordinator.actions import Publish
from broker.coordinator.home import Home, HomeError
from broker.coordinator.protocols import registry
from broker.coordinator.schedule import Schedule
from broker.coordinator.service import Service
from broker.storage.storage import Storage
from broker.transport.link import Link
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.toy_protocol import wire
from tests.toy_protocol.coordinator.declaration import TOY, registered
from tests.toy_protocol.coordinator.machine import Toy, result_of
from tests.toy_protocol.coordinator.records import OpenRound, results

NAMES = ["b0", "b1", "b2"]
SLOTS = [("letters", 0, 63)]
SCHEDULE = Schedule(interval=10.0, window=4.0, patience=20.0, rounds=2)
WAIT_S = 200.0


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    accelerate.use_host_libraries()
    with registered():
        yield
    accelerate.install()


class World:
    """A coordinator's folder with a roster of the toy protocol, its machine, and its members'
    keys."""

    def __init__(self, folder: Path, least: int = 2) -> None:
        self.authority = Authority.init(folder / "authority", "test")
        self.privates = {name: p256.generate(os.urandom) for name in NAMES}
        for name, private in self.privates.items():
            self.authority.enrol("main", name, p256.public_key(private).hex())
        self.home = Home.init(folder / "coordinator", "test", bytes.fromhex(self.authority.public))
        self.coordinator = bytes.fromhex(self.home.public)
        _, signed = self.authority.sign_roster("main", self.home.public, SLOTS, "toy", "none", least=least)
        self.home.adopt("main", signed)
        self.restart()

    def restart(self) -> Toy:
        (machine,) = self.home.machines(SCHEDULE)
        assert isinstance(machine, Toy)
        self.machine = machine
        return machine

    def sealed(self, name: str, kind: str, round: int, plain: bytes) -> bytes:
        scope = self.machine.scope
        key = wire.up_key(p256.ecdh(self.privates[name], self.coordinator), scope.digest, name)
        return bytes(seal(key, wire.nonce(kind, round), scope.up(kind, round, name), plain))

    def hello(self, name: str) -> bytes:
        return self.sealed(name, wire.HELLO, 0, wire.hello())

    def tally(self, name: str, round: int, letters: int) -> bytes:
        return self.sealed(name, wire.TALLY, round, wire.tally(letters))

    def do(self, actions: list[Any]) -> list[Publish]:
        """Record what is to be recorded, and return what is to be published."""
        self.home.storage.commit([action for action in actions if not isinstance(action, Publish)], {})
        return [action for action in actions if isinstance(action, Publish)]

    def open(self, now: float = 0.0) -> list[Publish]:
        said = self.do(self.machine.link_up(now))
        for name in NAMES:
            said += self.do(self.machine.message(name, wire.HELLO, self.hello(name), now))
        return said


def topic(kind: str) -> str:
    return f"hum/v1/test/g/main/{kind}"


def test_a_round_of_letters_is_counted_and_published_once_all_have_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    opening = [said for said in world.open() if said.topic == topic("toy")][-1]
    parsed = Envelope(opening.payload)
    payload = parsed.verify(world.coordinator, Context("test", "toy", "main", 1, 0, "coordinator", ""))
    assert opening.retain and wire.read_opening(payload) == (world.machine.scope.digest, 2)
    for name in NAMES[:2]:
        assert world.do(world.machine.message(name, wire.TALLY, world.tally(name, 0, 2), 1.0)) == []
    result, cleared = world.do(world.machine.message("b2", wire.TALLY, world.tally("b2", 0, 1), 1.0))
    assert result_of(world.machine.scope, world.coordinator, result.payload) == (0, 3, 5)
    assert (result.topic, cleared) == (topic("result"), Publish(topic("toy"), b"", retain=True))
    (row,) = world.home.storage.read(results, "main", 5)
    assert (row["round"], row["boards"], row["letters"]) == (0, 3, 5)
    assert world.machine.refused == {} and (world.machine.phase, world.machine.next_round) == ("idle", 1)
    world.home.storage.close()


def test_of_fewer_boards_than_the_roster_wants_there_is_no_count(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.open()
    world.machine.message("b0", wire.TALLY, world.tally("b0", 0, 2), 1.0)
    assert world.do(world.machine.tick(3.9)) == []
    result, _ = world.do(world.machine.tick(4.0))
    assert result_of(world.machine.scope, world.coordinator, result.payload) == (0, 1, None)
    world.home.storage.close()


def test_what_is_not_of_the_protocol_is_refused_and_counted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.open()
    world.machine.message("b0", wire.TALLY, world.tally("b0", 0, 2), 1.0)
    for reason, device, kind, payload in (
        ("duplicate", "b0", wire.TALLY, world.tally("b0", 0, 2)),
        ("conflict", "b0", wire.TALLY, world.tally("b0", 0, 1)),
        ("early", "b1", wire.TALLY, world.tally("b1", 1, 1)),
        ("malformed", "b1", wire.TALLY, world.tally("b1", 0, 3)),
        ("bad-tag", "b1", wire.TALLY, world.tally("b2", 0, 1)),
        ("not-a-member", "b9", wire.TALLY, world.tally("b2", 0, 1)),
        ("oversized", "b1", wire.TALLY, bytes(257)),
        ("wrong-topic", "b1", "contribution", world.tally("b1", 0, 1)),
    ):
        world.machine.refused.clear()
        assert world.machine.message(device, kind, payload, 1.0) == []
        assert world.machine.refused == {reason: 1}, reason
    world.home.storage.close()


def test_a_restart_takes_up_the_round_and_repeats_what_is_retained(tmp_path: Path) -> None:
    world = World(tmp_path)
    opening = [said for said in world.open() if said.topic == topic("toy")][-1]
    said = world.do(world.restart().link_up(50.0))
    assert [one.payload for one in said if one.topic == topic("toy")] == [opening.payload]
    world.do(world.machine.tick(54.0))
    result = [one for one in world.do(world.restart().link_up(60.0)) if one.topic == topic("result")]
    assert result_of(world.machine.scope, world.coordinator, result[0].payload) == (0, 0, None)
    assert (world.machine.phase, world.machine.next_round) == ("idle", 1)
    world.home.storage.close()


def test_the_authority_signs_what_the_protocol_can_run_with_and_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path)
    for parameters, options, message in (
        ("hum-2048", {"least": 2}, "none is wanted"),
        ("none", {"least": 4}, "no more than there are members"),
        ("none", {"least": 0}, "make no roster"),
        ("none", {"cohort": 4}, "toy takes no cohort"),
    ):
        with pytest.raises(AuthorityError, match=message):
            world.authority.sign_roster("main", world.home.public, SLOTS, "toy", parameters, **options)
    world.home.storage.close()


def test_without_its_registration_it_is_unknown(tmp_path: Path) -> None:
    world = World(tmp_path)
    signed = world.machine.scope.signed_roster
    registry.unregister(TOY)
    try:
        with pytest.raises(AuthorityError, match="no protocol is called 'toy'"):
            world.authority.sign_roster("main", world.home.public, SLOTS, "toy", "none")
        for refused in (lambda: world.home.adopt("main", signed), lambda: world.home.machines(SCHEDULE)):
            with pytest.raises(HomeError, match="names the protocol toy, which is unknown here"):
                refused()
        Storage(tmp_path / "coordinator" / "coordinator.db", registry.schemas()).close()  # its tables are left alone
    finally:
        registry.register(TOY)
    assert world.home.machines(SCHEDULE)
    world.home.storage.close()


def test_its_table_is_brought_from_version_1_to_2_beside_those_of_other_protocols(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    first = [*(one for one in registry.schemas() if one.name != "toy"), replace(TOY.schema, migrations=())]
    storage = Storage(path, first)
    storage.commit([OpenRound("main", 1, 0, b"opening")], {})
    storage.close()
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE toy_rounds DROP COLUMN boards")
    database.close()
    storage = Storage(path, registry.schemas())
    assert storage.read(TOY.saved, "main", 1).opening == b"opening"
    storage.close()
    with sqlite3.connect(path) as database:
        versions = dict(database.execute("SELECT * FROM versions").fetchall())
        assert database.execute("SELECT boards FROM toy_rounds").fetchall() == [(0,)]
    database.close()
    assert versions == {"coordinator": 1} | {one.name: one.version for one in registry.schemas()}
    assert versions["toy"] == 2


@pytest.mark.alone
def test_the_service_runs_it_on_a_real_broker(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": NAMES})

    async def board(name: str) -> None:
        up = str(topics.up("test", "main", name, ""))
        credentials = {"username": name, "password": broker.credentials[name]}
        async with aiomqtt.Client(HOST, broker.port, timeout=WAIT_S, **credentials) as link:
            await link.subscribe(topic("toy"), qos=1)
            await link.publish(up + wire.HELLO, world.hello(name), qos=1, retain=True)
            async for message in link.messages:
                assert isinstance(message.payload, bytes)
                if message.payload:
                    number = Envelope(message.payload).round
                    await link.publish(up + wire.TALLY, world.tally(name, number, 2), qos=1)
                    if number == 1:
                        return

    async def main() -> None:
        await broker.start()
        try:
            link = Link(HOST, broker.port, "coordinator", broker.credentials["coordinator"], None)
            (machine,) = world.home.machines(Schedule(0.5, 10.0, 20.0, rounds=2))
            service = Service("test", [machine], world.home.storage, link)
            async with asyncio.timeout(WAIT_S):
                await asyncio.gather(service.run(), *(board(name) for name in NAMES))
        finally:
            await broker.stop()

    asyncio.run(main())
    rows = world.home.storage.read(results, "main", 5)
    assert [(row["round"], row["boards"], row["letters"]) for row in rows] == [(0, 3, 6), (1, 3, 6)]
    world.home.storage.close()
