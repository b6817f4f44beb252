"""Deadlines at equal distances: a protocol with rounds is told when each of them is over at the
latest."""

import asyncio

from agent.runtime.system.ticks import ticks_diff, ticks_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Schedule:
    """Calls `elapsed(r)` for r = 0, 1, ... as set() says. One schedule at a time."""

    def __init__(self, elapsed: "Callable[[int], None]") -> None:
        self._elapsed = elapsed
        self._task: asyncio.Task[None] | None = None

    def set(self, period_ms: int, count: int, spawn: "Spawn") -> None:
        """Call elapsed(r) in (r+1) * period_ms from now on, for r below `count`, in place of what
        was set before.

        Not relative to the call before: what comes late once is not late for ever.
        `spawn(coroutine)` starts a task.
        """
        self.cancel()
        self._task = spawn(self._run(ticks_ms(), period_ms, count))

    def cancel(self) -> None:
        """Forget what was set."""
        if self._task:
            self._task.cancel()
        self._task = None

    async def _run(self, start: int, period_ms: int, count: int) -> None:
        for r in range(count):
            due = (r + 1) * period_ms
            while True:
                left = due - ticks_diff(ticks_ms(), start)
                if left <= 0:
                    break
                await asyncio.sleep(left / 1000)
            if r + 1 == count:
                self._task = None  # elapsed() may set another, which must not cancel this one
            self._elapsed(r)
