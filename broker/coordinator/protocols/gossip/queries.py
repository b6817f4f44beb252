"""What is read from the table of queries, and what another process writes there: each function
takes a connection, for Storage.read() or Storage.write()."""

import json
import time
from typing import Any

from sqlalchemy import Connection, Insert, Update, func, insert, select

from agent.protocols.gossip.privacy.terms import MILLION
from broker.coordinator.protocols.gossip.records import OPEN, REFUSED, WAITING, CloseQuery, Request, Saved
from broker.coordinator.protocols.gossip.tables import queries as table


def ask(connection: Connection, request: Request) -> int:
    """Record a request that waits for the coordinator, and return its id; that of `request` is not
    looked at."""
    key = connection.execute(entry(request)).inserted_primary_key
    assert key
    return int(key[0])


def entry(request: Request) -> Insert:
    """Return what records a request that waits."""
    values = {
        "group": request.group,
        "slot": request.slot,
        "function": request.function,
        "parameters": json.dumps(request.parameters),
        "between": json.dumps(request.between),
        "period": request.period,
        "epsilon": request.epsilon,
        "record_epsilon": request.record_epsilon,
        "asked_at": time.time(),
        "status": WAITING,
    }
    return insert(table).values(**values)


def waiting(connection: Connection) -> list[Request]:
    """Return the requests that wait, in the order in which they were asked."""
    query = select(table).where(table.c.status == WAITING).order_by(table.c.id)
    return [_request(row._mapping) for row in connection.execute(query)]


def give_up(connection: Connection, request: int) -> None:
    """The asker does not wait any longer: what was not opened yet never is."""
    connection.execute(giving_up(request))


def giving_up(request: int) -> Update:
    """Return what takes back a request that still waits."""
    update = table.update().where((table.c.id == request) & (table.c.status == WAITING))
    return update.values(status=REFUSED, reason="given-up", closed_at=time.time())


def row(connection: Connection, request: int) -> dict[str, Any]:
    """Return all that is known of a request."""
    found = dict(connection.execute(select(table).where(table.c.id == request)).one()._mapping)
    return found | {name: json.loads(found[name]) for name in ("parameters", "between")}


def spent(connection: Connection, group: str) -> int:
    """Return what the group's queries have cost its boards, in millionths of epsilon, also those
    that had no answer; those without noise are not in it."""
    cost = select(func.sum(table.c.cost)).where(table.c.group == group)
    return connection.execute(cost).scalar() or 0


def saved(connection: Connection, group: str, epoch: int) -> Saved:
    """Return what the machine of a group's epoch is restored from."""
    here = (table.c.group == group) & (table.c.epoch == epoch)
    last = connection.execute(select(func.max(table.c.number)).where(here)).scalar()
    # Of any epoch: one that a new roster has left open would be so for ever.
    open_ = select(table.c.id).where((table.c.group == group) & (table.c.status == OPEN))
    opened = connection.execute(open_).scalar()
    ended = select(table.c.outcome).where(here & table.c.outcome.is_not(None)).order_by(table.c.number.desc())
    return Saved(last or 0, opened, connection.execute(ended.limit(1)).scalar())


def status(connection: Connection, group: str) -> dict[str, Any]:
    """Return what queries have cost each of the group's boards, in epsilon."""
    return {"epsilon_spent": spent(connection, group) / MILLION}


def refused(request: Request) -> CloseQuery:
    """Return the record of a request to a group that there is not."""
    return CloseQuery(request.id, REFUSED, "unknown-group")


def _request(row: Any) -> Request:
    between = json.loads(row["between"])
    fields = (row["id"], row["group"], row["slot"], row["function"])
    return Request(
        *fields, json.loads(row["parameters"]), between, row["period"], row["epsilon"], row["record_epsilon"]
    )
