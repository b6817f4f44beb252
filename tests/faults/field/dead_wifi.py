"""A Wi-Fi that says that it is connected and is dead, or a TLS that has no memory, costs a board
two hours.

The driver's isconnected() stays true, an address is there, every connection fails (micropython
#9455, arduino-pico #762). And a lack of memory has four names (-32512, -17040, ENOMEM,
MemoryError), only one of which the board takes for what it is.

What must hold: what is known after minutes is acted on after minutes: the radio is associated
again or switched off and on, or the board is reset. A lack of memory has one cure, whatever its
name.
"""

import asyncio
import errno
from typing import Any
from unittest import mock

from agent.runtime.net import mqtt_socket
from agent.runtime.start import assemble_board
from tests.agent.runtime import test_start
from tests.faults import virtual
from tests.faults.verdict import Verdict
from tests.support.files_at_hand import Folder

MINUTES = 15
WIFI = {"ssid": "street", "password": "12345678"}
RADIO = {
    "OSError(-2)": OSError(-2),
    "EHOSTUNREACH": OSError(errno.EHOSTUNREACH, ""),
}
MEMORY = {
    "MemoryError": MemoryError("memory allocation failed"),
    "-32512 (TLS)": OSError(-32512, "MBEDTLS_ERR_SSL_ALLOC_FAILED"),
    "-17040 (TLS)": OSError(-17040, "MBEDTLS_ERR_RSA_PUBLIC_FAILED+MBEDTLS_ERR_MPI_ALLOC_FAILED"),
    "ENOMEM": OSError(errno.ENOMEM, ""),
}


class Life:
    """A board for MINUTES whose connections all fail with `error`.

    `attempts` counts them, `radio` lists what the driver was asked for after the first, `ended` is
    what ended the board.
    """

    def __init__(self, error: Exception) -> None:
        self.attempts = 0
        self.radio: list[str] = []
        self.ended: BaseException | None = None
        self._error = error
        with Folder() as folder, test_start.Hardware() as hardware:
            hardware.network.WLAN = self._driver(hardware.network.WLAN)
            with mock.patch.object(mqtt_socket, "connect", self._connect):
                virtual.run(lambda loop: self._live(folder))

    def _driver(self, base: type) -> type:
        life = self

        class Wlan(base):
            def isconnected(self) -> bool:
                return True

            def ifconfig(self, *_: object) -> tuple[str, ...]:
                return ("192.0.2.7", "255.255.255.0", "192.0.2.1", "192.0.2.1")

            def status(self, *asked: object) -> int:
                return -60 if asked else 3

            def active(self, on: bool) -> None:
                life.note("active")

            def disconnect(self) -> None:
                life.note("disconnect")

            def connect(self, *_: object) -> None:
                life.note("connect")

        return Wlan

    def note(self, call: str) -> None:
        if self.attempts:
            self.radio.append(call)

    async def _connect(self, address: object, hello: object) -> Any:
        self.attempts += 1
        raise self._error

    async def _live(self, folder: str) -> None:
        board = assemble_board(test_start.settings(folder, wifi=WIFI), test_start.silent)
        try:
            await asyncio.wait_for(board.run(), MINUTES * 60)
        except TimeoutError:
            return
        except Exception as error:  # main.py resets the board then
            self.ended = error

    def seen(self) -> str:
        done = f"ended by {self.ended!r}" if self.ended else f"{self.attempts} attempts in {MINUTES} minutes"
        return f"{done}, radio {'asked for ' + self.radio[0] if self.radio else 'left alone'}"


def fault() -> list[Verdict]:
    verdicts = []
    for name, error in RADIO.items():
        life = Life(error)
        assert life.attempts, "no connection was tried"
        verdicts.append(Verdict(not life.radio and not life.ended, life.seen(), name))
    for name, error in MEMORY.items():
        life = Life(error)
        assert life.attempts, "no connection was tried"
        verdicts.append(Verdict(not life.ended, life.seen(), name))
    return verdicts
