"""What the broker hands out becomes rounds in the database, each once, and then events."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from agent.wire import topics
from broker.client import Access, ClientError, QueryResult, Reader, RoundResult, follow
from broker.client.access import Group, read_key
from broker.gateway.boards import Boards
from broker.gateway.book import rounds
from broker.gateway.book.book import Book, beside
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.hub import Hub
from broker.gateway.rounds import Round
from broker.gateway.site import Site
from broker.gateway.totals import StandingError
from broker.transport.link import Link, LinkDenied, LinkError

log = logging.getLogger("hum.gateway")

KEYS_S = 2.0  # between two looks whether a result key came or went
RETRY_S = 2.0
DENIED_S = 10.0  # the broker counts who is not let in


class Feed:
    """Follows the groups whose result keys are in the site's folder `results`, from now on also
    those whose keys come later. `linked` tells whether the broker is there, since `changed`, in
    Unix seconds; `keeping` whether the database has taken what came last. `boards` hear, on the
    same link, what those say of themselves; `answered` is told of each query's result."""

    def __init__(
        self,
        site: Site,
        link: Link,
        book: Book,
        hub: Hub,
        boards: Boards,
        answered: Callable[[QueryResult], None] = lambda result: None,
    ) -> None:
        self.linked = False
        self.changed = time.time()
        self.keeping = True
        self._site = site
        self._link = link
        self._book = book
        self._hub = hub
        self._boards = boards
        self._keys: dict[str, bytes] = {}
        self._reader: Reader | None = None
        self._refused: Counter[str] = Counter()
        self._answered = answered

    @property
    def served(self) -> frozenset[str]:
        """The groups whose result keys are there."""
        return frozenset(self._keys)

    @property
    def refused(self) -> Counter[str]:
        """What was refused since the start, by named reason."""
        return self._refused + self._reader.refused if self._reader else self._refused

    @property
    def broker(self) -> str:
        """The broker's address, host:port."""
        return f"{self._link.host}:{self._link.port}"

    def rosters(self) -> list[GroupRoster]:
        """Return the rosters of the served groups, as far as the broker handed them out."""
        if self._reader is None:
            return []
        found = (self._reader.group(name) for name in sorted(self._keys))
        return [_roster(group) for group in found if group]

    async def run(self) -> None:
        """Follow without an end."""
        while True:
            self._refused = self.refused
            self._keys = read_keys(self._site.results)
            self._reader = Reader(Access(self._site.deployment, self._site.authority, None, self._keys))
            following = asyncio.create_task(self._follow(self._reader))
            try:
                while read_keys(self._site.results) == self._keys and not following.done():
                    await asyncio.wait([following], timeout=KEYS_S)
            finally:
                following.cancel()
                await asyncio.wait([following], timeout=DENIED_S)
            if following.done() and not following.cancelled():
                following.result()  # a fault of the program ends it

    async def _follow(self, reader: Reader) -> None:
        while True:
            try:
                async with aclosing(follow(self._link, reader, self._note, self._boards)) as results:
                    async for result in results:
                        group = reader.group(result.group)
                        if isinstance(result, QueryResult):
                            self._answered(result)
                        elif group is not None:
                            await self._keep(_roster(group), result)
            except LinkError as error:
                wait = DENIED_S if isinstance(error, LinkDenied) else RETRY_S
                log.warning("%s; next try in %g s", self._link.unreached(error), wait)
                await asyncio.sleep(wait)

    def _note(self, linked: bool) -> None:
        if linked and not self.linked:
            log.info("linked to %s", self.broker)
        if linked != self.linked:
            self.changed = time.time()
        self.linked = linked

    async def _keep(self, roster: GroupRoster, result: RoundResult) -> None:
        """Have the database take a round, however long that takes; then tell of it."""
        found = _round(roster, result, time.time())
        while True:
            try:
                event = await beside(self._book.write, rounds.record, roster, found)
                last = await beside(self._book.read, rounds.last_event)
                break
            except (SQLAlchemyError, TimeoutError, StandingError) as error:
                if self.keeping:
                    log.error("%s: %s; rounds wait until that is mended", self._book.path, _why(error))
                self.keeping = False
                await asyncio.sleep(RETRY_S)
        if not self.keeping:
            log.info("%s takes rounds again", self._book.path)
        self.keeping = True
        if event is not None:
            log.info("round %s of %s: %s", found.id, found.group, found.status)
            self._hub.tell(event)
        self._hub.reach(last)


def read_keys(folder: Path) -> dict[str, bytes]:
    """Return the result keys in the files GROUP.key of a folder, by group: of those that can be
    read."""
    found = {}
    for path in sorted(folder.glob("*.key")):
        if topics.valid_name(path.stem):
            try:
                found[path.stem] = read_key(path)
            except ClientError as error:
                log.debug("%s", error)  # `hum doctor` names it
    return found


def _roster(group: Group) -> GroupRoster:
    slots = tuple((name, low, high) for name, low, high in group.roster.slots)
    return GroupRoster(group.name, group.epoch, group.roster.protocol, slots, tuple(group.roster.names()))


def _round(roster: GroupRoster, result: RoundResult, now: float) -> Round:
    opened = None if result.latency_ms is None else now - result.latency_ms / 1000
    return Round(
        group=result.group,
        epoch=result.epoch,
        round=result.round,
        status=result.status,
        slots=tuple(result.slots),
        sums=None if result.sums is None else tuple(result.sums),
        missing=tuple(result.missing),
        members=roster.members,
        instant=result.instant,
        closed=now,
        opened=opened,
        off_grid=result.off_grid,
    )


def _why(error: Exception) -> str:
    said = str(getattr(error, "orig", None) or error)
    return next(iter(said.splitlines()), type(error).__name__)
