"""Whom new sets leave out for a while: who was not ready in one, or vanished from it, is let in
again after a time that doubles with each failure.

15 minutes, doubled up to a day: eight failures fit into a day, and each costs two sets, one to let
the board in and one to leave it out. A day without a failure after that time is over, and it begins
anew.
"""

from collections.abc import Callable

from broker.coordinator.protocols.private_sum.records import LeftOut
from broker.coordinator.scope import Scope

FIRST_S = 900.0
DAY_S = 86_400.0


class BackingOff:
    """Who was left out, by name. What is recorded is in Unix seconds; `until` is told on the
    monotonic clock, so that a clock that is set lets nobody in early or late by more than a day."""

    def __init__(self, scope: Scope, saved: dict[str, LeftOut], unix_time: Callable[[], float]) -> None:
        self._scope = scope
        self._unix_time = unix_time
        self._records = dict(saved)
        self._until: dict[str, float] = {}

    def begin(self, now: float) -> None:
        """The clock is `now`: take up what was recorded."""
        for name, record in self._records.items():
            left = min(record.until - self._unix_time(), record.until - record.at)
            self._until.setdefault(name, now + left)

    def leave_out(self, name: str, reason: str, now: float) -> LeftOut:
        """Leave a member out from now on; return the record of it."""
        known = self._records.get(name)
        times = known.times + 1 if known and now <= self._until.get(name, now) + DAY_S else 1
        seconds = min(FIRST_S * 2.0 ** (times - 1), DAY_S)
        self._until[name] = now + seconds
        at = self._unix_time()
        self._records[name] = LeftOut(self._scope.group, self._scope.epoch, name, reason, times, at, at + seconds)
        return self._records[name]

    def is_over(self, name: str, now: float) -> bool:
        """Tell whether a member may be let in."""
        return now >= self._until.get(name, now)

    def reason(self, name: str) -> str | None:
        """Return why a member was left out last, None if it never was."""
        record = self._records.get(name)
        return record.reason if record else None
