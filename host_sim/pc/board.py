"""A board on this machine, of a deployment: its folder, its key pair, its settings, and its run on
CPython or on MicroPython."""

import asyncio
import fcntl
import json
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from agent.crypto.key_code import key_code
from agent.meters.simulated import SimulatedMeter
from agent.runtime.flash.store import Corrupt, Store
from agent.runtime.key_pair import KeyPairError, load_or_make
from agent.runtime.start import assemble, assemble_board
from agent.wire import rosters
from agent.wire.envelope import Envelope, EnvelopeError
from agent.wire.messages import MessageError
from broker.deploy.mosquitto.credentials import BrokerError, read_password
from broker.deployment.folder import Deployment
from broker.errors import HumError
from broker.files import locked, make_private, private_folder, replace
from firmware.build.compile import tool
from host_sim.fleet.board import RESET, console
from host_sim.fleet.programs import compile_boards
from host_sim.pc import serial_port

HEAP = "512k"  # of MicroPython's 64-bit words: a Pico W's twice
POLL_S = 1.0
END_S = 5.0


class BoardError(HumError):
    """The board cannot run. args[0] says why and what to do."""


@dataclass(frozen=True)
class Meter:
    """`columns`: a list for each slot, played round by round; else `kind`, "p1" or "sml", at the
    serial port `port`, at `rate` baud, None for finding it out."""

    columns: list[list[int]] | None = None
    kind: str = ""
    port: str = ""
    rate: int | None = None

    def settings(self) -> dict[str, Any]:
        """Return what the board's settings say of it."""
        if self.columns is not None:
            return {"columns": self.columns}
        rate = {} if self.rate is None else {"rate": self.rate}
        return {"meter": {"kind": self.kind, "uart": 0, "rx": 0, **rate}}


class Board:
    """The board `device` of `group`, whose folder is in the deployment's folder `boards`."""

    def __init__(self, deployment: Deployment, device: str, group: str) -> None:
        """Make what is missing of its folder: its key pair above all. Raises BoardError."""
        self.folder = deployment.folder / "boards" / device
        self.device = device
        self._deployment = deployment
        self._group = group
        private_folder(self.folder)
        accelerate.use_host_libraries()
        try:
            _, self.public = load_or_make(Store(str(self.folder / "flash")))
        except (KeyPairError, Corrupt) as error:
            raise BoardError(
                f"{self.folder / 'flash'}: its key pair is of no use ({error}); see docs/operate/boards.md"
            ) from None
        self.key_file = self.folder / "board.pub"
        replace(self.key_file, (self.public.hex() + "\n").encode())

    @property
    def code(self) -> str:
        """The code that a person compares with what `hum add` shows."""
        return key_code(self.public)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep another process from running this board: one key pair has one account of what was
        spent. Raises BoardError."""
        path = self.folder / "board.lock"
        make_private(path)
        with path.open("w") as file:
            if not locked(file.fileno(), fcntl.LOCK_EX):
                raise BoardError(f"another process runs the board in {self.folder}")
            yield

    def await_password(self, waits: Callable[[], None], credentials: Path) -> str:
        """Return its password at the broker once it was added; `waits()` is called if it was not
        yet. Whoever started this ends it by Ctrl-C."""
        told = False
        while (password := self._password(credentials)) is None:
            if not told:
                waits()
            told = True
            time.sleep(POLL_S)
        return password

    def _password(self, credentials: Path) -> str | None:
        """None also while another board has the name: its password is not this one's."""
        path = self._deployment.roster(self._group)
        try:
            members = rosters.read_roster(Envelope(path.read_bytes()).unverified()).members
        except FileNotFoundError:  # of a group with one member, or on another machine
            members = None
        except (EnvelopeError, MessageError) as error:
            raise BoardError(f"{path} is no roster ({error}); `hum doctor` says what to do") from None
        if members is not None and (self.device, self.public) not in members:
            return None
        try:
            return read_password(credentials, self.device)
        except BrokerError:
            return None

    def run(self, meter: Meter, password: str, micropython: bool) -> None:
        """Run it until it is ended. Its console goes to standard output, an event a line."""
        settings = self._settings(password) | meter.settings()
        if micropython:
            self._run_micropython(settings)
            return
        if meter.columns is not None:
            board = assemble(settings, SimulatedMeter(meter.columns), console)
        else:
            serial_port.use(meter.port)
            board = assemble_board(settings, console)
        asyncio.run(board.run())

    def _settings(self, password: str) -> dict[str, Any]:
        deployment = self._deployment
        settings: dict[str, Any] = {"deployment": deployment.name, "group": self._group, "device": self.device}
        settings |= {"authority": deployment.authority_public(), "protocol": self._protocol()}
        settings |= {"host": deployment.settings.broker.host, "port": deployment.settings.broker.port}
        if deployment.ca.exists():
            trusted = self.folder / "ca.der"
            replace(trusted, ssl.PEM_cert_to_DER_cert(deployment.ca.read_text()))
            settings["ca"] = str(trusted)
        return settings | {"password": password, "flash": str(self.folder / "flash")}

    def _protocol(self) -> str:
        return self._deployment.settings.groups[self._group].protocol

    def _run_micropython(self, settings: dict[str, Any]) -> None:
        """As a board does, it starts again where its heap is too scattered to go on with."""
        compiled = compile_boards(self.folder / "firmware")
        path = self.folder / "settings.json"
        replace(path, json.dumps(settings).encode())
        command = [tool("micropython"), "-X", f"heapsize={HEAP}", "-m", "host_sim.fleet.board", str(path)]
        status = RESET
        while status == RESET:
            process = subprocess.Popen(command, cwd=compiled, start_new_session=True)
            try:
                status = process.wait()
            finally:
                process.kill()
                process.wait(END_S)
        raise BoardError(f"MicroPython ended (exit status {status}); its last words are above")
