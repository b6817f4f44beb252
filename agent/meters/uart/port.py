"""A meter's line at a UART: a task reads it, and the last valid telegram is a register (a source
for RegisterMeter). P1Port and SmlPort say how telegrams are cut out and read.

The register is the meter's: nothing is kept here, and a reset or a power cut loses nothing.

The UART is always opened with 8 bits and no parity. What is 7E1 on the line is as many bits: the
eighth is the parity, and is checked and taken off here. So both framings are one setting of the
hardware, and a wrong one can be told from a wrong rate.

Untested: the construction of machine.UART in open_uart, there is none on a PC. What reads it is
tested on a pseudo-terminal.
"""

import asyncio

from agent.meters.uart.telegram import Telegram, odd_ones

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from agent.meters.uart.signs import Signs

    Settings = dict[str, Any]
    Ways = tuple[tuple[int, str], ...]

    class Stream(Protocol):
        """What waits on a line."""

        def any(self) -> int:
            """Return how many bytes wait."""

        def read(self, size: int) -> bytes | None:
            """Return at most `size` of them, None if there are none."""

    class Decoder(Protocol):
        """How telegrams are cut out of the stream, and read."""

        refused: dict[str, int]  # telegrams by reason
        reason: str  # the last of them
        whole: int  # telegrams that came over the line as they were sent, believed or not

        def feed(self, chunk: bytes) -> bytes | None:
            """Take bytes and return the next telegram, None for more bytes; b"" asks for what else
            was in the last."""

        def read(self, data: bytes) -> Telegram | None:
            """Return what a telegram tells, or None where it is not to be believed."""

        def discarded(self) -> int:
            """Return how many bytes were in no telegram."""


STALE_MS = 60000
PAUSE_MS = 5000  # DSMR 5 sends every second: most telegrams are dropped unread
POLL_S = 0.05  # 576 bytes at 115200 baud
CHUNK = 256
RECEIVE_BUFFER = 2048  # a telegram or two: idle work keeps the loop for up to 0.1 s
LISTEN_MS = 30000  # without a telegram; then it is worth to look at the bytes
TRY_MS = 25000  # two telegrams of DSMR 2 to 4
RETRY_MS = 600000
TRIES_QUICK = 8  # each way twice; what was tried in vain is then tried at RETRY_MS
HEARD_LEAST = 64  # bytes; fewer are no line that speaks
STAYS = 3  # telegrams until other registers than before are believed


