"""A whole deployment on this machine: authority, real broker, coordinator process, and boards as
processes or in-process agents."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware.build.compile import ROOT
from host_sim.fleet import broker_process
from host_sim.fleet.boards import Boards, Console
from host_sim.fleet.child import Child
from host_sim.fleet.delay import Delay
from host_sim.fleet.enrolment import Enrolled, enrol
from host_sim.fleet.plan import DEPLOYMENT, FleetError, Plan, last_words


class Fleet:
    """Starts and stops all parts below `folder`. `console(device, event, fields)` hears every
    board's console, see Boards.

    `broker` and `enrolled` are there from start() on. A device in `killed` is one that kill_board()
    ended; `failed` has the error of the first board that ended of itself.
    """

    broker: broker_process.Broker
    enrolled: Enrolled

    def __init__(self, folder: Path, plan: Plan, console: Console) -> None:
        self.folder = folder
        self.plan = plan
        self.coordinator: Child | None = None
        self._boards = Boards(folder, plan, console)
        self.killed = self._boards.killed
        self.failed = self._boards.failed
        self._relay: Delay | None = None

    async def start(self, progress: Callable[[int, int], None]) -> None:
        """Bring everything up, to the point where boards make their keys. Raises FleetError,
        BrokerError, CompileError."""
        self.broker = broker_process.choose(self.folder / "broker", DEPLOYMENT, self._devices())
        await self.broker.start()
        if self.plan.late:
            self._relay = Delay(broker_process.HOST, self.broker.port)
            await self._relay.start()
        await self._boards.prepare(progress)
        self.enrolled = enrol(self.folder, self.plan, await self._boards.make_identities())
        for device in self.plan.columns:
            if device in self.plan.absent:
                continue
            await self.start_board(device)
            await asyncio.sleep(0)  # consoles and signals are heard meanwhile
            if self.failed.done():
                self.failed.result()
        await self.start_coordinator()

    async def start_coordinator(self) -> None:
        """Start (again) the coordinator's process; its log goes to coordinator.log."""
        plan = self.plan
        arguments: list[object] = ["--state", self.folder / "coordinator"]
        for group, roster in self.enrolled.rosters.items():
            arguments += ["--roster", f"{group}={roster}"]
        arguments += ["--port", self.broker.port, "--interval", plan.interval, "--window", plan.window]
        arguments += ["--rounds", plan.rounds, "--patience", plan.patience]
        arguments += [] if plan.instants else ["--at-once"]
        arguments += ["--gateway", plan.gateway] if plan.gateway else []
        if self.broker.credentials:
            arguments += ["--credentials", self.folder / "broker" / "credentials.json"]
        with (self.folder / "coordinator.log").open("ab") as log:
            command = [sys.executable, "-m", "broker", "coordinator", *map(str, arguments)]
            self.coordinator = Child(command, ROOT, log, log)

    def coordinator_ended(self) -> FleetError:
        """Return what to raise when the coordinator's process has ended before its time."""
        log = self.folder / "coordinator.log"
        code = self.coordinator.returncode if self.coordinator else None
        how = f"killed by signal {-code}" if code and code < 0 else f"exit status {code}"
        return FleetError(f"the coordinator ended early: {last_words(log)} ({how}); see {log}")

    async def start_board(self, device: str) -> None:
        """Start (again) one board."""
        await self._boards.start(device, self._settings(device))

    def _devices(self) -> dict[str, list[str]]:
        return {group: devices for group, (devices, _) in self.plan.groups().items()}

    def _settings(self, device: str) -> dict[str, Any]:
        relayed = self._relay is not None and device in self.plan.late
        settings = {
            "deployment": DEPLOYMENT,
            "group": next(group for group, devices in self._devices().items() if device in devices),
            "device": device,
            "protocol": self.plan.protocol,
            "authority": self.enrolled.authority,
            "host": broker_process.HOST,
            "port": self._relay.port if self._relay and relayed else self.broker.port,
            "password": self.broker.credentials.get(device),
            "flash": str((self.folder / "boards" / device).resolve()),
            "columns": self.plan.columns[device],
            "masks_target": self.plan.masks_target,
            "policy": self.enrolled.policies[device],
            "diagnostics_s": 1,
        }
        if device in self.plan.habits:
            settings["habit"] = self.plan.habits[device]
        if device in self.plan.meters:
            settings["meter"], settings["line"] = self.plan.meters[device]
        return settings

    def kill_board(self, device: str) -> None:
        """End one board at once, no farewell: kill -9, or its task and socket in this process. Its
        flash stays."""
        self._boards.kill(device)

    def hold_back(self, seconds: float) -> None:
        """From now on what the plan's late boards send takes `seconds` to the broker."""
        assert self._relay
        self._relay.seconds = seconds

    async def stop(self) -> None:
        """Stop all parts; nothing is left running, whatever state they are in, also after a start()
        that failed."""
        try:
            if self.coordinator:
                self.coordinator.reap()
            await self._boards.stop()
        finally:
            if self._relay:
                await self._relay.stop()
            if hasattr(self, "broker"):
                await self.broker.stop()
