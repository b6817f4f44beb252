"""The boards of a fleet: MicroPython processes or tasks of this process, started, killed, reset,
and heard on their consoles."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from agent.meters.simulated import SimulatedMeter
from agent.runtime.flash.store import Store
from agent.runtime.key_pair import load_or_make
from agent.runtime.start import assemble
from agent.runtime.supervisor import Supervisor
from firmware.build.compile import tool
from host_sim.fleet.board import RESET
from host_sim.fleet.child import Child
from host_sim.fleet.plan import FleetError, Plan, last_words
from host_sim.fleet.programs import compile_boards

STOP_S = 5.0
IDENTITY_S = 120.0  # for one key pair, with three other boards at it: a second is usual
# Of one board: its watchdog would go on, but a heap that is too small should be told.
RESETS_MOST = 3
# Boards that make their key pairs at the same time, and the program that makes one: what
# provisioning does to a real board.
AT_ONCE = 4
MAKE_IDENTITY = """
import sys
from agent.runtime.flash.store import Store
from agent.runtime.key_pair import load_or_make
print(load_or_make(Store(sys.argv[1]))[1].hex())
"""
# How a traceback ends, or what MicroPython prints where it has no memory for one.
ERROR = re.compile(r"\w*(Error|Exception|Corrupt)\b.*")

Console = Callable[[str, str, dict[str, Any]], None]


class Boards:
    """All below `folder`. `console(device, event, fields)` hears every board's console; the event
    "trouble" is this class's own: a board printed an `error` and lives on. A board that asks for a
    reset gets it, RESETS_MOST times.

    A device in `killed` is one that kill() ended; `failed` has the FleetError of the first one that
    ended of itself.
    """

    def __init__(self, folder: Path, plan: Plan, console: Console) -> None:
        self.killed: set[str] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._folder = folder / "boards"
        self._compiled = folder / "firmware"
        self._plan = plan
        self._console = console
        self._settings: dict[str, dict[str, Any]] = {}
        self._resets: dict[str, int] = {}
        self._last: dict[str, str] = {}
        self._processes: dict[str, Child] = {}
        self._ended: set[Child] = set()
        self._stopping = False
        self._agents: dict[str, asyncio.Task[None]] = {}
        self._consoles: list[asyncio.Task[None]] = []

    async def prepare(self, progress: Callable[[int, int], None]) -> None:
        """Compile what they run; `progress(done, total)` is told. Raises CompileError."""
        if self._plan.runtime == "micropython":
            # In a thread, so that a signal is heard meanwhile; which then leaves at the next file.
            self._compiled = await asyncio.to_thread(compile_boards, self._compiled, self._unless_stopping(progress))
        else:
            accelerate.use_host_libraries()
        self._folder.mkdir(exist_ok=True)

    def _unless_stopping(self, progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def tell(done: int, total: int) -> None:
            if self._stopping:
                raise FleetError("stopped while it compiled the agent")
            progress(done, total)

        return tell

    async def make_identities(self) -> dict[str, str]:
        """Have every board make its key pair, in its flash. Returns the public keys, hexadecimal,
        by device."""
        turn = asyncio.Semaphore(AT_ONCE)
        making = [asyncio.create_task(self._make_identity(device, turn)) for device in self._plan.columns]
        try:
            publics = await asyncio.gather(*making)
        finally:
            for task in making:
                task.cancel()
            await asyncio.wait(making, timeout=STOP_S)
        return dict(zip(self._plan.columns, publics, strict=True))

    async def _make_identity(self, device: str, turn: asyncio.Semaphore) -> str:
        flash = self._folder / device
        if self._plan.runtime == "cpython":
            return bytes(load_or_make(Store(str(flash)))[1]).hex()
        said: list[bytes] = []
        async with turn:
            process = self._micropython(device, "-c", MAKE_IDENTITY, str(flash.resolve()))
            try:
                code = await asyncio.wait_for(process.follow(said.append), IDENTITY_S)
            except TimeoutError:
                raise FleetError(f"board {device} has no key pair after {IDENTITY_S:g} s") from None
            finally:
                process.reap()
        if code:
            self._write_log(device, b"".join(said))  # MicroPython's traceback
            self._fail(device, code)
            self.failed.result()
        return b"".join(said).decode().strip()

    async def start(self, device: str, settings: dict[str, Any]) -> None:
        """Start (again) one board with these settings (agent/runtime/start.py); none once stop()
        has begun."""
        if self._stopping:
            return
        self.killed.discard(device)
        self._settings[device] = settings
        if self._plan.runtime == "micropython":
            self._start_process(device, settings)
        else:
            board = assemble(settings, SimulatedMeter(settings["columns"]), self._log_to(device))
            self._agents[device] = asyncio.create_task(self._run_in_process(device, board))

    def kill(self, device: str) -> None:
        """End one board at once, no farewell: kill -9, or its task and socket in this process. Its
        flash stays."""
        self.killed.add(device)
        if device in self._processes:
            self._kill(self._processes[device])
        else:
            self._agents[device].cancel()

    async def stop(self) -> None:
        """End them all, whatever state they are in, also those that were to start again."""
        self._stopping = True
        for process in self._processes.values():
            self._kill(process)
        for agent in self._agents.values():
            agent.cancel()
        tasks = {*self._agents.values(), *self._consoles}
        try:
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=STOP_S)
                for task in late:
                    task.cancel()
                await asyncio.wait(tasks, timeout=STOP_S)
        finally:
            for process in self._processes.values():
                process.reap()
            if self.failed.done():
                # Retrieved: it was raised where it was waited for, or all was being stopped anyway.
                self.failed.exception()

    def _kill(self, process: Child) -> None:
        self._ended.add(process)
        process.kill()

    def _start_process(self, device: str, settings: dict[str, Any]) -> None:
        path = self._folder / f"{device}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(settings))
        process = self._micropython(device, "-m", "host_sim.fleet.board", str(path.resolve()))
        self._processes[device] = process
        self._consoles.append(asyncio.create_task(self._follow(device, process)))

    def _micropython(self, device: str, *arguments: str) -> Child:
        with self._log(device).open("ab") as log:
            command = [tool("micropython"), "-X", f"heapsize={self._plan.heap}", *arguments]
            return Child(command, self._compiled, log)

    async def _follow(self, device: str, process: Child) -> None:
        """Hear a board's console until it dies, and see to what comes then. Whatever goes wrong
        here is the board's failure: nobody would hear it die any more."""
        try:
            code = await process.follow(lambda raw: self._hear(device, raw))
            if process in self._ended:
                return
            if code == RESET and self._resets.get(device, 0) < RESETS_MOST:
                self._resets[device] = self._resets.get(device, 0) + 1
                await self.start(device, self._settings[device])
            else:
                self._fail(device, code)
        except Exception as error:
            self._fail_with(device, f"{type(error).__name__}: {error}", "")

    def _hear(self, device: str, raw: bytes) -> None:
        try:
            fields = json.loads(raw)
            event = fields.pop("event")
        except (ValueError, AttributeError, KeyError):  # not of the console, or cut by kill -9
            self._write_log(device, raw)
            line = raw.decode(errors="replace").strip()
            if ERROR.fullmatch(line):
                self._console(device, "trouble", {"error": line[:200]})
            return
        self._last[device] = event
        self._console(device, event, fields)

    def _log_to(self, device: str) -> Callable[[str, dict[str, Any]], None]:
        return lambda event, fields: self._console(device, event, fields)

    async def _run_in_process(self, device: str, board: Supervisor) -> None:
        try:
            await board.run()
        except Exception as error:
            self._fail_with(device, f"{type(error).__name__}: {error}", "")
            return
        if device not in self.killed and not self._stopping:
            self._fail_with(device, "it ended without a word", "")

    def _log(self, device: str) -> Path:
        return self._folder / f"{device}.log"

    def _write_log(self, device: str, raw: bytes) -> None:
        with self._log(device).open("ab") as log:
            log.write(raw)

    def _fail(self, device: str, code: int) -> None:
        """A board's process ended with `code` that nobody ended."""
        log = self._log(device)
        if code < 0:
            words = f"killed by signal {-code}; its last word was {self._last.get(device, 'none')}"
            words += "; if nobody killed it, the machine was short of memory: try fewer boards" if code == -9 else ""
        else:
            words = f"{last_words(log)} (exit status {code}{self._restarts(device)})"
        self._fail_with(device, words, f"; see {log}")

    def _restarts(self, device: str) -> str:
        count = self._resets.get(device, 0)
        return f", after {count} restarts" if count else ""

    def _fail_with(self, device: str, words: str, where: str) -> None:
        """The first board to die is named, the others often follow from the same cause."""
        if not self.failed.done():
            hint = "; give the boards more with --heap" if words.startswith("MemoryError") else ""
            self.failed.set_exception(FleetError(f"board {device} died: {words}{hint}{where}"))
