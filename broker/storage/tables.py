"""The tables of the coordinator's database, in the form that this version writes."""

from typing import Any

from sqlalchemy import (
    Column,
    Dialect,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    TypeDecorator,
)

metadata = MetaData()


class _Bitmap(TypeDecorator[int]):
    """64 members' bits as 8 bytes: SQLite's integers have a sign."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.to_bytes(8, "big")

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> int | None:
        return None if value is None else int.from_bytes(value, "big")


def _table(name: str, key: list[str], *columns: Column[Any]) -> Table:
    return Table(name, metadata, *columns, PrimaryKeyConstraint(*key))


def _place() -> list[Column[Any]]:
    return [Column("group", String), Column("epoch", Integer)]


rosters = _table("rosters", ["group", "epoch"], *_place(), Column("signed", LargeBinary, nullable=False))
rounds = _table(
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
contributions = _table(
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
answers = _table(
    "answers",
    ["group", "epoch", "round", "device"],
    *_place(),
    Column("round", Integer),
    Column("device", String),
    Column("digest", LargeBinary, nullable=False),
    Column("blinding", LargeBinary, nullable=False),
    Column("recovery", LargeBinary),
)
horizons = _table(
    "horizons",
    ["group", "epoch", "device"],
    *_place(),
    Column("device", String),
    Column("round", Integer, nullable=False),
    Column("announced", Integer, nullable=False),
    Column("held", _Bitmap, nullable=False),
)
counted = _table(
    "counted",
    ["group", "device"],
    Column("group", String),
    Column("device", String),
    Column("epoch", Integer, nullable=False),
    Column("round", Integer, nullable=False),
)
health = _table(
    "health",
    ["device"],
    Column("device", String),
    Column("at", Float, nullable=False),
    Column("report", String, nullable=False),
)
refusals = _table("refusals", ["reason"], Column("reason", String), Column("count", Integer, nullable=False))


def noise_columns() -> list[Column[Any]]:
    """Return the columns that the table of queries did not have in form 4 of the database: no query
    had noise."""
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
    *noise_columns(),
    sqlite_autoincrement=True,  # an id names one request for ever
)
