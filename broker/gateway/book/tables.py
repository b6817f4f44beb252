"""The tables of the gateway's database, and how those of an earlier version become these."""

from collections.abc import Callable

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData()

rosters = Table(  # what results of an epoch are of; lists are JSON
    "rosters",
    metadata,
    Column("group", String),
    Column("epoch", Integer),
    Column("protocol", String, nullable=False),
    Column("slots", String, nullable=False),
    Column("members", String, nullable=False),
    PrimaryKeyConstraint("group", "epoch"),
)
rounds = Table(
    "rounds",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("group", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("sums", String),
    Column("missing", String, nullable=False),
    Column("instant", Integer),
    Column("opened", Float),
    Column("closed", Float, nullable=False),
    Column("at", Float, nullable=False),  # the instant, or if there is none when it closed
    Column("total", String),
    Column("mean_power", String),
    UniqueConstraint("group", "epoch", "round"),
    Index("rounds_by_time", "group", "at"),
    Index("rounds_by_instant", "instant"),
)
standings = Table(
    "standings",
    metadata,
    Column("group", String, primary_key=True),
    Column("standing", String, nullable=False),
)
events = Table(  # the numbers of events only grow, also when the last one is gone
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("round", Integer, ForeignKey("rounds.number")),
    Column("changes", String),  # of members, as JSON: of an event that is about those
    Index("events_by_kind", "kind", "id"),
    Column("computation", String),  # as it stood then: of an event that is about one
    sqlite_autoincrement=True,
)
tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the token
    Column("scopes", String, nullable=False),
    Column("note", String, nullable=False),
    Column("made", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
)
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("token", String, nullable=False),
    Column("method", String, nullable=False),
    Column("path", String, nullable=False),
    Column("status", Integer, nullable=False),
    sqlite_autoincrement=True,
)
answers = Table(  # to requests that may come again, by the token and its Idempotency-Key
    "answers",
    metadata,
    Column("token", String),
    Column("key", LargeBinary),
    Column("asked", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("token", "key"),
)

steps = Table(  # of rounds that are over, member by member, as JSON
    "steps",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("group", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("progress", String, nullable=False),
    UniqueConstraint("group", "epoch", "round"),
)
computations = Table(  # what is asked of groups; all but what is searched for is JSON
    "computations",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("group", String, nullable=False),
    Column("function", String, nullable=False),
    Column("over", Boolean, nullable=False),
    Column("computation", String, nullable=False),
)
spent = Table(  # what queries have cost each board of a group, in epsilon, as was told last
    "spent",
    metadata,
    Column("group", String, primary_key=True),
    Column("epsilon", Float, nullable=False),
)
drawn = Table(  # the greatest number of a computation that ever was, in the only row
    "drawn",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
)


def _events_of_members(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE events ADD COLUMN changes VARCHAR")
    connection.exec_driver_sql("CREATE INDEX events_by_kind ON events (kind, id)")


def _events_of_computations(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE events ADD COLUMN computation VARCHAR")


# MIGRATIONS[i] brings a file of version i + 1 to version i + 2; tables that are new need none.
MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_events_of_members, _events_of_computations)
VERSION = 1 + len(MIGRATIONS)
