"""What the broker hands out becomes rounds in the database, each once, and then events."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from agent.wire import topics
from broker.client import Access, ClientError, QueryResult, Reader, RoundResult, identity
from broker.client.access import Group, read_key
from broker.client.asking import Send
from broker.client.gateway_link import GatewayLink, Linked
from broker.client.members import GroupMembers, GroupProgress, GroupReports, News, Watch
from broker.client.past import Past, PastRound
from broker.gateway.book.book import Book
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.hub import Hub
from broker.gateway.keeping.keeper import Keeper, roster_of
from broker.gateway.keeping.missed import Recall, Seen
from broker.gateway.members import Members
from broker.gateway.site import Site
from broker.transport.link import Link, LinkDenied, LinkError

log = logging.getLogger("hum.gateway")

KEYS_S = 2.0  # between two looks whether a result key came or went
RETRY_S = 2.0
DENIED_S = 10.0  # the broker counts who is not let in
UNTOLD_S = 20.0  # after which a coordinator that is there has told how its members stand

Heard = QueryResult | RoundResult | News | Linked


class Feed:
    """Follows the groups whose result keys are in the site's folder `results`, from now on also
    those whose keys come later; and, on the same link, what the coordinator tells the gateway by
    its own key in the site's folder. `linked` tells whether the broker is there, since `changed`,
    in Unix seconds. `members` are told how members stand, then `listeners`; those also of the link,
    of queries' results and of requests."""

    def __init__(self, site: Site, link: Link, book: Book, hub: Hub, members: Members) -> None:
        self.linked = False
        self.changed = time.time()
        self._site = site
        self._link = link
        self._members = members
        self._keys: dict[str, bytes] = {}
        self._reader: Reader | None = None
        self._past: Past | None = None
        self._keeper = Keeper(book, hub, self._recall)
        self._gateway: GatewayLink | None = None
        self._refused: Counter[str] = Counter()
        self._unknown = ""
        private, self._no_key = _own_key(site)
        # It outlives links and readers: what it was told before is not taken again.
        self.watch = Watch(Access(site.deployment, site.authority), private)
        self.listeners: list[Callable[[Heard], None]] = []

    @property
    def served(self) -> frozenset[str]:
        """The groups whose result keys are there."""
        return frozenset(self._keys)

    @property
    def refused(self) -> Counter[str]:
        """What was refused since the start, by named reason."""
        readers = [reader.refused for reader in (self._reader, self._past) if reader]
        return sum(readers, self._refused + self.watch.refused)

    @property
    def keeping(self) -> bool:
        """Whether the database has taken what came last."""
        return self._keeper.keeping

    @property
    def broker(self) -> str:
        """The broker's address, host:port."""
        return f"{self._link.host}:{self._link.port}"

    def rosters(self) -> list[GroupRoster]:
        """Return the rosters of the served groups, as far as the broker handed them out."""
        if self._reader is None:
            return []
        found = (self._reader.group(name) for name in sorted(self._keys))
        return [roster_of(group) for group in found if group]

    def say(self, *sends: Send) -> None:
        """Say this on the link; where there is none nobody hears it, and listeners are told of the
        next."""
        if self._gateway is not None:
            self._gateway.say(*sends)

    def unknown(self, group: str) -> str | None:
        """Return why nobody knows how a group's members stand, and what to do; None if it was
        told."""
        if self._members.standing(group):
            return None
        if self._no_key:
            return self._no_key
        if not self.linked:
            return "the gateway has no link to the broker"
        if not self.watch.coordinator:
            return "the coordinator is not there"
        return (
            "the coordinator tells this gateway nothing; start it with --gateway and the key in "
            f"{self._site.folder / identity.PUBLIC}, as `hum up` does"
        )

    def group(self, name: str) -> Group | None:
        """Return a served group as the authority signed it last; None before the broker handed that
        out."""
        return self._reader.group(name) if self._reader and name in self._keys else None

    async def run(self) -> None:
        """Follow without an end."""
        if self._no_key:
            log.warning("%s", self._no_key)
        while True:
            if self._reader is not None and self._past is not None:
                self._refused += self._reader.refused + self._past.refused
            self._keys = read_keys(self._site.results)
            access = Access(self._site.deployment, self._site.authority, None, self._keys)
            self._reader, self._past = Reader(access), Past(access, self.watch)
            self._gateway = GatewayLink(self._link, self._reader, self.watch, self._past)
            self._keeper.begin()
            following = asyncio.create_task(self._follow(self._reader, self._gateway))
            try:
                while read_keys(self._site.results) == self._keys and not following.done():
                    await asyncio.wait([following], timeout=KEYS_S)
                    # Else nobody can answer, and what was missed waits.
                    if self.linked and self.watch.coordinator:
                        await self._keeper.tick()
                    self._say_unknown()
            finally:
                following.cancel()
                await asyncio.wait([following], timeout=DENIED_S)
            if following.done() and not following.cancelled():
                following.result()  # a fault of the program ends it

    async def _follow(self, reader: Reader, gateway: GatewayLink) -> None:
        while True:
            try:
                async with aclosing(gateway.news()) as found:
                    async for news in found:
                        match news:
                            case RoundResult():
                                if group := reader.group(news.group):
                                    await self._keeper.take(_seen(group, news))
                                    self._hear(news)
                            case PastRound():
                                await self._keeper.take_past(news)
                            case _:
                                self._hear(news)
            except LinkError as error:
                self._hear(Linked(False))
                wait = DENIED_S if isinstance(error, LinkDenied) else RETRY_S
                log.warning("%s; next try in %g s", self._link.unreached(error), wait)
                await asyncio.sleep(wait)

    def _recall(self, wanted: Recall) -> None:
        if self._past and (send := self._past.recall(wanted.group, wanted.epoch, wanted.round)):
            log.info("asks for rounds of %s from %d.%d on", wanted.group, wanted.epoch, wanted.round)
            self.say(send)

    def _hear(self, news: Heard) -> None:
        if isinstance(news, GroupMembers | GroupReports | GroupProgress):
            self._members.take(news)
        elif isinstance(news, Linked):
            if news.up and not self.linked:
                log.info("linked to %s", self.broker)
            if news.up != self.linked:
                self.changed = time.time()
            self.linked = news.up
        for listener in self.listeners:
            listener(news)

    def _say_unknown(self) -> None:
        """Say once what keeps members unknown though there is a link, and has been for a while."""
        if not self.linked or time.time() < self.changed + UNTOLD_S or self._no_key:
            return
        found = {roster.group: self.unknown(roster.group) for roster in self.rosters()}
        said = "; ".join(f"{group}: {why}" for group, why in found.items() if why)
        if said and said != self._unknown:
            log.warning("members are not known, results are shown all the same; %s", said)
        self._unknown = said


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


def _own_key(site: Site) -> tuple[bytes | None, str]:
    """Return the gateway's private key, or why there is none."""
    try:
        return identity.private_key(site.folder), ""
    except ClientError as error:
        return None, f"members are not known, results are shown all the same: {error}"


def _seen(group: Group, result: RoundResult) -> Seen:
    now = time.time()
    return Seen(group, result, None if result.latency_ms is None else now - result.latency_ms / 1000, now)
