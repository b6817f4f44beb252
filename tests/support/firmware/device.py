"""A board for the firmware tools: MicroPython's unix port behind a pseudo-terminal, with a littlefs
in a file as its flash.

What a board does and the unix port does not: a soft reset (Ctrl-D) and machine.reset() start it
again, with what is in its flash and nothing else. A hard reset kills the process and it is started
with /main.py; a soft one from the raw REPL leaves that out.
"""

import contextlib
import os
import select
import struct
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import micropython_run
import psutil
from littlefs import LittleFS, UserContext
from littlefs.lfs import LFSConfig

ROOT = Path(__file__).parents[3]
# What .venv/bin/micropython does, without all that Python looks for when it starts: that took more
# time than the boards do.
RUN = "import sys; sys.path.append(sys.argv.pop(1)); from micropython_run import run_main; run_main(sys.argv)"
MICROPYTHON = [sys.executable, "-I", "-S", "-c", RUN, str(Path(micropython_run.__file__).parent)]
BOOT = ROOT / "tests" / "support" / "firmware" / "boot.py"
BLOCK = 4096
WAIT_S = 60
SLEEP_S = 2  # an application that makes masks does not sleep
STARTED = b"started\n"  # boot.py


class _Flash(UserContext):
    """As littlefs-python's, which writes each read to a log."""

    def read(self, cfg: LFSConfig, block: int, off: int, size: int) -> bytearray:
        start = block * BLOCK + off
        return self.buffer[start : start + size]


def _mounted(flash: _Flash, blocks: int, new: bool = False) -> LittleFS:
    # As MicroPython's VfsLfs2 formats it.
    sizes = {"block_size": BLOCK, "block_count": blocks, "read_size": 32, "prog_size": 32, "lookahead_size": 32}
    files = LittleFS(flash, mount=False, cache_size=128, **sizes)
    if new:
        files.format()
    files.mount()
    return files


def tree(image: bytes) -> dict[str, bytes]:
    """Return all files on a flash."""
    return dict(_tree(image))


