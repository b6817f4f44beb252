"""The gateway's database file: SQLite in WAL mode. What was committed survives kill -9 and, with
synchronous=FULL, a power cut."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect

from broker.errors import HumError
from broker.files import make_database_private, private_folder
from broker.gateway.book import tables

_P = ParamSpec("_P")
_R = TypeVar("_R")

NAME = "gateway.db"
BUSY_S = 5.0  # for another process's transaction
WAIT_S = 4 * BUSY_S


class BookError(HumError):
    """The database is of no use to this version. args[0] says why, and what to do."""


class Book:
    """The database in `folder`, made with its tables if need be. Raises BookError if the file is of
    another version, SQLAlchemyError if it cannot be had."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        self.path = folder / NAME
        make_database_private(self.path)
        self._engine: Engine = create_engine(f"sqlite:///{self.path}")
        event.listen(self._engine, "connect", _pragmas)
        with self._engine.connect() as connection:
            _bring_up(connection, self.path)

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def read(self, query: Callable[Concatenate[Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Return what `query` finds, which is given a connection before its arguments."""
        with self._engine.connect() as connection:
            return query(connection, *args, **kwargs)

    def write(self, change: Callable[Concatenate[Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Let `change` read and write in one transaction, which no other comes between; it is
        durable on return."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            found = change(connection, *args, **kwargs)
            connection.commit()
            return found


async def beside(work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Let `work`, of a Book, go on in a thread meanwhile. Raises TimeoutError after WAIT_S."""
    async with asyncio.timeout(WAIT_S):
        return await asyncio.to_thread(work, *args, **kwargs)


def _pragmas(connection: Any, _record: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout={BUSY_S * 1000:.0f}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.isolation_level = None  # transactions begin where this module says so


def _bring_up(connection: Connection, path: Path) -> None:
    """Make the tables, or bring older ones up, all at once."""
    if _version(connection) == tables.VERSION:
        return
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # two processes may both find an old file
    found = _version(connection)
    if found > tables.VERSION or (found == 0 and inspect(connection).get_table_names()):
        raise BookError(
            f"{path} has version {found}, and this program knows version {tables.VERSION}; run the program that "
            "made it, or move it away: tokens, events and totals then begin anew"
        )
    for migrate in tables.MIGRATIONS[found - 1 :] if found else ():
        migrate(connection)
    tables.metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version={tables.VERSION}")
    connection.commit()


def _version(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar() or 0)
