"""An operator is not told what is wrong with a meter's line.

It brings encrypted frames (Luxembourg, Austria), parity bits (7E1 read as 8N1), an inverted line,
a wrong checksum, a register that is no number, or nothing. The board knows, and keeps it inside:
diagnostics and console say no more than for a good line.

What must hold: the cause is in the diagnostics or on the console.
"""

import asyncio
import errno
import random
from typing import Any
from unittest import mock

from agent.runtime.net import mqtt_socket
from agent.runtime.start import assemble_board
from agent.wire import cbor
from host_sim.meters.made import LINES
from host_sim.meters.made import p1 as telegram
from tests.agent.runtime import test_start
from tests.faults import virtual
from tests.faults.verdict import Verdict
from tests.support.files_at_hand import Folder

GOOD = telegram(LINES)
SECONDS = 400
PERIOD_S = 10
SETTLED_S = 120
NO_CAUSE = {"no-reading"}


def encrypted() -> bytes:
    """Return the head of an encrypted frame of DLMS and 900 bytes that nobody can read."""
    return b"\xdb\x08TST12345\x82\x03\x9c\x30\x00\x00\x00\x01" + random.Random(4).randbytes(900)


def with_parity(data: bytes) -> bytes:
    """Return what a reader of 8N1 gets of a 7E1 line."""
    return bytes(octet | (octet.bit_count() & 1) << 7 for octet in data)


def inverted(data: bytes) -> bytes:
    return bytes(random.Random(5).choices(b"\x00\xf0\xff\xfe\x80\xe0\xc0", k=len(data)))


class Uart:
    """A UART that a test puts bytes into."""

    def __init__(self, number: int, **_: object) -> None:
        self.left = b""

    def any(self) -> int:
        return len(self.left)

    def read(self, size: int) -> bytes:
        taken, self.left = self.left[:size], self.left[size:]
        return taken


def texts(value: Any) -> set[str]:
    """Return all texts in a decoded message, names of counters included."""
    if isinstance(value, dict):
        return texts([*value.keys(), *value.values()])
    if isinstance(value, list | tuple):
        return set().union(*map(texts, value))
    return {value} if isinstance(value, str) else set()


def told(line: bytes) -> tuple[bool, set[str]]:
    """Let a board read the line; return whether it has a reading, and all words of its console and
    its diagnostics."""
    words: set[str] = set()
    read = []

    async def nowhere(address: object, hello: object) -> None:
        raise OSError(errno.EHOSTUNREACH)

    def console(event: str, fields: dict[str, Any]) -> None:
        if event != "identity":  # every board has another key
            words.update({event}, texts(fields))

    async def scenario(loop: virtual.Loop) -> None:
        meter = {"kind": "p1", "uart": 1, "rx": 5}
        board = assemble_board(test_start.settings(folder, meter=meter), console)
        source = board.effects.meter._source
        source._ticks_ms = lambda: int(loop.time() * 1000)  # time here is the loop's
        source._at = source._tried_at = source._heard_at = source._ticks_ms()
        running = asyncio.ensure_future(board.run())
        for number in range(SECONDS // PERIOD_S):
            if number * PERIOD_S == SETTLED_S:
                words.clear()  # before its first telegram every line is silent
            source._stream.left += line
            await asyncio.sleep(PERIOD_S)
        read.append(board.effects.meter.read(0, True, True, [("load", 0, 100000)]) is not None)
        words.update(texts(cbor.decode(board.health.report(board.machine, board.client))))
        running.cancel()

    with Folder() as folder, test_start.Hardware() as hardware, mock.patch.object(mqtt_socket, "connect", nowhere):
        hardware.machine.UART = Uart
        virtual.run(scenario)
    return read[0], words


def fault() -> list[Verdict]:
    has_reading, usual = told(GOOD)
    assert has_reading, "a good line is not read"
    no_number = telegram([line.replace("000310.125", "0003A0.125") for line in LINES])
    lines = {
        "encrypted": encrypted(),
        "7E1 read as 8N1": with_parity(telegram(LINES)),
        "inverted": inverted(GOOD),
        "wrong checksum": GOOD.replace(b"!", b"!0")[:-3] + b"\r\n",
        "no number in 1.8.1": no_number,
        "silence": b"",
    }
    verdicts = []
    for case, line in lines.items():
        has_reading, words = told(line)
        causes = sorted(words - usual - NO_CAUSE)
        seen = "read" if has_reading else "told: " + (", ".join(causes) or "nothing")
        verdicts.append(Verdict(not has_reading and not causes, seen, case))
    return verdicts
