"""What is kept of requests for a round off the grid: one waits, its round is open, or it is over.

Who asks writes it to the database (requests.py); the machine records what becomes of it in the
transaction of the round's own records.
"""

from dataclasses import dataclass

from broker.coordinator.actions import Record

WAITING, OPEN, COMPLETE, REFUSED = "waiting", "open", "complete", "refused"
OVER = (COMPLETE, REFUSED)


@dataclass(frozen=True)
class Request:
    """A sum that somebody wants of a group, as soon as it can be had."""

    id: int
    group: str


@dataclass(frozen=True)
class OpenRequest(Record):
    """Record that the round of a request is open, and who is not expected to take part, a
    bitmap."""

    request: int
    epoch: int
    round: int
    absent: int


@dataclass(frozen=True)
class CloseRequest(Record):
    """Record how a request ended: `reason` says why there is no sum, None if there is one; `again`
    tells whether there may be one if it is asked once more."""

    request: int
    reason: str | None
    again: bool = False
