"""Queries in the coordinator's memory: asked by `hum query`, another process, and taken up by the coordinator that runs.

A query waits, is open, or is over. Its number is durable before the message that asks leaves, so no number is used twice.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Engine, Float, Integer, LargeBinary, MetaData, String, Table, func, insert, select
from sqlalchemy.sql.expression import Update

WAITING, OPEN, COMPLETE, INCOMPLETE, REFUSED = "waiting", "open", "complete", "incomplete", "refused"
OVER = (COMPLETE, INCOMPLETE, REFUSED)


@dataclass(frozen=True)
class Request:
    """What somebody asks of a group: `function` of the values of `slot`, those in `between` only; a round takes `period` ms. The
    epsilons are in millionths, 0 for no noise."""

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
    """Record that a request is open under a number of an epoch, with the message that asks, and what it costs the boards in
    millionths of epsilon; None for a loss without bound."""

    group: str
    epoch: int
    number: int
    request: int
    message: bytes
    cost: int | None = None


@dataclass(frozen=True)
class CloseQuery:
    """Record how a request ended: COMPLETE, INCOMPLETE or REFUSED. `count` values went into `state`, `outside` were out of range; all
    three are None without an answer, and `reason` says why there is none."""

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
    """What a machine is restored from: the last number of its epoch, the request that was open, the last outcome of the epoch."""

    last_number: int = 0
    open_request: int | None = None
    last_outcome: bytes | None = None


def noise_columns() -> list[Column[Any]]:
    """Return the columns that the table did not have in form 4 of the database: no query had noise."""
    epsilons = [Column(name, Integer, nullable=False, server_default="0") for name in ("epsilon", "record_epsilon")]
    return [*epsilons, Column("cost", Integer)]


def define(metadata: MetaData) -> Table:
    """Add the table of queries to `metadata`."""
    return Table(
        "queries",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("group", String, nullable=False),
        Column("slot", String, nullable=False),
        Column("function", String, nullable=False),
        Column("parameters", String, nullable=False),
        Column("between", String, nullable=False),
        Column("period", Integer, nullable=False),
        Column("asked_at", Float, nullable=False),
        Column("status", String, nullable=False, index=True),
        Column("epoch", Integer),
        Column("number", Integer),
        Column("message", LargeBinary),
        Column("closed_at", Float),
        Column("reason", String),
        Column("count", Integer),
        Column("outside", Integer),
        Column("state", LargeBinary),
        Column("outcome", LargeBinary),
        Column("latency_ms", Float),
        *noise_columns(),
        sqlite_autoincrement=True,  # an id names one request for ever
    )


def statement(table: Table, record: QueryRecord) -> Update:
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

    def __init__(self, engine: Engine, table: Table) -> None:
        self._engine = engine
        self._table = table

    def ask(self, request: Request) -> int:
        """Record a request that waits for the coordinator, and return its id; that of `request` is not looked at."""
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
            key = connection.execute(insert(self._table).values(**values)).inserted_primary_key
            assert key
            return int(key[0])

    def waiting(self) -> list[Request]:
        """Return the requests that wait, in the order in which they were asked."""
        table = self._table
        query = select(table).where(table.c.status == WAITING).order_by(table.c.id)
        with self._engine.connect() as connection:
            return [_request(row._mapping) for row in connection.execute(query)]

    def give_up(self, request: int) -> None:
        """The asker does not wait any longer: what was not opened yet never is."""
        table = self._table
        update = table.update().where((table.c.id == request) & (table.c.status == WAITING))
        with self._engine.begin() as connection:
            connection.execute(update.values(status=REFUSED, reason="given-up", closed_at=time.time()))

    def row(self, request: int) -> dict[str, Any]:
        """Return all that is known of a request."""
        with self._engine.connect() as connection:
            row = connection.execute(select(self._table).where(self._table.c.id == request)).one()
        found = dict(row._mapping)
        return found | {name: json.loads(found[name]) for name in ("parameters", "between")}

    def spent(self, group: str) -> int:
        """Return what the group's queries have cost its boards, in millionths of epsilon, also those that had no answer; those
        without noise are not in it."""
        table = self._table
        cost = select(func.sum(table.c.cost)).where(table.c.group == group)
        with self._engine.connect() as connection:
            return connection.execute(cost).scalar() or 0

    def saved(self, group: str, epoch: int) -> SavedQueries:
        """Return what the machine of a group's epoch is restored from."""
        table = self._table
        here = (table.c.group == group) & (table.c.epoch == epoch)
        with self._engine.connect() as connection:
            last = connection.execute(select(func.max(table.c.number)).where(here)).scalar()
            opened = connection.execute(select(table.c.id).where(here & (table.c.status == OPEN))).scalar()
            ended = select(table.c.outcome).where(here & table.c.outcome.is_not(None)).order_by(table.c.number.desc())
            return SavedQueries(last or 0, opened, connection.execute(ended.limit(1)).scalar())


def _request(row: Any) -> Request:
    between = json.loads(row["between"])
    fields = (row["id"], row["group"], row["slot"], row["function"])
    return Request(
        *fields, json.loads(row["parameters"]), between, row["period"], row["epsilon"], row["record_epsilon"]
    )
