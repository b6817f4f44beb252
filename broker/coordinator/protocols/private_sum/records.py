"""What the coordinator keeps of private sums, and what a machine is restored from."""

import logging
from dataclasses import dataclass, field

from agent.wire import coordination
from broker.coordinator.actions import Record

STATUS = {coordination.COMPLETE: "complete", coordination.INCOMPLETE: "incomplete", coordination.INVALID: "invalid"}
NAMED_MOST = 8  # members in a line of the log
# Why a member is absent, and why a round has no sum.
NEVER_DEALT, NO_LINK, NO_MASK, NO_READING = "never-dealt", "no-link", "no-mask", "no-reading"
LATE, LEFT_OUT = "late", "left-out"
TOO_FEW_SENT, NO_LIST, TOO_FEW_ANSWERS = "too-few-sent", "no-list", "too-few-answers"


@dataclass(frozen=True)
class OpenRound(Record):
    """Record that a round is open, and its instant: Unix seconds, 0 for none, or OFF_GRID."""

    group: str
    epoch: int
    round: int
    message: bytes
    instant: int = 0


@dataclass(frozen=True)
class Contribution(Record):
    """Record a contribution: the SHA-256 of its envelope, its ciphertext, the bitmap of those that
    hold its blinding shares, as it says, that of those whose blinding shares it holds, and the
    receipt for it."""

    group: str
    epoch: int
    round: int
    device: str
    digest: bytes
    ciphertext: bytes
    held: int
    holds: int
    receipt: bytes


@dataclass(frozen=True)
class RollCall(Record):
    """Record the signed roll call of a round: contributions are closed, and there is never another
    list for this round."""

    group: str
    epoch: int
    round: int
    message: bytes


@dataclass(frozen=True)
class Answer(Record):
    """Record an answer to a roll call: the SHA-256 of its envelope, the summed blinding shares, the
    recovery share or None."""

    group: str
    epoch: int
    round: int
    device: str
    digest: bytes
    blinding: bytes
    recovery: bytes | None


@dataclass(frozen=True)
class Attendance:
    """Who took part in a round that is over: why each member is absent that sent nothing in time
    (names to words), whether a roll was called, who had sent and was not listed in it, who had
    answered when it closed; of how many members; and how many it takes, None if there is more than
    one cohort."""

    absent: dict[str, str]
    called: bool
    unlisted: list[str]
    answered: list[str]
    of: int
    needed: int | None = None


@dataclass(frozen=True)
class CloseRound(Record):
    """Record a round's outcome: status (coordination.COMPLETE, ...), whose readings are not in the
    sums, or who was missing so that there are none; sums in slot order or None, the signed result;
    for each cohort whose answers disagree who agrees and who does not; with how many liars in a
    cohort the sums are right, None without sums; why there are none, in a word; and who took
    part."""

    group: str
    epoch: int
    round: int
    status: int
    missing: list[str]
    sums: list[int] | None
    message: bytes
    latency_ms: float
    disagree: list[list[list[str]]] = field(default_factory=list)
    withstands: int | None = None
    why: str | None = None
    attendance: Attendance | None = None

    def line(self) -> tuple[int, str]:
        """Tell how it ended: one line a round."""
        is_well = self.status == coordination.COMPLETE and not self.disagree
        return logging.INFO if is_well else logging.WARNING, round_line(self)


def round_line(closed: CloseRound) -> str:
    """Return what the log says of a round that is over."""
    status, of = STATUS[closed.status], f"round {closed.round} of {closed.group}"
    told = closed.attendance
    counts = f", {told.of - len(closed.missing)} of {told.of}" if told and closed.sums else ""
    seconds = f" in {closed.latency_ms / 1000:.1f} s" if closed.sums else ""
    found = [f"{of}: {status}{counts}{seconds}"]
    if closed.why:
        found.append(because(closed.why, told))
    if closed.missing:
        found.append("missing: " + _named([f"{name} ({_why(name, told)})" for name in closed.missing]))
    if closed.disagree:
        sides = (" against ".join(", ".join(side) or "nobody" for side in pair) for pair in closed.disagree)
        found.append("answers disagree: " + "; ".join(sides))
    return "; ".join(found)


def because(why: str, attendance: Attendance | None) -> str:
    """Return why a round has no sum, for people."""
    if attendance is None or why not in (TOO_FEW_SENT, TOO_FEW_ANSWERS):
        return why.replace("-", " ")
    sent = attendance.of - len(attendance.absent) if why == TOO_FEW_SENT else len(attendance.answered)
    needed = f", and it takes {attendance.needed}" if attendance.needed else ""
    return f"{why.replace('-', ' ')}, {sent} of {attendance.of}{needed}"


