"""A thousand links lost, on a real MicroPython with a small heap: no socket stays open, and the
heap neither grows nor scatters."""

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mosquitto_process import Mosquitto

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"
GROWTH_MOST = 2048  # bytes: in the table of what is counted, and in the event loop's queues


@contextmanager
def listening(how: str) -> Iterator[int]:
    """A peer that accepts and then ends each connection: "closes", "resets", or sends "garbage"
    before."""
    server = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                if how == "resets":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if how == "garbage":
                    connection.sendall(b"\xff" * 700)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def run_board(port: int, links: int, kind: str, files: int = 64) -> dict[str, int]:
    """Run it with at most so many open files."""
    command = ["prlimit", f"--nofile={files}", str(MICROPYTHON), "-X", "heapsize=160k"]
    command += ["tests/support/mqtt_board_reconnects.py", str(port), str(links), kind]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    print(run.stdout, run.stderr)
    assert run.returncode == 0 and not run.stderr, run.stdout + run.stderr
    return {name: int(value) for name, value in (line.split() for line in run.stdout.splitlines())}


def check_nothing_leaked(figures: dict[str, int]) -> None:
    assert figures["late_files"] == figures["early_files"]
    assert figures["late_heap"] <= figures["early_heap"] + GROWTH_MOST
    assert figures["late_block"] >= figures["early_block"] - 2 * GROWTH_MOST


def test_a_thousand_links_to_a_real_broker() -> None:
    with Mosquitto() as broker:
        figures = run_board(broker.port, 1000, "up")
    check_nothing_leaked(figures)
    assert figures["links"] >= 1000 and figures["dropped"] >= 999


@pytest.mark.parametrize("how", ["closes", "resets", "garbage"])
def test_a_thousand_peers_that_hang_up(how: str) -> None:
    with listening(how) as port:
        figures = run_board(port, 1000, "down")
    check_nothing_leaked(figures)
    assert figures["links"] == 0
    assert sum(figures.get(reason, 0) for reason in ("connect-failed", "malformed")) >= 999


def test_a_thousand_times_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # and does not listen
        figures = run_board(probe.getsockname()[1], 1000, "down")
    check_nothing_leaked(figures)
    assert figures["connect-failed"] >= 999


def test_a_board_without_a_socket_left_waits_for_one() -> None:
    with Mosquitto() as broker:
        figures = run_board(broker.port, 50, "starved", files=12)
    check_nothing_leaked(figures)
    assert figures["connect-failed"] >= 50 and figures["links"] >= 50
