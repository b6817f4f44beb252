"""The coordinator's memory: SQLite in WAL mode. What was committed survives kill -9 and, with
synchronous=FULL, a power cut.

Of the rounds that are over sums stay. What they were made of is needed for the last one alone, and
kept a while longer for who wants to look into it.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Table, create_engine, event, func, select
from sqlalchemy.dialects.sqlite import insert

from broker.coordinator.actions import (
    Answer,
    CloseRound,
    Contribution,
    Counted,
    Horizon,
    OpenRound,
    Record,
    RollCall,
    RoundRecord,
    Saved,
)
from broker.coordinator.protocols.gossip import queries
from broker.coordinator.protocols.gossip.queries import CloseQuery, OpenQuery, Queries
from broker.storage import migrations as forms
from broker.storage import tables

KEPT_ROUNDS = 100  # closed ones of an epoch whose contributions and answers are there; some 40 kB each with 60 boards

_R = TypeVar("_R", Contribution, Answer)


def _pragmas(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")


class Storage:
    """The database file at `path`, made with its tables if need be. Raises StorageError if it is of
    another form."""

    def __init__(self, path: Path) -> None:
        self._engine: Engine = create_engine(f"sqlite:///{path}")
        event.listen(self._engine, "connect", _pragmas)
        forms.bring_up(self._engine)
        self.queries = Queries(self._engine)

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    # -- rosters

    def keep_roster(self, group: str, epoch: int, signed: bytes) -> None:
        """Record a signed roster; the same one again changes nothing."""
        values = {"group": group, "epoch": epoch, "signed": signed}
        with self._engine.begin() as connection:
            connection.execute(insert(tables.rosters).values(**values).on_conflict_do_nothing())

    def rosters(self) -> list[tuple[str, int, bytes]]:
        """Return (group, epoch, signed roster) of the latest epoch of each group."""
        c = tables.rosters.c
        latest = select(c.group, func.max(c.epoch).label("epoch")).group_by(c.group).subquery()
        query = select(tables.rosters).join(latest, (c.group == latest.c.group) & (c.epoch == latest.c.epoch))
        with self._engine.connect() as connection:
            return [(row.group, row.epoch, row.signed) for row in connection.execute(query.order_by(c.group))]

    # -- rounds

    def commit(self, records: Iterable[Record], refusals: dict[str, int]) -> None:
        """Record all of `records` and add `refusals` to the counters: in one transaction, durable
        on return."""
        with self._engine.begin() as connection:
            for record in records:
                if isinstance(record, OpenQuery | CloseQuery):
                    connection.execute(queries.statement(record))
                    continue
                connection.execute(_statement(record))
                if isinstance(record, CloseRound):
                    for table in (tables.contributions, tables.answers):
                        connection.execute(table.delete().where(_forgotten(table, record)))
            for reason, count in refusals.items():
                statement = insert(tables.refusals).values(reason=reason, count=count)
                added = {"count": tables.refusals.c.count + statement.excluded.count}
                connection.execute(statement.on_conflict_do_update(index_elements=["reason"], set_=added))

    def saved(self, group: str, epoch: int) -> Saved:
        """Return what a machine of this group and epoch is to be restored from."""
        saved = Saved(queries=self.queries.saved(group, epoch))
        rounds, horizons, counted = tables.rounds, tables.horizons, tables.counted
        with self._engine.connect() as connection:
            last = select(rounds).where((rounds.c.group == group) & (rounds.c.epoch == epoch))
            for row in connection.execute(last.order_by(rounds.c.round.desc()).limit(2)):
                contributions = _of_round(connection, Contribution, row)
                if row.status is None:
                    saved.open_message, saved.roll_message = row.opening, row.roll
                    saved.next_round = row.round
                    saved.open_contributions = contributions
                    saved.answers = _of_round(connection, Answer, row)
                elif saved.last_result is None:
                    saved.last_result = row.result
                    saved.next_round = max(saved.next_round, row.round + 1)
                    saved.closed_contributions = contributions
            here = select(horizons).where((horizons.c.group == group) & (horizons.c.epoch == epoch))
            saved.horizons = {row.device: Horizon(**row._mapping) for row in connection.execute(here)}
            of_group = select(counted).where(counted.c.group == group)
            saved.counted = {row.device: Counted(**row._mapping) for row in connection.execute(of_group)}
        return saved

    # -- what a person asks

    def results(self, group: str | None, last: int) -> list[dict[str, Any]]:
        """Return the last closed rounds, oldest first, each as a dictionary with JSON types."""
        c = tables.rounds.c
        query = select(tables.rounds).where(c.status.is_not(None))
        if group:
            query = query.where(c.group == group)
        with self._engine.connect() as connection:
            found = connection.execute(query.order_by(c.closed_at.desc(), c.round.desc()).limit(last))
            rows = [row._mapping for row in found]
        keys = ("group", "epoch", "round", "status", "opened_at", "closed_at", "latency_ms")
        return [
            {**{key: row[key] for key in keys}, **{key: json.loads(row[key]) for key in ("missing", "wrong", "sums")}}
            for row in reversed(rows)
        ]

    def note_health(self, reports: dict[str, tuple[float, dict[str, Any]]]) -> None:
        """Keep each device's last diagnostics, (Unix seconds, report), in the place of those
        before."""
        with self._engine.begin() as connection:
            for device, (at, report) in reports.items():
                statement = insert(tables.health).values(device=device, at=at, report=json.dumps(report))
                newer = {"at": statement.excluded.at, "report": statement.excluded.report}
                connection.execute(statement.on_conflict_do_update(index_elements=["device"], set_=newer))

    def health(self) -> dict[str, tuple[float, dict[str, Any]]]:
        """Return each device's last diagnostics: (Unix seconds, report). Unauthenticated: for the
        operator's eyes."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(tables.health).order_by(tables.health.c.device))
            return {row.device: (row.at, json.loads(row.report)) for row in rows}

    def refusals(self) -> dict[str, int]:
        """Return how often an input was refused, by named reason, since the database was made."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(tables.refusals).order_by(tables.refusals.c.reason))
            return {row.reason: row._mapping["count"] for row in rows}


def _of_round(connection: Connection, kind: type[_R], place: Any) -> list[_R]:
    """Return the records of one kind of the round that the row `place` is about."""
    table = tables.contributions if kind is Contribution else tables.answers
    query = select(table).where(_same_round(table, place))
    return [kind(**row._mapping) for row in connection.execute(query)]


def _same_round(table: Table, place: Any) -> ColumnElement[bool]:
    c = table.c
    same: ColumnElement[bool] = (c.group == place.group) & (c.epoch == place.epoch) & (c.round == place.round)
    return same


def _forgotten(table: Table, closed: CloseRound) -> ColumnElement[bool]:
    """The group's rounds that are too long ago when the round `closed` is, and those of earlier
    epochs."""
    c = table.c
    old = (c.epoch < closed.epoch) | ((c.epoch == closed.epoch) & (c.round <= closed.round - KEPT_ROUNDS))
    forgotten: ColumnElement[bool] = (c.group == closed.group) & old
    return forgotten


def _statement(record: RoundRecord) -> Any:
    """Each record is written so that doing it twice is doing it once."""
    match record:
        case OpenRound():
            place = {"group": record.group, "epoch": record.epoch, "round": record.round}
            values = {**place, "opening": record.message, "opened_at": time.time()}
            return insert(tables.rounds).values(**values).on_conflict_do_nothing()
        case Contribution() | Answer():
            table = tables.contributions if isinstance(record, Contribution) else tables.answers
            return insert(table).values(**asdict(record)).on_conflict_do_nothing()
        case RollCall():
            this = _same_round(tables.rounds, record) & tables.rounds.c.roll.is_(None)
            return tables.rounds.update().where(this).values(roll=record.message)
        case CloseRound():
            this = _same_round(tables.rounds, record) & tables.rounds.c.status.is_(None)
            return tables.rounds.update().where(this).values(closed_at=time.time(), **_outcome(record))
        case Horizon():
            return _upsert(tables.horizons, record, ["group", "epoch", "device"], ["round", "announced", "held"])
        case Counted():
            return _upsert(tables.counted, record, ["group", "device"], ["epoch", "round"])


def _outcome(record: CloseRound) -> dict[str, Any]:
    lists = {"missing": record.missing, "wrong": record.wrong, "sums": record.sums}
    values = {"status": record.status, "latency_ms": record.latency_ms, "result": record.message}
    return values | {name: json.dumps(value) for name, value in lists.items()}


def _upsert(table: Table, record: Horizon | Counted, key: list[str], changing: list[str]) -> Any:
    statement = insert(table).values(**asdict(record))
    changed = {name: statement.excluded[name] for name in changing}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)
