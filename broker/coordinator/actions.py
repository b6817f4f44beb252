"""What a coordinator's machine asks for, and what it is restored from. Records become durable before anything is published."""

from dataclasses import dataclass, field


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
    """Record a contribution: the SHA-256 of its envelope, its ciphertext, and the receipt for it."""

    group: str
    epoch: int
    round: int
    device: str
    digest: bytes
    ciphertext: bytes
    receipt: bytes


@dataclass(frozen=True)
class CloseRound:
    """Record a round's outcome: status (coordination.COMPLETE, ...), sums in slot order or None, and the signed result."""

    group: str
    epoch: int
    round: int
    status: int
    missing: list[str]
    sums: list[int] | None
    message: bytes
    latency_ms: float


@dataclass(frozen=True)
class Horizon:
    """Record the last round for which a member said that it has a mask."""

    group: str
    epoch: int
    device: str
    round: int


Record = OpenRound | Contribution | CloseRound | Horizon
Action = Publish | Record


@dataclass
class Saved:
    """What the storage holds of a group's epoch: the next round, the open one if any, and the last result."""

    next_round: int = 0
    open_message: bytes | None = None
    open_contributions: list[Contribution] = field(default_factory=list)
    closed_contributions: list[Contribution] = field(default_factory=list)
    last_result: bytes | None = None
    horizons: dict[str, int] = field(default_factory=dict)
