"""A real Mosquitto for tests: its own process, a free port of 127.0.0.1, a temporary folder. No
pytest in here."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 30.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """`config` is Mosquitto configuration text after the listener's; all may enter unless it says
    `allow_anonymous`.

    `with Mosquitto() as broker:` starts it on `broker.port` and removes it with its `folder` at the
    end. `kill` is kill -9, after which `start` brings it back on the same port. Files for the
    broker go into `folder` before `start`.
    """

    def __init__(self, config: str = "") -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="hum-mosquitto-"))
        self.log = self.folder / "mosquitto.log"
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return once the port accepts connections. RuntimeError with the log's text if
        it never does."""
        lines = ["user root", f"listener {self.port} 127.0.0.1", self._config]  # it cannot read our folder as nobody
        if "allow_anonymous" not in self._config:
            lines.append("allow_anonymous true")
        path = self.folder / "mosquitto.conf"
        path.write_text("\n".join(lines) + "\n")
        executable = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if executable is None:
            raise FileNotFoundError("mosquitto is not installed")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([executable, "-v", "-c", str(path)], stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.kill()
        raise RuntimeError("mosquitto did not start:\n" + self.log.read_text())

    def kill(self) -> None:
        """kill -9: nothing is flushed, no connection is closed in good order."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ask it to end, wait, and remove the folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(START_S)
            finally:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
