"""A meter's S0 output at a pin: an interrupt counts, a task keeps the count in the flash (a source
for RegisterMeter).

The count exists nowhere but here, so it is kept in two ways: with each reading that is spent, in
the meter's bookmark, and every SAVE_S, if pulses came, in the record "pulses"; save() does the same
before a reset that the board itself makes. What a power cut takes is the pulses since the later of
both: at most a quarter of an hour. Pulses that come while the board is off are lost, too.

On an RP2040 the interrupt is a hard one: it runs at once, except while the flash is written, which
delays it by some 50 ms a block. An ESP32 has only scheduled ones, which wait for the garbage
collector and for long arithmetic: a pulse of no more than 30 ms can then seem to be shorter, or is
over when the interrupt comes. It is not counted as energy, but among the glitches. Set the meter to
longer pulses (100 ms), or `on_ms` to less.

Untested: a real pin. The tests give the class one of their own.
"""

import asyncio

from agent.meters.pulse import OFF_MS, ON_MS, PulseRegister, Pulses, pulses_since

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from agent.meters import Records

    class Input(Protocol):
        """What machine.Pin has of an input."""

        @property
        def IRQ_RISING(self) -> int: ...

        @property
        def IRQ_FALLING(self) -> int: ...

        def value(self) -> int:
            """Return the level, 0 or 1."""

        # Each port of MicroPython hands its own kind of pin to the handler; not all know `hard`.
        def irq(self, handler: Callable[[Any], None], trigger: int, *, hard: bool = False) -> object:
            """Have `handler(pin)` called at the edges in `trigger`."""


SAVE_S = 900
LOOK_S = 1

_RECORD = "pulses"


class S0Pin:
    """Pulses at `pin`, a machine.Pin that is an input, `impulses` a kWh; the contact closed is
    level `closed`. It is closed for `on_ms` at least, and open for `off_ms` at least. `store` keeps
    the count, `ticks_ms` and `ticks_diff` are the board's clock (runtime/system/ticks.py).

    `unsaved` counts the saves of tend() that failed. Raises ValueError for impulses out of
    1..100,000, and store.failure.
    """

    def __init__(
        self,
        pin: "Input",
        store: "Records",
        ticks_ms: "Callable[[], int]",
        ticks_diff: "Callable[[int, int], int]",
        impulses: int,
        closed: int = 0,
        on_ms: int = ON_MS,
        off_ms: int = OFF_MS,
    ) -> None:
        self.unsaved = 0
        self._pin = pin
        self._store = store
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._closed = closed
        self._register = PulseRegister(impulses, store.get(_RECORD))
        self._saved = self._register.pack()
        self._saved_at = ticks_ms()
        self._pulses = Pulses(ticks_ms(), pin.value() == closed, on_ms, off_ms)
        self._collected = self._pulses.count
        self._looking = False
        self._changed = False
        _listen(pin, self._on_edge)

    def _on_edge(self, pin: "Input") -> None:
        # In an interrupt: nothing here may take memory, or touch a state that _look is about to
        # change.
        if self._looking:
            self._changed = True
        else:
            self._pulses.edge(self._ticks_ms(), pin.value() == self._closed, True)

    def _look(self) -> None:
        """Take the level as it is, without an edge: one may have been lost, and ticks turn."""
        while True:
            self._looking = True
            self._changed = False
            self._pulses.edge(self._ticks_ms(), self._pin.value() == self._closed)
            self._looking = False
            if not self._changed:
                return

    def total(self, slot: str) -> int | None:
        """Return the energy in Wh since the first start of this board, or more: see resume(). None
        but for "load"."""
        return self._count() if slot == "load" else None

    def _count(self) -> int:
        self._look()
        count = self._pulses.count
        self._register.add(pulses_since(count, self._collected))
        self._collected = count
        return self._register.wh

    def resume(self, slot: str, total: int) -> None:
        """The last reading that left the board had seen `total` Wh: never be below it."""
        if slot == "load":
            self._register.resume(total)

    def power(self, slot: str) -> None:
        """Pulses tell no power."""

    def identity(self, slot: str) -> bytes:
        """Return b"": pulses do not tell whose they are."""
        return b""

    def glitches(self) -> int:
        """How many times the contact was closed for too short a time, or a pulse was over before
        the interrupt came."""
        return self._pulses.glitches + self._pulses.missed

    def counters(self) -> dict[str, int]:
        """Return "pulses" since the start, "too-short" and "too-late", which together are the
        glitches, and "unsaved"."""
        pulses = self._pulses
        counters = {"pulses": pulses.count, "too-short": pulses.glitches, "too-late": pulses.missed}
        counters["unsaved"] = self.unsaved
        return counters

    def trouble(self) -> str:
        """Return "": no pulse may be no energy."""
        return ""

    def save(self) -> None:
        """Keep the count. Raises store.failure."""
        self._count()
        record = self._register.pack()
        if record != self._saved:
            self._store.put(_RECORD, record)
            self._saved = record
        self._saved_at = self._ticks_ms()

    async def run(self, alive: "Callable[[], object]") -> None:
        """Look every second and save every quarter of an hour, for ever; `alive()` is called each
        time."""
        while True:
            alive()
            self.tend()
            await asyncio.sleep(LOOK_S)

    def tend(self) -> None:
        """What run() does each time."""
        self._count()
        if self._ticks_diff(self._ticks_ms(), self._saved_at) >= SAVE_S * 1000:
            try:
                self.save()
            except self._store.failure:
                self.unsaved += 1
                self._saved_at = self._ticks_ms()  # and again in a while


def _listen(pin: "Input", handler: "Callable[[Input], None]") -> None:
    edges = pin.IRQ_RISING | pin.IRQ_FALLING
    try:
        pin.irq(handler=handler, trigger=edges, hard=True)
    except TypeError:  # the ESP32 port knows no hard interrupts
        pin.irq(handler=handler, trigger=edges)


def open_pin(number: int) -> "Input":
    """Return machine.Pin `number` as an input; S0- at ground and S0+ at the pin close it to level
    0."""
    from machine import Pin

    return Pin(number, Pin.IN, Pin.PULL_UP)
