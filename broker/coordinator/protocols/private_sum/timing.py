"""When rounds open and close. A part of the machine in machine.py.

Without instants a round is due an interval after the one before was. With them it is of an instant,
a multiple of the interval in Unix seconds, and opens the schedule's lead before: a round that
cannot open by then is left out, and the next one is of the next instant. A round off the grid
changes nothing of when the next one is due. Times are seconds of one monotonic clock, but for
instants and what `unix_time()` tells.
"""

import math
from collections.abc import Callable

from agent.wire.messages import OFF_GRID
from broker.coordinator.protocols.base import RosterError
from broker.coordinator.schedule import WINDOW_SHARE, Schedule

EARLY_S = 1.0  # a contribution that comes so long before its instant tells of a clock that is ahead
SPREAD_SHARE = 0.5  # the most of the interval that a roster's spread may take


class Timing:
    """Of one group: `instant` is that of its last round of the grid, in progress or closed, 0 for
    none; `off_grid` tells that the last round of all is off the grid.
    `closes_at` is when contributions, or answers, are closed; `begun` tells whether there was a
    link."""

    def __init__(
        self, schedule: Schedule, spread: int, unix_time: Callable[[], float], instant: int, off_grid: bool = False
    ) -> None:
        """Raises RosterError if the members' `spread`, in seconds, is too long for the schedule."""
        if schedule.instants and spread > SPREAD_SHARE * schedule.interval:
            raise RosterError(f"its spread of {spread} s is more than half of the interval of {schedule.interval:g} s")
        self.instant = instant
        self.off_grid = off_grid
        self.closes_at = 0.0
        self._schedule = schedule
        self._spread = spread
        self._unix_time = unix_time
        self.begun = False
        self._opened_at = self._due_at = 0.0
        self._next = self._unix = 0.0

    def link_up(self, now: float, phase: str) -> None:
        """The link is there: boards that lost it too get the whole time again."""
        if not self.begun:
            self.begun, self._opened_at, self._due_at = True, now, now
        if phase != "idle" and now >= self._due_at and not self.off_grid:
            self._due_at = now + self._schedule.interval  # it was not this round that took so long
        self.closes_at = now + self._schedule.answers if phase == "roll" else self._closes_at(now)

    def is_due(self, now: float, waits: bool) -> bool:
        """Tell whether the next round may open; `waits`: if there is somebody to wait for, a little
        later."""
        patience = self._schedule.patience if waits else 0.0
        if self._schedule.instants:  # what is read later is not of that instant
            patience = min(patience, self._schedule.lead / 2)
        return now >= self.due_at(now) + patience

    def due_at(self, now: float) -> float:
        """Return when the next round opens if nobody is waited for."""
        if self._schedule.instants:
            self._unix = self._unix_time()
            self._next = self._next_instant(self._unix)
            self._due_at = now + self._next - self._schedule.lead - self._unix
        return self._due_at

    @property
    def named(self) -> int:
        """What the last round names as its instant: 0 for none, or OFF_GRID."""
        return OFF_GRID if self.off_grid else self.instant

    def has_room(self, now: float) -> bool:
        """Tell whether there is time enough for a round off the grid before the next one is due."""
        return self.due_at(now) - now >= self._schedule.room

    def open_off_grid(self, now: float) -> tuple[int, int]:
        """A round off the grid opens: return as open() does."""
        self.off_grid = True
        self._opened_at = now
        self.closes_at = self._closes_at(now)
        return int(self._unix_time()), OFF_GRID

    def _next_instant(self, unix: float) -> int:
        interval = round(self._schedule.interval)
        instant = math.ceil(unix / interval) * interval
        if instant <= self.instant < unix + interval:  # else the clock was far ahead once
            instant += (self.instant - instant) // interval * interval + interval
        return instant

    def open(self, now: float) -> tuple[int, int]:
        """The next round, which is due, opens: return (Unix seconds now, its instant or 0)."""
        self._opened_at, self.off_grid = now, False
        if not self._schedule.instants:
            self._unix = self._unix_time()
            self._due_at = self._after(self._due_at, now)
            self.instant = 0
        else:
            self.instant = int(self._next)
            self._opened_at += self.instant - self._unix
        self.closes_at = self._closes_at(now)
        return int(self._unix), self.instant

    def _after(self, due: float, now: float) -> float:
        """Return when the round after one that was due at `due` is, and opens `now`: whole
        intervals later, so that rounds do not drift, and none before there was time for
        contributions."""
        interval = self._schedule.interval
        return due + interval * max(1, math.ceil((now + self._schedule.contributions - due) / interval))

    def call_roll(self, now: float) -> None:
        """Contributions are closed: answers are awaited."""
        self.closes_at = now + self._schedule.answers

    def latency_ms(self, now: float) -> float:
        """Return how long ago the round was opened, or its instant was."""
        return 1000 * (now - self._opened_at)

    def is_early(self) -> bool:
        """Tell whether what was read at the instant should not be there yet."""
        return self._schedule.instants and not self.off_grid and self._unix_time() < self.instant - EARLY_S

    def _closes_at(self, now: float) -> float:
        if self.off_grid:
            return now + min(self._schedule.contributions, WINDOW_SHARE * max(self.due_at(now) - now, 0.0))
        if not self._schedule.instants:
            return now + self._schedule.contributions
        most = min(self._spread + self._schedule.window, WINDOW_SHARE * self._schedule.interval)
        return now + max(self.instant - self._unix_time(), 0.0) + most
