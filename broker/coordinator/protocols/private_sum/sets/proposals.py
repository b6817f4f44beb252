"""Which sets to propose, and when: who is a candidate, whom a new set leaves out, and how often
there may be one. It decides between rounds only; active_sets.py does what it decides.

Bitmaps have bit i for the member i of the roster. Times are seconds of the monotonic clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.coordinator.protocols.private_sum import roll_call
from broker.coordinator.protocols.private_sum.sets import words
from broker.coordinator.protocols.private_sum.sets.backing_off import DAY_S, BackingOff
from broker.coordinator.protocols.private_sum.sets.in_force import InForce, Sets
from broker.coordinator.protocols.private_sum.sets.members import Members
from broker.coordinator.schedule import Schedule

MISSED_MOST = 16  # rounds: for so long a recovery power a round costs less than a set
LOST_MOST = 2  # rounds, where they have no sum because of it
WAIVED_S = 3600.0  # between two sets for which somebody is let in that still backs off
# Boards take up so many sets at once, and one more after each such time (docs/protocol/sums.md).
TOKENS, TOKEN_S = 4, 900.0
NOT_READY, FALSE_HELD, MISSING = "not-ready", "false-held", "missing"

Reasons = dict[int, str]  # members, by index, to why they are left out


@dataclass
class _Unit:
    """How a unit stands: since when it waits for boards, when all had been ready first, when sets
    were proposed lately; whether the last round had no list; whose words differed in one, and who
    did not contribute."""

    since: float = math.inf
    all_ready: float | None = None
    proposed: list[float] = field(default_factory=list)
    listless: bool = False
    liars: int = 0
    idle: int = 0


class Proposals:
    """The decisions of one group. `here` maps a member to the number of the set that it said it is
    here with."""

    def __init__(self, sets: Sets, members: Members, backing_off: BackingOff, schedule: Schedule) -> None:
        self.here: dict[int, int] = {}
        self._sets = sets
        self._members = members
        self._backing_off = backing_off
        self._schedule = schedule
        self._units = [_Unit() for _ in sets.cohorts]
        self._waits_since: dict[int, float] = {}
        self._missed: dict[int, int] = {}

    def begin(self, now: float, proposed: list[tuple[int, float]]) -> None:
        """The clock is `now`; sets were `proposed` before: (unit, seconds ago)."""
        for at, ago in proposed:
            self._units[at].proposed.append(now - max(ago, 0.0))

    def wait_anew(self, now: float) -> None:
        """Boards may have lost the link too: they get the whole time again."""
        for unit in self._units:
            unit.since, unit.all_ready = now, None

    def taken_up(self, found: InForce) -> bool:
        """Tell whether all of a set have been ready in it, and enough hold the key shares of each
        by their own word."""
        return self._members.were_ready(found) == found.members and not self._harmed(found)

    def waits(self, at: int, now: float) -> bool:
        """Tell whether a unit has a set that boards take up, and time for it."""
        found = self._sets.get(at)
        return found is not None and now < self._units[at].since + self._schedule.patience and not self.taken_up(found)

    def candidates(self, at: int, now: float) -> int:
        """Return who of a unit is here, online, and backs off no more."""
        over = (i for i in self.here if self._backing_off.is_over(self._members.names[i], now))
        return self._there(at) & roll_call.bitmap(over)

    def note(self, now: float) -> None:
        """Time has passed: who is a candidate waits since it has been one."""
        there = 0
        for at in range(len(self._units)):
            there |= self.candidates(at, now)
        since = self._waits_since
        self._waits_since = {index: since.get(index, now) for index in roll_call.members(there)}

    def closed(
        self, found: InForce, contributed: int, listed: int, held: Mapping[int, int], holds: Mapping[int, int]
    ) -> None:
        """A round of a unit is over: who contributed, who was listed, and what the contributors
        said about blinding shares, as words.py has it."""
        unit = self._units[found.record.unit]
        there = contributed & found.members
        unit.listless = not listed & found.members
        unit.idle = found.members & ~there
        for index in roll_call.members(found.members):
            self._missed[index] = 0 if there >> index & 1 else self._missed.get(index, 0) + 1
        for cohort, threshold in zip(found.unit.cohorts, found.unit.thresholds, strict=True):
            among = roll_call.bitmap(cohort) & there
            unlisted = roll_call.members(among & ~listed)
            harmed = [i for i in unlisted if words.holders(i, among, holds).bit_count() < threshold]
            unit.liars |= words.believed_least(harmed, among, held, holds)

    def proposed(self, at: int, now: float) -> None:
        """A set of a unit is proposed."""
        lately = [time for time in self._units[at].proposed if time > now - DAY_S]
        self._units[at] = _Unit(since=now, proposed=[*lately, now])
        for cohort in self._sets.cohorts[at]:
            for index in cohort:
                self._missed.pop(index, None)

    # -- what to propose

    def next(self, at: int, now: float) -> tuple[int, Reasons] | None:
        """Return the set to propose for a unit now, and whom of the one in force it leaves out why;
        None if it is to stay as it is."""
        tokens = self._tokens(at, now)
        if tokens < 1:
            return None
        found = self._sets.get(at)
        if found is None:
            first = self._first(at, now)
            return (first, {}) if first else None
        leaving = self._leaving(found, now)
        growing = self._growing(found, now) if tokens >= 2 else 0
        behind_us = self._is_superseded(found)
        if not (leaving or growing or behind_us):
            return None
        out = roll_call.bitmap(leaving)
        for there in self._let_in(at, now):
            for wanted in ((found.members | there) & ~out, found.members | there & ~out):
                if self._enough(at, wanted) and (wanted != found.members or behind_us):
                    return wanted, {i: why for i, why in leaving.items() if not wanted >> i & 1}
        return None

    def _first(self, at: int, now: float) -> int:
        there = self.candidates(at, now)
        if there == self._sets.everyone(at):
            return there
        if now < self._units[at].since + self._schedule.patience:
            return 0
        return next((bits for bits in (there, self._there(at)) if self._enough(at, bits)), 0)

    def _leaving(self, found: InForce, now: float) -> Reasons:
        """Whom a new set would leave out, and why."""
        unit = self._units[found.record.unit]
        late = found.members & ~self._members.were_ready(found)
        harmed = self._harmed(found)
        liars = unit.liars | words.believed_least(harmed, found.members, self._members.held(), self._members.holds())
        if late or harmed:
            if late and now < unit.since + self._schedule.patience:
                return {}
            unit.all_ready = now if unit.all_ready is None else unit.all_ready
            if not late and now < unit.all_ready + min(self._schedule.patience, self._schedule.interval):
                return {}  # what holders say may be on its way
            return self._reasons(late, NOT_READY) | self._reasons(liars & ~late, FALSE_HELD)
        gone = self._missing(found, MISSED_MOST)
        offline = self._members.offline() & found.members
        if unit.listless or not self._enough(found.record.unit, found.members & ~offline):
            # A round that all missed was not theirs to miss.
            gone |= offline | unit.idle & self._members.absent() & self._missing(found, LOST_MOST)
        return self._reasons(gone, MISSING) | self._reasons(unit.liars, FALSE_HELD)

    def _missing(self, found: InForce, rounds: int) -> int:
        """Who of a set has missed so many rounds, and all after them."""
        return roll_call.bitmap(i for i in roll_call.members(found.members) if self._missed.get(i, 0) >= rounds)

    def _growing(self, found: InForce, now: float) -> int:
        """Whom to let in because it has waited for an interval, or is needed."""
        at = found.record.unit
        if not self.taken_up(found):
            return 0
        new = self.candidates(at, now) & ~found.members
        if self._units[at].listless or self._no_failure_left(found):
            return new
        since, interval = self._waits_since, self._schedule.interval
        return roll_call.bitmap(i for i in roll_call.members(new) if now >= since.get(i, now) + interval)

    def _let_in(self, at: int, now: float) -> list[int]:
        """Who is let in with a new set: the candidates; where that makes no set, all that are
        there, but not often."""
        there = [self.candidates(at, now)]
        if now >= self._units[at].since + max(WAIVED_S, self._schedule.patience):
            there.append(self._there(at))
        return there

    def least_number(self, at: int) -> int:
        """Return a number below that of the next set of a unit: one that somebody honest has said
        to be in force, if anybody has."""
        least = 0
        for cohort, threshold in zip(self._sets.cohorts[at], self._sets.thresholds(at), strict=True):
            said = sorted((self.here.get(index, 0) for index in cohort), reverse=True)
            least = max(least, said[len(cohort) - threshold])
        return least

    # -- how it stands

    def _there(self, at: int) -> int:
        return self._sets.everyone(at) & self._members.online() & roll_call.bitmap(self.here)

    def _harmed(self, found: InForce) -> list[int]:
        """The members of a set whose key shares fewer than t hold by their own word."""
        holds = self._members.holds()
        harmed: list[int] = []
        for cohort, threshold in zip(found.unit.cohorts, found.unit.thresholds, strict=True):
            among = roll_call.bitmap(cohort)
            harmed += [i for i in cohort if words.holders(i, among, holds).bit_count() < threshold]
        return harmed

    def _enough(self, at: int, wanted: int) -> bool:
        """Whether t of each cohort are in a set."""
        cohorts = self._sets.cohorts[at]
        return all(
            (wanted & roll_call.bitmap(cohort)).bit_count() >= threshold
            for cohort, threshold in zip(cohorts, self._sets.thresholds(at), strict=True)
        )

    def _no_failure_left(self, found: InForce) -> bool:
        there = found.members & ~self._members.absent()
        return any(
            (there & roll_call.bitmap(cohort)).bit_count() <= threshold < len(everyone)
            for cohort, threshold, everyone in zip(
                found.unit.cohorts, found.unit.thresholds, self._sets.cohorts[found.record.unit], strict=True
            )
        )

    def _is_superseded(self, found: InForce) -> bool:
        """Whether more of a cohort than may lie say that they are in a later set: the database was
        restored from a copy."""
        return self.least_number(found.record.unit) > found.number

    def _tokens(self, at: int, now: float) -> float:
        """How many sets boards would take up now."""
        left, last = float(TOKENS), -math.inf
        for time in self._units[at].proposed:
            left, last = min(TOKENS, left + (time - last) / TOKEN_S) - 1, time
        return min(TOKENS, left + (now - last) / TOKEN_S)

    @staticmethod
    def _reasons(bits: int, reason: str) -> Reasons:
        return dict.fromkeys(roll_call.members(bits), reason)
