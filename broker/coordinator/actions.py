"""What a coordinator's machine asks for, and what it is restored from. Records become durable
before anything is published."""

from dataclasses import dataclass, field

from broker.coordinator.protocols.gossip.queries import QueryRecord, SavedQueries


@dataclass(frozen=True)
class Publish:
    """Send `payload` to `topic` with QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True)
class OpenRound:
    """Record that a round is open."""

    group: str
    epoch: int
    round: int
    message: bytes


@dataclass(frozen=True)
class Contribution:
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
class RollCall:
    """Record the signed roll call of a round: contributions are closed, and there is never another
    list for this round."""

    group: str
    epoch: int
    round: int
    message: bytes


@dataclass(frozen=True)
class Answer:
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
class CloseRound:
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


@dataclass(frozen=True)
class Horizon:
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
class Counted:
    """Record the last round whose published sum has a device's reading."""

    group: str
    device: str
    epoch: int
    round: int


RoundRecord = OpenRound | Contribution | RollCall | Answer | CloseRound | Horizon | Counted
Record = RoundRecord | QueryRecord
Action = Publish | Record


@dataclass
class Saved:
    """What the storage holds of a group's epoch: the next round, the one in progress if any, and
    the last result; and of whom which reading was counted last, in this epoch or an earlier one.
    For a group that answers queries, what there is of these."""

    next_round: int = 0
    open_message: bytes | None = None
    roll_message: bytes | None = None
    open_contributions: list[Contribution] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    closed_contributions: list[Contribution] = field(default_factory=list)
    last_result: bytes | None = None
    horizons: dict[str, Horizon] = field(default_factory=dict)
    counted: dict[str, Counted] = field(default_factory=dict)
    queries: SavedQueries = field(default_factory=SavedQueries)