def _why(name: str, attendance: Attendance | None) -> str:
    """Return why a reading is in no sum, in a word."""
    if attendance is None:
        return "unknown"
    if name in attendance.unlisted:
        return "not-listed"
    return attendance.absent.get(name, "no-answers" if name in attendance.answered else "no-answer")


def _named(names: list[str]) -> str:
    more = len(names) - NAMED_MOST
    return ", ".join(names[:NAMED_MOST]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class MasksUntil(Record):
    """Record how far a member can go under the active set `number`: the last round that it said it
    can take part in; and of its newest "ready", the round of the envelope (`announced`, -1 before
    there is one), the bitmap of those that hold its key shares, as it says, and that of those whose
    key shares it holds."""

    group: str
    epoch: int
    device: str
    number: int
    round: int
    announced: int
    held: int
    holds: int


@dataclass(frozen=True)
class Counted(Record):
    """Record the last round whose published sum has a device's reading."""

    group: str
    device: str
    epoch: int
    round: int


@dataclass(frozen=True)
class ActiveSet(Record):
    """Record the active set of a unit: number, bitmap, what was signed, when (Unix seconds). It is
    recorded before it is published, so that no number is used twice."""

    group: str
    epoch: int
    unit: int
    number: int
    members: int
    message: bytes
    at: float


@dataclass(frozen=True)
class LeftOut(Record):
    """Record that a new set leaves out a member: why, for the how-manieth time in a row, when and
    until when it is not let in again (Unix seconds)."""

    group: str
    epoch: int
    device: str
    reason: str
    times: int
    at: float
    until: float

    def line(self) -> tuple[int, str]:
        """Name the member."""
        return logging.WARNING, f"{self.device} of {self.group} is left out of the active set: {self.reason}"


@dataclass(frozen=True)
class Absence(Record):
    """Record since which round a member is absent, when that was over (Unix seconds), and why, in a
    word; None if it is back since then."""

    group: str
    device: str
    epoch: int
    round: int
    at: float
    reason: str | None

    def line(self) -> tuple[int, str] | None:
        """Name the member."""
        if self.reason is None:
            return logging.INFO, f"{self.device} of {self.group} is back in round {self.round}"
        return logging.WARNING, f"{self.device} of {self.group} is absent since round {self.round}: {self.reason}"


@dataclass(frozen=True)
class Standing(Record):
    """Record how a unit stands, for people: the number of its set, 0 for none; whether all of it
    have been ready in it; names of its members, of those in the set, and why each other one is not
    (names to reasons); how many of each cohort there must be; what a new set costs a board, as
    sets/cost.py tells it."""

    group: str
    epoch: int
    unit: int
    number: int
    taken_up: bool
    members: list[str]
    active: list[str]
    others: dict[str, str]
    thresholds: list[int]
    cost: dict[str, float]


@dataclass(frozen=True)
class StillAbsent(Absence):
    """Record that a member is absent for another reason now. The log has that with the round."""

    def line(self) -> None:
        """Say nothing."""


RoundRecord = (
    OpenRound
    | Contribution
    | RollCall
    | Answer
    | CloseRound
    | MasksUntil
    | Counted
    | ActiveSet
    | LeftOut
    | Absence
    | Standing
)


@dataclass
class Saved:
    """What the storage holds of a group's epoch: the next round, the one in progress if any, the
    last instant of any round of the group (0 for none), the last result, and the roll calls of the
    last rounds, `called`, oldest first; of whom which reading was counted last, in this epoch or an
    earlier one; the request that the open round is of, 0 for none, those `left_open` by a
    coordinator before, and whether the last round is off the grid; the active sets in force by
    unit, when sets were proposed lately (unit, Unix seconds), the greatest number of any set of the
    group, who was left out, and who is or was absent."""

    next_round: int = 0
    instant: int = 0
    open_message: bytes | None = None
    roll_message: bytes | None = None
    open_contributions: list[Contribution] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    closed_contributions: list[Contribution] = field(default_factory=list)
    last_result: bytes | None = None
    called: list[bytes] = field(default_factory=list)
    masks_until: dict[str, MasksUntil] = field(default_factory=dict)
    counted: dict[str, Counted] = field(default_factory=dict)
    off_grid: bool = False
    open_request: int = 0
    left_open: list[int] = field(default_factory=list)
    sets: dict[int, ActiveSet] = field(default_factory=dict)
    proposed: list[tuple[int, float]] = field(default_factory=list)
    last_number: int = 0
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    absences: dict[str, Absence] = field(default_factory=dict)
