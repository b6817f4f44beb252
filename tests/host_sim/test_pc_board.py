"""`hum board`: what it refuses in one line, its key and code from start to start, a meter at a serial
port; and boards of both runtimes in one sum."""

import contextlib
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.crypto.key_code import key_code
from agent.meters.uart.port import open_uart
from broker.deploy.mosquitto.credentials import read_password
from broker.deployment.folder import Deployment
from host_sim.fleet.pace import pace
from host_sim.pc import serial_port
from host_sim.pc.board import Board, BoardError
from host_sim.pc.command import board
from tests.broker.deployment.small_deployment import PROJECT, make
from tests.support.mosquitto_process import free_port

WAIT_S = 800.0


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment.find(make(tmp_path / "street", free_port()).folder)


REFUSED = {
    "a name": ({"name": "b_x", "play": ["1"]}, "cannot be a board's name"),
    "no meter": ({}, "one meter is wanted"),
    "two meters": ({"play": ["1"], "p1": Path("/dev/null")}, "one meter is wanted"),
    "a slot more": ({"play": ["1", "2"]}, "--play is wanted for each slot of main: load"),
    "too much": ({"play": ["1,10001"]}, "whole numbers of 0 to 10000 are wanted for load"),
    "no number": ({"play": ["--5"]}, "whole numbers"),
    "too long": ({"play": ["9" * 5000]}, "whole numbers"),
    "nothing": ({"play": [""]}, "whole numbers"),
    "no such port": ({"sml": Path("/dev/none")}, "there is no /dev/none; is the cable plugged in?"),
    "a port on MicroPython": ({"p1": Path("/dev/null"), "micropython": True}, "--micropython goes with --play"),
    "a rate for nothing": ({"play": ["1"], "rate": 9600}, "--rate goes with"),
    "no such group": ({"play": ["1"], "group": "x"}, "--group: one of main is wanted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_is_refused_before_anything_is_made(deployment: Deployment, case: str) -> None:
    options, said = REFUSED[case]
    with pytest.raises(BoardError) as error:
        board(**{"name": "b0", "folder": deployment.folder} | options)
    assert said in str(error.value) and len(str(error.value).splitlines()) == 1
    assert not (deployment.folder / "boards").exists()


@pytest.fixture
def private() -> Iterator[None]:
    """As `hum` begins."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private")
def test_a_key_pair_is_made_once_and_shown_by_its_code(deployment: Deployment) -> None:
    first, second = (Board(deployment, "b0", "main") for _ in range(2))
    assert first.public == second.public and first.code == key_code(first.public)
    assert first.key_file.read_text() == first.public.hex() + "\n"
    assert not [path for path in first.folder.rglob("*") if path.stat().st_mode & 0o077]
    with first.alone(), pytest.raises(BoardError, match="another process runs the board"), second.alone():
        pass
    record = next(path for path in (first.folder / "flash").iterdir() if path.name.startswith("identity"))
    record.write_bytes(b"damaged")
    with pytest.raises(BoardError, match="its key pair is of no use"):
        Board(deployment, "b0", "main")


@pytest.mark.usefixtures("private")
def test_who_has_a_name_that_the_roster_gives_another_key_waits_and_does_not_take_its_password(
    deployment: Deployment,
) -> None:
    class Waits(Exception):
        pass

    def waits() -> None:
        raise Waits

    one = Board(deployment, "b0", "main")
    with pytest.raises(Waits):
        one.await_password(waits, deployment.credentials)
    whole = deployment.roster("main").read_bytes()
    deployment.roster("main").write_bytes(whole[:20])
    with pytest.raises(BoardError, match=r"main\.cose is no roster \(malformed\)"):
        one.await_password(waits, deployment.credentials)
    deployment.roster("main").unlink()
    assert one.await_password(waits, deployment.credentials) == read_password(deployment.credentials, "b0")


@pytest.fixture
def line() -> Iterator[tuple[int, str]]:
    """The two ends of a serial line: a file descriptor, and the path of a port."""
    ours, theirs = pty.openpty()
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def test_a_serial_port_is_read_as_a_uart_is(line: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ours, path = line
    monkeypatch.setitem(sys.modules, "machine", None)
    serial_port.use(path)
    for rate in (115200, 9600):  # it is opened again at each rate that is tried
        uart = open_uart(0, 0, rate)
        assert uart.any() == 0 and uart.read(8) is None
        os.write(ours, b"/KFM5")
        while uart.any() < 5:
            time.sleep(0.001)
        assert uart.read(2) == b"/K" and uart.read(8) == b"FM5"


class Started:
    """`hum board` as a process, and what it writes."""

    def __init__(self, folder: Path, name: str, *options: str) -> None:
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "broker", "board", name, "--dir", str(folder / "street"), *options]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def until(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while text not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


@pytest.mark.alone
@pytest.mark.proof
def test_boards_of_both_runtimes_wait_to_be_added_and_make_a_sum(tmp_path: Path) -> None:
    interval = 5 * round(pace())
    readings = {"attic": 300, "garage": 350, "kitchen": 400}
    small = make(tmp_path / "street", free_port(), {}, interval, roster=False)
    started: list[subprocess.Popen[bytes]] = []
    try:
        boards = {}
        for name, wh in readings.items():
            runtime = ["--micropython"] if name == "kitchen" else []
            boards[name] = Started(tmp_path, name, "--play", str(wh), *runtime)
            started.append(boards[name].process)
        for name, one in boards.items():
            one.until(f"it waits for: hum add {name} --key")
        small.add({name: (small.folder / "boards" / name / "board.pub").read_text().strip() for name in boards})
        up = subprocess.Popen(
            [sys.executable, "-m", "broker", "up", "--dir", str(small.folder)],
            env={**os.environ, "PYTHONPATH": str(PROJECT)}, start_new_session=True,
        )  # fmt: skip
        started.append(up)
        deadline = time.monotonic() + WAIT_S
        while f"[{sum(readings.values())}]" not in sums(small.folder):
            assert time.monotonic() < deadline, [one.log.read_text()[-500:] for one in boards.values()]
            assert all(process.poll() is None for process in started)
            time.sleep(0.2)
        for one in boards.values():
            one.process.send_signal(signal.SIGINT)
            assert one.process.wait(WAIT_S) == 130
            assert "Traceback" not in one.log.read_text(), one.log.read_text()
    finally:
        for process in started:
            process.terminate()
            process.wait(60)


def sums(folder: Path) -> list[str]:
    path = folder / "coordinator" / "coordinator.db"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as it,
    ):
        return [row[0] for row in it.execute("SELECT sums FROM rounds WHERE sums IS NOT NULL")]
    return []
