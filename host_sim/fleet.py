"""A whole deployment on this machine: authority, real broker, coordinator process, and boards as processes or in-process agents."""

import asyncio
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from agent.joye_libert import cohorts
from agent.meters.simulated import SimulatedMeter
from agent.protocols.provision import Policy
from agent.runtime import identity
from agent.runtime.board import Board
from agent.runtime.start import assemble
from agent.runtime.store import Store
from agent.wire.envelope import Context, Envelope
from broker.authority import Authority
from broker.coordinator.home import Home
from firmware.compiled import ROOT, tool
from host_sim import broker_process
from host_sim.board import RESET
from host_sim.delay import Delay
from host_sim.programs import compile_boards

DEPLOYMENT = "demo"
GROUP = "street"
LINE_MOST = 65536
STOP_S = 5.0
RESETS_MOST = 3  # of one board: its watchdog would go on, but a heap that is too small should be told
# Boards that make their key pairs at the same time, and the program that makes one: what provisioning does to a real board.
AT_ONCE = 4
MAKE_IDENTITY = """
import sys
from agent.runtime import identity
from agent.runtime.store import Store
print(identity.load_or_make(Store(sys.argv[1]))[1].hex())
"""
# How a traceback ends, or what MicroPython prints where it has no memory for one.
ERROR = re.compile(r"\w*(Error|Exception|Corrupt)\b.*")

Console = Callable[[str, str, dict[str, Any]], None]


class FleetError(Exception):
    """A part of the fleet did not come up, or died. args[0] says which, what its last words were, and where to look."""


