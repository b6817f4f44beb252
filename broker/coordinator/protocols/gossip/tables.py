"""The table of queries, how an older one gets its present columns, and how records are written."""

import time
from typing import Any

from sqlalchemy import Column, Connection, Executable, Float, Integer, LargeBinary, MetaData, String, Table, inspect

from broker.coordinator.protocols.gossip.records import OPEN, OVER, CloseQuery, OpenQuery
from broker.storage.schema import Schema

metadata = MetaData()


def _noise_columns() -> list[Column[Any]]:
    """Return the columns that the table did not have in its version 1: no query had noise."""
    epsilons = [Column(name, Integer, nullable=False, server_default="0") for name in ("epsilon", "record_epsilon")]
    return [*epsilons, Column("cost", Integer)]


queries = Table(
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
    *_noise_columns(),
    sqlite_autoincrement=True,  # an id names one request for ever
)


def _add_noise(connection: Connection) -> None:
    """Add the columns of noise, those that are missing: an earlier program may have been killed in
    between."""
    found = inspect(connection)
    if not found.has_table(queries.name):
        return
    known = {column["name"] for column in found.get_columns(queries.name)}
    for column in _noise_columns():
        if column.name not in known:
            default = "NOT NULL DEFAULT 0" if column.server_default is not None else ""
            connection.exec_driver_sql(f"ALTER TABLE queries ADD COLUMN {column.name} INTEGER {default}")


def statements(record: OpenQuery | CloseQuery) -> list[Executable]:
    """Return what writes a record."""
    update = queries.update().where(queries.c.id == record.request)
    if isinstance(record, OpenQuery):
        values = {"status": OPEN, "epoch": record.epoch, "number": record.number, "message": record.message}
        values["cost"] = record.cost
        # Also if the asker has given up just now: what was published has had its number.
        return [update.where(queries.c.number.is_(None)).values(**values)]
    closed = update.where(queries.c.status.not_in(OVER)).values(
        status=record.status,
        reason=record.reason,
        count=record.count,
        outside=record.outside,
        state=record.state,
        outcome=record.message,
        latency_ms=record.latency_ms,
        closed_at=time.time(),
    )
    return [closed]


SCHEMA = Schema("gossip", metadata, (OpenQuery, CloseQuery), statements, (_add_noise,), file_versions={4: 1, 5: 2})