@lru_cache(maxsize=8)  # the tests look at most of them several times
def _tree(image: bytes) -> dict[str, bytes]:
    files = _mounted(_Flash(buffer=bytearray(image)), len(image) // BLOCK)
    found = {}
    for folder, _, names in files.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with files.open(path, "rb", buffering=0) as file:
                found[path] = bytes(file.read())
    return found


def interrupted(image: bytes, log: Path) -> Iterator[bytes]:
    """Yield the flash `image` as a loss of power leaves it in the middle of each operation in
    `log`, and after it."""
    flash = bytearray(image)
    operations = log.read_bytes()
    at = 0
    while at < len(operations):
        place, size = struct.unpack_from("<II", operations, at)
        at += 8 + size
        for written in (size // 2, size):
            flash[place : place + written] = operations[at - size : at - size + written]
            yield bytes(flash)


class FlashedDevice:
    """A board whose flash is the file `image`, formatted when it is not there. Use it with `with`;
    `port` is its serial port.

    `printed` is what it has sent since its last start, and `commands` counts what the host had run.
    The power goes before command number `cut_command` reaches the board, 0 for never. Then the port
    goes away, as with a pulled plug. `watch` is called before each command: what is in the flash
    then is what a cut there leaves. `log` is a file that gets all operations on the flash.
    """

    def __init__(self, image: Path, blocks: int = 212, heap: str = "512k") -> None:
        self.image = image
        self.blocks = blocks
        self.heap = heap
        self.commands = 0
        self.cut_command = 0
        self.port = ""
        self.printed = b""
        self.watch: Callable[[], None] = lambda: None
        self.log: Path | None = None
        self._on = False
        self._thread: threading.Thread | None = None
        if not image.exists():
            image.write_bytes(b"\xff" * (blocks * BLOCK))
            with self.files(new=True):
                pass

    def __enter__(self) -> "FlashedDevice":
        self.switch_on()
        return self

    def __exit__(self, *error: object) -> None:
        self.switch_off()

    @contextlib.contextmanager
    def files(self, new: bool = False) -> Iterator[LittleFS]:
        """The flash as a file system, to change while the board is off."""
        assert not self._on
        flash = _Flash(buffer=bytearray(self.image.read_bytes()))
        yield _mounted(flash, self.blocks, new)
        self.image.write_bytes(bytes(flash.buffer))

    def tree(self) -> dict[str, bytes]:
        """Return all files on the flash."""
        assert not self._on
        return tree(self.image.read_bytes())

    def put(self, contents: dict[str, bytes]) -> None:
        """Write files."""
        with self.files() as files:
            for path, data in contents.items():
                files.makedirs(path.rpartition("/")[0] or "/", exist_ok=True)
                with files.open(path, "wb") as file:
                    file.write(data)

    def switch_on(self) -> None:
        """Power: the port appears, and /main.py runs."""
        assert not self._on
        self._on = True
        self.commands = 0
        self._host, port = os.openpty()
        tty.setraw(port)
        self.port = os.ttyname(port)
        self._keep = port  # or the other end reads an error until a tool has opened the port
        self._start("main")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def switch_off(self) -> None:
        """The plug is pulled: the process is killed, and the port goes away."""
        self._on = False
        self._process.kill()
        if self._thread:
            self._thread.join()
            self._thread = None

    def wait_for(self, text: bytes) -> bytes:
        """Wait until the board has printed `text`, and return the line that it is in."""
        end = time.monotonic() + WAIT_S
        while True:
            for line in self.printed.splitlines(keepends=True):
                if text in line and line.endswith(b"\n"):
                    return line.strip()
            assert self._on and time.monotonic() < end, self.printed
            time.sleep(0.002)

    def power_cycle(self) -> None:
        """Off and on again. The port's name may be another."""
        self.switch_off()
        self.switch_on()

    def _start(self, mode: str) -> None:
        self.printed = b""
        self._raw = mode == "raw"
        self._board, console = os.openpty()
        tty.setraw(console)
        attributes = termios.tcgetattr(console)
        attributes[3] |= termios.ISIG | termios.NOFLSH  # Ctrl-C stops a running program
        termios.tcsetattr(console, termios.TCSANOW, attributes)
        command = [*MICROPYTHON, "-X", f"heapsize={self.heap}", "-i", str(BOOT)]
        command += [str(self.image), str(self.blocks), mode, str(self.log or "")]
        # The shell opens the terminal anew: only so it becomes the one that Ctrl-C comes from.
        shell = 'exec <"$0" >"$0" 2>&1; exec "$@"'
        self._process = subprocess.Popen(["sh", "-c", shell, os.ttyname(console), *command], start_new_session=True)
        self._console = console
        self._wait_until_started()
        if self._raw:
            os.write(self._host, b"\r\nMPY: soft reboot\r\n")
            self._wait_for_prompt()
            os.write(self._board, b"\r\x01")

    def _wait_until_started(self) -> None:
        """A Ctrl-C that comes earlier would end the process."""
        end = time.monotonic() + WAIT_S
        seen = b""
        while STARTED not in seen and self._process.poll() is None:
            assert time.monotonic() < end, seen
            if select.select([self._board], [], [], 0.01)[0]:
                seen += os.read(self._board, 1000)
        self._show(seen.partition(STARTED)[2])

    def _run(self) -> None:
        """Carry bytes both ways, and start the board again when it resets, until the power goes."""
        try:
            while self._on:
                ready, _, _ = select.select([self._host, self._board], [], [], 0.02)
                if self._board in ready:
                    self._to_host()
                elif self._process.poll() is not None:
                    self._restart()
                    continue
                if self._host in ready:
                    self._to_board(os.read(self._host, 4096))
        finally:
            self._on = False
            self._process.kill()
            self._process.wait()
            for descriptor in (self._board, self._console, self._keep, self._host):
                os.close(descriptor)

    def _restart(self) -> None:
        killed = self._process.wait() == -9
        os.close(self._board)
        os.close(self._console)
        self._start("raw" if self._raw and not killed else "main")

    def _to_host(self) -> None:
        self._show(os.read(self._board, 4096))

    def _show(self, data: bytes) -> None:
        self.printed += data
        os.write(self._host, data)

    def _to_board(self, data: bytes) -> None:
        while data:
            piece, stop, data = data.partition(b"\x03")
            for letter in (b"\x01", b"\x02"):
                if letter in piece:
                    self._raw = letter == b"\x01"
            if b"\x04" in piece:
                self.commands += 1
                self.watch()
                if self.commands == self.cut_command:
                    self._on = False
                    return
            os.write(self._board, piece)
            if stop:
                self._wait_for_sleep()
                os.write(self._board, stop)
                self._wait_for_prompt()

    def _wait_for_sleep(self) -> None:
        """Wait until a running program sleeps, or has computed for a while.

        On a board Ctrl-C waits until an operation on the flash is over. Here the flash is Python,
        and the exception would jump out of littlefs in the middle of one.
        """
        end = time.monotonic() + SLEEP_S
        process = psutil.Process(self._process.pid)
        while termios.tcgetattr(self._console)[3] & termios.ISIG and self._process.poll() is None:
            if process.status() == psutil.STATUS_SLEEPING or time.monotonic() > end:
                return
            if select.select([self._board], [], [], 0.002)[0]:
                self._to_host()

    def _wait_for_prompt(self) -> None:
        """Wait until nothing runs: MicroPython throws away what was typed before it reads a
        line."""
        end = time.monotonic() + WAIT_S
        while termios.tcgetattr(self._console)[3] & termios.ISIG and self._process.poll() is None:
            assert time.monotonic() < end
            if select.select([self._board], [], [], 0.002)[0]:
                self._to_host()
