"""A protocol from outside, both halves: a round of letters between boards, on the simulated network
and with MicroPython boards on a real Mosquitto. Nothing in agent/, broker/, firmware/ or host_sim/
knows of it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.meters.simulated import SimulatedMeter
from agent.protocols.base.identity import Identity
from agent.runtime.flash.store import Store
from agent.runtime.key_pair import load_or_make
from broker.authority.authority import Authority
from broker.coordinator.home import Home
from broker.coordinator.schedule import Schedule
from broker.coordinator.service import Service
from broker.storage.storage import Storage
from broker.transport.link import Link
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from host_sim.virtual.board import SimulatedBoard
from host_sim.virtual.network import Network, VirtualClock
from host_sim.virtual.street import SimulatedCoordinator
from tests.toy_protocol.board import TOLD, Toy, register
from tests.toy_protocol.coordinator.declaration import registered
from tests.toy_protocol.coordinator.records import results

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"
SLOTS = [("letters", 0, 63)]
WAIT_S = 120.0


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    accelerate.use_host_libraries()
    register()
    with registered():
        yield
    accelerate.install()


def signed_for(folder: Path, publics: dict[str, bytes], least: int) -> str:
    """Make an authority, a coordinator and a roster of these boards; return the authority's key."""
    authority = Authority.init(folder / "authority", "test")
    for name, public in publics.items():
        authority.enrol("main", name, public.hex())
    home = Home.init(folder / "coordinator", "test", bytes.fromhex(authority.public))
    _, signed = authority.sign_roster("main", home.public, SLOTS, "toy", "none", least=least)
    home.adopt("main", signed)
    home.storage.close()
    return str(authority.public)


class Street:
    """Boards and a coordinator on the simulated network."""

    def __init__(self, folder: Path, boards: int, rounds: int) -> None:
        self.clock = VirtualClock()
        network = Network(self.clock, lambda receiver, topic: [0.01])
        privates = {f"b{i}": p256.generate(os.urandom) for i in range(boards)}
        publics = {name: p256.public_key(private) for name, private in privates.items()}
        pinned = bytes.fromhex(signed_for(folder, publics, 2))
        self.boards = [
            SimulatedBoard(
                network, Identity("test", "main", name, private, publics[name], pinned), SimulatedMeter([[0]]), Toy
            )
            for name, private in privates.items()
        ]
        schedule = Schedule(interval=10.0, window=6.0, patience=5.0, rounds=rounds)
        self.coordinator = SimulatedCoordinator(network, folder / "coordinator", schedule)
        self.coordinator.start()
        for board in self.boards:
            board.start()

    def counts(self) -> list[tuple[int, int, int | None]]:
        rows = self.coordinator.home.storage.read(results, "main", 9)
        return [(row["round"], row["boards"], row["letters"]) for row in rows]


def test_boards_write_to_each_other_and_their_letters_are_counted(tmp_path: Path) -> None:
    street = Street(tmp_path, 4, 3)
    street.clock.run(60)
    assert street.counts() == [(0, 4, 12), (1, 4, 12), (2, 4, 12)]
    assert all(board.machine.refused == {} for board in street.boards)


def test_a_board_that_dies_and_comes_back_tells_of_no_round_twice(tmp_path: Path) -> None:
    street = Street(tmp_path, 4, 4)
    street.clock.run(12)  # in round 1
    victim = street.boards[1]
    assert street.counts() == [(0, 4, 12), (1, 4, 12)]
    victim.crash()
    street.clock.run(33)  # round 2 has three boards, with two letters each, once the time for letters is over
    told = victim.store.get(TOLD)
    victim.start()
    assert victim.machine._told == (1, 1) and told == victim.store.get(TOLD)
    street.clock.run(60)
    assert street.counts() == [(0, 4, 12), (1, 4, 12), (2, 3, 6), (3, 4, 12)]


def test_a_tally_leaves_only_when_its_record_is_durable(tmp_path: Path) -> None:
    street = Street(tmp_path, 4, 1)
    victim = street.boards[2]
    victim.cut = lambda kind: kind == "put" and victim.machine._told == (1, 0)
    street.clock.run(40)
    assert not victim.running and victim.store.get(TOLD) is None
    assert street.counts() == [(0, 3, 9)]


def settings_of(folder: Path, name: str, authority: str, broker: MosquittoBroker) -> Path:
    path = folder / f"{name}.json"
    settings: dict[str, Any] = {
        "deployment": "test",
        "group": "main",
        "device": name,
        "authority": authority,
        "protocol": "toy",
        "host": HOST,
        "port": broker.port,
        "password": broker.credentials[name],
        "flash": str(folder / name),
        "columns": [[0]],
    }
    path.write_text(json.dumps(settings))
    return path


@pytest.mark.alone
def test_micropython_boards_run_it_on_a_real_broker(tmp_path: Path) -> None:
    names = ["b0", "b1", "b2"]
    publics = {name: bytes(load_or_make(Store(str(tmp_path / name)))[1]) for name in names}
    authority = signed_for(tmp_path / "operator", publics, 3)
    home = Home(tmp_path / "operator" / "coordinator")
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": names})
    boards: list[subprocess.Popen[bytes]] = []

    async def main() -> None:
        await broker.start()
        try:
            for name in names:
                path = settings_of(tmp_path, name, authority, broker)
                command = [str(MICROPYTHON), "-X", "heapsize=1m", "-m", "tests.toy_protocol", str(path)]
                with (tmp_path / f"{name}.log").open("wb") as log:
                    boards.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
            link = Link(HOST, broker.port, "coordinator", broker.credentials["coordinator"], None)
            (machine,) = home.machines(Schedule(0.5, 30.0, 60.0, rounds=2))
            async with asyncio.timeout(WAIT_S):
                await Service("test", [machine], home.storage, link).run()
        finally:
            for board in boards:
                board.kill()
                board.wait(10)
            await broker.stop()

    try:
        asyncio.run(main())
    except TimeoutError:
        raise AssertionError([(tmp_path / f"{name}.log").read_text()[-800:] for name in names]) from None
    home.storage.close()
    storage = Storage(tmp_path / "operator" / "coordinator" / "coordinator.db", [])
    rows = storage.read(results, "main", 5)
    assert [(row["round"], row["boards"], row["letters"]) for row in rows] == [(0, 3, 6), (1, 3, 6)]
    assert storage.refusals() == {}
    storage.close()
