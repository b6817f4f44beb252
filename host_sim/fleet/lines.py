"""What stands for the module `machine` on a board of the simulator whose meter is at a line: the
unix port has no UART and no pin. Both read a pseudo-terminal.
"""

import asyncio
import select
import sys

from agent.meters.pulse import OFF_MS, ON_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_MS = 5  # longer than a pulse, and than a pause, must be
_POLL_S = 0.01


def use(path: str) -> None:
    """From now on `machine` is what is here, its only line the pseudo-terminal at `path`."""
    _Line.path = path
    sys.modules["machine"] = _Machine()  # type: ignore[assignment]  # as good as a module


class _Line:
    """The far end of the pseudo-terminal at `path`."""

    path = ""

    def __init__(self) -> None:
        self._file = open(self.path, "rb")  # noqa: SIM115  # until the process ends
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)

    def waits(self) -> bool:
        """Return whether there is a byte."""
        return bool(self._poll.poll(0))

    def take(self) -> bytes:
        """Return one byte; more at once would wait for more."""
        return self._file.read(1)


class _UART:
    """As far as agent/meters/uart/port.py wants it; a terminal has no rate."""

    def __init__(self, number: int, **options: int | None) -> None:
        self._line = _Line()

    def any(self) -> int:
        """Return how many bytes may wait."""
        return 64 if self._line.waits() else 0

    def read(self, size: int) -> bytes | None:
        """Return at most `size` bytes that wait."""
        data = bytearray()
        while len(data) < size and self._line.waits():
            data += self._line.take()
        return bytes(data) or None


class _Pin:
    """An input that is closed (level 0) for a little longer than a pulse must be for each byte of
    its line, and then open as long as a pause must be. Its handler is called at both edges."""

    def __init__(self, number: int, mode: int, pull: int) -> None:
        self._level = 1
        self._line = _Line()

    def value(self) -> int:
        """Return the level."""
        return self._level

    def irq(self, handler: "Callable[[_Pin], None]", trigger: int, hard: bool) -> None:
        """Call `handler` at each edge from now on."""
        self._task = asyncio.create_task(self._pulses(handler))

    async def _pulses(self, handler: "Callable[[_Pin], None]") -> None:
        while True:
            if not self._line.waits():
                await asyncio.sleep(_POLL_S)
                continue
            self._line.take()
            for level, most in ((0, ON_MS), (1, OFF_MS)):
                self._level = level
                handler(self)
                await asyncio.sleep((most + _LEAST_MS) / 1000)


# As strings, for the build keeps the names that are in such.
for _number, _name in enumerate(("IN", "PULL_UP", "IRQ_RISING", "IRQ_FALLING")):
    setattr(_Pin, _name, 1 << _number)


class _Machine:
    UART = _UART
    Pin = _Pin
