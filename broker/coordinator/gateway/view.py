"""What the gateway is told of groups: how their members stand, what boards say of themselves, and
how rounds go. Only what has changed is told, what has come to pass within a second at once.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.coordinator.actions import Publish
from broker.coordinator.gateway import rows
from broker.coordinator.machine import Machine
from broker.storage.storage import Storage
from broker.wire import channel, views
from broker.wire.channel import MEMBERS, PROGRESS, REPORTS, VIEWS, Channel
from broker.wire.views import Order

PUBLISH_S = 1.0  # between two looks at a group
REPORT_S = 10.0  # between two messages of what boards say of themselves


@dataclass
class _Group:
    """What was told of a group last, and whether there may be news: looked at `at`, reported
    `reported_at`, of a monotonic clock."""

    epoch: int = 0
    may_have_news: bool = True
    at: float = float("-inf")
    reported_at: float = float("-inf")
    told: dict[str, object] = field(default_factory=dict)


class View:
    """Tells of all groups; `life` is that of this process."""

    def __init__(self, storage: Storage, gate: Channel, life: int, unix_time: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._channel = gate
        self._order = Order(life, 0)
        self._unix_time = unix_time
        self._online: dict[str, bool] = {}
        self._seen: dict[str, float] = {}
        self._reports = {device: report for device, (_, report) in storage.health().items()}
        self._groups: dict[str, _Group] = {}
        self._names: dict[str, frozenset[str]] = {}

    def presence(self, device: str, online: bool) -> None:
        """A device, or its last will, says whether it is online."""
        self._online[device] = online
        self.heard(device)

    def report(self, device: str, said: dict[str, Any]) -> None:
        """A device says how it is."""
        self._reports[device] = said
        self._seen[device] = self._unix_time()

    def heard(self, device: str) -> None:
        """Something came from a device."""
        self._seen[device] = self._unix_time()
        for group, names in self._names.items():
            if device in names:
                self.changed(group)

    def changed(self, group: str) -> None:
        """What is recorded of a group has changed."""
        if group in self._groups:
            self._groups[group].may_have_news = True

    def link_up(self) -> None:
        """A broker may have lost what is retained: tell all once more."""
        self._groups.clear()

    def turn(self, machines: Mapping[str, Machine], now: float) -> list[Publish]:
        """Return what there is to be told; `now` is of a monotonic clock."""
        said = [publish for group in set(self._names) - set(machines) for publish in self._ended(group)]
        for group, machine in machines.items():
            known = self._groups.setdefault(group, _Group())
            if known.epoch != machine.scope.epoch:
                known = self._groups[group] = _Group(machine.scope.epoch)
                self._names[group] = frozenset(machine.scope.roster.names())
            if known.may_have_news and now >= known.at + PUBLISH_S:
                known.may_have_news, known.at = False, now
                said += self._news(group, machine, known)
            if now >= known.reported_at + REPORT_S:
                known.reported_at = now
                said += self._reported(group, machine, known)
        return said

    def _ended(self, group: str) -> list[Publish]:
        """Take back what was told of a group that is no more."""
        del self._names[group]
        self._groups.pop(group, None)
        return [Publish(channel.topic(self._channel.deployment, group, kind), b"", retain=True) for kind in VIEWS]

    def _news(self, group: str, machine: Machine, known: _Group) -> list[Publish]:
        row = rows.recorded(self._storage, machine)
        said = []
        standing = rows.standing(row, machine, self._online)
        if known.told.get(MEMBERS) != standing:
            known.told[MEMBERS] = standing
            said.append(self._say(MEMBERS, machine, lambda order, at: views.members(order, at, standing)))
        rounds = rows.progress(row, machine.scope.roster.names())
        if known.told.get(PROGRESS) != rounds:
            known.told[PROGRESS] = rounds
            said.append(self._say(PROGRESS, machine, lambda order, at: views.progress(order, at, rounds)))
        return said

    def _reported(self, group: str, machine: Machine, known: _Group) -> list[Publish]:
        names = machine.scope.roster.names()
        found = [rows.report(self._seen.get(name), self._reports.get(name, {})) for name in names]
        if known.told.get(REPORTS) == found:
            return []
        known.told[REPORTS] = found
        return [self._say(REPORTS, machine, lambda order, at: views.reports(order, at, found))]

    def _say(self, kind: str, machine: Machine, make: Callable[[Order, int], bytes]) -> Publish:
        self._order = Order(self._order.life, self._order.number + 1)
        scope = machine.scope
        payload = make(self._order, int(self._unix_time()))
        sealed = self._channel.seal(kind, scope.group, scope.epoch, payload)
        return Publish(channel.topic(scope.deployment, scope.group, kind), sealed, retain=True)