class UartPort:
    """Telegrams from `stream`, as `decoder` reads them. `ticks_ms` and `ticks_diff` are the board's
    clock (runtime/system/ticks.py).

    `ways` are the (rate, framing) that the line may have, the likeliest first; framing is "8N1" or
    "7E1", and `reopen(rate)` returns the stream at another rate. The first way that brings a valid
    telegram stays until the next start. `refused` counts telegrams by reason: those of
    TelegramError and of the decoder, and "registers", one that has other registers of energy than
    those before it. `taken` counts the valid ones, `tried` how often another way was tried.
    """

    def __init__(
        self,
        decoder: "Decoder",
        stream: "Stream",
        ticks_ms: "Callable[[], int]",
        ticks_diff: "Callable[[int, int], int]",
        ways: "Ways",
        reopen: "Callable[[int], Stream] | None" = None,
    ) -> None:
        self.refused = decoder.refused
        self.taken = self.tried = 0
        self._decoder = decoder
        self._stream = stream
        self._ways = ways
        self._reopen = reopen
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._telegram: Telegram | None = None
        self._at = self._tried_at = self._heard_at = ticks_ms()
        self._heard = 0  # bytes in this try
        self._parity = 0  # bytes with the wrong one
        self._way = 0
        self._whole = 0  # telegrams that were whole before this try
        self._signs: "Signs | None" = None  # what the bytes look like while nothing is read
        self._why = "silent"
        self._lacks: dict[str, str] = {}  # why a slot that was asked for has no number
        self._shape = self._other = b""  # which registers the meter has; which it would have now
        self._others = 0  # how often it had those

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
        if not chunk:
            return
        self._heard_at = self._ticks_ms()
        self._heard += len(chunk)
        if not self._fresh() and not 0 <= self._ticks_diff(self._heard_at, self._at) <= LISTEN_MS:
            self._listen(chunk)
        if self._ways[self._way][1] == "7E1":
            chunk = self._without_parity(chunk)
        data = self._decoder.feed(chunk)
        while data:
            self._take(data)
            data = self._decoder.feed(b"")

    def total(self, slot: str = "load") -> int | None:
        """Return the register behind `slot`, None if no valid telegram came for a minute or the
        meter has none."""
        telegram = self._fresh()
        return self._answer(telegram, slot, telegram.totals.get(slot)) if telegram else None

    def power(self, slot: str = "power") -> int | None:
        """Return what flows in W, None as for total()."""
        telegram = self._fresh()
        return self._answer(telegram, slot, telegram.powers.get(slot)) if telegram else None

    def identity(self, slot: str = "load") -> bytes:
        """Return what tells the meter behind `slot` from another, b"" if no telegram is there."""
        return self._telegram.identity(slot) if self._telegram else b""

    def discarded(self) -> int:
        """How many bytes were in no telegram."""
        return self._decoder.discarded()

    def counters(self) -> dict[str, int]:
        """Return what happened, by name; what never did is left out."""
        found = {"taken": self.taken, "tried": self.tried, "parity": self._parity, "discarded": self.discarded()}
        for reason in self.refused:
            found["refused-" + reason] = self.refused[reason]
        return {name: found[name] for name in found if found[name]}

    def trouble(self) -> str:
        """Return why there is no reading: "silent", "encrypted", "inverted" (no text, at any rate
        that was tried), "wrong-framing" (7E1 read as 8N1 or the other way round), "no-telegram"
        (text, but none of a meter), "checksum", another reason of TelegramError; of a slot that was
        asked for and the telegram has not, "no-register" or what is wrong with it; "" if all is
        well."""
        if not self._fresh():
            return self._why
        for slot in sorted(self._lacks):
            return self._lacks[slot]
        return ""

    def _answer(self, telegram: Telegram, slot: str, value: int | None) -> int | None:
        if value is None:
            self._lacks[slot] = telegram.odd.get(slot, "no-register")
        else:
            self._lacks.pop(slot, None)
        return value

    def _fresh(self) -> Telegram | None:
        # Called all the time, so that the ticks' turn after days of silence cannot make an old
        # telegram new.
        now = self._ticks_ms()
        if self._telegram and not 0 <= self._ticks_diff(now, self._at) <= STALE_MS:
            self._telegram = None
        if not 0 <= self._ticks_diff(now, self._heard_at) <= STALE_MS:
            self._heard_at = self._tried_at = now
            self._heard = 0
            self._signs = None
            self._why = "silent"
        if not self.taken and self._reopen:
            self._try(now, self._reopen)
        return self._telegram

    def _try(self, now: int, reopen: "Callable[[int], Stream]") -> None:
        """Try another way if this one has had its time, and the line speaks."""
        patience = TRY_MS if self.tried < TRIES_QUICK else RETRY_MS
        if 0 <= self._ticks_diff(now, self._tried_at) < patience:
            return
        if self._heard >= HEARD_LEAST and self._decoder.whole == self._whole:
            rate = self._ways[self._way][0]
            self._way = (self._way + 1) % len(self._ways)
            self.tried += 1
            self._signs = None
            if self._ways[self._way][0] != rate:
                self._stream = reopen(self._ways[self._way][0])
        self._tried_at = now
        self._heard = 0
        self._whole = self._decoder.whole

    def _listen(self, chunk: bytes) -> None:
        from agent.meters.uart.signs import Signs

        if self._signs is None:
            self._signs = Signs(self._ways[self._way][1] == "7E1")
        seems = self._signs.hear(chunk)
        if seems and (seems == "encrypted" or self._why in ("silent", "inverted", "wrong-framing", "no-telegram")):
            self._why = seems

    def _take(self, data: bytes) -> None:
        if self._fresh() and self._ticks_diff(self._ticks_ms(), self._at) < PAUSE_MS:
            return
        self._decoder.reason = ""
        telegram = self._decoder.read(data)
        if telegram and not self._same_registers(telegram):
            self.refused["registers"] = self.refused.get("registers", 0) + 1
            self._decoder.reason = "registers"
        elif telegram:
            self.taken += 1
            self._telegram = telegram
            self._at = self._ticks_ms()
            self._signs = None
            self._why = "silent"
            return
        reason = self._decoder.reason
        if reason:
            self._why = "checksum" if reason.endswith("crc") and reason != "no-crc" else reason

    def _same_registers(self, telegram: Telegram) -> bool:
        """Return whether the telegram has the registers of energy that those before it had.

        One that was left out (a tariff of two, or the total) is no fall: only what stays is
        believed.
        """
        shape = telegram.shape
        if not self._shape or shape == self._shape:
            self._shape = shape
            self._others = 0
            return True
        self._others = self._others + 1 if shape == self._other else 1
        self._other = shape
        if self._others < STAYS:
            return False
        self._shape = shape
        self._others = 0
        return True

    def _without_parity(self, chunk: bytes) -> bytes:
        """Return 7-bit characters, NUL where the parity is wrong: no telegram has that."""
        data = bytearray(chunk)
        for at in range(len(data)):
            if odd_ones(data[at]):
                data[at] = 0
                self._parity += 1
            else:
                data[at] &= 0x7F
        return bytes(data)


def open_uart(number: int, rx: int, rate: int, inverted: bool = False) -> "Stream":
    """Return machine.UART `number` receiving at pin `rx`, 8 bits, no parity.

    `inverted` turns the level of the line over, for boards without a transistor that does: P1 is an
    open collector whose 1 is low. Raises ValueError where the port cannot.
    """
    from machine import UART

    options: dict[str, int] = {"rx": rx, "rxbuf": RECEIVE_BUFFER}
    if inverted:
        if not hasattr(UART, "INV_RX"):
            raise ValueError("inverted")
        options["invert"] = UART.INV_RX
    uart: "Stream" = UART(number, baudrate=rate, bits=8, parity=None, stop=1, **options)
    return uart
