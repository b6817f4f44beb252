"""What a part of the coordinator brings to its database: tables, how older ones become the present
ones, and which records are written to them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Dialect, Executable, LargeBinary, MetaData, TypeDecorator


class Bitmap(TypeDecorator[int]):
    """64 members' bits as 8 bytes: SQLite's integers have a sign."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> bytes | None:
        """Return what is kept of a bitmap."""
        return None if value is None else value.to_bytes(8, "big")

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> int | None:
        """Return the bitmap that is kept."""
        return None if value is None else int.from_bytes(value, "big")


@dataclass(frozen=True)
class Schema:
    """Tables that have a version number of their own, 1 and up.

    `migrations[i]` brings tables of version i + 1 to version i + 2, in a transaction that is open.
    `records` are the classes whose objects `statements` turns into what writes them; to write one
    twice is to write it once. `file_versions` says which version these tables had in a file
    of a version below 6, which has one number for all tables; without an entry they were not there.
    """

    name: str
    metadata: MetaData
    records: tuple[type, ...] = ()
    statements: Callable[[Any], Iterable[Executable]] = lambda record: ()
    migrations: tuple[Callable[[Connection], None], ...] = ()
    file_versions: Mapping[int, int] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The version that this program writes."""
        return 1 + len(self.migrations)
