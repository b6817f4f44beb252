"""The audit log: which token asked what, when, and with which status it was answered."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from broker.gateway.book.tables import audit

KEPT = 200_000  # entries; a page that is open asks a few a minute
PRUNED = 1_000  # entries between two looks whether there are more


@dataclass(frozen=True)
class Entry:
    """A request: `path` with its query, `at` in Unix seconds."""

    id: int
    at: float
    token: str
    method: str
    path: str
    status: int


def add(connection: Connection, at: float, token: str, method: str, path: str, status: int) -> None:
    """Keep an entry; of many the oldest go."""
    values = {"at": at, "token": token, "method": method, "path": path, "status": status}
    number = connection.execute(insert(audit).values(**values)).lastrowid
    if number % PRUNED == 0:
        connection.execute(delete(audit).where(audit.c.id <= number - KEPT))


def page(connection: Connection, after: int, limit: int) -> tuple[list[Entry], int | None]:
    """Return at most `limit` entries numbered above `after`, and the last one's number if there are
    more."""
    rows = connection.execute(select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit + 1)).all()
    found = [Entry(row.id, row.at, row.token, row.method, row.path, row.status) for row in rows[:limit]]
    return found, found[-1].id if len(rows) > limit else None


def newest(connection: Connection, before: int | None, limit: int) -> list[Entry]:
    """Return at most `limit` entries, the newest first: those numbered below `before`, None for the
    last ones."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    rows = connection.execute(query)
    return [Entry(row.id, row.at, row.token, row.method, row.path, row.status) for row in rows]
