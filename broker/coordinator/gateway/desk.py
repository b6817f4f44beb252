"""What the gateway asks: each request is taken once, becomes a query or a round of sums, and is
asked again, a bounded number of times, if members that vanished took its answer away. Each news is
told.

A request is known by its number. The same one again is told how it stands, and calls for nothing
else; what comes too late, or with a number of long ago, is refused.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Executable, ScalarSelect

from agent.protocols.base import Refused as EnvelopeRefused
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError
from broker.coordinator.actions import Publish, Record
from broker.coordinator.gateway import tables
from broker.coordinator.gateway.tables import Kept, Noted
from broker.coordinator.machine import Machine
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.base import Asks, Closed, Opened
from broker.coordinator.upload_filter import Refused
from broker.storage.storage import Storage
from broker.wire import channel, requests
from broker.wire.channel import Channel
from broker.wire.requests import ACCEPTED, AGAIN, COMPLETE, OPEN, OVER, REFUSED, Ask, AskRound, Told

AHEAD_MOST_S = 3600  # that a request may wait for its answer
WAITING_MOST = 4  # requests of a group that are not over

Machines = Mapping[str, Machine]
Said = Record | Publish


class Desk:
    """The requests of one gateway, in the database of `storage`."""

    def __init__(self, storage: Storage, gate: Channel, unix_time: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._channel = gate
        self._unix_time = unix_time
        self._live = {kept.number: kept for kept in storage.read(tables.live)}

    def restored(self) -> list[Said]:
        """Go on with what was asked of a process before this one: some of it may be over."""
        actions: list[Said] = []
        for kept in list(self._live.values()):
            asks = _asks(kept.protocol)
            if asks is None:
                actions += self._news(replace(kept, state=REFUSED, reason="unknown-protocol"))
            elif kept.query is not None and (closed := self._storage.read(asks.over, kept.query)):
                actions += self._ended(kept, asks, closed)
        return actions

    def hear(self, group: str, payload: bytes, machines: Machines) -> tuple[list[Said], list[str]]:
        """Take what was said to the topic of requests of a group; return what comes of it, and why
        it is refused, if it is."""
        try:
            _, plain = self._channel.open(channel.ASK, group, payload)
            ask = requests.read_ask(plain)
        except (EnvelopeRefused, EnvelopeError, MessageError) as error:
            return [], [error.args[0]]
        now = self._unix_time()
        contact = tables.Contact(asked_at=now)
        known = self._live.get(ask.number) or self._storage.read(tables.by_number, ask.number)
        if known:
            if (known.group, known.ask) != (group, plain):
                # Not noted: the number is that of another request.
                clash = replace(_new(group, ask, plain, now), state=REFUSED, reason="conflict")
                return [contact, self._tell(clash)], ["conflict"]
            return [contact, self._tell(known)], ["duplicate"]
        if ask.number < self._storage.read(tables.least):
            return [], ["replayed"]
        try:
            return [contact, *self._taken(group, ask, plain, machines)], []
        except Refused as error:
            refused = replace(_new(group, ask, plain, now), state=REFUSED, reason=error.args[0])
            return [contact, Noted(refused), self._tell(refused)], [error.args[0]]

    def _taken(self, group: str, ask: Ask | AskRound, plain: bytes, machines: Machines) -> list[Said]:
        now = self._unix_time()
        if ask.until <= now:
            raise Refused("too-late")
        if ask.until > now + AHEAD_MOST_S:
            raise Refused("too-far-ahead")
        machine = machines.get(group)
        if machine is None:
            raise Refused("unknown-group")
        declaration = registry.find(machine.scope.roster.protocol)
        asks = declaration.requests and declaration.requests.asks
        if not asks:
            raise Refused("no-queries")
        if len([kept for kept in self._live.values() if kept.group == group]) >= WAITING_MOST:
            raise Refused("busy")
        cost = asks.quote(machine, group, ask)
        taken = replace(_new(group, ask, plain, now), protocol=declaration.name, cost=cost)
        self._live[ask.number] = taken
        return [Noted(taken, (asks.enter(group, ask),), asks.newest), self._tell(taken)]

    def heed(self, record: Record) -> list[Said]:
        """A machine has this recorded: tell the gateway if it is about one of its requests."""
        for declaration in registry.declarations():
            asks = declaration.requests and declaration.requests.asks
            event = asks.heed(record) if asks else None
            if not asks or event is None:
                continue
            found = self._storage.read(tables.by_query, declaration.name, event.request)
            kept = self._live.get(found.number) if found else None
            if found is None or kept is None:
                return []  # `hum query` has asked, or nobody waits any more
            kept = replace(kept, query=event.request)
            return self._opened(kept, event) if isinstance(event, Opened) else self._ended(kept, asks, event)
        return []

    def turn(self) -> tuple[list[Said], set[int]]:
        """Time has passed: refuse what still waits when its time is over; return what comes of it,
        and the ids of queries that nobody is to be asked any more."""
        now, actions = self._unix_time(), list[Said]()
        given_up = set()
        for kept in list(self._live.values()):
            if kept.state == OPEN or requests.read_ask(kept.ask).until > now:
                continue
            found, asks = self._storage.read(tables.by_number, kept.number), _asks(kept.protocol)
            if found is None or found.query is None or asks is None:
                continue  # it is being recorded just now
            given_up.add(found.query)
            late = replace(_next(kept), query=found.query, state=REFUSED, reason="too-late")
            actions += self._news(late, (asks.give_up(found.query),))
        return actions, given_up

    def _opened(self, kept: Kept, event: Opened) -> list[Said]:
        kept = replace(
            _next(kept), epoch=event.epoch, asked=event.number, cost=event.cost, absent=event.absent, state=OPEN
        )
        return self._news(kept, costs=event.cost or 0)

    def _ended(self, kept: Kept, asks: Asks, event: Closed) -> list[Said]:
        kept = replace(_next(kept), reason=event.reason)
        if event.reason is None:
            return self._news(replace(kept, state=COMPLETE))
        ask = requests.read_ask(kept.ask)
        if not event.again or kept.attempt >= ask.tries or ask.until <= self._unix_time():
            return self._news(replace(kept, state=REFUSED))
        return self._news(replace(kept, state=AGAIN), (asks.enter(kept.group, ask),), asks.newest)

    def _news(
        self,
        kept: Kept,
        first: tuple[Executable, ...] = (),
        newest: ScalarSelect[Any] | None = None,
        costs: int = 0,
    ) -> list[Said]:
        """Note and tell how a request stands now; `costs` is what is not recorded yet of what its
        group has spent."""
        kept = replace(kept, step=kept.step + 1, at=self._unix_time())
        self._live[kept.number] = kept
        if kept.state in OVER:
            del self._live[kept.number]
        return [Noted(kept, first, newest), self._tell(kept, costs)]

    def _tell(self, kept: Kept, costs: int = 0) -> Publish:
        asks = _asks(kept.protocol)
        spent = costs + (self._storage.read(asks.spent, kept.group) if asks else 0)
        query = (kept.epoch, kept.asked, kept.cost, kept.absent)
        told = Told(kept.number, kept.step, int(kept.at), kept.state, kept.reason, kept.attempt, *query, spent)
        topic = channel.topic(self._channel.deployment, kept.group, channel.TOLD)
        return Publish(topic, self._channel.seal(channel.TOLD, kept.group, 0, told.encode()))


def _asks(protocol: str) -> Asks | None:
    for declaration in registry.declarations():
        if declaration.name == protocol and declaration.requests:
            return declaration.requests.asks
    return None


def _new(group: str, ask: Ask | AskRound, plain: bytes, now: float) -> Kept:
    return Kept(ask.number, group, "", plain, ACCEPTED, now)


def _next(kept: Kept) -> Kept:
    """Return what is known of the try that a piece of news is about: of one that is asked again
    nothing yet."""
    if kept.state != AGAIN:
        return replace(kept, reason=None)
    return replace(kept, attempt=kept.attempt + 1, reason=None, epoch=None, asked=None, cost=None, absent=None)
