"""The coordinator's memory: SQLite in WAL mode. What was committed survives kill -9 and, with
synchronous=FULL, a power cut."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Select, create_engine, event, func, select
from sqlalchemy.dialects.sqlite import insert

from broker.files import make_database_private
from broker.storage import tables
from broker.storage.migrations import bring_up, check
from broker.storage.schema import Schema

_P = ParamSpec("_P")
_R = TypeVar("_R")

Health = dict[str, tuple[float, dict[str, Any]]]  # of devices: (Unix seconds, report)


def _wait(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout=5000")


def _pragmas(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    _wait(connection, record)


class Storage:
    """The database file at `path`, made with its tables if need be: the common ones, and those of
    `schemas`. Raises StorageError if the file is of another version.

    With `read_only` nothing is made, brought up or written, and another process may run the
    coordinator meanwhile.
    """

    def __init__(self, path: Path, schemas: Sequence[Schema], read_only: bool = False) -> None:
        if not read_only:
            make_database_private(path)
        address = f"file:{quote(str(path.absolute()))}?mode=ro&uri=true" if read_only else path
        self._engine: Engine = create_engine(f"sqlite:///{address}")
        event.listen(self._engine, "connect", _wait if read_only else _pragmas)
        (check if read_only else bring_up)(self._engine, [tables.COMMON, *schemas])
        self._statements = {kind: schema.statements for schema in schemas for kind in schema.records}

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def read(self, query: Callable[Concatenate[Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Return what `query` finds, which is given a connection before its arguments."""
        with self._engine.connect() as connection:
            return query(connection, *args, **kwargs)

    def write(self, change: Callable[Concatenate[Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Let `change` write, as read() lets a query read: in one transaction, durable on
        return."""
        with self._engine.begin() as connection:
            return change(connection, *args, **kwargs)

    def commit(self, records: Iterable[object], refusals: Mapping[str, int], health: Health | None = None) -> None:
        """Record all of `records`, add `refusals` to the counters, and keep each device's last
        diagnostics in the place of those before: in one transaction, durable on return."""
        with self._engine.begin() as connection:
            for record in records:
                for statement in self._statements[type(record)](record):
                    connection.execute(statement)
            for reason, count in refusals.items():
                counter = insert(tables.refusals).values(reason=reason, count=count)
                added = {"count": tables.refusals.c.count + counter.excluded.count}
                connection.execute(counter.on_conflict_do_update(index_elements=["reason"], set_=added))
            for device, (at, report) in (health or {}).items():
                last = insert(tables.health).values(device=device, at=at, report=json.dumps(report))
                newer = {"at": last.excluded.at, "report": last.excluded.report}
                connection.execute(last.on_conflict_do_update(index_elements=["device"], set_=newer))

    # -- rosters

    def keep_roster(self, group: str, epoch: int, signed: bytes) -> None:
        """Record a signed roster; the same one again changes nothing."""
        values = {"group": group, "epoch": epoch, "signed": signed}
        with self._engine.begin() as connection:
            connection.execute(insert(tables.rosters).values(**values).on_conflict_do_nothing())

    def rosters(self) -> list[tuple[str, int, bytes]]:
        """Return (group, epoch, signed roster) of the latest epoch of each group that has one in
        force."""
        c = tables.rosters.c
        latest = _latest().subquery()
        query = select(tables.rosters).join(latest, (c.group == latest.c.group) & (c.epoch == latest.c.epoch))
        with self._engine.connect() as connection:
            return [(row.group, row.epoch, row.signed) for row in connection.execute(query.order_by(c.group))]

    def every_roster(self) -> list[tuple[str, int, bytes]]:
        """Return (group, epoch, signed roster) of all epochs of all groups."""
        c = tables.rosters.c
        with self._engine.connect() as connection:
            rows = connection.execute(select(tables.rosters).order_by(c.group, c.epoch))
            return [(row.group, row.epoch, row.signed) for row in rows]

    def epochs(self) -> dict[str, int]:
        """Return the epochs of rosters(), by group."""
        with self._engine.connect() as connection:
            return {row.group: row.epoch for row in connection.execute(_latest())}

    def roster_before(self, group: str, epoch: int) -> bytes | None:
        """Return the signed roster that was in force before that of `epoch`, if there was one."""
        c = tables.rosters.c
        former = select(c.signed).where((c.group == group) & (c.epoch < epoch)).order_by(c.epoch.desc())
        with self._engine.connect() as connection:
            return connection.execute(former.limit(1)).scalar()

    def end_group(self, group: str) -> None:
        """Let no roster of `group` that is known be in force any more."""
        newest = select(func.max(tables.rosters.c.epoch)).where(tables.rosters.c.group == group)
        with self._engine.begin() as connection:
            epoch = connection.execute(newest).scalar()
            if epoch is not None:
                row = insert(tables.ended).values(group=group, epoch=epoch)
                connection.execute(row.on_conflict_do_update(index_elements=["group"], set_={"epoch": epoch}))

    def forget_device(self, device: str) -> None:
        """Forget how a device was, that is no member any more, or another board now."""
        with self._engine.begin() as connection:
            connection.execute(tables.health.delete().where(tables.health.c.device == device))

    # -- what a person asks

    def health(self) -> Health:
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


def why(error: Exception) -> str:
    """Return what the database said, in a line and in its own words."""
    said = str(getattr(error, "orig", None) or error)
    return next(iter(said.splitlines()), type(error).__name__)


def _latest() -> Select[tuple[str, int]]:
    """Return the query of the latest epoch of each group that has a roster in force."""
    c, over = tables.rosters.c, tables.ended.c
    latest = select(c.group, func.max(c.epoch).label("epoch")).outerjoin(tables.ended, over.group == c.group)
    return latest.where(over.epoch.is_(None) | (c.epoch > over.epoch)).group_by(c.group)
