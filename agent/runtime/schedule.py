"""Deadlines at equal distances: a protocol with rounds is told when each of them is over at the
latest."""

import asyncio

from agent.runtime.system.ticks import ticks_diff, ticks_ms


class Schedule:
    """Calls `elapsed(r)` for r = 0, 1, ... as set() says. One schedule at a time."""

    def __init__(self, elapsed):
        self._elapsed = elapsed
        self._task = None

    def set(self, period_ms, count, spawn):
        """Call elapsed(r) in (r+1) * period_ms from now on, for r below `count`, in place of what
        was set before.

        Not relative to the call before: what comes late once is not late for ever.
        `spawn(coroutine)` starts a task.
        """
        self.cancel()
        self._task = spawn(self._run(ticks_ms(), period_ms, count))

    def cancel(self):
        """Forget what was set."""
        if self._task:
            self._task.cancel()
        self._task = None

    async def _run(self, start, period_ms, count):
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
