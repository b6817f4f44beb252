"""The coordinator's end of its gateway: one object for the process to tell and to ask."""

import time
from collections.abc import Callable, Mapping

from broker.coordinator.actions import Publish, Record
from broker.coordinator.gateway import recalled, tables
from broker.coordinator.gateway.desk import Desk
from broker.coordinator.gateway.tables import Contact, Noted
from broker.coordinator.gateway.view import REPORT_S, View
from broker.coordinator.machine import Machine
from broker.storage.storage import Storage
from broker.wire import channel
from broker.wire.channel import Channel

Machines = Mapping[str, Machine]
Said = Record | Publish


class Gateway:
    """The gateway with the public key `public`, 65 bytes, of the coordinator with the key
    `private`. Raises CryptoError if `public` is no point of the curve."""

    def __init__(
        self,
        storage: Storage,
        deployment: str,
        private: bytes,
        public: bytes,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        gate = Channel(deployment, private, public, is_gateway=False)
        life = storage.write(tables.begin, public.hex(), int(unix_time() * 1000))
        self.view = View(storage, gate, life, unix_time)
        self.given_up: set[int] = set()  # queries that nobody is to be asked any more
        self._desk = Desk(storage, gate, unix_time)
        self._unsaid = self._desk.restored()
        self._unix_time = unix_time
        self._deployment = deployment
        self._storage = storage
        self._channel = gate
        self._noted_at = float("-inf")

    def filters(self) -> list[str]:
        """Return the topic filters of what the gateway says."""
        return [channel.topic(self._deployment, "+", kind) for kind in channel.ASKED]

    def link_up(self) -> list[Said]:
        """There is a link: tell all once more, and go on with what was asked before the start."""
        self.view.link_up()
        unsaid, self._unsaid = self._unsaid, []
        return unsaid

    def hear(self, group: str, kind: str, payload: bytes, machines: Machines) -> tuple[list[Said], list[str]]:
        """Take what the gateway says of a group, by a topic of a kind of channel.ASKED; return what
        comes of it, and why it is refused, if it is."""
        if kind == channel.RECALL:
            told, refused = recalled.hear(self._storage, self._channel, group, payload)
            return [*told], refused
        return self._desk.hear(group, payload, machines)

    def heed(self, records: list[Record]) -> list[Said]:
        """Tell the gateway what these records mean for it."""
        return [action for record in records for action in self._desk.heed(record)]

    def turn(self, machines: Machines, now: float) -> list[Said]:
        """Return what there is to be told; `now` is of a monotonic clock."""
        actions, given_up = self._desk.turn()
        self.given_up |= given_up
        said = self.view.turn(machines, now)
        if said and now >= self._noted_at + REPORT_S:
            self._noted_at = now
            actions.append(Contact(told_at=self._unix_time()))
        return [*actions, *said]


def enters(actions: list[Said]) -> bool:
    """Tell whether these let a request wait that a machine does not know yet."""
    return any(isinstance(action, Noted) and action.newest is not None for action in actions)
