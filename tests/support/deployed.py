"""A deployment's own Mosquitto, as its folder configures it, for tests. No pytest in here."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.deploy.mosquitto import configuration
from tests.support.mosquitto_process import START_S


@contextmanager
def relaying(folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Mosquitto with the mosquitto.conf in `folder`, from when it listens on `port` of this
    machine. RuntimeError with what it said if it does not."""
    log = folder.parent / "mosquitto.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [configuration.find(), "-c", str(folder / "mosquitto.conf")], stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        else:
            raise RuntimeError("mosquitto did not start:\n" + log.read_text())
        yield process
    finally:
        process.kill()
        process.wait(START_S)
