"""What the coordinator keeps of its gateway: which one it is, and the requests that it has made.

A request is kept before it is acknowledged, and so is each news of it before it is told: none is
lost and none is done twice. The last KEPT by number are kept; a number below these is refused.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Executable,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    ScalarSelect,
    String,
    Table,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from broker.coordinator.actions import Record
from broker.coordinator.protocols import registry
from broker.storage.schema import Bitmap, Schema
from broker.wire.requests import OVER

KEPT = 1000
_ONE = 1  # the only row of `gateway`

metadata = MetaData()
gateway = Table(
    "gateway",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("public", String, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("life", BigInteger, nullable=False),
    Column("told_at", Float),
    Column("asked_at", Float),
)
requests = Table(
    "gateway_requests",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("group", String, nullable=False),
    Column("protocol", String, nullable=False),
    Column("ask", LargeBinary, nullable=False),
    Column("query", Integer, index=True),
    Column("attempt", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("reason", String),
    Column("at", Float, nullable=False),
    Column("epoch", Integer),
    Column("asked", Integer),
    Column("cost", BigInteger),
    Column("absent", Bitmap),
)


@dataclass(frozen=True)
class Kept:
    """A request and how it stands: `ask` is the payload, `protocol` the name of what serves it, ""
    if nothing does; `query` the id of the query that it has become; `asked` the number of that
    query in its epoch. The rest is as in broker/wire/requests.py."""

    number: int
    group: str
    protocol: str
    ask: bytes
    state: str
    at: float
    reason: str | None = None
    attempt: int = 1
    step: int = 0
    query: int | None = None
    epoch: int | None = None
    asked: int | None = None
    cost: int | None = None
    absent: int | None = None


@dataclass(frozen=True)
class Noted(Record):
    """Record how a request stands. `first` is written before, and `newest` finds the id of the
    query that it has become by that."""

    kept: Kept
    first: tuple[Executable, ...] = ()
    newest: ScalarSelect[Any] | None = None


@dataclass(frozen=True)
class Contact(Record):
    """Record when the gateway was told, or asked, last: Unix seconds, None for what is not new."""

    told_at: float | None = None
    asked_at: float | None = None


def statements(record: Noted | Contact) -> Iterable[Executable]:
    """Return what writes a record."""
    if isinstance(record, Contact):
        values = {name: at for name, at in asdict(record).items() if at is not None}
        return [gateway.update().values(**values)]
    values = {each.name: getattr(record.kept, each.name) for each in fields(Kept)}
    if record.newest is not None:
        values["query"] = record.newest
    row = insert(requests).values(**values)
    changed = {name: value for name, value in values.items() if name != "number"}
    noted = row.on_conflict_do_update(index_elements=["number"], set_=changed)
    return [*record.first, noted, requests.delete().where(requests.c.number < _least(), requests.c.state.in_(OVER))]


def _least() -> ScalarSelect[Any]:
    """Return the query of the KEPT-th greatest number; none, if there are fewer."""
    greatest = select(requests.c.number).order_by(requests.c.number.desc())
    return greatest.limit(1).offset(KEPT - 1).scalar_subquery()


SCHEMA = Schema("gateway", metadata, (Noted, Contact), statements)


def schemas() -> list[Schema]:
    """Return all schemas of a coordinator's database, beside the common one."""
    return [*registry.schemas(), SCHEMA]


# -- for Storage.read() and Storage.write()


def begin(connection: Connection, public: str, life: int) -> int:
    """Have the gateway be that with the key `public`, and return the number of this life of the
    coordinator: `life`, or more, for it grows whatever the clock does.

    What another one has asked is forgotten but for what is not over: its numbers are nothing to
    this one, and nobody can say any of it again.
    """
    known = connection.execute(select(gateway.c.life, gateway.c.public)).first()
    life = max(life, known.life + 1) if known else life
    values: dict[str, Any] = {"public": public, "active": True, "life": life}
    if known and known.public != public:
        values |= {"told_at": None, "asked_at": None}
        connection.execute(requests.delete().where(requests.c.state.in_(OVER)))
    row = insert(gateway).values(id=_ONE, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=values))
    return life


def end(connection: Connection) -> None:
    """Have no gateway."""
    connection.execute(gateway.update().values(active=False))


def status(connection: Connection) -> dict[str, Any] | None:
    """Return the gateway's key, and when it was told and asked last, in Unix seconds; None if there
    is no gateway."""
    row = select(gateway.c.public, gateway.c.told_at, gateway.c.asked_at).where(gateway.c.active)
    found = connection.execute(row).first()
    return dict(found._mapping) if found else None


def live(connection: Connection) -> list[Kept]:
    """Return the requests that are not over."""
    return [_kept(row) for row in connection.execute(select(requests).where(requests.c.state.not_in(OVER)))]


def by_number(connection: Connection, number: int) -> Kept | None:
    """Return a request by its number."""
    row = connection.execute(select(requests).where(requests.c.number == number)).first()
    return _kept(row) if row else None


def by_query(connection: Connection, protocol: str, query: int) -> Kept | None:
    """Return the request that has become a query."""
    c = requests.c
    row = connection.execute(select(requests).where((c.protocol == protocol) & (c.query == query))).first()
    return _kept(row) if row else None


def least(connection: Connection) -> int:
    """Return the number below which no new one is taken."""
    return connection.execute(select(_least())).scalar() or 0


def _kept(row: Any) -> Kept:
    return Kept(**row._mapping)
