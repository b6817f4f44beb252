"""The board's clock: the time by the coordinator's authenticated messages alone, and the time since
the start.

No round depends on it: rounds are ordered by their numbers. It is for the console, for diagnostics,
and for TLS: MicroPython's TLS, on every port, checks the dates of certificates against the board's
real-time clock, which begins in 2000 or 2021 after a power cut. So a board starts from the latest
time that it knows to be past: when it was provisioned, or what it kept in its flash, at most once a
day, since. That can lie before the certificate's first day, if this is newer than the board's last
day with power; `doubt` then tries later times, until the link is up and the coordinator tells the
right one.

Within an epoch the time never goes back by more than BACK_MOST below the latest that a message
told. The authority's next roster sets the coordinator free to correct a clock that was far ahead;
provisioning anew forgets what was kept.

A message tells when it was made, and a retained one can be long on its way. So the time goes
forward at once, but back by more than LATE_S, and what oscillators differ by, only when two
messages in a row say so, and then by the lesser of both.
"""

import struct

from agent.runtime.flash.store import StoreError
from agent.runtime.system.ticks import ticks_diff, ticks_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from agent.runtime.flash import Records

    class RealTimeClock(Protocol):
        """A machine.RTC, or what stands for one."""

        def datetime(self, datetimetuple: tuple[int, ...]) -> object: ...


EARLIEST = 1704067200  # 2024-01-01, Unix seconds
LATEST = 4102444800  # 2100-01-01
BACK_MOST = 600  # seconds
KEEP_S = 86400
LATE_S = 2
DRIFT = 5000  # seconds in which a board's oscillator is wrong by one, at most
UNTIL_MOST = 3600  # seconds
DOUBT_S = 30 * 86400
DOUBT_MOST = 120  # ten years of such steps

_RECORD = "clock"


class Clock:
    """`store` keeps the time; `provisioned` is when the settings were written, in Unix seconds, 0
    if nobody knows.

    `rtc` has datetime(tuple), as machine.RTC; None where the clock is not the board's to set.
    `failures` counts the times that it could not be set: the time is counted on without it.
    """

    def __init__(self, store: "Records", provisioned: int = 0, rtc: "RealTimeClock | None" = None) -> None:
        self._store = store
        self._provisioned = provisioned
        self.failures = 0
        self._rtc = rtc
        self._ticks = self.ticks()
        self._rest_ms = 0
        self._uptime = 0
        self._told = False
        self._doubts = 0
        self._epoch, self._latest = self._read()
        self._base = self._kept = self._latest or provisioned
        self._since = self._since_ms = 0  # the uptime when the time was _base, and its rest
        self._behind: int | None = None  # what the last message would have put it back by
        if self._base:
            self._set_rtc(self._base)

    def ticks(self) -> int:
        """Return the board's ticks, in ms: a simulated board has its own."""
        return ticks_ms()

    def uptime(self) -> int:
        """Seconds since this object was made. To be called every few days at least: ticks wrap
        around after 12.4."""
        ticks = self.ticks()
        passed = self._rest_ms + ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        self._rest_ms = passed % 1000
        self._uptime += passed // 1000
        return self._uptime

    def now(self) -> int:
        """Unix seconds as told by the coordinator and counted on from there; 0 while it has told
        nothing since the start."""
        return self._now() if self._told else 0

    def _now(self) -> int:
        return self._base + self.uptime() - self._since

    def until(self, seconds: int) -> int | None:
        """Return how many ms it is until then, negative if it is past; None if nothing was told
        since the start, or if it lies further away than a message with this time and instant would
        be believed for."""
        left = seconds - self._now()  # it brings _rest_ms up to date
        if not self._told or not -BACK_MOST <= left <= UNTIL_MOST:
            return None
        return 1000 * left + self._since_ms - self._rest_ms

    def set(self, epoch: int, seconds: int) -> bool:
        """Take what an authenticated message of `epoch` says; tell whether that was believed. Never
        touches the flash."""
        if not EARLIEST <= seconds <= LATEST:
            return True  # a coordinator without a clock: nothing was told
        if epoch < self._epoch or (epoch == self._epoch and seconds < self._latest - BACK_MOST):
            return False
        behind = self._now() - seconds
        most = LATE_S + (self._uptime - self._since) // DRIFT
        late = self._told and epoch == self._epoch and behind > most
        self._latest = max(seconds, self._latest) if epoch == self._epoch else seconds
        self._epoch = epoch
        if late and self._behind is None:
            self._behind = behind
            return True
        if late:
            seconds += max(behind - (self._behind or 0), 0)
        self._behind = None
        self._since = self.uptime()
        self._since_ms = self._rest_ms
        self._base = seconds
        self._told = True
        self._doubts = 0
        self._set_rtc(seconds)
        return True

    def keep(self) -> None:
        """Keep the time if a day has passed since that was done last. Raises StoreError."""
        if self._told and abs(self._latest - self._kept) >= KEEP_S:
            self._store.put(_RECORD, struct.pack(">III", self._provisioned, self._epoch, self._latest))
            self._kept = self._latest

    def doubt(self) -> None:
        """A certificate's first day has not come, it seems: believe for the next attempt that a
        month more has passed.

        Only the real-time clock moves. Ten years on it begins again. A certificate that lasts for
        two months is met on the way; one that is over stays refused.
        """
        self._doubts = self._doubts % DOUBT_MOST + 1
        self._set_rtc(min((self._now() if self._base else EARLIEST) + self._doubts * DOUBT_S, LATEST))

    def _read(self) -> tuple[int, int]:
        """(epoch, latest time told) as the flash has them, for these settings; (0, 0) if it has
        not."""
        try:
            record = self._store.get(_RECORD)
        except StoreError:
            return 0, 0
        if record is None or len(record) != 12:
            return 0, 0
        provisioned, epoch, latest = struct.unpack(">III", record)
        return (epoch, latest) if provisioned == self._provisioned and EARLIEST <= latest <= LATEST else (0, 0)

    def _set_rtc(self, seconds: int) -> None:
        if self._rtc is not None:
            try:
                self._rtc.datetime(calendar(seconds))
            except (OSError, RuntimeError):
                self.failures += 1


def calendar(seconds: int) -> tuple[int, int, int, int, int, int, int, int]:
    """(year, month, day, weekday, hour, minute, second, 0) in UTC of Unix seconds, 0 to LATEST;
    Monday is weekday 0.

    time.gmtime counts from 2000 on some boards, and takes no more than 31 bits on others.
    """
    days, rest = divmod(seconds, 86400)
    year = 1970
    while days >= _year_days(year):
        days -= _year_days(year)
        year += 1
    weekday = (seconds // 86400 + 3) % 7  # 1970-01-01 was a Thursday
    month = 1
    for length in (31, _year_days(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31):
        if days < length:
            break
        days -= length
        month += 1
    return year, month, days + 1, weekday, rest // 3600, rest // 60 % 60, rest % 60, 0


def _year_days(year: int) -> int:
    return 366 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 365
