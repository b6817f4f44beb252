"""Rounds go into the database, each once and in their order, and become events."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from broker.client.access import Group
from broker.client.past import PastRound
from broker.gateway.book import rounds
from broker.gateway.book.book import Book, beside
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.hub import Hub
from broker.gateway.keeping.missed import Action, Missed, Place, Recall, Seen
from broker.gateway.rounds import Round
from broker.gateway.totals import StandingError

log = logging.getLogger("hum.gateway")

AGAIN_S = 2.0  # after which a database that took nothing is tried again

_T = TypeVar("_T")


class Keeper:
    """Keeps rounds as they come, and before a round those that were missed, which `recall` asks
    for. `keeping` tells whether the database has taken what came last."""

    def __init__(self, book: Book, hub: Hub, recall: Callable[[Recall], None]) -> None:
        self.keeping = True
        self._book = book
        self._hub = hub
        self._recall = recall
        self._missed = Missed()
        self._last: dict[str, Place | None] = {}  # of each group the round that was kept last
        self._one = asyncio.Lock()  # what comes of an event is done before the next one

    def begin(self) -> None:
        """Go on from what the database has: what was under way may have been cut off."""
        self._missed = Missed()
        self._last.clear()

    async def take(self, seen: Seen) -> None:
        """A round is over."""
        name = seen.group.name
        if name not in self._last:
            standing = await self._taken(self._book.read, rounds.standing, name)
            self._last[name] = (standing.epoch, standing.round) if standing else None
        async with self._one:
            await self._do(self._missed.heard(seen, self._last[name], time.monotonic()))

    async def take_past(self, told: PastRound) -> None:
        """The coordinator tells a round that was asked for."""
        seen = Seen(told.group, told.result, told.opened, told.closed)
        async with self._one:
            await self._do(self._missed.told(seen, told.left, time.monotonic()))

    async def tick(self) -> None:
        """Time has passed: ask again for what was missed, or go on without it."""
        if not self._one.locked():
            async with self._one:
                await self._do(self._missed.tick(time.monotonic()))

    async def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Recall):
                self._recall(action)
            else:
                await self._keep(action)
                self._last[action.group.name] = action.place

    async def _keep(self, seen: Seen) -> None:
        """Have the database take a round, however long that takes; then tell of it."""
        found = _round(seen)
        event = await self._taken(self._book.write, rounds.record, roster_of(seen.group), found)
        last = await self._taken(self._book.read, rounds.last_event)
        if event is not None:
            log.info("round %s of %s: %s", found.id, found.group, found.status)
            self._hub.tell(event)
        self._hub.reach(last)

    async def _taken(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """Return what the database answers, however long that takes."""
        while True:
            try:
                found = await beside(call, *arguments)
                break
            except (SQLAlchemyError, TimeoutError, StandingError) as error:
                if self.keeping:
                    log.error("%s: %s; rounds wait until that is mended", self._book.path, _why(error))
                self.keeping = False
                await asyncio.sleep(AGAIN_S)
        if not self.keeping:
            log.info("%s takes rounds again", self._book.path)
        self.keeping = True
        return found


def roster_of(group: Group) -> GroupRoster:
    """Return of a group what the database keeps of its epoch."""
    slots = tuple((name, low, high) for name, low, high in group.roster.slots)
    return GroupRoster(group.name, group.epoch, group.roster.protocol, slots, tuple(group.roster.names()))


def _round(seen: Seen) -> Round:
    result = seen.result
    return Round(
        group=result.group,
        epoch=result.epoch,
        round=result.round,
        status=result.status,
        slots=tuple(result.slots),
        sums=None if result.sums is None else tuple(result.sums),
        missing=tuple(result.missing),
        members=tuple(seen.group.roster.names()),
        instant=result.instant,
        closed=seen.closed,
        opened=seen.opened,
        off_grid=result.off_grid,
    )


def _why(error: Exception) -> str:
    said = str(getattr(error, "orig", None) or error)
    return next(iter(said.splitlines()), type(error).__name__)
