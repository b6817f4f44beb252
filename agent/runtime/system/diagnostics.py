"""The health of a board, for its diagnostics message: heap, flash, radio, links, resets, and what
its parts have counted. Nothing about readings."""

import gc
import sys

from agent.wire import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from agent.meters import Meter
    from agent.runtime.flash import Records
    from agent.runtime.flash.masks import MaskStock
    from agent.runtime.net.wifi import Wifi
    from agent.runtime.system.clock import Clock

    class Reporting(Protocol):
        """What a protocol's machine tells of itself."""

        refused: dict[str, int]

        def progress(self) -> tuple[str, int, int]: ...

        def masks(self) -> int: ...

    class Linking(Protocol):
        """What an MQTT client tells of its links."""

        links: int
        counters: dict[str, int]


_CAUSES = (None, "PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET")
_MOST = 0xFFFFFFFF


def reset_cause() -> int:
    """Return why the board started last: an index into coordination.RESETS, for the boards' own
    numbers differ."""
    try:
        import machine
    except ImportError:
        return 0
    if not hasattr(machine, "reset_cause"):
        return 0
    try:
        number = machine.reset_cause()
    except (OSError, RuntimeError):
        return 0
    # By name: no port has all of them, and those it has are numbered as it likes.
    for cause, name in enumerate(_CAUSES):
        if name and getattr(machine, name, None) == number:
            return cause
    return 0


class Health:
    """What report() tells, collected from `store` and `clock`, and `wifi` if there is one.

    `cause` is a reset_cause(), `version` that of the application, 0 if it has none.
    """

    def __init__(
        self, store: "Records", clock: "Clock", wifi: "Wifi | None" = None, cause: int = 0, version: int = 0
    ) -> None:
        self.heap_low: int | None = None
        # What each part of the board counts, beside its machine and its link.
        self.parts: "dict[str, Callable[[], dict[str, int]]]" = {"clock": lambda: {"failures": clock.failures}}
        if wifi:
            self.parts["wifi"] = wifi.counters
        self._meter: "Meter | None" = None
        self._store = store
        self._clock = clock
        self._wifi = wifi
        self._cause = cause
        self._version = version

    def collected(self) -> None:
        """To be called just after a gc.collect(): what is free then is really free."""
        if hasattr(gc, "mem_free"):
            free = gc.mem_free()
            if self.heap_low is None or free < self.heap_low:
                self.heap_low = free

    def watch(self, meter: "Meter", masks: "MaskStock") -> None:
        """Tell of these, too."""
        store = self._store
        self._meter = meter
        self.parts["meter"] = meter.counters
        self.parts["flash"] = lambda: {"corrupt": store.corrupt, "undeleted": masks.undeleted}

    def trouble(self) -> str:
        """Return why the meter has no reading, in one word with dashes; "" if it has, or nobody
        knows."""
        return self._meter.trouble() if self._meter else ""

    def counters(self) -> dict[str, dict[str, int]]:
        """Return what the board's parts have counted, by part and name: what is not 0."""
        found = {}
        for part, counters in self.parts.items():
            counts = {name: count for name, count in counters().items() if count}
            if counts:
                found[part] = counts
        return found

    def report(self, machine: "Reporting", client: "Linking") -> bytes:
        """Return the diagnostics message of a board whose protocol machine and MQTT client these
        are."""
        phase, done, total = machine.progress()
        free = gc.mem_free() if hasattr(gc, "mem_free") else 0
        wifi = self._wifi
        health = (
            self._clock.uptime(),
            self._clock.now() or None,
            self._version or None,
            self._cause,
            wifi.rssi() if wifi else None,
            self.heap_low,
            largest_block(),
            min(self._store.puts, _MOST),
            min(self._store.written, _MOST),
            client.links,
            wifi.joins if wifi else None,
            client.counters,
            self.counters() or None,
            self.trouble() or None,
        )
        return messages.diagnostics(phase, done, total, machine.masks(), free, machine.refused, health)


def largest_block() -> int | None:
    """Return the size in bytes of the largest piece of heap that can be had, in whole kB; None
    where it is costly to know.

    An ESP32 would make its heap larger for the asking, at the cost of the radio's.
    """
    if not hasattr(gc, "mem_free") or sys.platform == "esp32":
        return None
    gc.collect()
    gc.disable()  # or each failure would collect again
    try:
        low, high = 0, gc.mem_free() // 1024
        while low < high:
            middle = (low + high + 1) // 2
            try:
                bytearray(middle * 1024)
                low = middle
            except MemoryError:
                high = middle - 1
            if middle == low:
                gc.collect()  # what was just taken is free again
    finally:
        gc.enable()
    return low * 1024
