"""The broker of a simulated fleet: a real Mosquitto of its own, or aMQTT inside this process where
there is none."""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from broker.deploy.mosquitto import configuration
from broker.deploy.mosquitto.access import Groups
from broker.deploy.mosquitto.credentials import BrokerError
from broker.transport import users
from host_sim.fleet.child import Child

HOST = "127.0.0.1"
START_S = 10.0
STOP_S = 3.0


def free_port() -> int:
    """Return a TCP port on the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Tell whether somebody accepts connections on `port`."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0


class MosquittoBroker:
    """Mosquitto with generated configuration in `folder` for the members of `groups`, and `readers`
    by name; `credentials` maps users to passwords."""

    def __init__(self, folder: Path, deployment: str, groups: Groups, readers: Iterable[str] = ()) -> None:
        self.program = configuration.find()
        self.port = free_port()
        self.credentials: dict[str, str] = configuration.write(
            folder, deployment, groups, HOST, self.port, None, [users.reader(name) for name in readers]
        )
        self._folder = folder
        self._process: Child | None = None

    async def start(self) -> None:
        """Start (again, on the same port) and wait until it answers. Raises BrokerError."""
        process = self._process = self._launch()
        deadline = time.monotonic() + START_S
        while not answers(self.port):
            if process.returncode is not None or time.monotonic() >= deadline:
                break
            await asyncio.sleep(0.05)
        # If it has ended, then what answers, if anything, is another program that took the port.
        if process.returncode is not None or time.monotonic() >= deadline:
            raise BrokerError(f"Mosquitto did not start; see {self._folder / 'mosquitto.log'}")

    def _launch(self) -> Child:
        command = [self.program, "-c", str(self._folder / "mosquitto.conf")]
        with (self._folder / "mosquitto.log").open("ab") as log:
            return Child(command, None, log, log)

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.reap()

    async def stop(self) -> None:
        """Stop it and wait."""
        if self._process:
            await self._process.stop(STOP_S)


class EmbeddedBroker:
    """aMQTT in this process: no passwords, no access rules. For a demo only."""

    def __init__(self) -> None:
        self.port = free_port()
        self.credentials: dict[str, str] = {}
        self._broker: Any = None

    async def start(self) -> None:
        """Start and wait until it listens. Raises BrokerError."""
        try:
            from amqtt.broker import Broker as Embedded
            from amqtt.errors import BrokerError as StartError
        except ImportError:
            raise BrokerError("neither Mosquitto nor aMQTT is installed; run `make setup`") from None
        for name in ("amqtt", "transitions"):
            # It logs each client's going as an error.
            logging.getLogger(name).setLevel(logging.CRITICAL)
        listener = {"default": {"type": "tcp", "bind": f"{HOST}:{self.port}", "max_connections": 1000}}
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        broker = Embedded({"listeners": listener, "plugins": plugins})
        try:
            await broker.start()
        except StartError as error:
            raise BrokerError(f"the embedded broker did not start: {error}") from None
        self._broker = broker

    async def stop(self) -> None:
        """Stop it and wait; it may take cancellation for something else, so nobody waits longer."""
        if self._broker:
            await asyncio.wait({asyncio.create_task(self._broker.shutdown())}, timeout=STOP_S)


Broker = MosquittoBroker | EmbeddedBroker


def choose(folder: Path, deployment: str, groups: Groups) -> Broker:
    """Return a broker that is not started yet: Mosquitto, or, with a line that says so, the
    embedded one."""
    try:
        if os.environ.get("HUM_EMBEDDED_BROKER"):
            raise BrokerError("HUM_EMBEDDED_BROKER is set")
        return MosquittoBroker(folder, deployment, groups)
    except BrokerError as error:
        line = f"no Mosquitto ({error}): using the embedded aMQTT, without access control, for this demo only"
        print(line, file=sys.stderr)
        return EmbeddedBroker()
