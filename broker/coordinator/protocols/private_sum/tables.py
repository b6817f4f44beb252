"""The tables of private sums, and how each record is written to them.

Of the rounds that are over sums stay. What they were made of is needed for the last one alone, and
kept a while longer for who wants to look into it.
"""

import json
import time
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Executable,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import insert

from agent.wire.messages import OFF_GRID
from broker.coordinator.protocols.private_sum.on_request.records import (
    COMPLETE,
    OPEN,
    OVER,
    REFUSED,
    CloseRequest,
    OpenRequest,
)
from broker.coordinator.protocols.private_sum.records import (
    Absence,
    ActiveSet,
    Answer,
    CloseRound,
    Contribution,
    Counted,
    LeftOut,
    MasksUntil,
    OpenRound,
    RollCall,
    RoundRecord,
    Standing,
    StillAbsent,
)
from broker.storage.schema import Bitmap

# Closed ones of an epoch whose contributions and answers are there; some 40 kB each with 60 boards.
KEPT_ROUNDS = 100
# Seconds; of each unit the newest set stays in any case.
KEPT_SETS_S = 7 * 86_400.0

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
    Column("instant", Integer),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("status", Integer),
    Column("missing", String),
    Column("disagree", String),
    Column("withstands", Integer),
    Column("sums", String),
    Column("latency_ms", Float),
    Column("result", LargeBinary),
    Column("why", String),
    Column("attendance", String),
    Column("off_grid", Boolean, nullable=False, server_default=text("0")),
)
requests = Table(
    "sum_requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("group", String, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("status", String, nullable=False, index=True),
    Column("epoch", Integer),
    Column("round", Integer),
    Column("closed_at", Float),
    Column("reason", String),
    Column("again", Boolean),
    sqlite_autoincrement=True,  # an id names one request for ever
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
    Column("holds", Bitmap, nullable=False, server_default=text("x'0000000000000000'")),
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
    Column("number", Integer, nullable=False, server_default=text("0")),
    Column("holds", Bitmap, nullable=False, server_default=text("x'0000000000000000'")),
)
counted = _table(
    "counted",
    ["group", "device"],
    Column("group", String),
    Column("device", String),
    Column("epoch", Integer, nullable=False),
    Column("round", Integer, nullable=False),
)


active_sets = _table(
    "active_sets",
    ["group", "epoch", "unit", "number"],
    *_epoch(),
    Column("unit", Integer),
    Column("number", Integer),
    Column("members", Bitmap, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
)
left_out = _table(
    "left_out",
    ["group", "epoch", "device"],
    *_epoch(),
    Column("device", String),
    Column("reason", String, nullable=False),
    Column("times", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("until", Float, nullable=False),
)
absences = _table(
    "absences",
    ["group", "device"],
    Column("group", String),
    Column("device", String),
    Column("epoch", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("reason", String),
)
standing = _table(
    "standing",
    ["group", "unit"],
    Column("group", String),
    Column("epoch", Integer, nullable=False),
    Column("unit", Integer),
    Column("number", Integer, nullable=False),
    Column("taken_up", Boolean, nullable=False),
    Column("members", JSON, nullable=False),
    Column("active", JSON, nullable=False),
    Column("others", JSON, nullable=False),
    Column("thresholds", JSON, nullable=False),
    Column("cost", JSON, nullable=False),
)


# The tables that have the newest record of its kind for each key.
_NEWEST: dict[type, Table] = {MasksUntil: masks_until, Counted: counted, LeftOut: left_out, Absence: absences}
_NEWEST |= {StillAbsent: absences, Standing: standing}


def of_round(table: Table, one: Any) -> ColumnElement[bool]:
    """Select the rows of the round that `one`, a record or a row, is about."""
    c = table.c
    same: ColumnElement[bool] = (c.group == one.group) & (c.epoch == one.epoch) & (c.round == one.round)
    return same


def statements(record: RoundRecord | OpenRequest | CloseRequest) -> list[Executable]:
    """Return what writes a record."""
    return [_of_request(record)] if isinstance(record, OpenRequest | CloseRequest) else _of_sums(record)


def _of_sums(record: RoundRecord) -> list[Executable]:
    match record:
        case OpenRound():
            key = {"group": record.group, "epoch": record.epoch, "round": record.round}
            values = {**key, "opening": record.message, "opened_at": time.time()}
            values |= {"instant": record.instant if record.instant > 0 else None}
            values["off_grid"] = record.instant == OFF_GRID
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
        case MasksUntil() | Counted() | LeftOut() | Absence() | Standing():
            return [_upsert(_NEWEST[type(record)], record)]
        case ActiveSet():
            proposed = insert(active_sets).values(**asdict(record)).on_conflict_do_nothing()
            return [proposed, active_sets.delete().where(_superseded(record))]


def _of_request(record: OpenRequest | CloseRequest) -> Executable:
    this = requests.update().where((requests.c.id == record.request) & requests.c.status.not_in(OVER))
    if isinstance(record, OpenRequest):
        return this.values(status=OPEN, epoch=record.epoch, round=record.round)
    status = COMPLETE if record.reason is None else REFUSED
    return this.values(status=status, reason=record.reason, again=record.again, closed_at=time.time())


def _outcome(record: CloseRound) -> dict[str, Any]:
    lists = {"missing": record.missing, "disagree": record.disagree, "sums": record.sums}
    values = {"status": record.status, "latency_ms": record.latency_ms, "result": record.message}
    values |= {"withstands": record.withstands, "why": record.why}
    values["attendance"] = json.dumps(asdict(record.attendance)) if record.attendance else None
    return values | {name: json.dumps(value) for name, value in lists.items()}


def _forgotten(table: Table, closed: CloseRound) -> ColumnElement[bool]:
    """The group's rounds that are too long ago when the round `closed` is, and those of earlier
    epochs."""
    c = table.c
    old = (c.epoch < closed.epoch) | ((c.epoch == closed.epoch) & (c.round <= closed.round - KEPT_ROUNDS))
    forgotten: ColumnElement[bool] = (c.group == closed.group) & old
    return forgotten


def _superseded(record: ActiveSet) -> ColumnElement[bool]:
    """The sets of the group that are of long ago, and not the newest of a unit of this epoch."""
    c, newer = active_sets.c, active_sets.alias().c
    same = (newer.group == c.group) & (newer.epoch == c.epoch) & (newer.unit == c.unit)
    has_newer = select(newer.number).where(same & (newer.number > c.number)).exists()
    old = (c.group == record.group) & (c.at < record.at - KEPT_SETS_S)
    superseded: ColumnElement[bool] = old & (has_newer | (c.epoch < record.epoch))
    return superseded


def _upsert(table: Table, record: MasksUntil | Counted | LeftOut | Absence | Standing) -> Executable:
    statement, key = insert(table).values(**asdict(record)), list(table.primary_key)
    changed = {column.name: statement.excluded[column.name] for column in table.c if column not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


RECORDS = (
    OpenRequest,
    CloseRequest,
    OpenRound,
    Contribution,
    RollCall,
    Answer,
    CloseRound,
    MasksUntil,
    Counted,
    ActiveSet,
    LeftOut,
    Absence,
    Standing,
    StillAbsent,
)
