"""A board whose Wi-Fi says that it is joined and carries nothing, from its settings to the reset, in
virtual time."""

import asyncio
import errno
from typing import Any

import pytest

from agent.runtime.net import mqtt_socket
from agent.runtime.start import assemble_board
from agent.runtime.upkeep import Restart
from tests.agent.runtime import test_start
from tests.faults import virtual
from tests.support.files_at_hand import Folder

pytestmark = pytest.mark.proof  # hours of a board's idle ticks

WIFI = {"ssid": "street", "password": "12345678"}
MINUTES = 40
REFUSED_MINUTES = 20  # a dead radio's board has been reset by then


class Life:
    """A board whose connections fail with `error`: what its radio was asked for and when, in
    minutes, and how it ended."""

    def __init__(self, error: Exception, monkeypatch: pytest.MonkeyPatch, minutes: int = MINUTES) -> None:
        self.radio: list[tuple[int, str]] = []
        self.ended: tuple[str, int] | None = None
        self._error = error
        self._most = minutes * 60
        monkeypatch.setattr(mqtt_socket, "connect", self._connect)

    def run(self, folder: str) -> "Life":
        with test_start.Hardware() as hardware:
            hardware.network.WLAN = self._driver(hardware.network.WLAN)
            virtual.run(lambda loop: self._live(loop, folder))
        return self

    def _driver(self, base: type) -> type:
        life = self

        class Wlan(base):  # type: ignore[misc]  # a class that is made for each test
            def isconnected(self) -> bool:
                return True

            def ifconfig(self) -> tuple[str, ...]:
                return ("192.0.2.7", "255.255.255.0", "192.0.2.1", "192.0.2.1")

            def disconnect(self) -> None:
                life.note("disconnect")

            def active(self, on: bool) -> None:
                life.note("on" if on else "off")

        return Wlan

    def note(self, call: str) -> None:
        self.radio.append((self._minutes(), call))

    def _minutes(self) -> int:
        return int(self._loop.now - self._begun) // 60 if hasattr(self, "_loop") else 0

    async def _connect(self, address: object, hello: object) -> Any:
        raise self._error

    async def _live(self, loop: virtual.Loop, folder: str) -> None:
        board = assemble_board(test_start.settings(folder, wifi=WIFI), test_start.silent)
        self._loop, self._begun = loop, loop.now
        try:
            await asyncio.wait_for(board.run(), self._most)
        except Restart as error:
            self.ended = error.args[0], self._minutes()
        except TimeoutError:
            self.ended = None


def test_a_dead_radio_is_joined_again_switched_and_the_board_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    with Folder() as folder:
        life = Life(OSError(errno.EHOSTUNREACH, ""), monkeypatch).run(folder)
        assert (2, "disconnect") in life.radio and (2, "off") not in life.radio
        assert [minute for minute, call in life.radio if call == "off"] == [5, 10]
        assert life.ended == ("dead-radio", 15)
        # The flash remembers that this did not help.
        assert Life(OSError(-2), monkeypatch).run(folder).ended == ("dead-radio", 30)


def test_a_broker_that_refuses_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with Folder() as folder:
        life = Life(OSError(errno.ECONNREFUSED, ""), monkeypatch, REFUSED_MINUTES).run(folder)
        assert all(minute == 0 for minute, _ in life.radio) and life.ended is None
