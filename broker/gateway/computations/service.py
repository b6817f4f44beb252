"""Computations on request, with a link, a clock and a database: each is kept before anything is
said of it, and so is each news of it before it is told."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable

from sqlalchemy.exc import SQLAlchemyError

from broker.client import QueryResult, RoundResult
from broker.client.asking import Send
from broker.client.gateway_link import Linked
from broker.client.members import News, RequestTold, Watch
from broker.gateway.book import computations, rounds
from broker.gateway.book.book import Book, beside
from broker.gateway.book.rounds import Event
from broker.gateway.computation import Computation
from broker.gateway.computations.live import Live
from broker.gateway.hub import Hub

log = logging.getLogger("hum.gateway")

TICK_S = 1.0
RETRY_S = 2.0
LOOK_S = 60.0


class Computations:
    """The computations of one gateway that are not over. `watch` knows groups and what requests to
    their coordinators are sealed with, and `say` says them on the link that there is. What comes of
    them is in `book`, and then told to `hub`. asked() and forgotten() are for any thread, the rest
    for the event loop's own."""

    def __init__(self, book: Book, hub: Hub, watch: Watch, say: Callable[[Send], None]) -> None:
        self.watch = watch
        self._say = say
        self._book = book
        self._hub = hub
        self._live = Live(watch.channel_of)
        self._unkept: deque[Computation] = deque()
        self._more = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Go on with those that an earlier process left, and with what is asked, without an end.
        Now and then the database is asked whether it has one that nobody has told of: who put it
        there may have waited in vain for a word of that."""
        self._loop = asyncio.get_running_loop()
        is_failing, due = False, 0.0
        while True:
            try:
                await self._keep()
                if time.monotonic() >= due:
                    for one in await beside(self._book.read, computations.live):
                        self._ask(one)
                    due = time.monotonic() + LOOK_S
                is_failing = False
            except (SQLAlchemyError, TimeoutError) as error:
                if not is_failing:
                    log.error("computations wait for the database: %s", type(error).__name__)
                is_failing = True
                await asyncio.sleep(RETRY_S)
            await self._turn()

    def hear(self, news: QueryResult | RoundResult | News | Linked) -> None:
        """Take what the link brings."""
        now, unix = time.monotonic(), time.time()
        match news:
            case RequestTold():
                self._do(self._live.hear(news, now, unix))
            case QueryResult():
                self._do(self._live.answered(news, unix))
            case RoundResult(off_grid=True) if group := self.watch.group(news.group):
                self._do(self._live.summed(news, len(group.roster.members), unix))
            case Linked(up=True):
                self._do(self._live.link_up(now, unix))
            case Linked():
                self._live.link_down()

    def asked(self, computation: Computation) -> None:
        """This is to be asked. It is in the database: before run() has begun that is enough."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ask, computation)

    def forgotten(self, number: int, event: Event | None) -> None:
        """Nobody waits for this one any longer, and the database has it no more; `event` tells so,
        if it was not over."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._forget, number, event)

    def _ask(self, computation: Computation) -> None:
        self._do(self._live.ask(computation, time.monotonic(), time.time()))

    def _forget(self, number: int, event: Event | None) -> None:
        self._live.forget(number)
        if event is not None:
            self._hub.tell(event)

    def _do(self, actions: Iterable[Send | Computation]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._say(action)
            else:
                self._unkept.append(action)
                self._more.set()

    async def _keep(self) -> None:
        """Have the database take all news, in their order, and tell of each."""
        while self._unkept:
            event = await beside(self._book.write, computations.record, self._unkept[0])
            last = await beside(self._book.read, rounds.last_event)
            found = self._unkept.popleft()
            if event is not None:
                log.info("computation %d of %s: %s", found.number, found.group, found.reason or found.state)
                self._hub.tell(event)
            self._hub.reach(last)

    async def _turn(self) -> None:
        """Let time pass until there is something to keep, TICK_S at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await self._more.wait()
        self._more.clear()
        self._do(self._live.tick(time.monotonic(), time.time()))
