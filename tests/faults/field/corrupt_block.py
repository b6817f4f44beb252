"""A record whose block of the flash cannot be read any more resets the board for ever.

littlefs answers LFS_ERR_CORRUPT (OSError 84) for one file (littlefs #431, #1183).

What must hold: a record that cannot be read is survived as well as one that is damaged.
"""

import asyncio
import errno
from collections.abc import Callable
from typing import Any
from unittest import mock

from agent.runtime.flash import store
from agent.runtime.flash.store import Store
from agent.runtime.net import mqtt_socket
from agent.runtime.start import assemble_board
from tests.agent.runtime import test_start
from tests.faults import virtual
from tests.faults.verdict import Verdict
from tests.support.files_at_hand import Folder

LFS_ERR_CORRUPT = 84
RECORDS = ("roster", "key", "acks", "clock", "high-water", "spent", "identity", "budget", "pulses")
LIFE_S = 120


class Unreadable:
    """A file that opens and cannot be read."""

    def __enter__(self) -> "Unreadable":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def read(self, size: int = -1) -> bytes:
        raise OSError(LFS_ERR_CORRUPT)

    def seek(self, *_: int) -> int:
        return 0


def opener(record: str) -> Callable[..., Any]:
    """Return an open() to which the file of `record` is unreadable."""

    def opened(path: str, mode: str = "r", *rest: Any) -> Any:
        if path.endswith("/" + record) and "r" in mode:
            return Unreadable()
        return open(path, mode, *rest)

    return opened


def life(folder: str) -> str:
    """Start a board on the flash in `folder`; return how it ends, or "runs" if it does not."""
    ends = []

    async def nowhere(address: object, hello: object) -> None:
        raise OSError(errno.EHOSTUNREACH)

    async def scenario(loop: virtual.Loop) -> None:
        try:
            board = assemble_board(test_start.settings(folder), test_start.silent)
            await asyncio.wait_for(board.run(), LIFE_S)
        except TimeoutError:
            ends.append("runs")
        except Exception as error:  # whatever ends the board: main.py resets it then
            ends.append(repr(error))

    with test_start.Hardware(), mock.patch.object(mqtt_socket, "connect", nowhere):
        virtual.run(scenario)
    return ends[0]


def lives(record: str) -> tuple[str, str]:
    """Return how two lives end: with the record damaged, and with it unreadable."""
    found = []
    for unreadable in (False, True):
        with Folder() as folder:
            assert life(folder) == "runs", "a board with a sound flash does not run"
            kept = Store(folder)
            if kept.get(record) is None:
                kept.put(record, b"x" * 64)
            path = kept._path(record)
            if unreadable:
                with mock.patch.object(store, "open", opener(record), create=True):
                    found.append([life(folder) for _ in range(2)][-1])
            else:
                with open(path, "r+b") as file:
                    file.write(b"\xff" * 8)
                found.append([life(folder) for _ in range(2)][-1])
    return found[0], found[1]


def fault() -> list[Verdict]:
    verdicts = []
    for record in RECORDS:
        damaged, unreadable = lives(record)
        seen = unreadable if unreadable == "runs" else f"{unreadable}, at each start"
        if unreadable != damaged:
            seen += f" (damaged: {damaged})"
        verdicts.append(Verdict(unreadable != "runs" and damaged == "runs", seen, record))
    return verdicts
