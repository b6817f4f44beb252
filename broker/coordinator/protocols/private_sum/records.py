"""What the coordinator keeps of private sums, and what a machine is restored from."""

from dataclasses import dataclass, field

from broker.coordinator.actions import Record


@dataclass(frozen=True)
class OpenRound(Record):
    """Record that a round is open."""

    group: str
    epoch: int
    round: int
    message: bytes


@dataclass(frozen=True)
class Contribution(Record):
    """Record a contribution: the SHA-256 of its envelope, its ciphertext, the bitmap of those that
    hold its blinding shares, and the receipt for it."""

    group: str
    epoch: int
    round: int
    device: str
    digest: bytes
    ciphertext: bytes
    held: int
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
    sums, sums in slot order or None, the signed result, and whose answers were found wrong."""

    group: str
    epoch: int
    round: int
    status: int
    missing: list[str]
    sums: list[int] | None
    message: bytes
    latency_ms: float
    wrong: list[str] = field(default_factory=list)

    def warning(self) -> str | None:
        """Name those whose answers were wrong."""
        return f"round {self.round} of {self.group}: wrong shares of {', '.join(self.wrong)}" if self.wrong else None


@dataclass(frozen=True)
class MasksUntil(Record):
    """Record how far a member can go: the last round that it said it can take part in; and of its
    newest "ready", the round of the envelope (`announced`, -1 before there is one) and the bitmap
    of those that hold its key shares."""

    group: str
    epoch: int
    device: str
    round: int
    announced: int
    held: int


@dataclass(frozen=True)
class Counted(Record):
    """Record the last round whose published sum has a device's reading."""

    group: str
    device: str
    epoch: int
    round: int


RoundRecord = OpenRound | Contribution | RollCall | Answer | CloseRound | MasksUntil | Counted


@dataclass
class Saved:
    """What the storage holds of a group's epoch: the next round, the one in progress if any, the
    last result, and the roll calls of the last rounds, oldest first; and of whom which reading
    was counted last, in this epoch or an earlier one."""

    next_round: int = 0
    open_message: bytes | None = None
    roll_message: bytes | None = None
    open_contributions: list[Contribution] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    closed_contributions: list[Contribution] = field(default_factory=list)
    last_result: bytes | None = None
    called: list[bytes] = field(default_factory=list)
    masks_until: dict[str, MasksUntil] = field(default_factory=dict)
    counted: dict[str, Counted] = field(default_factory=dict)
