"""A board's tasks by the clock: retries, diagnostics, and the sign of life of each task for the
watchdog."""

import asyncio

from agent.runtime.flash.store import StoreError
from agent.runtime.unload import unload
from agent.wire import topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.runtime.net.unlinked import Unlinked
    from agent.runtime.net.wifi import Wifi
    from agent.runtime.supervisor import Supervisor, Task

RETRY_S = 5  # without a round
UNLINKED_S = 30  # without a link, each time: the radio is looked at
NUDGE_S = 20  # tasks that wait for work are woken that often, to show that they would do it
REPORT_S = 900  # diagnostics are sent at least that often

# How long each task may take to make progress: more than twice what it needs when all that it waits
# for fails.
IDLE_S = 60
OUTBOX_S = 180
RETRY_ALIVE_S = 30
LINK_S = 240


class Restart(Exception):
    """The board is to be reset; its flash has all that matters. args[0] says why: "unlinked", for
    too long, or "dead-radio" (net/unlinked.py)."""


class Upkeep:
    """Of `board`, a Supervisor; `diagnostics_s` is the least time between two diagnostics messages.

    Seconds are counted: a board can be without a round or a link for longer than ticks go without
    wrapping around.
    """

    def __init__(self, board: "Supervisor", diagnostics_s: int) -> None:
        self._quiet_s = 0  # since a round was opened, or retried
        self._board = board
        self._diagnostics_s = diagnostics_s
        self._unlinked_s = 0
        self._unlinked: "Unlinked | None" = None
        self._beside: "list[tuple[str, int, Task]]" = []
        self._trouble = ""
        self._counted = 0

    def begin_round(self) -> None:
        """A round has been opened."""
        self._quiet_s = 0

    def add(self, name: str, seconds: int, function: "Task") -> None:
        """See Supervisor.add."""
        self._beside.append((name, seconds, function))

    def loops(self) -> "list[Coroutine[None, None, None]]":
        """Return the coroutines to run; if there is a watchdog, all tasks are watched from now
        on."""
        board = self._board
        loops = [self._retry_loop(), self._diagnostics_loop()]
        loops += [function(self._sign_of(name)) for name, _, function in self._beside]
        if board.watchdog:
            board.watchdog.watch("idle", IDLE_S)
            board.watchdog.watch("outbox", OUTBOX_S)
            board.watchdog.watch("retry", RETRY_ALIVE_S)
            board.watchdog.watch("link", LINK_S)
            board.watchdog.watch("diagnostics", self._diagnostics_s + IDLE_S)
            for name, seconds, _ in self._beside:
                board.watchdog.watch(name, seconds)
            board.client.alive = self._sign_of("link")
            loops.append(board.watchdog.run())
        return loops

    def alive(self, name: str) -> None:
        """The task called `name` has made progress."""
        if self._board.watchdog:
            self._board.watchdog.alive(name)

    def _sign_of(self, name: str) -> "Callable[[], None]":
        return lambda: self.alive(name)

    async def _retry_loop(self) -> None:
        board = self._board
        seconds = 0
        # Minutes are not counted: a board that computes wakes late, and what the coordinator
        # reckons with is its clock.
        minutes = board.clock.uptime() // 60
        while True:
            await asyncio.sleep(1)
            self.alive("retry")
            self._quiet_s += 1
            if board.linked and self._quiet_s >= RETRY_S:
                self._quiet_s = 0
                board.perform(board.machine.retry())
            self._unlinked_s = 0 if board.linked else self._unlinked_s + 1
            if board.wifi:
                self._look_at_link(board, board.wifi)
            if board.unlinked_most_s and self._unlinked_s > board.unlinked_most_s:
                raise Restart("unlinked")
            seconds += 1
            if seconds % NUDGE_S == 0:
                board.nudge()
            while minutes < board.clock.uptime() // 60:
                minutes += 1
                board.machine.passed()

    def _tell(self) -> None:
        """Say on the console what has been counted since, and what troubles the meter: a board
        without a link has no other reader."""
        board = self._board
        trouble = board.health.trouble()
        if trouble != self._trouble:
            self._trouble = trouble
            board.note("meter", {"trouble": trouble})
        counters = board.health.counters()
        counters["refused"], counters["link"] = board.machine.refused, board.client.counters
        counted = sum([sum(counts.values()) for counts in counters.values()])
        if counted != self._counted:  # they only grow
            self._counted = counted
            board.note("counted", dict(counters))

    def _look_at_link(self, board: "Supervisor", wifi: "Wifi") -> None:
        """Raises Restart."""
        if self._unlinked and board.linked:
            self._unlinked.over()
            self._unlinked = None
            unload()
        elif self._unlinked_s and self._unlinked_s % UNLINKED_S == 0:
            if not self._unlinked:
                from agent.runtime.net.unlinked import Unlinked  # most boards never need it

                self._unlinked = Unlinked(board.client, wifi, board.effects.store)
            if self._unlinked.passed(UNLINKED_S):
                raise Restart("dead-radio")

    async def _diagnostics_loop(self) -> None:
        board = self._board
        identity = board.machine.identity
        topic = topics.device(identity.deployment, identity.device, "diag")
        sent = None
        sent_s = 0
        while True:
            self.alive("diagnostics")
            self._tell()
            state = board.machine.progress()[:2] + (self._trouble,)
            now = board.clock.uptime()
            due = state != sent or now - sent_s >= REPORT_S
            # Looking for the largest block takes a moment.
            if due and board.linked and not board.machine.in_round():
                sent = state
                sent_s = now
                board.post(topic, board.health.report(board.machine, board.client), 0, False)
            try:
                board.clock.keep()
            except StoreError:
                board.machine.refuse("flash")
            await asyncio.sleep(self._diagnostics_s)
