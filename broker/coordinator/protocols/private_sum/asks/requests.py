"""What is read from the table of requests, and what another process writes there: each function
takes a connection, for Storage.read() or Storage.write()."""

import time

from sqlalchemy import Connection, Insert, Update, insert, select

from broker.coordinator.protocols.private_sum.on_request.records import OVER, REFUSED, WAITING, CloseRequest, Request
from broker.coordinator.protocols.private_sum.tables import requests as table


def entry(group: str) -> Insert:
    """Return what records a request that waits."""
    return insert(table).values(group=group, asked_at=time.time(), status=WAITING)


def waiting(connection: Connection) -> list[Request]:
    """Return the requests that wait, in the order in which they were asked."""
    query = select(table.c.id, table.c.group).where(table.c.status == WAITING).order_by(table.c.id)
    return [Request(row.id, row.group) for row in connection.execute(query)]


def giving_up(request: int) -> Update:
    """Return what takes back a request that still waits."""
    update = table.update().where((table.c.id == request) & (table.c.status == WAITING))
    return update.values(status=REFUSED, reason="given-up", closed_at=time.time())


def over(connection: Connection, request: int) -> CloseRequest | None:
    """Return how a request has ended, None if it has not."""
    row = connection.execute(select(table).where(table.c.id == request)).one()
    return CloseRequest(request, row.reason, bool(row.again)) if row.status in OVER else None


def refused(request: Request) -> CloseRequest:
    """Return the record of a request to a group that there is not."""
    return CloseRequest(request.id, "unknown-group")
