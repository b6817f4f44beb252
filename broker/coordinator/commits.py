"""The thread that makes records durable. Records are written first, in one transaction; only then
is published what follows from them.

What comes while a transaction runs goes into the next one, together and in its order.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from broker.coordinator.actions import Publish, Record
from broker.storage.storage import Health, Storage

log = logging.getLogger("hum.coordinator")

WAITING_MOST = 10_000  # actions, before no more messages are read
COMMIT_S = 60.0  # for one transaction; the database itself waits 5 s for another process


@dataclass
class _Batch:
    """What one transaction is for, what is published after it, and what is called then."""

    records: list[Record] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    health: Health = field(default_factory=dict)
    publish: list[Publish] = field(default_factory=list)
    then: list[Callable[[], None]] = field(default_factory=list)

    def has_records(self) -> bool:
        """Tell whether there is anything to be made durable."""
        return bool(self.records or self.refusals or self.health)


class Commits:
    """What waits for the thread. `publish` is called, on the event loop, for each Publish when all
    that was put before it is durable."""

    def __init__(self, storage: Storage, publish: Callable[[Publish], None]) -> None:
        self._storage = storage
        self._publish = publish
        self._waiting = _Batch()
        self._busy = False
        self._ended = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(
        self,
        actions: Sequence[Record | Publish],
        refusals: Mapping[str, int] | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Make the records in `actions` durable, then publish what is to be published, and call
        `then`; and count refusals."""
        waiting = self._waiting
        waiting.records += [action for action in actions if isinstance(action, Record)]
        waiting.refusals.update(refusals or {})
        waiting.publish += [action for action in actions if isinstance(action, Publish)]
        if then:
            waiting.then.append(then)
        self._go_on()

    def note_health(self, reports: Health) -> None:
        """Keep what boards said of their health."""
        self._waiting.health |= reports
        self._go_on()

    async def room(self) -> None:
        """Wait until no more than WAITING_MOST wait."""
        await self._room.wait()

    async def idle(self) -> None:
        """Wait until nothing waits."""
        await self._idle.wait()

    def end(self) -> None:
        """Let run() return once nothing waits."""
        self._ended = True
        self._wake.set()

    async def run(self) -> None:
        """Make durable what comes, until end(). Raises what the database raises, or TimeoutError:
        what was to be published because of it is not. Only one may run; it is not to be
        cancelled."""
        thread = ThreadPoolExecutor(1, "commits")
        try:
            while True:
                while self._waiting.has_records():
                    batch, self._waiting = self._waiting, _Batch()
                    self._busy = True
                    await self._commit(thread, batch)
                    self._busy = False
                    self._done(batch)
                self._done(self._waiting)
                self._idle.set()
                if self._ended:
                    return
                await self._wake.wait()
                self._wake.clear()
        finally:
            thread.shutdown(wait=False)

    async def _commit(self, thread: ThreadPoolExecutor, batch: _Batch) -> None:
        commit = partial(self._storage.commit, batch.records, batch.refusals, batch.health)
        done = asyncio.get_running_loop().run_in_executor(thread, commit)
        try:
            await asyncio.wait_for(asyncio.shield(done), COMMIT_S)
        except TimeoutError:
            raise TimeoutError(f"the database has not taken what was to be recorded within {COMMIT_S:g} s") from None

    def _go_on(self) -> None:
        if not self._waiting.has_records() and not self._busy:
            self._done(self._waiting)
            return
        self._idle.clear()
        self._wake.set()
        if len(self._waiting.records) + len(self._waiting.publish) > WAITING_MOST:
            self._room.clear()

    def _done(self, batch: _Batch) -> None:
        for record in batch.records:
            if line := record.line():
                log.log(line[0], "%s", line[1])
        said, batch.publish = batch.publish, []
        for action in said:
            self._publish(action)
        calls, batch.then = batch.then, []
        for call in calls:
            call()
        self._room.set()
