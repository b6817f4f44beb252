"""The P1 port and the optical head on a real MicroPython, the UART a pseudo-terminal: bytes come as
a serial line brings them."""

import os
import queue
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.meters.dsmr import crc16
from host_sim.meters.made import sml, usual, with_parity

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"


class Board:
    """A MicroPython process that reads the far end of `meter`."""

    def __init__(self, kind: str) -> None:
        self.meter, device = os.openpty()
        tty.setraw(device)
        path = os.ttyname(device)
        command = [str(MICROPYTHON), "-X", "heapsize=112k", "tests/support/dsmr_board_port.py", path, kind]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={})
        self.lines: queue.Queue[str] = queue.Queue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        assert self.line() == "open"
        os.close(device)
        assert self.line() == "None None None 0"

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def line(self) -> str:
        return self.lines.get(timeout=60)

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), 200):
            os.write(self.meter, data[at : at + 200])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        os.close(self.meter)


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Iterator[Board]:
    board = Board(request.param)
    yield board
    board.close()


def own(name: str) -> bytes:
    return (ROOT / "tests" / "interop" / "telegrams" / f"{name}.txt").read_bytes()


def with_energy(data: bytes, wh: int) -> bytes:
    """The telegram dsmr-5.0 with another first register, and its CRC."""
    body = data.replace(b"001204.377", b"%06d.%03d" % divmod(wh, 1000))[: data.index(b"!") + 1]
    return body + b"%04X\r\n" % crc16(body, len(body))


@pytest.mark.parametrize("board", ["p1"], indirect=True)
def test_telegrams_from_a_terminal_become_a_register(board: Board) -> None:
    new = own("dsmr-5.0")
    board.send(new)
    assert board.line() == "3095000 2915910 590 0"
    board.send(b"\x00noise" + new[300:] + new.replace(b"001204", b"001205") + with_energy(new, 1204378))
    assert board.line() == f"3095001 2915910 590 {6 + len(new) - 300} crc=1"
    for wh in range(1204379, 1204409):  # more than the heap holds: nothing is left behind
        board.send(with_energy(new, wh))
        assert board.line().split()[0] == str(wh + 1890623)


@pytest.mark.parametrize("board", ["p1"], indirect=True)
def test_an_old_meters_telegrams_are_believed_when_they_agree(board: Board) -> None:
    old = own("dsmr-2.2")
    for text in (b"04711.815", b"04711.816", b"14711.816"):
        board.send(old.replace(b"04711.815", text))
    board.send(old * 3)
    assert board.line() == "5691885 12500 3470 0 unconfirmed=3"


@pytest.mark.parametrize("board", ["p1:7E1"], indirect=True)
def test_seven_bits_and_a_parity_are_read(board: Board) -> None:
    new = own("dsmr-5.0")
    board.send(with_parity(new))
    assert board.line() == "3095000 2915910 590 0"
    spoiled = bytearray(with_parity(with_energy(new, 1204378)))
    spoiled[200] ^= 4
    board.send(bytes(spoiled) + with_parity(with_energy(new, 1204379)))
    assert board.line() == "3095002 2915910 590 0 crc=1"


@pytest.mark.parametrize("board", ["sml"], indirect=True)
def test_an_optical_heads_telegrams_become_registers(board: Board) -> None:
    board.send(b"noise" + sml(usual())[80:] + sml(usual()))
    lost = 5 + len(sml(usual())) - 80
    assert board.line() == f"123456 7654 412 {lost}"
    spoiled = bytearray(sml(usual(1234577)))
    spoiled[100] ^= 4
    board.send(bytes(spoiled) + sml(usual(1234587, 7655, -20), holley=True))
    assert board.line() == f"123458 7655 0 {lost} crc=1"
    for load in range(2000000, 2000300, 10):
        board.send(sml(usual(load)))
        assert board.line().split()[0] == str(load // 10)
