"""Who listens to events hears of each as it happens.

A listener has no queue of its own. It holds the number of the last event that it was sent, and
takes what came since from the last RECENT that are kept here, or from the database if it is further
behind. So one that is slow costs memory neither here nor to others.
"""

import asyncio
from collections import deque

from broker.gateway.book.rounds import Event

RECENT = 256


class Hub:
    """The events of one gateway; `last` is the number of the last one. Everything but revoke() is
    for the event loop's own thread."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.is_closed = False
        self.listeners = 0
        self._recent: deque[Event] = deque(maxlen=RECENT)
        self._revoked: set[str] = set()
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Belong to the event loop that runs."""
        self._loop = asyncio.get_running_loop()

    def tell(self, event: Event) -> None:
        """Have all listeners hear of an event. One that another overtook is in the database."""
        if event.id > self.last:
            self._recent.append(event)
            self.last = event.id
            self._wake()

    def reach(self, number: int) -> None:
        """Have all listeners hear of events up to this one, which only the database may have: who
        wrote one may have ended before it told of it."""
        if number > self.last:
            self.last = number
            self._wake()

    def after(self, number: int) -> list[Event] | None:
        """Return the events that came after the one of this number; None if they are not all kept
        here."""
        if number >= self.last:
            return []
        found = [event for event in self._recent if event.id > number]
        return found if len(found) == self.last - number else None

    def revoke(self, token: str) -> None:
        """End the streams of a token, from any thread."""
        self._revoked.add(token)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def is_revoked(self, token: str) -> bool:
        """Tell whether a token was revoked since the start."""
        return token in self._revoked

    def close(self) -> None:
        """End all streams."""
        self.is_closed = True
        self._wake()

    async def changed(self, seconds: float) -> bool:
        """Wait until something has happened, so long at most; return whether it has."""
        changed = self._changed
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
