"""The tables of private sums, and how each record is written to them.

Of the rounds that are over sums stay. What they were made of is needed for the last one alone, and
kept a while longer for who wants to look into it.
"""

import json
import time
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Executable,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    inspect,
)
from sqlalchemy.dialects.sqlite import insert

from broker.coordinator.protocols.private_sum.records import (
    Answer,
    CloseRound,
    Contribution,
    Counted,
    MasksUntil,
    OpenRound,
    RollCall,
    RoundRecord,
)
from broker.storage.schema import Bitmap, Schema

# Closed ones of an epoch whose contributions and answers are there; some 40 kB each with 60 boards.
KEPT_ROUNDS = 100

metadata = MetaData()


def _table(name: str, key: list[str], *columns: Column[Any]) -> Table:
    return Table(name, metadata, *columns, PrimaryKeyConstraint(*key))


def _epoch() -> list[Column[Any]]:
    return [Column("group", String), Column("epoch", Integer)]


rounds = _table(
    "rounds",
    ["group", "epoch", "round"],
    *_epoch(),
    Column("round", Integer),
    Column("opening", LargeBinary, nullable=False),
    Column("roll", LargeBinary),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("status", Integer),
    Column("missing", String),
    Column("disagree", String),
    Column("withstands", Integer),
    Column("sums", String),
    Column("latency_ms", Float),
    Column("result", LargeBinary),
)
contributions = _table(
    "contributions",
    ["group", "epoch", "round", "device"],
    *_epoch(),
    Column("round", Integer),
    Column("device", String),
    Column("digest", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("held", Bitmap, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
)
answers = _table(
    "answers",
    ["group", "epoch", "round", "device"],
    *_epoch(),
    Column("round", Integer),
    Column("device", String),
    Column("digest", LargeBinary, nullable=False),
    Column("blinding", LargeBinary, nullable=False),
    Column("recovery", LargeBinary),
)
masks_until = _table(
    "horizons",
    ["group", "epoch", "device"],
    *_epoch(),
    Column("device", String),
    Column("round", Integer, nullable=False),
    Column("announced", Integer, nullable=False),
    Column("held", Bitmap, nullable=False),
)
counted = _table(
    "counted",
    ["group", "device"],
    Column("group", String),
    Column("device", String),
    Column("epoch", Integer, nullable=False),
    Column("round", Integer, nullable=False),
)


def of_round(table: Table, one: Any) -> ColumnElement[bool]:
    """Select the rows of the round that `one`, a record or a row, is about."""
    c = table.c
    same: ColumnElement[bool] = (c.group == one.group) & (c.epoch == one.epoch) & (c.round == one.round)
    return same


def statements(record: RoundRecord) -> list[Executable]:
    """Return what writes a record."""
    match record:
        case OpenRound():
            key = {"group": record.group, "epoch": record.epoch, "round": record.round}
            values = {**key, "opening": record.message, "opened_at": time.time()}
            return [insert(rounds).values(**values).on_conflict_do_nothing()]
        case Contribution() | Answer():
            table = contributions if isinstance(record, Contribution) else answers
            return [insert(table).values(**asdict(record)).on_conflict_do_nothing()]
        case RollCall():
            this = of_round(rounds, record) & rounds.c.roll.is_(None)
            return [rounds.update().where(this).values(roll=record.message)]
        case CloseRound():
            this = of_round(rounds, record) & rounds.c.status.is_(None)
            closed = rounds.update().where(this).values(closed_at=time.time(), **_outcome(record))
            return [closed, *(table.delete().where(_forgotten(table, record)) for table in (contributions, answers))]
        case MasksUntil():
            return [_upsert(masks_until, record, ["group", "epoch", "device"], ["round", "announced", "held"])]
        case Counted():
            return [_upsert(counted, record, ["group", "device"], ["epoch", "round"])]


def _outcome(record: CloseRound) -> dict[str, Any]:
    lists = {"missing": record.missing, "disagree": record.disagree, "sums": record.sums}
    values = {"status": record.status, "latency_ms": record.latency_ms, "result": record.message}
    values["withstands"] = record.withstands
    return values | {name: json.dumps(value) for name, value in lists.items()}


def _forgotten(table: Table, closed: CloseRound) -> ColumnElement[bool]:
    """The group's rounds that are too long ago when the round `closed` is, and those of earlier
    epochs."""
    c = table.c
    old = (c.epoch < closed.epoch) | ((c.epoch == closed.epoch) & (c.round <= closed.round - KEPT_ROUNDS))
    forgotten: ColumnElement[bool] = (c.group == closed.group) & old
    return forgotten


def _upsert(table: Table, record: MasksUntil | Counted, key: list[str], changing: list[str]) -> Executable:
    statement = insert(table).values(**asdict(record))
    changed = {name: statement.excluded[name] for name in changing}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


def _tell_sides(connection: Connection) -> None:
    """Once there were names of those whose answers were "wrong", in a list; now there are sides."""
    columns = {column["name"] for column in inspect(connection).get_columns("rounds")}
    if "wrong" in columns:
        connection.exec_driver_sql("ALTER TABLE rounds RENAME COLUMN wrong TO disagree")
        connection.exec_driver_sql("UPDATE rounds SET disagree = '[[[], ' || disagree || ']]' WHERE disagree != '[]'")
    if "withstands" not in columns:
        connection.exec_driver_sql("ALTER TABLE rounds ADD COLUMN withstands INTEGER")


RECORDS = (OpenRound, Contribution, RollCall, Answer, CloseRound, MasksUntil, Counted)
SCHEMA = Schema("private-sum", metadata, RECORDS, statements, (_tell_sides,), {3: 1, 4: 1, 5: 1})
