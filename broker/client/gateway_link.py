"""The one link of a gateway: what it reads of results, members and rounds, and what it asks."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from broker.client.asking import Send
from broker.client.members import News, Watch
from broker.client.past import Past, PastRound
from broker.client.reader import Reader
from broker.client.results import Result
from broker.transport.link import RECONNECT_S, Connection, Link, LinkError

log = logging.getLogger("hum.gateway")

REFUSED_S = 10.0  # between two warnings of what was refused


@dataclass(frozen=True)
class Linked:
    """There is a link, or there is none any more."""

    up: bool


class GatewayLink:
    """Reads as `reader`, `watch` and `past` do, over `link`, and says what it is given. A user of
    the broker has one connection, so all of it goes over this one."""

    def __init__(self, link: Link, reader: Reader, watch: Watch, past: Past) -> None:
        self._link = link
        self._reader = reader
        self._watch = watch
        self._past = past
        self._outbox: asyncio.Queue[Send] = asyncio.Queue()
        self._told: Counter[str] = Counter()
        self._due = 0.0

    def say(self, *sends: Send) -> None:
        """Say this on the link that there is; without one nobody hears it, and Asking says it
        anew on the next."""
        for send in sends:
            self._outbox.put_nowait(send)

    async def news(self) -> AsyncGenerator[Result | News | PastRound | Linked, None]:
        """Yield what is new, without an end, and connect again when the link is lost. Raises
        LinkError if there is none to begin with."""
        was_linked = False
        while True:
            try:
                async with self._link.connect() as connection:
                    was_linked = True
                    self._outbox = asyncio.Queue()
                    filters = [*self._reader.filters(), *self._watch.filters(), *self._past.filters()]
                    for one in dict.fromkeys(filters):
                        await connection.subscribe(one)
                    yield Linked(True)
                    async with self._writing(connection):
                        async for message in connection.messages():
                            for news in self._take(message.topic, message.payload):
                                yield news
            except LinkError as error:
                if not was_linked:
                    raise
                log.warning("no link to %s:%d: %s; trying again", self._link.host, self._link.port, error)
                yield Linked(False)
                await asyncio.sleep(RECONNECT_S)

    def _take(self, topic: str, payload: bytes) -> list[Result | News | PastRound]:
        found: list[Result | News | PastRound] = []
        if self._past.reads(topic):
            if past := self._past.take(topic, payload):
                found.append(past)
            self._say_refused()
            return found
        refused = self._reader.refused.total()
        if self._reader.reads(topic) and (result := self._reader.take(topic, payload, time.monotonic())):
            found.append(result)
        # Both read rosters: what one has refused is refused once.
        if topic.rpartition("/")[2] not in ("round", "result") and self._reader.refused.total() == refused:
            found += self._watch.take(topic, payload)
        self._say_refused()
        return found

    def _say_refused(self) -> None:
        refused = self._reader.refused + self._watch.refused + self._past.refused
        now = time.monotonic()
        if refused != self._told and now >= self._due:
            for reason, count in (refused - self._told).items():
                log.warning("refused %d: %s", count, reason)
            self._told, self._due = refused, now + REFUSED_S

    @contextlib.asynccontextmanager
    async def _writing(self, connection: Connection) -> AsyncGenerator[None, None]:
        """Meanwhile say what is to be said."""
        task = asyncio.create_task(self._write(connection))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=RECONNECT_S)

    async def _write(self, connection: Connection) -> None:
        while True:
            send = await self._outbox.get()
            try:
                await connection.publish(send.topic, send.payload)
            except LinkError:
                return  # who reads finds that, too
