"""The machine's watchdog, fed only while every task of the board makes progress.

A watchdog that a timer feeds tells that there is power. Here each task calls `alive` with its name
whenever it has got somewhere, and one that has not for longer than its time lets the whole board
starve: the machine resets, and what matters is in the flash. The event loop itself is checked too,
as nothing feeds while it hangs: no single step of a board's work takes TIMEOUT_MS, the longest that
an RP2040 can wait. What could, and what is done about it:

- a name's address: lwIP's getaddrinfo blocks for 7 s, or 14 s with two servers. names.py asks
  without blocking instead
- TLS: the handshake goes on in steps between the peer's messages; the longest, all that the
  server's flight asks for (with P-256, four or five multiplications in C), is some seconds on an
  RP2040. Estimated, not measured
- signatures and powers: at most two steps of idle work are longer than a slice; a roster's
  signature, checked in one go, takes 10 ms on a PC and 1 to 1.5 s on an RP2040
- flash: a record of 16 kB is written in a few blocks' time, well below a second
"""

import asyncio

from agent.runtime.system.ticks import ticks_diff, ticks_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Dog(Protocol):
        """A machine.WDT, or what stands for one."""

        def feed(self) -> None: ...

    Log = Callable[[str, dict[str, Any]], None]

TIMEOUT_MS = 8388  # the most that an RP2040 takes
FEED_S = 1


class Watchdog:
    """Feeds `dog`, which has feed(). `log(event, fields)` is told once which tasks are late."""

    def __init__(self, dog: "Dog", log: "Log") -> None:
        self._dog = dog
        self._log = log
        self._tasks: dict[str, list[int]] = {}  # name -> [time it has, time it has left], in ms
        self._late: list[str] | None = None

    def watch(self, name: str, seconds: int) -> None:
        """From now on the task must be alive every so many seconds."""
        self._tasks[name] = [seconds * 1000, seconds * 1000]

    def alive(self, name: str) -> None:
        """The task has made progress. One that nobody watches may say so, too."""
        task = self._tasks.get(name)
        if task:
            task[1] = task[0]

    def late(self, passed_ms: int) -> list[str]:
        """Let that much time pass, and return the sorted names of the tasks that are out of
        time."""
        names = []
        for name in self._tasks:
            task = self._tasks[name]
            task[1] = max(task[1] - passed_ms, 0)
            if not task[1]:
                names.append(name)
        names.sort()
        return names

    def _feed(self) -> None:
        try:
            self._dog.feed()
        except (OSError, RuntimeError) as error:
            # It will reset the machine, if it still works: there is nothing else to do.
            self._log("driver", {"of": "watchdog", "error": repr(error)})

    async def run(self) -> None:
        """Feed the dog as long as this is deserved; a task that comes back to life in time saves
        the board."""
        last = ticks_ms()
        while True:
            now = ticks_ms()
            late = self.late(ticks_diff(now, last))
            last = now
            if not late:
                self._feed()
            elif late != self._late:
                self._log("stuck", {"tasks": late})
            self._late = late
            await asyncio.sleep(FEED_S)
