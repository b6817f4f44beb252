"""How a command of `hum-sim` ends: by itself, or by a signal; in any case, within seconds.

A signal asks once: asyncio's work is cancelled, other work is left by Interrupted, and all parts of
it are stopped on the way out. What has not ended LEAVE_S later will not: a last resort,
which waits for nothing, then ends the fleet's processes and this one, and says what it waited for.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

from host_sim.fleet import child

LEAVE_S = 10.0  # stopping a fleet takes at most 5 s for its boards and 3 s for its broker
AGAIN_S = 0.01
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130

Result = TypeVar("Result")


class Interrupted(BaseException):
    """A signal has asked for the end. Not KeyboardInterrupt, of which typer makes its own story."""


class _Ending:
    """The end of this process. Signals are the process's, so there is one."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.cancel: Callable[[], Any] | None = None
        self.asked = False
        self._timer: threading.Timer | None = None

    def heard(self, number: int, frame: FrameType | None) -> None:
        """Take a signal; no further one disturbs what the first one began."""
        if self.asked:
            return
        self.asked = True
        self.begin(INTERRUPTED, "stopped")
        if self.loop is None or self.cancel is None:
            sys.excepthook = _say_nothing  # which such a callback calls, too: see _swallowed
            raise Interrupted
        with contextlib.suppress(RuntimeError):  # the loop is closed: all is over
            self.loop.call_soon_threadsafe(self.cancel)

    def begin(self, status: int, words: str) -> None:
        """From now on there are LEAVE_S left."""
        if self._timer is None:
            self._timer = threading.Timer(LEAVE_S, self._by_force, (status, words))
            self._timer.daemon = True
            self._timer.start()

    def over(self) -> None:
        """All has ended in time."""
        self.loop = self.cancel = None
        if self._timer and not self.asked:  # after a signal there is more to leave than the loop
            self._timer.cancel()
            self._timer = None

    def _by_force(self, status: int, words: str) -> None:
        tasks = asyncio.all_tasks(self.loop) if self.loop else set()
        waiting = ", ".join(sorted({getattr(task.get_coro(), "__qualname__", task.get_name()) for task in tasks}))
        child.reap_all()
        for worker in multiprocessing.active_children():
            worker.kill()
        line = f"hum-sim: {words}; ended by force, for this did not end in {LEAVE_S:g} s: {waiting or 'a computation'}"
        os.write(2, (line + "\n").encode())
        os._exit(status)


_ending = _Ending()


def _say_nothing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What was to be said of the end is said at the end."""


def _swallowed(told: "sys.UnraisableHookArgs") -> None:
    """An exception was raised where nothing can be raised, as in a callback of the C library that
    the simulated flash is: an Interrupted is raised again a little later, at another place."""
    if issubclass(told.exc_type, Interrupted):
        _ending.asked = False
        threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(told)


@contextlib.contextmanager
def heeding_signals() -> Iterator[None]:
    """Inside, Ctrl-C, SIGTERM and a closed terminal end this process as said above: with one line
    on standard error, and exit status INTERRUPTED."""
    before = {number: signal.signal(number, _ending.heard) for number in SIGNALS}
    hooks = sys.excepthook, sys.unraisablehook
    sys.unraisablehook = _swallowed
    try:
        yield
    except (Interrupted, asyncio.CancelledError, Exception) as error:
        if isinstance(error, Exception) and not _ending.asked:
            raise
        print("hum-sim: stopped; nothing is left running", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.excepthook, sys.unraisablehook = hooks


def run(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run work() to its end in an event loop of its own, as asyncio.run() does, and return its
    result. Raises what it raises; asyncio.CancelledError after a signal."""

    async def main() -> Result:
        task = asyncio.current_task()
        assert task
        _ending.loop, _ending.cancel = asyncio.get_running_loop(), task.cancel
        return await work()

    words = "all is done"
    try:
        with asyncio.Runner() as runner:  # to close it waits for its tasks and threads
            try:
                return runner.run(main())
            except BaseException as error:
                words = str(error) or type(error).__name__
                raise
            finally:
                _ending.begin(1, words)
    finally:
        _ending.over()
        child.reap_all()
