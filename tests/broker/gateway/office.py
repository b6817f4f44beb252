"""A coordinator with a group of sums or of queries, its gateway and what the gateway's client
library makes of it, without a broker: what is said goes from one to the other at once."""

import os
from pathlib import Path
from typing import Any

from agent.crypto import p256
from broker.client.access import Access
from broker.client.asking import Asking, Changed, Send, Unanswered, Wanted
from broker.client.members import News, RequestTold, Watch
from broker.coordinator.actions import Publish, Record
from broker.coordinator.gateway import tables
from broker.coordinator.gateway.gateway import Gateway
from broker.coordinator.protocols.gossip import queries
from broker.coordinator.protocols.gossip.machine import Gossip
from broker.coordinator.protocols.handing import Handing
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from broker.storage.storage import Storage
from broker.wire import channel
from tests.support.street_of_askers import DEPLOYMENT, GROUP, Street

RESULT_KEY = bytes(range(16))
UNIX = 1_700_000_000.0


class Office:
    """A coordinator of one group of queries. `now` is the clock, of both kinds; `said` what it
    published."""

    def __init__(self, folder: Path, count: int = 5, tolerate: int = 1, protocol: str = "gossip") -> None:
        self.folder = folder
        self.street = Street(count, tolerate, protocol)
        self.street.start()
        self._ready = list(self.street.up)
        del self.street.up[:]
        self.scope = Scope(DEPLOYMENT, GROUP, 1, self.street.digest, self.street.signed, self.street.roster)
        self.key = p256.generate(os.urandom)
        self.watch = Watch(Access(DEPLOYMENT, self.street.authority), self.key)
        assert self.watch.take(self.scope.topic("roster"), self.street.signed) == []
        self.now = 0.0
        self.started = 0
        self.start()

    def unix(self) -> float:
        return UNIX + self.now

    def start(self, key: bytes | None = None) -> None:
        """Start the coordinator (again); all boards say that they are ready."""
        if self.started:
            self.storage.close()
        self.started += 1
        self.storage = Storage(self.folder / "coordinator.db", tables.schemas())
        saved = self.storage.read(queries.saved, GROUP, 1)
        schedule = Schedule(1, 1, 60)
        self.machine = Gossip(self.scope, self.street.coordinator, RESULT_KEY, schedule, saved, self.unix)
        self.machines = {GROUP: self.machine}
        public = p256.public_key(key or self.key)
        self.gateway = Gateway(self.storage, DEPLOYMENT, self.street.coordinator, public, self.unix)
        self.handing = Handing(self.storage, self.perform, self.gateway.given_up)
        self.said: list[Publish] = []
        self.queries: list[bytes] = []
        self.perform(self.machine.link_up(self.now))
        for device, kind, payload in self._ready:
            self.perform(self.machine.message(device, kind, payload, self.now))
        self.perform(self.gateway.link_up())

    def presence(self, device: str, online: bool) -> None:
        self.perform(self.machine.presence(device, online, self.now))
        self.gateway.view.presence(device, online)

    def perform(self, actions: Any) -> None:
        """Make durable, then say, as the service does."""
        more = self.gateway.heed([action for action in actions if isinstance(action, Record)])
        records = [action for action in (*actions, *more) if isinstance(action, Record)]
        self.storage.commit(records, {})
        self.said += [action for action in (*actions, *more) if isinstance(action, Publish)]
        self.gateway.view.changed(GROUP)

    def turn(self, seconds: float = 0.0) -> list[News]:
        """Let time pass; return what is new to the gateway."""
        self.now += seconds
        self.perform(self.gateway.turn(self.machines, self.now))
        self.handing.turn(self.machines)
        self.perform(self.machine.tick(self.now))
        return self.news()

    def news(self) -> list[News]:
        """Return what the gateway reads of what was said since this was asked last."""
        said, self.said = self.said, []
        self.queries += [one.payload for one in said if one.topic == self.scope.topic("query")]
        told = [one for one in said if "/view/" in one.topic or one.topic.endswith("/told")]
        return [news for one in told for news in self.watch.take(one.topic, one.payload)]

    def hear(self, payload: bytes, group: str = GROUP) -> list[str]:
        """Take what the gateway asks; return why it is refused."""
        actions, reasons = self.gateway.hear(group, channel.ASK, payload, self.machines)
        self.perform(actions)
        return reasons

    def answer(self, but: tuple[str, ...] = ()) -> None:
        """Let the boards answer the query that was asked last, and their leaders tell the
        coordinator; nothing comes from those in `but`."""
        self.street.ask(self.queries[-1])
        self.street.run()
        sent, self.street.up[:] = list(self.street.up), []
        for device, kind, payload in sent:
            if device not in but:
                self.perform(self.machine.message(device, kind, payload, self.now))


class Asker:
    """A request of the gateway to an office, and what its machine said."""

    def __init__(self, office: Office, wanted: Wanted, number: int = 1_000, seconds: float = 600) -> None:
        self.office = office
        gate = office.watch.channel_of(GROUP)
        assert gate
        self.machine = Asking(gate, GROUP, number, int(office.unix() + seconds), wanted)
        self.payloads: list[bytes] = []
        self.news: list[RequestTold] = []
        self.ended: Unanswered | None = None

    def do(self, actions: Any) -> list[str]:
        """Do what the machine wants; return what the coordinator refused."""
        refused = []
        for action in actions:
            match action:
                case Send():
                    self.payloads.append(action.payload)
                    refused += self.office.hear(action.payload)
                case Changed():
                    self.news.append(action.told)
                case Unanswered():
                    self.ended = action
        return refused

    def ask(self) -> list[str]:
        return self.do(self.machine.link_up(self.office.now))

    def hear(self, news: list[News]) -> list[tuple[str, str | None]]:
        """Take what was told; return the states and reasons that are new."""
        before = len(self.news)
        for one in news:
            if isinstance(one, RequestTold):
                self.do(self.machine.hear(one, self.office.now))
        return [(one.state, one.reason) for one in self.news[before:]]
