"""Queries in the coordinator's memory: asked by `hum query`, another process, and taken up by the
coordinator that runs.

A query waits, is open, or is over. Its number is durable before the message that asks leaves, so no
number is used twice.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.sql.expression import Update

from broker.storage.tables import queries as table

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
class OpenQuery:
    """Record that a request is open under a number of an epoch, with the message that asks, and
    what it costs the boards in millionths of epsilon; None for a loss without bound."""

    group: str
    epoch: int
    number: int
    request: int
    message: bytes
    cost: int | None = None


@dataclass(frozen=True)
class CloseQuery:
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


QueryRecord = OpenQuery | CloseQuery


@dataclass(frozen=True)
class SavedQueries:
    """What a machine is restored from: the last number of its epoch, the group's request that was
    open, of this epoch or an earlier one, and the last outcome of the epoch."""

    last_number: int = 0
    open_request: int | None = None
    last_outcome: bytes | None = None


def statement(record: QueryRecord) -> Update:
    """Return what records `record`; doing it twice is doing it once."""
    update = table.update().where(table.c.id == record.request)
    if isinstance(record, OpenQuery):
        values = {"status": OPEN, "epoch": record.epoch, "number": record.number, "message": record.message}
        values["cost"] = record.cost
        # Also if the asker has given up just now: what was published has had its number.
        return update.where(table.c.number.is_(None)).values(**values)
    return update.where(table.c.status.not_in(OVER)).values(
        status=record.status,
        reason=record.reason,
        count=record.count,
        outside=record.outside,
        state=record.state,
        outcome=record.message,
        latency_ms=record.latency_ms,
        closed_at=time.time(),
    )


class Queries:
    """The table of queries behind `engine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ask(self, request: Request) -> int:
        """Record a request that waits for the coordinator, and return its id; that of `request` is
        not looked at."""
        values = {
            "group": request.group,
            "slot": request.slot,
            "function": request.function,
            "parameters": json.dumps(request.parameters),
            "between": json.dumps(request.between),
            "period": request.period,
            "epsilon": request.epsilon,
            "record_epsilon": request.record_epsilon,
            "asked_at": time.time(),
            "status": WAITING,
        }
        with self._engine.begin() as connection:
            key = connection.execute(insert(table).values(**values)).inserted_primary_key
            assert key
            return int(key[0])

    def waiting(self) -> list[Request]:
        """Return the requests that wait, in the order in which they were asked."""
        query = select(table).where(table.c.status == WAITING).order_by(table.c.id)
        with self._engine.connect() as connection:
            return [_request(row._mapping) for row in connection.execute(query)]

    def give_up(self, request: int) -> None:
        """The asker does not wait any longer: what was not opened yet never is."""
        update = table.update().where((table.c.id == request) & (table.c.status == WAITING))
        with self._engine.begin() as connection:
            connection.execute(update.values(status=REFUSED, reason="given-up", closed_at=time.time()))

    def row(self, request: int) -> dict[str, Any]:
        """Return all that is known of a request."""
        with self._engine.connect() as connection:
            row = connection.execute(select(table).where(table.c.id == request)).one()
        found = dict(row._mapping)
        return found | {name: json.loads(found[name]) for name in ("parameters", "between")}

    def spent(self, group: str) -> int:
        """Return what the group's queries have cost its boards, in millionths of epsilon, also
        those that had no answer; those without noise are not in it."""
        cost = select(func.sum(table.c.cost)).where(table.c.group == group)
        with self._engine.connect() as connection:
            return connection.execute(cost).scalar() or 0

    def saved(self, group: str, epoch: int) -> SavedQueries:
        """Return what the machine of a group's epoch is restored from."""
        here = (table.c.group == group) & (table.c.epoch == epoch)
        with self._engine.connect() as connection:
            last = connection.execute(select(func.max(table.c.number)).where(here)).scalar()
            # Of any epoch: one that a new roster has left open would be so for ever.
            open_ = select(table.c.id).where((table.c.group == group) & (table.c.status == OPEN))
            opened = connection.execute(open_).scalar()
            ended = select(table.c.outcome).where(here & table.c.outcome.is_not(None)).order_by(table.c.number.desc())
            return SavedQueries(last or 0, opened, connection.execute(ended.limit(1)).scalar())


def _request(row: Any) -> Request:
    between = json.loads(row["between"])
    fields = (row["id"], row["group"], row["slot"], row["function"])
    return Request(
        *fields, json.loads(row["parameters"]), between, row["period"], row["epsilon"], row["record_epsilon"]
    )
