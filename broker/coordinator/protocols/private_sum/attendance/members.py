"""Who took part in a round, and who did not and why.

A member that sends nothing is absent until it sends again. The log names it when that begins and
when it ends, and the database keeps since when it lasts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.wire import coordination
from broker.coordinator.protocols.private_sum import roll_call
from broker.coordinator.protocols.private_sum.answers import Answers
from broker.coordinator.protocols.private_sum.records import (
    LATE,
    LEFT_OUT,
    NEVER_DEALT,
    NO_LINK,
    NO_LIST,
    NO_MASK,
    NO_READING,
    TOO_FEW_ANSWERS,
    TOO_FEW_SENT,
    Absence,
    Attendance,
    Saved,
    StillAbsent,
)
from broker.coordinator.protocols.private_sum.sets.in_force import Sets
from broker.coordinator.protocols.private_sum.sets.members import Members
from broker.coordinator.scope import Scope


@dataclass(frozen=True)
class Over:
    """A round that is over: who took part, why there is no sum, in a word, None if there is one,
    and the records of who is absent since this round, for another reason, or back."""

    attendance: Attendance
    why: str | None
    changes: list[Absence]

    def missing(self, names: list[str], summed: int) -> list[str]:
        """Return of the members with these names those whose readings are not in the sum, which is
        of the bitmap `summed`; without a sum who was really missing: who sent nothing, and who was
        to answer and did not."""
        if self.why is None:
            return [name for index, name in enumerate(names) if not summed >> index & 1]
        there = {*self.attendance.answered, *self.attendance.unlisted}
        if self.why != TOO_FEW_ANSWERS:
            there = {name for name in names if name not in self.attendance.absent}
        return [name for name in names if name not in there]


class Attendances:
    """Those of one group; who was absent, and who was ever counted, is `saved`."""

    def __init__(self, scope: Scope, sets: Sets, known: Members, saved: Saved, unix_time: Callable[[], float]) -> None:
        self._scope = scope
        self._sets = sets
        self._members = known
        self._absent = dict(saved.absences)
        self._known = set(saved.counted)  # who has ever sent
        self._unix_time = unix_time
        self._late: dict[str, int] = {}

    def was_late(self, device: str, number: int) -> None:
        """What a member sent for a round came when no more was taken."""
        self._late[device] = number

    def over(
        self, number: int, units: set[int], sent: Iterable[str], answers: Answers | None, status: int, off_grid: bool
    ) -> Over:
        """A round of these units is over, with a status of coordination.py. Nobody is absent, or
        back, for what it did off the grid."""
        found = self._attendance(number, units, sent, answers)
        there = roll_call.bitmap(self._members.index[name] for name in sent)
        return Over(
            found, why_no_sum(status, there, answers, self._sets), [] if off_grid else self._changes(number, found)
        )

    def _attendance(self, number: int, units: set[int], sent: Iterable[str], answers: Answers | None) -> Attendance:
        there, listed = set(sent), answers.present if answers else 0
        self._known |= there
        names, index = self._members.names, self._members.index
        return Attendance(
            {name: self._why(name, number, units) for name in names if name not in there},
            answers is not None,
            [name for name in names if answers and name in there and not listed >> index[name] & 1],
            [name for name in names if answers and answers.get(name)],
            len(names),
            self._sets.thresholds(0)[0] if [len(unit) for unit in self._sets.cohorts] == [1] else None,
        )

    def _changes(self, number: int, attendance: Attendance) -> list[Absence]:
        now = self._unix_time()
        changed = []
        for name in self._members.names:
            known, why = self._absent.get(name), attendance.absent.get(name)
            gone = known is not None and known.reason is not None
            if known and gone and why:
                record: Absence = StillAbsent(known.group, name, known.epoch, known.round, known.at, why)
            elif why or gone:
                record = Absence(self._scope.group, name, self._scope.epoch, number, now, why)
            else:
                continue
            if known is None or (record.round, record.reason) != (known.round, known.reason):
                self._absent[name] = record
                changed.append(record)
        return changed

    def _why(self, name: str, number: int, units: set[int]) -> str:
        bit = 1 << self._members.index[name]
        # What came after the end of a round tells of the round after it.
        if self._late.get(name, -2) >= number - 1:
            return LATE
        if self._members.offline() & bit:
            return NO_LINK
        if not self._sets.active(units) & bit:
            if name not in self._known:
                return NEVER_DEALT
            return LEFT_OUT if self._members.online() & bit else NO_LINK
        return NO_READING if self._members.ready(number) & bit else NO_MASK


def why_no_sum(status: int, sent: int, answers: Answers | None, sets: Sets) -> str | None:
    """Return in a word why a round of this status has no sum, None if it has one; `sent` is the
    bitmap of who sent for it."""
    if status == coordination.COMPLETE:
        return None
    if status == coordination.INVALID and answers:
        return ", ".join(dict.fromkeys(answers.reasons()))
    if answers:
        return TOO_FEW_ANSWERS
    short = any(
        len([index for index in cohort if sent >> index & 1]) < threshold
        for at, cohorts in enumerate(sets.cohorts)
        for cohort, threshold in zip(cohorts, sets.thresholds(at), strict=True)
    )
    return TOO_FEW_SENT if short else NO_LIST
