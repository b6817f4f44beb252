"""An event loop whose time is virtual: a wait is over at once, and the clocks of `time` go on by
what was waited for."""

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock


class _Selector(selectors.DefaultSelector):
    loop: "Loop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing left to wait for")
        if not ready and timeout and timeout > 0:
            self.loop.now += timeout
        return ready


class Loop(asyncio.SelectorEventLoop):
    """`now` is its time in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now


def run(scenario: Callable[[Loop], Awaitable[None]]) -> None:
    """Run `scenario(loop)` to its end, and then end the tasks that it left."""
    loop = Loop()
    real = time.time()
    with (
        mock.patch.object(time, "monotonic", lambda: loop.now),
        mock.patch.object(time, "monotonic_ns", lambda: int(loop.now * 1e9)),
        mock.patch.object(time, "time", lambda: real + loop.now),
    ):
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(scenario(loop))
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.close()
