"""A coordinator whose host's clock is two years ahead for one round locks boards with TLS out.

The host has no clock of its own, or somebody set it by hand (DietPi #6581). Boards believe the
time and keep it; certificates of 90 days are over at that time; and within the epoch the right
time is not believed any more.

What must hold: a board's clock comes back to where its broker's certificate is valid, in the same
life and after a power cut.
"""

from agent.runtime.flash.store import Store
from agent.runtime.system.clock import Clock, calendar
from tests.faults.verdict import Verdict
from tests.support.files_at_hand import Folder

NOW = 1795986000  # Unix seconds
DAY = 86400
TRIES = 6  # attempts at a link, before each of which a board doubts its clock


class Rtc:
    """The real-time clock that TLS looks at; `times` are all that it was set to since `begin`."""

    def __init__(self) -> None:
        self.times: list[tuple[int, ...]] = []

    def datetime(self, fields: tuple[int, ...]) -> None:
        self.times.append(fields)


def valid(fields: tuple[int, ...]) -> bool:
    """Tell whether a certificate of 90 days, a month old, is valid at this time."""
    first, now, last = ((at[:3], at[4:7]) for at in (calendar(NOW - 30 * DAY), fields, calendar(NOW + 60 * DAY)))
    return first <= now <= last


def links(clock: Clock, rtc: Rtc) -> bool:
    """Tell whether the board gets a link, when it doubts its clock after each that fails."""
    for _ in range(TRIES):
        if valid(rtc.times[-1]):
            return True
        clock.doubt()
    return valid(rtc.times[-1])


def fault() -> list[Verdict]:
    with Folder() as folder:
        rtc = Rtc()
        clock = Clock(Store(folder), NOW - 1000, rtc)
        assert clock.set(1, NOW) and links(clock, rtc), "the right time is not believed"
        clock.keep()
        clock.set(1, NOW + 2 * 365 * DAY)
        clock.keep()
        clock.set(1, NOW + 1800)
        alive = links(clock, rtc), rtc.times[-1]
        rtc = Rtc()
        again = links(Clock(Store(folder), NOW - 1000, rtc), rtc), rtc.times[0]
    return [
        Verdict(not linked, f"it is {calendar(NOW)[0]}, the board's clock is in {fields[0]}", case)
        for case, (linked, fields) in (("told the right time", alive), ("after a power cut", again))
    ]
