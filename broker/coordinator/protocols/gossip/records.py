"""Queries as the coordinator keeps them: asked by `hum query`, another process, and taken up by the
coordinator that runs.

A query waits, is open, or is over. Its number is durable before the message that asks leaves, so no
number is used twice.
"""

from dataclasses import dataclass

from broker.coordinator.actions import Record

WAITING, OPEN, COMPLETE, INCOMPLETE, REFUSED = "waiting", "open", "complete", "incomplete", "refused"
OVER = (COMPLETE, INCOMPLETE, REFUSED)


@dataclass(frozen=True)
class Request:
    """What somebody asks of a group: `function` of the values of `slot`, those in `between` only; a
    round takes `period` ms. The epsilons are in millionths, 0 for no noise."""

    id: int
    group: str
    slot: str
    function: str
    parameters: list[int]
    between: list[int] | None
    period: int
    epsilon: int = 0
    record_epsilon: int = 0


@dataclass(frozen=True)
class OpenQuery(Record):
    """Record that a request is open under a number of an epoch, with the message that asks, and
    what it costs the boards in millionths of epsilon; None for a loss without bound."""

    group: str
    epoch: int
    number: int
    request: int
    message: bytes
    cost: int | None = None


@dataclass(frozen=True)
class CloseQuery(Record):
    """Record how a request ended: COMPLETE, INCOMPLETE or REFUSED. `count` values went into
    `state`, `outside` were out of range; all three are None without an answer, and `reason` says
    why there is none."""

    request: int
    status: str
    reason: str | None = None
    count: int | None = None
    outside: int | None = None
    state: bytes | None = None
    message: bytes | None = None
    latency_ms: float | None = None


@dataclass(frozen=True)
class Saved:
    """What a machine is restored from: the last number of its epoch, the group's request that was
    open, of this epoch or an earlier one, and the last outcome of the epoch."""

    last_number: int = 0
    open_request: int | None = None
    last_outcome: bytes | None = None
