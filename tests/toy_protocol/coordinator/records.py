"""What the coordinator keeps of letters, in a table of its own that has had one migration."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Executable,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from broker.coordinator.actions import Record
from broker.storage.schema import Schema


@dataclass(frozen=True)
class OpenRound(Record):
    """Record that a round is open."""

    group: str
    epoch: int
    round: int
    message: bytes


@dataclass(frozen=True)
class CloseRound(Record):
    """Record a round's signed result, how many boards told, and of how many letters, None of too
    few boards."""

    group: str
    epoch: int
    round: int
    message: bytes
    boards: int
    letters: int | None
    closed_at: float


@dataclass
class Saved:
    """The next round, the opening of the one in progress if any, and the last result."""

    next_round: int = 0
    opening: bytes | None = None
    last_result: bytes | None = None


metadata = MetaData()
rounds = Table(
    "toy_rounds",
    metadata,
    Column("group", String),
    Column("epoch", Integer),
    Column("round", Integer),
    Column("opening", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Column("letters", Integer),
    Column("closed_at", Integer),
    Column("boards", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("group", "epoch", "round"),
)


def _add_boards(connection: Connection) -> None:
    """Version 1 did not say how many boards had told."""
    connection.exec_driver_sql("ALTER TABLE toy_rounds ADD COLUMN boards INTEGER NOT NULL DEFAULT 0")


def statements(record: OpenRound | CloseRound) -> list[Executable]:
    """Return what writes a record."""
    key = {"group": record.group, "epoch": record.epoch, "round": record.round}
    if isinstance(record, OpenRound):
        return [insert(rounds).values(**key, opening=record.message).on_conflict_do_nothing()]
    c = rounds.c
    this = (c.group == record.group) & (c.epoch == record.epoch) & (c.round == record.round) & c.result.is_(None)
    values = {"result": record.message, "letters": record.letters, "boards": record.boards}
    return [rounds.update().where(this).values(**values, closed_at=record.closed_at)]


def saved(connection: Connection, group: str, epoch: int) -> Saved:
    """Return what a machine of this group and epoch is restored from."""
    found = Saved()
    c = rounds.c
    last = select(rounds).where((c.group == group) & (c.epoch == epoch)).order_by(c.round.desc()).limit(2)
    for row in connection.execute(last):
        if row.result is None:
            found.next_round, found.opening = row.round, row.opening
        elif found.last_result is None:
            found.last_result, found.next_round = row.result, max(found.next_round, row.round + 1)
    return found


def results(connection: Connection, group: str | None, last: int | None) -> list[dict[str, Any]]:
    """Return the last rounds of one group or of each, oldest first."""
    c = rounds.c
    query = select(rounds).where(c.result.is_not(None)).order_by(c.group, c.epoch, c.round)
    rows = list(connection.execute(query.where(c.group == group) if group else query))
    keys = ("group", "epoch", "round", "boards", "letters", "closed_at")
    found = [{key: row._mapping[key] for key in keys} for row in rows]
    return [row for at, row in enumerate(found) if last is None or last_of_group(found, at) < last]


def last_of_group(rows: list[dict[str, Any]], at: int) -> int:
    """Return how many rows of its group come after a row."""
    return sum(row["group"] == rows[at]["group"] for row in rows[at + 1 :])


SCHEMA = Schema("toy", metadata, (OpenRound, CloseRound), statements, (_add_boards,))
