"""A deployment's own Mosquitto, as its folder configures it, and what ends badly in a process of its
own, for tests. No pytest in here."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from broker.deploy.mosquitto import configuration
from broker.errors import HumError
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


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a copy of this process and return its exit status; 77 if it raised what the
    command shows in one line."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except (HumError, OSError, SQLAlchemyError):
            os._exit(77)
        except BaseException:
            os._exit(78)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
