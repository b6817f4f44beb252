"""What happens is told to metrics and to the home's broker: groups that come and go, and rounds."""

import asyncio
import logging

from sqlalchemy.exc import SQLAlchemyError

from broker.client import QueryResult
from broker.client.members import RequestTold
from broker.gateway.book import computations, rounds
from broker.gateway.book.book import Book, beside
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.feed import Feed, Heard
from broker.gateway.groups import Group
from broker.gateway.home_assistant.home import Home
from broker.gateway.home_assistant.machine import HomeAssistant
from broker.gateway.hub import Hub
from broker.gateway.metrics import Metrics
from broker.gateway.programs.computing import Computing
from broker.gateway.programs.machine import Programs
from broker.gateway.programs.requests import KeptError, Requests
from broker.gateway.rounds import Round
from broker.gateway.site import Outward, Site
from broker.gateway.totals import Standing, StandingError, after

log = logging.getLogger("hum.gateway")

LOOK_S = 2.0  # between two looks which groups there are
RETRY_S = 5.0
EVENTS_MOST = 256  # that are read at once


class Kept:
    """What programs may ask of the database."""

    def __init__(self, book: Book) -> None:
        self._book = book

    async def rounds(self, group: str, limit: int) -> list[Round]:
        """Return a group's last rounds, the newest first. Raises KeptError."""
        try:
            return (await beside(self._book.read, rounds.newest, group, limit))[::-1]
        except (SQLAlchemyError, TimeoutError) as error:
            raise KeptError from error

    async def standing(self, group: str) -> Standing | None:
        """Return where a group stands. Raises KeptError."""
        try:
            return await beside(self._book.read, rounds.standing, group)
        except (SQLAlchemyError, TimeoutError, StandingError) as error:
            raise KeptError from error


def home_of(
    outward: Outward, deployment: str, version: str, kept: Kept, metrics: Metrics, computing: Computing | None = None
) -> Home | None:
    """Return what speaks to the home's broker, if there is one."""
    if outward.home is None:
        return None
    programs = Programs(deployment, version, outward.compute)
    requests = Requests(programs, kept, computing)
    metrics.refusals.append(lambda: requests.refused)
    return Home(outward.home, programs, HomeAssistant(outward.prefix, deployment, version), requests)


class Outlets:
    """Tells `metrics`, and `home` if there is one, what the feed and the database know."""

    def __init__(self, site: Site, book: Book, feed: Feed, hub: Hub, metrics: Metrics, home: Home | None) -> None:
        self._site = site
        self._book = book
        self._feed = feed
        self._hub = hub
        self._metrics = metrics
        self._home = home
        self._known: dict[str, GroupRoster] = {}
        self._standings: dict[str, Standing] = {}
        self._seen = hub.last

    async def run(self) -> None:
        """Tell without an end."""
        resumed = False
        while True:
            try:
                if not resumed:
                    await self._resume()
                    resumed = True
                self._look()
                await self._tell()
            except (SQLAlchemyError, TimeoutError, StandingError) as error:
                log.warning("metrics and the home's broker wait for the database: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S)
            await self._hub.changed(LOOK_S)

    async def _resume(self) -> None:
        """Begin with where each group stood; of those that are no longer served nothing stays."""
        for group, epsilon in (await beside(self._book.read, computations.every_spent)).items():
            if group in self._feed.served:
                self._metrics.spent(group, epsilon)
        for roster in await beside(self._book.read, rounds.last_rosters):
            if roster.group not in self._feed.served:
                self._go(roster.group)
                continue
            self._describe(roster)
            last = await beside(self._book.read, rounds.last, roster.group)
            await self._load(roster.group)
            standing = self._standings.get(roster.group)
            if last is not None and standing is not None:
                self._metrics.resumed(last, standing)
                if self._home:
                    self._home.say(self._home.programs.closed(last, standing))

    def _look(self) -> None:
        self._metrics.linked(self._feed.linked)
        for roster in self._feed.rosters():
            if self._known.get(roster.group) != roster:
                self._describe(roster)
        for group in sorted(set(self._known) - self._feed.served):
            self._go(group)
        if self._home:
            there = self._feed.linked and self._feed.watch.coordinator is not False
            for group in self._known:
                self._home.say(self._home.programs.present(group, there))

    async def _tell(self) -> None:
        # More may happen while the database is asked.
        while self._seen < self._hub.last:
            events = self._hub.after(self._seen)
            if events is None:
                events = await beside(self._book.read, rounds.events_after, self._seen, EVENTS_MOST)
            if not events:
                return
            for event in events:
                if event.round is not None:
                    await self._tell_of(event.round)
                if event.computation is not None and self._home:
                    self._home.say(self._home.programs.computed(event.computation))
                self._seen = event.id

    async def _tell_of(self, round: Round) -> None:
        group = round.group
        if group not in self._known:
            return
        if group not in self._standings:
            await self._load(group)
        # Its own standing, and not that of a later one which the database may have by now.
        standing = self._standings[group] = after(self._standings.get(group), round)
        self._metrics.closed(round, standing)
        if self._home:
            self._home.say(self._home.programs.closed(round, standing))

    async def _load(self, group: str) -> None:
        standing = await beside(self._book.read, rounds.standing, group)
        if standing is not None:
            self._standings[group] = standing

    def _describe(self, roster: GroupRoster) -> None:
        self._known[roster.group] = roster
        labels = self._site.labels.get(roster.group, ())
        group = Group(roster.group, roster.epoch, roster.slots, len(roster.members), labels)
        self._metrics.described(group)
        if self._home and roster.has_sums:
            self._home.say([*self._home.home_assistant.described(group), *self._home.programs.described(group)])

    def _go(self, group: str) -> None:
        self._known.pop(group, None)
        self._standings.pop(group, None)
        self._metrics.gone(group)
        if self._home:
            self._home.say([*self._home.home_assistant.gone(group), *self._home.programs.gone(group)])


def count(metrics: Metrics, heard: Heard) -> None:
    """Count the results of queries, and what they have cost."""
    match heard:
        case QueryResult():
            metrics.answered(heard.group, heard.function, heard.status)
        case RequestTold():
            metrics.spent(heard.group, heard.spent)
