"""What the coordinator keeps of private sums, and what a machine is restored from."""

from dataclasses import dataclass, field

from broker.coordinator.actions import Record


@dataclass(frozen=True)
class OpenRound(Record):
    """Record that a round is open, and of which instant it is: Unix seconds, 0 for none."""

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
class CloseRound(Record):
    """Record a round's outcome: status (coordination.COMPLETE, ...), whose readings are not in the
    sums, sums in slot order or None, the signed result; for each cohort whose answers disagree who
    agrees and who does not; and with how many liars in a cohort the sums are right, None without
    sums."""

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

    def warning(self) -> str | None:
        """Tell both sides where answers disagree."""
        if not self.disagree:
            return None
        sides = "; ".join(" against ".join(", ".join(side) or "nobody" for side in pair) for pair in self.disagree)
        return f"round {self.round} of {self.group}: answers disagree: {sides}"


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

    def warning(self) -> str | None:
        """Name the member."""
        return f"{self.device} of {self.group} is left out of the active set: {self.reason}"


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


RoundRecord = (
    OpenRound | Contribution | RollCall | Answer | CloseRound | MasksUntil | Counted | ActiveSet | LeftOut | Standing
)


@dataclass
class Saved:
    """What the storage holds of a group's epoch: the next round, the one in progress if any, the
    last instant of any round of the group (0 for none), the last result, and the roll calls of the
    last rounds, `called`, oldest first; of whom which reading was counted last, in this epoch or an
    earlier one; the active sets in force by unit, when sets were proposed lately (unit, Unix
    seconds), the greatest number of any set of the group, and who was left out."""

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
    sets: dict[int, ActiveSet] = field(default_factory=dict)
    proposed: list[tuple[int, float]] = field(default_factory=list)
    last_number: int = 0
    left_out: dict[str, LeftOut] = field(default_factory=dict)
