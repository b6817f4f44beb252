"""What a coordinator's machine asks for, whatever its protocol. Records become durable before
anything is published that follows from them."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True)
class Publish:
    """Send `payload` to `topic` with QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


class Record:
    """Keep this durably. Each protocol has its own records, beside their tables
    (broker/coordinator/protocols/<name>/records.py)."""

    __slots__ = ()

    def line(self) -> tuple[int, str] | None:
        """Return what the log is to say once this is recorded, if anything: its level, as logging
        has it, and one line."""
        return None


@dataclass(frozen=True)
class Compute:
    """Do `job`, which takes no argument, away from the event loop, and tell the machine what it
    returned by computed(key, outcome, now); the outcome is LOST if it took more than `seconds` or
    its process died. Both can be pickled. A machine has one job under way at a time. `long` jobs,
    those that a hostile board can cause, leave a process free for the others."""

    key: tuple[str, int, int]
    job: Callable[[], Any]
    seconds: float
    long: bool = False


class Lost(Enum):
    """The outcome of a job that has none."""

    LOST = "lost"


LOST = Lost.LOST

Action = Publish | Record | Compute
