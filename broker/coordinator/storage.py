"""The coordinator's memory: SQLite in WAL mode. What was committed survives kill -9 and, with synchronous=FULL, a power cut.

PRAGMA user_version tells the form of the tables. Form 3 lacks the table of queries, form 4 in it the columns of noise: both are added.
A file of another form is refused.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    TypeDecorator,
    Update,
    create_engine,
    event,
    func,
    inspect,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from broker.coordinator import queries
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
from broker.coordinator.queries import CloseQuery, OpenQuery, Queries

FORM = 5
WITHOUT_NOISE = 4
WITHOUT_QUERIES = 3
_R = TypeVar("_R", Contribution, Answer)

_metadata = MetaData()


class StorageError(Exception):
    """The database is of no use to this version. args[0] says why."""


class _Bitmap(TypeDecorator[int]):
    """64 members' bits as 8 bytes: SQLite's integers have a sign."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.to_bytes(8, "big")

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> int | None:
        return None if value is None else int.from_bytes(value, "big")


def _table(name: str, key: list[str], *columns: Column[Any]) -> Table:
    return Table(name, _metadata, *columns, PrimaryKeyConstraint(*key))


def _place() -> list[Column[Any]]:
    return [Column("group", String), Column("epoch", Integer)]


_rosters = _table("rosters", ["group", "epoch"], *_place(), Column("signed", LargeBinary, nullable=False))
_rounds = _table(
    "rounds",
    ["group", "epoch", "round"],
    *_place(),
    Column("round", Integer),
    Column("opening", LargeBinary, nullable=False),
    Column("roll", LargeBinary),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("status", Integer),
    Column("missing", String),
    Column("wrong", String),
    Column("sums", String),
    Column("latency_ms", Float),
    Column("result", LargeBinary),
)
_contributions = _table(
    "contributions",
    ["group", "epoch", "round", "device"],
    *_place(),
    Column("round", Integer),
    Column("device", String),
    Column("digest", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("held", _Bitmap, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
)
_answers = _table(
    "answers",
    ["group", "epoch", "round", "device"],
    *_place(),
    Column("round", Integer),
    Column("device", String),
    Column("digest", LargeBinary, nullable=False),
    Column("blinding", LargeBinary, nullable=False),
    Column("recovery", LargeBinary),
)
_horizons = _table(
    "horizons",
    ["group", "epoch", "device"],
    *_place(),
    Column("device", String),
    Column("round", Integer, nullable=False),
    Column("announced", Integer, nullable=False),
    Column("held", _Bitmap, nullable=False),
)
_counted = _table(
    "counted",
    ["group", "device"],
    Column("group", String),
    Column("device", String),
    Column("epoch", Integer, nullable=False),
    Column("round", Integer, nullable=False),
)
_health = _table(
    "health",
    ["device"],
    Column("device", String),
    Column("at", Float, nullable=False),
    Column("report", String, nullable=False),
)
_queries = queries.define(_metadata)
_refusals = _table("refusals", ["reason"], Column("reason", String), Column("count", Integer, nullable=False))


def _pragmas(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")


def _add_noise(connection: Connection) -> None:
    """Add the columns of noise to the table of queries, those that are missing: a process may be killed in between."""
    found = inspect(connection)
    if not found.has_table(_queries.name):
        return
    known = {column["name"] for column in found.get_columns(_queries.name)}
    for column in queries.noise_columns():
        if column.name not in known:
            default = "NOT NULL DEFAULT 0" if column.server_default is not None else ""
            connection.exec_driver_sql(f"ALTER TABLE queries ADD COLUMN {column.name} INTEGER {default}")


class Storage:
    """The database file at `path`, made with its tables if need be. Raises StorageError if it is of another form."""

    def __init__(self, path: Path) -> None:
        self._engine: Engine = create_engine(f"sqlite:///{path}")
        event.listen(self._engine, "connect", _pragmas)
        self._check_form()
        _metadata.create_all(self._engine)
        self.queries = Queries(self._engine, _queries)

    def _check_form(self) -> None:
        with self._engine.connect() as connection:
            form = connection.exec_driver_sql("PRAGMA user_version").scalar()
            if form not in (FORM, WITHOUT_NOISE, WITHOUT_QUERIES) and inspect(connection).get_table_names():
                raise StorageError(
                    f"the database is of form {form}, and this version reads form {FORM}; "
                    "move it away, and sign the next roster for the coordinator to begin anew"
                )
            if form == WITHOUT_NOISE:
                _add_noise(connection)
            # Before the tables: a process that is killed in between leaves a file that the next one completes.
            connection.exec_driver_sql(f"PRAGMA user_version={FORM}")

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    # -- rosters

    def keep_roster(self, group: str, epoch: int, signed: bytes) -> None:
        """Record a signed roster; the same one again changes nothing."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(_rosters).values(group=group, epoch=epoch, signed=signed).on_conflict_do_nothing()
            )

    def rosters(self) -> list[tuple[str, int, bytes]]:
        """Return (group, epoch, signed roster) of the latest epoch of each group."""
        latest = (
            select(_rosters.c.group, func.max(_rosters.c.epoch).label("epoch")).group_by(_rosters.c.group).subquery()
        )
        query = select(_rosters).join(
            latest, (_rosters.c.group == latest.c.group) & (_rosters.c.epoch == latest.c.epoch)
        )
        with self._engine.connect() as connection:
            return [(row.group, row.epoch, row.signed) for row in connection.execute(query.order_by(_rosters.c.group))]

    # -- rounds

    def commit(self, records: Iterable[Record], refusals: dict[str, int]) -> None:
        """Record all of `records` and add `refusals` to the counters: in one transaction, durable on return."""
        with self._engine.begin() as connection:
            for record in records:
                if isinstance(record, OpenQuery | CloseQuery):
                    connection.execute(queries.statement(_queries, record))
                else:
                    connection.execute(_statement(record))
            for reason, count in refusals.items():
                statement = insert(_refusals).values(reason=reason, count=count)
                added = {"count": _refusals.c.count + statement.excluded.count}
                connection.execute(statement.on_conflict_do_update(index_elements=["reason"], set_=added))

    def saved(self, group: str, epoch: int) -> Saved:
        """Return what a machine of this group and epoch is to be restored from."""
        here = (_rounds.c.group == group) & (_rounds.c.epoch == epoch)
        saved = Saved(queries=self.queries.saved(group, epoch))
        with self._engine.connect() as connection:
            query = select(_rounds).where(here).order_by(_rounds.c.round.desc()).limit(2)
            for row in connection.execute(query):
                if row.status is None:
                    saved.open_message = row.opening
                    saved.roll_message = row.roll
                    saved.next_round = row.round
                    saved.open_contributions = self._of_round(_contributions, Contribution, group, epoch, row.round)
                    saved.answers = self._of_round(_answers, Answer, group, epoch, row.round)
                elif saved.last_result is None:
                    saved.last_result = row.result
                    saved.next_round = max(saved.next_round, row.round + 1)
                    saved.closed_contributions = self._of_round(_contributions, Contribution, group, epoch, row.round)
            query_horizons = select(_horizons).where((_horizons.c.group == group) & (_horizons.c.epoch == epoch))
            saved.horizons = {row.device: Horizon(**row._mapping) for row in connection.execute(query_horizons)}
            query_counted = select(_counted).where(_counted.c.group == group)
            saved.counted = {row.device: Counted(**row._mapping) for row in connection.execute(query_counted)}
        return saved

    def _of_round(self, table: Table, kind: type[_R], group: str, epoch: int, round_number: int) -> list[_R]:
        c = table.c
        query = select(table).where((c.group == group) & (c.epoch == epoch) & (c.round == round_number))
        with self._engine.connect() as connection:
            return [kind(**row._mapping) for row in connection.execute(query)]

    # -- what a person asks

    def results(self, group: str | None, last: int) -> list[dict[str, Any]]:
        """Return the last closed rounds, oldest first, each as a dictionary with JSON types."""
        query = select(_rounds).where(_rounds.c.status.is_not(None))
        if group:
            query = query.where(_rounds.c.group == group)
        query = query.order_by(_rounds.c.closed_at.desc(), _rounds.c.round.desc()).limit(last)
        with self._engine.connect() as connection:
            rows = [row._mapping for row in connection.execute(query)]
        keys = ("group", "epoch", "round", "status", "opened_at", "closed_at", "latency_ms")
        return [
            {**{key: row[key] for key in keys}, **{key: json.loads(row[key]) for key in ("missing", "wrong", "sums")}}
            for row in reversed(rows)
        ]

    def note_health(self, reports: dict[str, tuple[float, dict[str, Any]]]) -> None:
        """Keep each device's last diagnostics, (Unix seconds, report), in the place of those before."""
        with self._engine.begin() as connection:
            for device, (at, report) in reports.items():
                statement = insert(_health).values(device=device, at=at, report=json.dumps(report))
                newer = {"at": statement.excluded.at, "report": statement.excluded.report}
                connection.execute(statement.on_conflict_do_update(index_elements=["device"], set_=newer))

    def health(self) -> dict[str, tuple[float, dict[str, Any]]]:
        """Return each device's last diagnostics: (Unix seconds, report). Unauthenticated: for the operator's eyes."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_health).order_by(_health.c.device))
            return {row.device: (row.at, json.loads(row.report)) for row in rows}

    def refusals(self) -> dict[str, int]:
        """Return how often an input was refused, by named reason, since the database was made."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_refusals).order_by(_refusals.c.reason))
            return {row.reason: row._mapping["count"] for row in rows}


def _statement(record: RoundRecord) -> Any:
    """Each record is written so that doing it twice is doing it once."""
    place = {"group": record.group, "epoch": record.epoch, "round": record.round}
    match record:
        case OpenRound():
            values = {**place, "opening": record.message, "opened_at": time.time()}
            return insert(_rounds).values(**values).on_conflict_do_nothing()
        case Contribution() | Answer():
            table = _contributions if isinstance(record, Contribution) else _answers
            return insert(table).values(**asdict(record)).on_conflict_do_nothing()
        case RollCall():
            return _update_round(record).where(_rounds.c.roll.is_(None)).values(roll=record.message)
        case CloseRound():
            return (
                _update_round(record)
                .where(_rounds.c.status.is_(None))
                .values(
                    closed_at=time.time(),
                    status=record.status,
                    missing=json.dumps(record.missing),
                    wrong=json.dumps(record.wrong),
                    sums=json.dumps(record.sums),
                    latency_ms=record.latency_ms,
                    result=record.message,
                )
            )
        case Horizon():
            return _upsert(_horizons, record, ["group", "epoch", "device"], ["round", "announced", "held"])
        case Counted():
            return _upsert(_counted, record, ["group", "device"], ["epoch", "round"])


def _upsert(table: Table, record: Horizon | Counted, key: list[str], changing: list[str]) -> Any:
    statement = insert(table).values(**asdict(record))
    changed = {name: statement.excluded[name] for name in changing}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


def _update_round(record: RollCall | CloseRound) -> Update:
    table = _rounds.c
    return _rounds.update().where(
        (table.group == record.group) & (table.epoch == record.epoch) & (table.round == record.round)
    )
