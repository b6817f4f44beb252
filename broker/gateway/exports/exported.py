"""A series that is exported, and its steps as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from broker.gateway.series import Step

COLUMNS = ("start", "value", "rounds", "summed", "members", "off_grid")


@dataclass(frozen=True)
class Exported:
    """The steps of `length` seconds, in their order, of a `slot` of a group; `unit` is None if the
    slot's name tells none."""

    deployment: str
    group: str
    slot: str
    unit: str | None
    length: int
    steps: Sequence[Step]


def rfc3339(seconds: int) -> str:
    """Return whole Unix seconds in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
