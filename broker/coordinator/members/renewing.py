"""New rosters, taken up while the coordinator runs.

Whoever adopts one (Home.adopt) writes it to the database; here it is found. A group goes on with it
when its round or query is over: no sum is lost, and none is made of two rosters. What the broker
keeps of the epoch before is taken back.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from broker.coordinator.actions import Action, Publish
from broker.coordinator.commits import Commits
from broker.coordinator.home import Home, HomeError
from broker.coordinator.machine import Machine
from broker.coordinator.schedule import Schedule

log = logging.getLogger("hum.coordinator")

LOOK_S = 1.0  # between two looks for new rosters
IDLE = "idle"  # the phase of a machine that has no round or query in progress
REPLACED = ("roster", "result")  # retained: by those of the next epoch, and of its first round


class Renewing:
    """Finds the rosters that a home has adopted since its machines were made, and makes machines of
    them. `waits`: there may be no machine yet, or none any more."""

    def __init__(self, home: Home, schedule: Schedule, waits: bool = False) -> None:
        self.waits = waits
        self._epochs: Callable[[], Mapping[str, int]] = home.storage.epochs
        self._make = partial(home.machine, schedule=schedule)
        self._look_at = 0.0
        self._unfit: set[tuple[str, int]] = set()
        self._kept: dict[str, set[str]] = {}  # retained topics, by group

    def heed(self, group: str, actions: list[Action]) -> None:
        """Remember what the broker is to keep."""
        kept = self._kept.setdefault(group, set())
        for action in actions:
            if isinstance(action, Publish) and action.retain:
                (kept.add if action.payload else kept.discard)(action.topic)

    async def turn(self, machines: dict[str, Machine], commits: Commits, now: float) -> list[str]:
        """Replace those of `machines` whose group has another roster, and no round or query in
        progress; return the groups. `now` is of a monotonic clock."""
        changed = []
        for group in self._due(machines, now):
            await commits.idle()  # a machine begins with what the last one has recorded
            former = machines.get(group)
            # A message may have opened the next round meanwhile.
            if _is_idle(former) and self._replace(machines, group, former, commits):
                changed.append(group)
        return changed

    def _due(self, machines: Mapping[str, Machine], now: float) -> list[str]:
        if now < self._look_at:
            return []
        self._look_at = now + LOOK_S
        found = list(self._changed(machines))
        idle = [group for group in found if _is_idle(machines.get(group))]
        if len(idle) < len(found):
            self._look_at = 0.0  # the moment between two rounds is short
        return idle

    def _changed(self, machines: Mapping[str, Machine]) -> Iterator[str]:
        epochs = self._epochs()
        for group in {*epochs, *machines}:
            there, epoch = machines.get(group), epochs.get(group, 0)
            if epoch != (there.scope.epoch if there else 0) and (group, epoch) not in self._unfit:
                yield group

    def _replace(self, machines: dict[str, Machine], group: str, former: Machine | None, commits: Commits) -> bool:
        epoch = self._epochs().get(group, 0)
        try:
            machine = self._make(group) if epoch else None
        except HomeError as error:
            log.error("%s: its new roster is not taken up: %s", group, error)
            self._unfit.add((group, epoch))
            return False
        _tell(group, former, machine)
        spared = REPLACED if machine else REPLACED[1:]
        gone = [topic for topic in self._kept.pop(group, ()) if topic.rpartition("/")[2] not in spared]
        commits.put([Publish(topic, b"", retain=True) for topic in sorted(gone)])
        if machine is None:
            del machines[group]
        else:
            machines[group] = machine
        return True


def _is_idle(machine: Machine | None) -> bool:
    return machine is None or machine.phase == IDLE or machine.finished


def _tell(group: str, former: Machine | None, machine: Machine | None) -> None:
    """Log what has changed."""
    if machine is None:
        log.warning("%s: no roster any more, its rounds end", group)
        return
    before = dict(former.scope.roster.members) if former else {}
    after = dict(machine.scope.roster.members)
    changes = {
        "new": [name for name in after if name not in before],
        "gone": [name for name in before if name not in after],
        "replaced": [name for name in after if name in before and before[name] != after[name]],
    }
    told = [f"{what}: {', '.join(names)}" for what, names in changes.items() if names and before]
    log.info("%s: epoch %d, %d members%s", group, machine.scope.epoch, len(after), "".join(f"; {one}" for one in told))
