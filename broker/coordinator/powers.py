"""The worker processes for long computations (powers, searches, signatures), so that the event loop
goes on.

A worker is a process with a pipe. It does one job at a time, and is killed if a job takes longer
than it may; then, as when a worker dies by itself, the job is LOST and another worker takes its
place.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any

from agent.crypto import accelerate
from broker.coordinator.actions import LOST

START_S = 60.0  # a worker may take to start, on a machine that has much to do
STOP_S = 5.0
# Where cores are few the event loop comes first; a busy machine still leaves workers their share.
NICE = 3
WORKERS_LEAST = 2  # of which one does no long jobs
WORKERS_MOST = 8

_context = get_context("spawn")


class _Failed:
    """A job raised `error`."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _work(pipe: Connection) -> None:
    """Do jobs until the other end of the pipe is closed; and no longer than its process is
    there."""
    # Ctrl-C is for the coordinator, which then ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICE)
    accelerate.use_host_libraries()
    try:
        pipe.send(None)  # it is ready
        while True:
            job = pipe.recv()
            try:
                outcome = job()
            except Exception as error:  # whatever it is: it is raised where the job was asked for
                outcome = _Failed(error)
            pipe.send(outcome)
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    """Whoever kills the coordinator leaves no search behind."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Worker:
    """One process, which is there until it is killed."""

    def __init__(self) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_work, args=(theirs,), daemon=True, name="hum-powers")
        self._process.start()
        theirs.close()
        self._started = False

    async def do(self, job: Callable[[], Any], seconds: float) -> Any:
        """Return what `job` returns. Raises TimeoutError, or EOFError or OSError if the process is
        not there any more."""
        if not self._started:
            await self._receive(START_S)
            self._started = True
        self._pipe.send(job)
        return await self._receive(seconds)

    async def _receive(self, seconds: float) -> Any:
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(self._pipe.fileno(), _settle, readable)
        try:
            await asyncio.wait_for(readable, seconds)
        finally:
            loop.remove_reader(self._pipe.fileno())
        return self._pipe.recv()

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join(STOP_S)
        self._pipe.close()


def _settle(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)


class Powers:
    """As many workers as this machine has cores, WORKERS_LEAST at least; each starts when it is
    first needed."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[_Worker | None] = asyncio.Queue()
        self._workers: set[_Worker] = set()
        count = min(max(WORKERS_LEAST, os.cpu_count() or 1), WORKERS_MOST)
        for _ in range(count):
            self._free.put_nowait(None)
        self._for_long = asyncio.Semaphore(count - 1)

    async def run(self, job: Callable[[], Any], seconds: float, long: bool = False) -> Any:
        """Return what `job` returns once a worker is free and has done it in `seconds`, or LOST.
        `job`, and what it returns, can be pickled. `long` jobs never have all workers. Raises what
        the job raises."""
        if long:
            async with self._for_long:
                return await self.run(job, seconds)
        worker = await self._free.get()
        try:
            if worker is None:
                worker = _Worker()
                self._workers.add(worker)
            outcome = await worker.do(job, seconds)
        except (TimeoutError, EOFError, OSError):
            self._rid_of(worker)
            worker, outcome = None, LOST
        except asyncio.CancelledError:
            self._rid_of(worker)
            worker = None
            raise
        finally:
            self._free.put_nowait(worker)
        if isinstance(outcome, _Failed):
            raise outcome.error
        return outcome

    def _rid_of(self, worker: _Worker | None) -> None:
        if worker is not None:
            self._workers.discard(worker)
            worker.kill()

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in list(self._workers):
            self._rid_of(worker)


class Jobs:
    """What waits for powers, `under_way`."""

    def __init__(self) -> None:
        self.under_way: set[asyncio.Task[None]] = set()
        self._failed = asyncio.Event()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin what takes up an outcome when it is there."""
        job = asyncio.create_task(work)
        self.under_way.add(job)
        job.add_done_callback(self._ended)

    def _ended(self, job: "asyncio.Task[None]") -> None:
        if job.cancelled() or job.exception() is None:
            self.under_way.discard(job)
        else:
            self._failed.set()

    async def watch(self) -> None:
        """Wait for a job that fails, and raise what it raised."""
        await self._failed.wait()
        for job in self.under_way:
            if job.done():
                job.result()
