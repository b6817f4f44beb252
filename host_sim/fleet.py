"""A whole deployment on this machine: authority, real broker, coordinator process, and boards as processes or in-process agents."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from agent.meters.simulated import SimulatedMeter
from agent.runtime.board import Board
from agent.runtime.start import assemble
from broker.authority import Authority
from broker.coordinator.home import Home
from host_sim import broker_process
from host_sim.compiled import ROOT, compile_agent, tool

DEPLOYMENT = "demo"
GROUP = "street"
LINE_MOST = 65536
START_S = 60.0
STOP_S = 5.0

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


class Fleet:
    """Starts and stops all parts below `folder`. `console(device, event, fields)` hears every board's console."""

    def __init__(self, folder: Path, plan: Plan, console: Console) -> None:
        self.folder = folder
        self.plan = plan
        self._console = console
        self._identities: dict[str, str] = {}
        self._all_identified = asyncio.Event()
        self._boards: dict[str, asyncio.subprocess.Process] = {}
        self._killed: set[asyncio.subprocess.Process] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: list[Any] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.coordinator: asyncio.subprocess.Process | None = None

    async def start(self, progress: Callable[[int, int], None]) -> None:
        """Bring everything up, to the point where boards make their keys. Raises FleetError, BrokerError, CompileError."""
        folder = self.folder
        self.authority = Authority.init(folder / "authority", DEPLOYMENT)
        pinned = bytes.fromhex(self.authority.public)
        home = Home.init(folder / "coordinator", DEPLOYMENT, pinned)
        self.result_key, self.coordinator_public = home.result_key, bytes.fromhex(home.public)
        home.storage.close()
        self.broker = broker_process.choose(folder / "broker", DEPLOYMENT, self.plan.columns)
        await self.broker.start()
        if self.plan.runtime == "micropython":
            # In a thread, so that a signal is heard meanwhile.
            self._compiled = await asyncio.to_thread(compile_agent, folder / "firmware", progress)
        else:
            accelerate.use_host_libraries()
        for device in self.plan.columns:
            await self.start_board(device)
        await self._identified()
        for device, public in self._identities.items():
            self.authority.enrol(GROUP, device, public)
        _, self.signed_roster = self.authority.sign_roster(
            GROUP, self.coordinator_public.hex(), self.plan.slots, "private-sum", "hum-2048"
        )
        (folder / "roster.cose").write_bytes(self.signed_roster)
        await self.start_coordinator()

    async def _identified(self) -> None:
        """Wait until every board has told its public key, or one has died."""
        everyone = asyncio.create_task(self._all_identified.wait())
        events: set[asyncio.Future[Any]] = {everyone, self.failed}
        try:
            await asyncio.wait(events, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
            if self.failed.done():
                self.failed.result()
            if not everyone.done():
                absent = sorted(set(self.plan.columns) - set(self._identities))
                raise FleetError(f"no key from {', '.join(absent)} in {START_S:g} s; see {self.folder / 'boards'}")
        finally:
            everyone.cancel()

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
        settings = {
            "deployment": DEPLOYMENT,
            "group": GROUP,
            "device": device,
            "authority": self.authority.public,
            "host": broker_process.HOST,
            "port": self.broker.port,
            "password": self.broker.credentials.get(device),
            "flash": str(self.folder / "boards" / device),
            "columns": self.plan.columns[device],
            "masks_target": self.plan.masks_target,
            "members_least": min(3, len(self.plan.columns)),
            "diagnostics_s": 1,
        }
        if self.plan.runtime == "micropython":
            await self._start_process(device, settings)
        else:
            self._start_in_process(device, settings)

    def kill_board(self, device: str) -> None:
        """kill -9 of one board's process; its flash stays, and start_board() starts it again."""
        self._kill(self._boards[device])

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        self._killed.add(process)
        if process.returncode is None:
            process.kill()

    async def _start_process(self, device: str, settings: dict[str, Any]) -> None:
        boards = self.folder / "boards"
        boards.mkdir(exist_ok=True)
        path = boards / f"{device}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(settings))
        with (boards / f"{device}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                tool("micropython"), "-X", f"heapsize={self.plan.heap}", "-m", "host_sim.board", str(path.resolve()),
                cwd=self._compiled, stdout=asyncio.subprocess.PIPE, stderr=log, limit=LINE_MOST, start_new_session=True,
            )  # fmt: skip
        self._boards[device] = process
        self._tasks.append(asyncio.create_task(self._read_console(device, process)))

    async def _read_console(self, device: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        log = self.folder / "boards" / f"{device}.log"
        while raw := await _line(process.stdout):
            try:
                fields = json.loads(raw)
                event = fields.pop("event")
            except (ValueError, AttributeError, KeyError):  # not of the console, or cut by kill -9
                with log.open("ab") as file:
                    file.write(raw)
                continue
            self._hear(device, event, fields)
        code = await process.wait()
        if process not in self._killed:
            words = f"killed by signal {-code}" if code < 0 else last_words(log)
            self._fail(device, words, f"; see {log}")

    def _start_in_process(self, device: str, settings: dict[str, Any]) -> None:
        def log(event: str, fields: dict[str, Any]) -> None:
            self._hear(device, event, fields)

        board = assemble(settings, SimulatedMeter(settings["columns"]), log)
        self._clients.append(board.client)
        self._tasks.append(asyncio.create_task(self._run_in_process(device, board)))

    async def _run_in_process(self, device: str, board: Board) -> None:
        try:
            await board.run()
        except Exception as error:
            self._fail(device, f"{type(error).__name__}: {error}", "")

    def _fail(self, device: str, words: str, where: str) -> None:
        """A board ended that nobody ended; the first to do so is named, the others often follow from the same cause."""
        if not self.failed.done():
            hint = "; give the boards more with --heap" if words.startswith("MemoryError") else ""
            self.failed.set_exception(FleetError(f"board {device} died: {words}{hint}{where}"))

    def _hear(self, device: str, event: str, fields: dict[str, Any]) -> None:
        if event == "identity":
            self._identities[device] = str(fields["public"])
            if len(self._identities) == len(self.plan.columns):
                self._all_identified.set()
        self._console(device, event, fields)

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
            leaving = [asyncio.create_task(client.stop()) for client in self._clients]
            if leaving or self._tasks:
                _, late = await asyncio.wait([*leaving, *self._tasks], timeout=STOP_S)
                for task in late:
                    task.cancel()
                await asyncio.gather(*leaving, *self._tasks, return_exceptions=True)
            for process in processes:
                await process.wait()
        finally:
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
