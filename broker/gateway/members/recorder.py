"""What was told of members and rounds goes into the database, and then to who listens."""

import asyncio
import logging
from collections.abc import Callable, Collection

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from broker.gateway.book import changes, steps
from broker.gateway.book.book import Book, beside
from broker.gateway.book.changes import MEMBER, Changes
from broker.gateway.book.rounds import Event
from broker.gateway.hub import Hub
from broker.gateway.members.news import Unsaid, over
from broker.gateway.members.told import Members

log = logging.getLogger("hum.gateway")

EVERY_S = 1.0  # between two transactions, in each of which there is one event of a group at most
RETRY_S = 5.0


class Recorder:
    """Records what `members` are told of the groups that `served` returns. While the database takes
    nothing, what changes comes to one event of each group."""

    def __init__(self, book: Book, hub: Hub, members: Members, served: Callable[[], Collection[str]]) -> None:
        self._book = book
        self._hub = hub
        self._served = served
        self._unsaid = Unsaid(members)
        self._woken = asyncio.Event()
        self._is_waiting = False

    def wake(self) -> None:
        """There may be news."""
        self._woken.set()

    async def run(self) -> None:
        """Record without an end."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._record(self._unsaid.take(self._served()))
                await asyncio.sleep(EVERY_S)
            except (SQLAlchemyError, TimeoutError) as error:
                if not self._is_waiting:
                    log.warning("events of members wait for the database: %s", type(error).__name__)
                self._is_waiting = True
                self.wake()
                await asyncio.sleep(RETRY_S)

    async def _record(self, found: list[Changes]) -> None:
        if not found:
            return
        for event in await beside(self._book.write, keep, found):
            self._hub.tell(event)
        self._unsaid.said()
        self._is_waiting = False


def keep(connection: Connection, found: list[Changes]) -> list[Event]:
    """Keep what has changed, and the steps of rounds that are over; return the events."""
    for one in found:
        for round in over(one):
            steps.record(connection, one.group, one.epoch, round)
    return [Event(changes.keep(connection, one), MEMBER, changes=one) for one in found]