def last_words(log: Path) -> str:
    """Return the last line of a log that says something, at most 200 characters; of a traceback that is its error."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it left no word")


@dataclass(frozen=True)
class Plan:
    """What the fleet runs: `columns` maps a device to its lists of readings, one a slot of `slots` (name, low, high)."""

    columns: dict[str, list[list[int]]]
    slots: list[tuple[str, int, int]]
    rounds: int
    interval: float
    window: float
    runtime: str
    heap: str
    masks_target: int
    # Longest wait in seconds for boards that still make masks.
    patience: float = 900.0
    # Most members of a cohort, and which sums open: 0 each cohort's, 1 the whole fleet's.
    cohort: int = 32
    seal: int = 0
    # Devices whose link goes through a relay that hold_back() turns slow.
    late: tuple[str, ...] = ()
    # What the group runs, and the roster's parameters.
    protocol: str = "private-sum"
    parameters: str = "hum-2048"
    # Bad habits of boards on MicroPython (host_sim/byzantine.py), by device.
    habits: dict[str, str] = field(default_factory=dict)


class Fleet:
    """Starts and stops all parts below `folder`. `console(device, event, fields)` hears every board's console; the event
    "trouble" is the fleet's own: a board printed an `error` and lives on. A board that asks for a reset gets it.

    `cohorts` are the devices' names, from start() on. A device in `killed` is one that kill_board() ended.
    """

    def __init__(self, folder: Path, plan: Plan, console: Console) -> None:
        self.folder = folder
        self.plan = plan
        self.cohorts: list[list[str]] = []
        self.killed: set[str] = set()
        self.resets: dict[str, int] = {}
        self._console = console
        self._policies: dict[str, str] = {}
        self._boards: dict[str, asyncio.subprocess.Process] = {}
        self._ended: set[asyncio.subprocess.Process] = set()
        self._agents: dict[str, asyncio.Task[None]] = {}
        self._consoles: list[asyncio.Task[None]] = []
        self._relay: Delay | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.coordinator: asyncio.subprocess.Process | None = None

    async def start(self, progress: Callable[[int, int], None]) -> None:
        """Bring everything up, to the point where boards make their keys. Raises FleetError, BrokerError, CompileError."""
        folder = self.folder
        self.authority = Authority.init(folder / "authority", DEPLOYMENT)
        pinned = bytes.fromhex(self.authority.public)
        home = Home.init(folder / "coordinator", DEPLOYMENT, pinned)
        self.result_key, self.coordinator_public = home.result_key, bytes.fromhex(home.public)
        self._signer = b""
        if self.plan.protocol == "gossip-bft":
            self._signer = home.signer().modulus
            home.signer().close()
        home.storage.close()
        self.broker = broker_process.choose(folder / "broker", DEPLOYMENT, self.plan.columns)
        await self.broker.start()
        if self.plan.late:
            self._relay = Delay(broker_process.HOST, self.broker.port)
            await self._relay.start()
        if self.plan.runtime == "micropython":
            # In a thread, so that a signal is heard meanwhile.
            self._compiled = await asyncio.to_thread(compile_boards, folder / "firmware", progress)
        else:
            accelerate.use_host_libraries()
        (folder / "boards").mkdir(exist_ok=True)
        await self._provision()
        for device in self.plan.columns:
            await self.start_board(device)
        await self.start_coordinator()

    async def _provision(self) -> None:
        """Have every board make its key pair, and the authority sign what it makes of the public keys."""
        authority, plan = self.authority, self.plan
        turn = asyncio.Semaphore(AT_ONCE)
        making = [asyncio.create_task(self._make_identity(device, turn)) for device in plan.columns]
        try:
            publics = await asyncio.gather(*making)
        finally:
            for task in making:
                task.cancel()
            await asyncio.gather(*making, return_exceptions=True)
        for device, public in zip(plan.columns, publics, strict=True):
            authority.enrol(GROUP, device, public)
        least = min(3, len(plan.columns))
        for device in plan.columns:
            self._policies[device] = authority.sign_policy(GROUP, device, Policy(least, least))[1].hex()
        epoch, signed = authority.sign_roster(
            GROUP,
            self.coordinator_public.hex(),
            plan.slots,
            plan.protocol,
            plan.parameters,
            plan.cohort,
            plan.seal,
            signer=self._signer,
        )
        (self.folder / "roster.cose").write_bytes(signed)
        names = sorted(plan.columns)
        digest = Envelope(signed).digest(Context(DEPLOYMENT, "roster", GROUP, epoch, 0, "authority", ""))
        self.cohorts = [[names[index] for index in members] for members in cohorts.assign(names, digest, plan.cohort)]

    async def _make_identity(self, device: str, turn: asyncio.Semaphore) -> str:
        """Return the public key, hexadecimal; the pair is in the board's flash."""
        flash = self.folder / "boards" / device
        if self.plan.runtime == "cpython":
            return bytes(identity.load_or_make(Store(str(flash)))[1]).hex()
        async with turn:
            with self._log_of(device).open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    tool("micropython"), "-X", f"heapsize={self.plan.heap}", "-c", MAKE_IDENTITY, str(flash.resolve()),
                    cwd=self._compiled, stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True,
                )  # fmt: skip
            try:
                said, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            if process.returncode:
                with self._log_of(device).open("ab") as log:
                    log.write(said)  # MicroPython's traceback
                self._fail(device, process.returncode)
                self.failed.result()
        return said.decode().strip()

    async def start_coordinator(self) -> None:
        """Start (again) the coordinator's process; its log goes to coordinator.log."""
        plan = self.plan
        arguments = ["--state", self.folder / "coordinator", "--roster", f"{GROUP}={self.folder / 'roster.cose'}"]
        arguments += ["--port", self.broker.port, "--interval", plan.interval, "--window", plan.window]
        arguments += ["--rounds", plan.rounds, "--patience", plan.patience]
        if self.broker.credentials:
            arguments += ["--credentials", self.folder / "broker" / "credentials.json"]
        with (self.folder / "coordinator.log").open("ab") as log:
            self.coordinator = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "broker", "coordinator", *map(str, arguments), cwd=ROOT, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    async def start_board(self, device: str) -> None:
        """Start (again) one board."""
        self.killed.discard(device)
        relayed = self._relay is not None and device in self.plan.late
        settings = {
            "deployment": DEPLOYMENT,
            "group": GROUP,
            "device": device,
            "protocol": self.plan.protocol,
            "authority": self.authority.public,
            "host": broker_process.HOST,
            "port": self._relay.port if self._relay and relayed else self.broker.port,
            "password": self.broker.credentials.get(device),
            "flash": str((self.folder / "boards" / device).resolve()),
            "columns": self.plan.columns[device],
            "masks_target": self.plan.masks_target,
            "policy": self._policies[device],
            "diagnostics_s": 1,
        }
        if device in self.plan.habits:
            settings["habit"] = self.plan.habits[device]
        if self.plan.runtime == "micropython":
            await self._start_process(device, settings)
        else:
            self._start_in_process(device, settings)

    def kill_board(self, device: str) -> None:
        """End one board at once, no farewell: kill -9, or its task and socket in this process. Its flash stays."""
        self.killed.add(device)
        if device in self._boards:
            self._kill(self._boards[device])
        else:
            self._agents[device].cancel()

    def hold_back(self, seconds: float) -> None:
        """From now on what the plan's late boards send takes `seconds` to the broker."""
        assert self._relay
        self._relay.seconds = seconds

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        self._ended.add(process)
        if process.returncode is None:
            process.kill()

    def _log_of(self, device: str) -> Path:
        return self.folder / "boards" / f"{device}.log"

    async def _start_process(self, device: str, settings: dict[str, Any]) -> None:
        path = self.folder / "boards" / f"{device}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(settings))
        with self._log_of(device).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                tool("micropython"), "-X", f"heapsize={self.plan.heap}", "-m", "host_sim.board", str(path.resolve()),
                cwd=self._compiled, stdout=asyncio.subprocess.PIPE, stderr=log, limit=LINE_MOST, start_new_session=True,
            )  # fmt: skip
        self._boards[device] = process
        self._consoles.append(asyncio.create_task(self._read_console(device, process)))

    async def _read_console(self, device: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        while raw := await _line(process.stdout):
            try:
                fields = json.loads(raw)
                event = fields.pop("event")
            except (ValueError, AttributeError, KeyError):  # not of the console, or cut by kill -9
                with self._log_of(device).open("ab") as file:
                    file.write(raw)
                line = raw.decode(errors="replace").strip()
                if ERROR.fullmatch(line):
                    self._console(device, "trouble", {"error": line[:200]})
                continue
            self._console(device, event, fields)
        code = await process.wait()
        if process in self._ended:
            return
        if code == RESET and self.resets.get(device, 0) < RESETS_MOST:
            self.resets[device] = self.resets.get(device, 0) + 1
            await self.start_board(device)
        else:
            self._fail(device, code)

    def _start_in_process(self, device: str, settings: dict[str, Any]) -> None:
        def log(event: str, fields: dict[str, Any]) -> None:
            self._console(device, event, fields)

        board = assemble(settings, SimulatedMeter(settings["columns"]), log)
        self._agents[device] = asyncio.create_task(self._run_in_process(device, board))

    async def _run_in_process(self, device: str, board: Board) -> None:
        try:
            await board.run()
        except Exception as error:
            self._fail_with(device, f"{type(error).__name__}: {error}", "")

    def _fail(self, device: str, code: int) -> None:
        """A board's process ended with `code` that nobody ended."""
        log = self._log_of(device)
        self._fail_with(device, f"killed by signal {-code}" if code < 0 else last_words(log), f"; see {log}")

    def _fail_with(self, device: str, words: str, where: str) -> None:
        """The first board to die is named, the others often follow from the same cause."""
        if not self.failed.done():
            hint = "; give the boards more with --heap" if words.startswith("MemoryError") else ""
            self.failed.set_exception(FleetError(f"board {device} died: {words}{hint}{where}"))

    def coordinator_ended(self) -> FleetError:
        """Return what to raise when the coordinator's process has ended before its time."""
        log = self.folder / "coordinator.log"
        return FleetError(f"the coordinator ended early: {last_words(log)}; see {log}")

    async def stop(self) -> None:
        """Stop all parts; nothing is left running, whatever state they are in, also after a start() that failed."""
        processes = [*self._boards.values(), *([self.coordinator] if self.coordinator else [])]
        try:
            for process in processes:
                self._kill(process)
            for agent in self._agents.values():
                agent.cancel()
            tasks = [*self._agents.values(), *self._consoles]
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=STOP_S)
                for task in late:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for process in processes:
                await process.wait()
        finally:
            if self._relay:
                await self._relay.stop()
            if hasattr(self, "broker"):
                await self.broker.stop()
            if self.failed.done():
                self.failed.exception()  # retrieved: run() has raised it, or the fleet was being stopped anyway


async def _line(stream: asyncio.StreamReader) -> bytes:
    """Return the next line, nothing at the end; lines beyond LINE_MOST are no console's and are skipped."""
    while True:
        try:
            return await stream.readline()
        except ValueError:
            continue
