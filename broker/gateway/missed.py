"""Rounds that were over while the gateway was away: they are had from the coordinator before the
next one is kept, so that totals miss nothing. A sans-IO machine: events in, actions out."""

from dataclasses import dataclass

from broker.client.access import Group
from broker.client.results import RoundResult

RETRY_S = 3.0  # between two recalls that bring nothing
TRIES_MOST = 3

Place = tuple[int, int]  # of a round: epoch and number


@dataclass(frozen=True)
class Seen:
    """A round's result, with the group of its epoch; when it opened, None if that is not known, and
    closed, Unix seconds. As an action: keep it."""

    group: Group
    result: RoundResult
    opened: float | None
    closed: float

    @property
    def place(self) -> Place:
        """Where it stands among the rounds of its group."""
        return self.result.epoch, self.result.round


@dataclass(frozen=True)
class Recall:
    """Ask the coordinator for a group's rounds, from the `round`-th of `epoch` on."""

    group: str
    epoch: int
    round: int


Action = Seen | Recall


@dataclass
class _Held:
    """The newest round of a group, which waits for those before it: of them `last` is there.
    Asked for the others `tries` times in vain, and anew when `due`."""

    seen: Seen
    last: Place
    due: float
    tries: int = 1


class Missed:
    """Holds a group's newest round back as long as rounds before it can still be had. All times are
    of one monotonic clock."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def heard(self, seen: Seen, last: Place | None, now: float) -> list[Action]:
        """A round is over; `last` is the one that was kept last, None before there is any."""
        name = seen.group.name
        if held := self._held.get(name):
            if seen.place > held.seen.place:
                held.seen = seen  # the one before it will be told with the others
            return []
        if last is None or seen.place <= (last[0], last[1] + 1):
            return [seen]
        self._held[name] = _Held(seen, last, now + RETRY_S)
        return [_after(name, last)]

    def told(self, seen: Seen, left: int, now: float) -> list[Action]:
        """The coordinator tells a round that was over before, and `left` more after it."""
        name = seen.group.name
        held = self._held.get(name)
        if held is None or seen.place <= held.last:
            return []  # nobody waits for it any more
        held.last, held.due, held.tries = seen.place, now + RETRY_S, 1
        if seen.place >= held.seen.place:
            del self._held[name]
            return [seen]
        return [seen] if left else [seen, _after(name, seen.place)]

    def tick(self, now: float) -> list[Action]:
        """Time has passed: ask again, or go on without what cannot be had."""
        actions: list[Action] = []
        for name, held in list(self._held.items()):
            if now < held.due:
                continue
            if held.tries < TRIES_MOST:
                held.tries, held.due = held.tries + 1, now + RETRY_S
                actions.append(_after(name, held.last))
            else:
                del self._held[name]
                actions.append(held.seen)
        return actions


def _after(group: str, last: Place) -> Recall:
    return Recall(group, last[0], last[1] + 1)
