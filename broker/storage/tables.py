"""The tables that the coordinator has whatever its protocols are. Each protocol's own are beside
its records."""

from sqlalchemy import Column, Float, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, String, Table

from broker.storage.schema import Schema

metadata = MetaData()

rosters = Table(
    "rosters",
    metadata,
    Column("group", String),
    Column("epoch", Integer),
    Column("signed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("group", "epoch"),
)
ended = Table(  # groups that have no roster in force: none up to this epoch
    "ended",
    metadata,
    Column("group", String),
    Column("epoch", Integer, nullable=False),
    PrimaryKeyConstraint("group"),
)
health = Table(
    "health",
    metadata,
    Column("device", String),
    Column("at", Float, nullable=False),
    Column("report", String, nullable=False),
    PrimaryKeyConstraint("device"),
)
refusals = Table(
    "refusals",
    metadata,
    Column("reason", String),
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("reason"),
)
versions = Table(
    "versions",
    metadata,
    Column("schema", String),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("schema"),
)

COMMON = Schema("coordinator", metadata, file_versions={3: 1, 4: 1, 5: 1})
