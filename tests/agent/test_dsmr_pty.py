"""The P1 port on a real MicroPython, its UART a pseudo-terminal: bytes come as a serial line brings
them."""

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

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"


class Board:
    """A MicroPython process that reads the far end of `meter`."""

    def __init__(self) -> None:
        self.meter, device = os.openpty()
        tty.setraw(device)
        path = os.ttyname(device)
        command = [str(MICROPYTHON), "-X", "heapsize=64k", "tests/support/dsmr_board_port.py", path]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={})
        self.lines: queue.Queue[str] = queue.Queue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        assert self.line() == "open"
        os.close(device)
        assert self.line() == "None None 0"

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
def board() -> Iterator[Board]:
    board = Board()
    yield board
    board.close()


def own(name: str) -> bytes:
    return (ROOT / "tests" / "interop" / "telegrams" / f"{name}.txt").read_bytes()


def with_energy(data: bytes, wh: int) -> bytes:
    """The telegram dsmr-5.0 with another first register, and its CRC."""
    body = data.replace(b"001204.377", b"%06d.%03d" % divmod(wh, 1000))[: data.index(b"!") + 1]
    return body + b"%04X\r\n" % crc16(body, len(body))


def test_telegrams_from_a_terminal_become_a_register(board: Board) -> None:
    new = own("dsmr-5.0")
    board.send(new)
    assert board.line() == "3095000 590 0"
    board.send(b"\x00noise" + new[300:] + new.replace(b"001204", b"001205") + with_energy(new, 1204378))
    assert board.line() == f"3095001 590 {6 + len(new) - 300} crc=1"
    for wh in range(1204379, 1204409):  # with a heap of 64 kB: nothing is left behind
        board.send(with_energy(new, wh))
        assert board.line().split()[0] == str(wh + 1890623)


def test_an_old_meters_telegrams_are_believed_when_they_agree(board: Board) -> None:
    old = own("dsmr-2.2")
    for text in (b"04711.815", b"04711.816", b"14711.816"):
        board.send(old.replace(b"04711.815", text))
    board.send(old * 3)
    assert board.line() == "5691885 3470 0 unconfirmed=3"
