"""A smart meter's P1 port: a task reads the UART, and the last valid telegram is a register (a
source for RegisterMeter).

The register is the meter's: nothing is kept here, and a reset or a power cut loses nothing.

Untested: the construction of machine.UART in open_uart, there is none on a PC. What reads it is
tested on a pseudo-terminal.
"""

import asyncio

from agent.meters.dsmr import Telegram, TelegramError, Telegrams, parse_telegram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Stream(Protocol):
        """What waits on a line."""

        def any(self) -> int:
            """Return how many bytes wait."""

        def read(self, size: int) -> bytes | None:
            """Return at most `size` of them, None if there are none."""


STALE_MS = 60000
PAUSE_MS = 5000  # DSMR 5 sends every second: most telegrams are dropped unread
POLL_S = 0.05  # 576 bytes at 115200 baud
CHUNK = 256
RECEIVE_BUFFER = 2048  # a telegram or two: idle work keeps the loop for up to 0.1 s
STEP_MOST = 10000  # Wh from a telegram without a CRC to the next but one


class P1Port:
    """Telegrams from `stream`, which has any(), the number of bytes that wait, and read(n), as
    machine.UART. `ticks_ms` and `ticks_diff` are the board's clock (runtime/system/ticks.py).

    `refused` counts telegrams by reason: those of TelegramError; "crc-lost", one without a CRC from
    a meter that sends one; "unconfirmed", one without a CRC that those before and after it do not
    bear out. `taken` counts the valid ones.
    """

    def __init__(
        self, stream: "Stream", ticks_ms: "Callable[[], int]", ticks_diff: "Callable[[int, int], int]"
    ) -> None:
        self.refused: dict[str, int] = {}
        self.taken = 0
        self._stream = stream
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._frames = Telegrams()
        self._telegram: Telegram | None = None
        self._doubtful: list[Telegram] = []  # the last two without a CRC
        self._checked = False  # whether this meter sends CRCs
        self._at = ticks_ms()

    async def run(self, alive: "Callable[[], object]") -> None:
        """Read for ever; `alive()` is called whenever the task makes progress, with or without
        bytes."""
        while True:
            alive()
            waiting = self._stream.any()
            if waiting:
                self.feed(self._stream.read(min(waiting, CHUNK)) or b"")
                await asyncio.sleep(0)
            else:
                self._fresh()
                await asyncio.sleep(POLL_S)

    def feed(self, chunk: bytes) -> None:
        """Take some bytes of the stream."""
        telegram = self._frames.feed(chunk)
        while telegram:
            self._take(telegram)
            telegram = self._frames.feed(b"")

    def total(self) -> int | None:
        """Imported energy in Wh, None if no valid telegram came for a minute."""
        telegram = self._fresh()
        return telegram.energy_wh if telegram else None

    def power(self) -> int | None:
        """Imported power in W, None as for total() or if the meter does not tell."""
        telegram = self._fresh()
        return telegram.power_w if telegram else None

    def identity(self) -> bytes:
        """What tells this meter from another, b"" if no telegram is there."""
        return _identity(self._telegram) if self._telegram else b""

    def discarded(self) -> int:
        """How many bytes were in no telegram."""
        return self._frames.discarded

    def _fresh(self) -> Telegram | None:
        # Called all the time, so that the ticks' turn after days of silence cannot make an old
        # telegram new.
        if self._telegram and not 0 <= self._ticks_diff(self._ticks_ms(), self._at) <= STALE_MS:
            self._telegram = None
        return self._telegram

    def _take(self, data: bytes) -> None:
        if self._fresh() and self._ticks_diff(self._ticks_ms(), self._at) < PAUSE_MS:
            return
        try:
            telegram = parse_telegram(data)
        except TelegramError as error:
            self._refuse(error.reason)
            return
        if telegram.checked:
            self._checked = True
        elif self._checked:
            self._refuse("crc-lost")
            return
        else:
            confirmed = self._confirm(telegram)
            if not confirmed:
                return
            telegram = confirmed
        self.taken += 1
        self._telegram = telegram
        self._at = self._ticks_ms()

    def _confirm(self, telegram: Telegram) -> Telegram | None:
        """Return the one before, if its register lies between those of the one before that and of
        this; else None.

        Nothing else protects a telegram without a CRC: a digit that fell over on the way must not
        become energy.
        """
        self._doubtful.append(telegram)
        if len(self._doubtful) < 3:
            return None
        first, middle, last = self._doubtful
        self._doubtful = [middle, last]
        low = first.energy_wh
        if (
            _identity(first) == _identity(middle) == _identity(last)
            and low <= middle.energy_wh <= last.energy_wh <= low + STEP_MOST
        ):
            return middle
        self._refuse("unconfirmed")
        return None

    def _refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


def _identity(telegram: Telegram) -> bytes:
    return (telegram.equipment_id or telegram.identification).encode()


def open_uart(number: int, rx: int, old: bool = False, inverted: bool = False) -> "Stream":
    """Return machine.UART `number` receiving at pin `rx`: 115200 baud 8N1, or with `old` (DSMR 2.2
    and 3) 9600 baud 7E1.

    `inverted` turns the level of the line over, for boards without a transistor that does: P1 is an
    open collector whose 1 is low. Raises ValueError where the port cannot.
    """
    from machine import UART

    options: dict[str, int] = {"rx": rx, "rxbuf": RECEIVE_BUFFER}
    if inverted:
        if not hasattr(UART, "INV_RX"):
            raise ValueError("inverted")
        options["invert"] = UART.INV_RX
    uart: "Stream"
    if old:
        uart = UART(number, baudrate=9600, bits=7, parity=0, stop=1, **options)
    else:
        uart = UART(number, baudrate=115200, bits=8, parity=None, stop=1, **options)
    return uart
