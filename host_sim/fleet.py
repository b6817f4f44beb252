"""A whole deployment on this machine: authority, real broker, coordinator process, and boards as processes or in-process agents."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from agent.meters.simulated import SimulatedMeter
from agent.runtime.start import assemble
from broker.authority import Authority
from broker.coordinator.home import Home
from host_sim import broker_process
from host_sim.compiled import ROOT, compile_agent, tool

DEPLOYMENT = "demo"
GROUP = "street"
LINE_MOST = 65536

Console = Callable[[str, str, dict[str, Any]], None]


class FleetError(Exception):
    """A part of the fleet did not come up, or died. args[0] says which and where to look."""


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
            self._compiled = compile_agent(folder / "firmware", progress)
        else:
            accelerate.use_host_libraries()
        for device in self.plan.columns:
            await self.start_board(device)
        try:
            await asyncio.wait_for(self._all_identified.wait(), 60)
        except TimeoutError:
            raise FleetError(f"not every board came up; see {folder / 'boards'}") from None
        for device, public in self._identities.items():
            self.authority.enrol(GROUP, device, public)
        _, self.signed_roster = self.authority.sign_roster(
            GROUP, self.coordinator_public.hex(), self.plan.slots, "private-sum", "hum-2048"
        )
        (folder / "roster.cose").write_bytes(self.signed_roster)
        await self.start_coordinator()

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
        """kill -9 of one board's process."""
        self._boards[device].send_signal(signal.SIGKILL)

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
        tail = ""
        async for raw in process.stdout:
            try:
                fields = json.loads(raw)
                self._hear(device, fields.pop("event"), fields)
            except (ValueError, AttributeError, KeyError):  # a traceback, or a line cut by kill -9
                tail = raw.decode(errors="replace").strip()
                with (self.folder / "boards" / f"{device}.log").open("ab") as log:
                    log.write(raw)
        if await process.wait() not in (0, -signal.SIGKILL, -signal.SIGTERM) and not self.failed.done():
            self.failed.set_exception(FleetError(f"board {device} died: {tail}; see {self.folder / 'boards'}"))

    def _start_in_process(self, device: str, settings: dict[str, Any]) -> None:
        def log(event: str, fields: dict[str, Any]) -> None:
            self._hear(device, event, fields)

        board = assemble(settings, SimulatedMeter(settings["columns"]), log)
        self._clients.append(board.client)
        task = asyncio.create_task(board.run())
        task.add_done_callback(self._board_ended)
        self._tasks.append(task)

    def _board_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() and not self.failed.done():
            self.failed.set_exception(FleetError(f"a board died: {task.exception()!r}"))

    def _hear(self, device: str, event: str, fields: dict[str, Any]) -> None:
        if event == "identity":
            self._identities[device] = str(fields["public"])
            if len(self._identities) == len(self.plan.columns):
                self._all_identified.set()
        self._console(device, event, fields)

    async def stop(self) -> None:
        """Stop all parts; nothing is left running, whatever state they are in."""
        for process in [*self._boards.values(), *([self.coordinator] if self.coordinator else [])]:
            if process.returncode is None:
                process.kill()
        for client in self._clients:
            await client.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in [*self._boards.values(), *([self.coordinator] if self.coordinator else [])]:
            await process.wait()
        if hasattr(self, "broker"):
            await self.broker.stop()
        if self.failed.done():
            self.failed.exception()  # retrieved: run() has raised it, or the fleet was being stopped anyway
