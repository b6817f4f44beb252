"""A process of a fleet: started in one step, waited for with an end, never left behind.

asyncio's own processes are of no use here. A start of one that is cancelled half way, as
asyncio.run() does with what is left at its end, waits for a pipe that nobody connects any more; and
their wait() returns when the pipes are at their end, not when the process is.
"""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

LINE_MOST = 65536
REAP_S = 5.0  # what kill -9 has ended is gone at once, unless the machine is in trouble
POLL_S = 0.01

_running: set["Child"] = set()


class Child:
    """A process in a session of its own, so that a terminal's Ctrl-C reaches only its parent.

    `output` is where its standard output goes: a file, or a pipe that follow() reads.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path | None,
        errors: IO[bytes],
        output: IO[bytes] | int = subprocess.PIPE,
    ) -> None:
        """Start it in `folder`, None for this process's own. Raises OSError."""
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
        )
        self._unread = self._process.stdout
        _running.add(self)

    @property
    def returncode(self) -> int | None:
        """Its exit status, -N if signal N ended it, None while it runs."""
        code = self._process.poll()
        if code is not None:
            _running.discard(self)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()

    async def ended(self, seconds: float) -> int:
        """Wait for its end and return its exit status. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while (code := self.returncode) is None:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{self._process.args!r} has not ended in {seconds:g} s")
            await asyncio.sleep(POLL_S)
        return code

    def reap(self) -> None:
        """kill -9, and wait until it is gone: an instant. What not even that ends is in the
        kernel's hands, and left there after REAP_S."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(REAP_S)
        if self._unread:
            self._unread.close()
        _running.discard(self)

    async def stop(self, seconds: float) -> None:
        """Ask it to end, give it so many seconds, and see to it."""
        if self.returncode is None:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await self.ended(seconds)
        self.reap()

    async def follow(self, hear: Callable[[bytes], None]) -> int:
        """Call hear(line) for each line of its standard output until it ends, and return its exit
        status. Lines beyond LINE_MOST are skipped.

        Whoever closes that output and lives on is ended.
        """
        output, self._unread = self._unread, None
        assert output
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), output)
        try:
            await _read_lines(reader, hear)
            with contextlib.suppress(TimeoutError):
                return await self.ended(REAP_S)
            self.reap()
            return await self.ended(REAP_S)
        finally:
            pipe.close()


def reap_all() -> int:
    """End all that still run, and return how many those were. For any thread, at the very end."""
    left = [child for child in list(_running) if child.returncode is None]
    for child in left:
        child.kill()
    for child in left:
        child.reap()
    return len(left)


async def _read_lines(reader: asyncio.StreamReader, hear: Callable[[bytes], None]) -> None:
    """Call hear(line) for each line until there is no more; the last may lack its end."""
    rest, too_long = b"", False
    while chunk := await reader.read(LINE_MOST):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not too_long and len(line) < LINE_MOST:
                hear(line + b"\n")
            too_long = False
        if len(rest) >= LINE_MOST:
            rest, too_long = b"", True
    if rest and not too_long:
        hear(rest)
