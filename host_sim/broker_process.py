"""The broker of a simulated fleet: a real Mosquitto of its own, or aMQTT inside this process where there is none."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from broker.mosquitto import configuration
from broker.mosquitto.configuration import BrokerError

HOST = "127.0.0.1"


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
    """Mosquitto with generated configuration in `folder`; `credentials` maps users to passwords."""

    def __init__(self, folder: Path, deployment: str, devices: Iterable[str]) -> None:
        self.program = configuration.find()
        self.port = free_port()
        self.credentials: dict[str, str] = configuration.write(folder, deployment, devices, HOST, self.port, None)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start (again, on the same port) and wait until it answers. Raises BrokerError."""
        with (self._folder / "mosquitto.log").open("ab") as log:
            command = [self.program, "-c", str(self._folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 10
        while not answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BrokerError(f"Mosquitto did not start; see {self._folder / 'mosquitto.log'}")
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.kill()
            self._process.wait()

    async def stop(self) -> None:
        """Stop it and wait."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)


class EmbeddedBroker:
    """aMQTT in this process: no passwords, no access rules. For a demo only."""

    def __init__(self) -> None:
        self.port = free_port()
        self.credentials: dict[str, str] = {}
        self._broker: Any = None

    async def start(self) -> None:
        """Start and wait until it listens."""
        from amqtt.broker import Broker

        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.ERROR)
        listener = {"default": {"type": "tcp", "bind": f"{HOST}:{self.port}", "max_connections": 1000}}
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        self._broker = Broker({"listeners": listener, "plugins": plugins})
        await self._broker.start()

    async def stop(self) -> None:
        """Stop it and wait."""
        if self._broker:
            await self._broker.shutdown()


def choose(folder: Path, deployment: str, devices: Iterable[str]) -> MosquittoBroker | EmbeddedBroker:
    """Return a broker that is not started yet: Mosquitto, or, with a line that says so, the embedded one."""
    try:
        if os.environ.get("HUM_EMBEDDED_BROKER"):
            raise BrokerError("HUM_EMBEDDED_BROKER is set")
        return MosquittoBroker(folder, deployment, devices)
    except BrokerError as error:
        print(f"no Mosquitto ({error}): using the embedded aMQTT, without access control, for this demo only", file=sys.stderr)
        return EmbeddedBroker()
