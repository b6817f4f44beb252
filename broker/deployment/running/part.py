"""One of the programs that `hum up` runs: started, read line by line, started again when it
dies."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LINE_MOST = 16_384  # bytes; what is longer is cut
READ = 65_536
BACKOFF_LEAST, BACKOFF_MOST = 1.0, 60.0  # seconds before a start after the first death, and at most
REAP_S = 5.0
STEADY_S = 60.0  # who has run so long begins anew with BACKOFF_LEAST
TIED = str(Path(__file__).with_name("tied.py"))


@dataclass(frozen=True)
class Program:
    """What a part runs: `command`, in `folder`; as the user (user id, group id), None for who runs
    this."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    user: tuple[int, int] | None = None


@dataclass
class Part:
    """`program()` says what is run at each start, None while that is not known yet; `heed(line)`
    returns what of a line of its output is shown. The others go on without one that is not `vital`,
    though trying again may change nothing."""

    name: str
    program: Callable[[], Program | None]
    heed: Callable[[str], str | None]
    vital: bool = True
    process: "subprocess.Popen[bytes] | None" = None
    last: str = ""  # the last line that was shown
    was_started: bool = False
    due: float = 0.0  # when it is started next, monotonic seconds
    began: float = 0.0  # when it was started last
    silent: bool = False  # it has closed its output
    _wait: float = 0.0
    _rest: bytes = field(default=b"", repr=False)

    def start(self, now: float) -> bool:
        """Start it, if it is known what; return whether. Raises OSError."""
        program = self.program()
        if program is None:
            self.due = now + BACKOFF_LEAST
            return False
        user = program.user or (-1, -1)
        tied = [sys.executable, "-I", "-S", TIED, str(os.getpid()), *map(str, user), *program.command]
        self.process = subprocess.Popen(
            tied,
            cwd=program.folder,
            env=dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A terminal's Ctrl-C is for `hum up`, which ends its parts in order.
            start_new_session=True,
        )
        assert self.process.stdout
        os.set_blocking(self.process.stdout.fileno(), False)
        self.was_started = True
        self.began, self._rest, self.last, self.silent = now, b"", "", False
        return True

    def read(self) -> list[str] | None:
        """Return the lines to show of what it has written since the last time; None if there is
        nothing to read."""
        assert self.process and self.process.stdout
        try:
            data = os.read(self.process.stdout.fileno(), READ)
        except BlockingIOError:
            return None
        if not data:
            self.silent = True
            data = b"\n" * bool(self._rest)
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LINE_MOST]
        shown = [said for line in lines if (said := self.heed(line[:LINE_MOST].decode(errors="replace"))) is not None]
        self.last = shown[-1] if shown else self.last
        return shown if lines or not self.silent else None

    def ended(self, now: float) -> int | None:
        """Return its exit status once it has ended, None while it runs; then it is due again after
        a wait that grows from death to death."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        assert self.process.stdout
        self.process.stdout.close()
        self.process = None
        steady = now - self.began >= STEADY_S
        self._wait = BACKOFF_LEAST if steady or not self._wait else min(2 * self._wait, BACKOFF_MOST)
        self.due = now + self._wait
        return status

    @property
    def wait(self) -> float:
        """Seconds before the start that is due."""
        return self._wait

    def ask_to_end(self) -> None:
        """Send it SIGTERM."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9, and wait until it is gone: an instant. What not even that ends is in the
        kernel's hands."""
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(REAP_S)


def now() -> float:
    """Return monotonic seconds."""
    return time.monotonic()


def why(status: int) -> str:
    """Return an exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"
