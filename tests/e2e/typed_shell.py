"""A person at a shell, who reads what it says before the next line is typed."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]
READY = "@ready@"
END_S = 60.0  # for all jobs, once they were told to


class Shell:
    """A shell in `folder`, with more in its `environment`. Everything that it and its jobs say is in
    `said`."""

    def __init__(self, folder: Path, tools: Path, **environment: str) -> None:
        """`tools` gets the command `hum` of this checkout, wherever the one is that was
        installed."""
        self.folder, self.environment = folder, environment
        hum = tools / "hum"
        hum.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m broker "$@"\n')
        hum.chmod(0o700)
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{tools}:{os.environ['PATH']}"} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.said = ""
        self._lines = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._write("set -m\n")  # jobs are numbered as a person's are

    def _read(self) -> None:
        out = self._process.stdout
        assert out
        while chunk := os.read(out.fileno(), 65536):
            self.said += chunk.decode(errors="replace")

    def _write(self, text: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def enter(self, line: str, within_s: float) -> tuple[int, str]:
        """Type one line; return its exit status and what was said until it had ended, also by
        jobs."""
        begun = len(self.said)
        self._lines += 1
        marker = f"{READY} {self._lines} "
        self._write(f"{line}\necho '{marker}'$?\n")
        said = self.wait(re.escape(marker) + r"(\d+)\n", within_s, begun)
        return int(said[1]), self.said[begun : said.start()]

    def wait(self, pattern: str, within_s: float, begin: int = 0) -> re.Match[str]:
        """Wait until it was said, from place `begin` on. Raises TimeoutError with all that was said
        then."""
        deadline = time.monotonic() + within_s
        while not (found := re.compile(pattern).search(self.said, begin)):
            if time.monotonic() >= deadline or self._process.poll() is not None:
                raise TimeoutError(f"{pattern!r} was not said within {within_s:g} s:\n{self.said}")
            time.sleep(0.05)
        return found

    def __enter__(self) -> "Shell":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all jobs as Ctrl-C would, and kill whoever does not."""
        self._write("for job in $(jobs -p); do kill -- -$job; done; wait; exit\n")
        try:
            self._process.wait(END_S)
        finally:
            for pid in _of_session(self._process.pid):
                os.kill(pid, signal.SIGKILL)
            self._reader.join(5)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()


def _of_session(session: int) -> list[int]:
    """Return the processes of a session: jobs have process groups of their own in it."""
    listed = subprocess.run(["ps", "-A", "-o", "sess=,pid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for sess, pid in map(str.split, listed.splitlines()) if int(sess) == session]
