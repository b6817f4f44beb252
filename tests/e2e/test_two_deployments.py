"""Two deployments announce themselves in the network that this machine has an address in: boards
join their own, and find it again when its broker is gone for good and it is to be had at another
port."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.meters.simulated import SimulatedMeter
from agent.runtime.flash.store import Store
from agent.runtime.key_pair import load_or_make
from agent.runtime.net import discovery
from agent.runtime.start import assemble
from agent.runtime.supervisor import Supervisor
from agent.wire import coordination
from broker.authority.authority import Authority
from broker.deploy.mosquitto import configuration
from broker.deployment.folder import Deployment
from broker.deployment.setting_up import Asked, set_up
from broker.transport.announce import own_addresses
from host_sim.fleet.pace import pace
from tests.support.mosquitto_process import free_port
from tests.support.processes import running

pytestmark = [pytest.mark.alone, pytest.mark.proof]

PROJECT = Path(__file__).parents[2]
READINGS = {"attic": 300, "garage": 400, "kitchen": 350}
INTERVAL = 2 * round(pace())
WAIT_S = 300.0


class Up:
    """The deployment `name` below `folder`, with members of these public keys, and its `hum up`."""

    def __init__(self, folder: Path, name: str, labels: list[str], keys: dict[str, str], address: str) -> None:
        self.address = address
        self.made = set_up(folder / name, Asked(name, address, free_port(), "main", ["load:0:1000"]))[0]
        self._change("# labels = []   #", f"labels = {json.dumps(labels)}  #")
        self._change("# at_once = false", "at_once = true")
        self._change("# interval = 900", f"interval = {INTERVAL}")
        self._change("# window = 60", f"window = {INTERVAL * 0.7}")
        self._change("# enabled = true", "enabled = false")
        assert self.made.authority
        authority = Authority(self.made.authority)
        for device, key in keys.items():
            authority.enrol("main", device, key)
        slots = self.made.settings.groups["main"].ranges()
        public = self.made.coordinator_public()
        _, signed = authority.sign_roster("main", public, slots, "private-sum", "hum-2048")
        self.made.roster("main").write_bytes(signed)
        self.passwords = configuration.write(
            self.made.mosquitto, name, authority.groups(), "0.0.0.0", self.port, self.made.tls
        )

    def _change(self, before: str, after: str) -> None:
        text = self.made.file.read_text()
        assert before in text
        self.made.file.write_text(text.replace(before, after, 1))
        self.made = Deployment.find(self.made.folder)

    @property
    def port(self) -> int:
        return self.made.settings.broker.port

    @property
    def log(self) -> str:
        return (self.made.folder.parent / f"{self.made.name}.log").read_text()

    def start(self) -> None:
        command = [sys.executable, "-m", "broker", "up", "--dir", str(self.made.folder)]
        with (self.made.folder.parent / f"{self.made.name}.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log, start_new_session=True)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for number in running(self.made.folder):
            os.kill(number, signal.SIGKILL)

    def move(self) -> None:
        """From now on its broker is to be had at another port."""
        self._change(f"port = {self.port}", f"port = {free_port()}")

    def sums(self) -> list[Any]:
        path = self.made.coordinator / "coordinator.db"
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db,
        ):
            found = db.execute("SELECT sums FROM rounds WHERE status = ?", [coordination.COMPLETE]).fetchall()
            return [json.loads(text) for (text,) in found]
        return []


async def until(condition: Callable[[], object], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.1)


def asked_at(address: str) -> Callable[..., Any]:
    """As discovery.find, in the network that has `address`: a board has one network only."""

    async def find(deployment: str, timeout_s: float, labels: list[str], refuse: Callable[[str], object]) -> Any:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            return await discovery.ask(connection, discovery.GROUP, deployment, timeout_s, labels, refuse)

    return find


def boards(folder: Path, own: Up) -> list[Supervisor]:
    """The first board knows no address; all go elsewhere if need be, to one with the label."""
    trusted = folder / "ca.der"
    trusted.write_bytes(ssl.PEM_cert_to_DER_cert(own.made.ca.read_text()))
    found = []
    for name, reading in READINGS.items():
        settings: dict[str, Any] = {"deployment": own.made.name, "group": "main", "device": name}
        settings |= {"authority": own.made.authority_public(), "ca": str(trusted), "server_name": own.address}
        settings |= {"password": own.passwords[name], "flash": str(folder / name)}
        settings |= {"gateways": {"labels": ["feeder=7"], "after_s": 3}}
        if found:
            settings |= {"host": own.address, "port": own.port}
        found.append(assemble(settings, SimulatedMeter([[reading]]), lambda event, fields: None))
    return found


def test_boards_join_their_own_deployment_and_find_it_again_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = own_addresses()[0]
    monkeypatch.setattr(discovery, "find", asked_at(address))
    accelerate.use_host_libraries()
    keys = {name: load_or_make(Store(str(tmp_path / name)))[1].hex() for name in READINGS}
    strangers = {name: p256.public_key(p256.generate(os.urandom)).hex() for name in READINGS}
    tag = secrets.token_hex(4)  # all of the network hear each other
    south = Up(tmp_path, f"south-{tag}", ["feeder=7"], strangers, address)
    north = Up(tmp_path, f"north-{tag}", ["feeder=7", "roof"], keys, address)

    async def main() -> list[Supervisor]:
        await until(lambda: "announced at" in north.log and "announced at" in south.log, lambda: north.log + south.log)
        found = boards(tmp_path, north)
        tasks = [asyncio.create_task(board.run()) for board in found]
        await until(north.sums, lambda: f"{north.log[-3000:]} {[board.client.counters for board in found]}")
        north.end()
        before = len(north.sums())
        north.move()
        north.start()
        await until(lambda: len(north.sums()) > before, lambda: f"{north.log[-3000:]} {found[1].client.counters}")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return found

    try:
        south.start()
        north.start()
        found = asyncio.run(main())
    finally:
        south.end()
        north.end()
        accelerate.install()
    assert all(sums == [sum(READINGS.values())] for sums in north.sums())
    assert all(board.client.address[:2] == (address, north.port) for board in found)
    first, *others = (board.client.counters for board in found)
    assert first["announced-other"] >= 1 and "gateway-changed" not in first
    assert all(counters["gateway-changed"] >= 1 for counters in others)
    assert not any("untrusted" in board.client.counters for board in found)
    assert not any(f"as {name}" in south.log for name in READINGS)
    assert south.sums() == []
