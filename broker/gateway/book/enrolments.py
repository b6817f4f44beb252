"""Requests about members: what the gateway was asked, and cannot do. Whoever holds the authority's
folder signs or declines each (`hum requests`)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from broker.gateway.book.tables import enrolments

ADD, REMOVE, REPLACE = "add", "remove", "replace"
KINDS = (ADD, REMOVE, REPLACE)
# open: nobody has decided. passed: an authority elsewhere has yet to sign it.
OPEN, PASSED, SIGNED, DECLINED = "open", "passed", "signed", "declined"
STATES = (OPEN, PASSED, SIGNED, DECLINED)
WAITING = (OPEN, PASSED)
WAITING_MOST = 64  # as many as one request file for an authority elsewhere may have
KEPT = 1_000  # of those that are over the last ones stay
WHY_MOST = 200  # characters


class Full(Exception):
    """WAITING_MOST requests wait."""


@dataclass(frozen=True)
class Enrolment:
    """A request of the token `token`: that `device` be added to `group`, removed from it, or get
    the key `public` (hexadecimal; None where it is removed) of another board. `epoch` is that of
    the group's roster that was known then, 0 for none. Times are Unix seconds; `why` is said of
    what was declined."""

    id: int
    kind: str
    group: str
    device: str
    public: str | None
    epoch: int
    token: str
    asked: float
    state: str = OPEN
    decided: float | None = None
    why: str | None = None

    def is_met(self, epoch: int, members: Mapping[str, str]) -> bool:
        """Tell whether a roster of its group has it done: one that is later than the request, of
        `members` by name with their keys."""
        return epoch > self.epoch and members.get(self.device) == self.public


def ask(
    connection: Connection, kind: str, group: str, device: str, public: str | None, epoch: int, token: str, now: float
) -> Enrolment:
    """Keep a request, and return it; one that waits already with the same content is returned as it
    is. Raises Full."""
    c = enrolments.c
    same = (c.kind == kind, c.group == group, c.device == device, c.public.is_not_distinct_from(public))
    there = connection.execute(select(enrolments).where(*same, c.state.in_(WAITING))).first()
    if there is not None:
        return _enrolment(there)
    if count(connection) >= WAITING_MOST:
        raise Full
    values = {"kind": kind, "group": group, "device": device, "public": public, "epoch": epoch}
    number = connection.execute(insert(enrolments).values(**values, token=token, asked=now, state=OPEN)).lastrowid
    connection.execute(delete(enrolments).where(c.id <= number - KEPT, c.state.not_in(WAITING)))
    return Enrolment(number, kind, group, device, public, epoch, token, now)


def count(connection: Connection) -> int:
    """Return how many wait."""
    query = select(func.count()).select_from(enrolments).where(enrolments.c.state.in_(WAITING))
    return int(connection.execute(query).scalar() or 0)


def page(
    connection: Connection, after: int, limit: int, states: Collection[str] = STATES
) -> tuple[list[Enrolment], int | None]:
    """Return at most `limit` requests in one of `states` numbered above `after`, and the last one's
    number if there are more."""
    c = enrolments.c
    query = select(enrolments).where(c.id > after, c.state.in_(states)).order_by(c.id).limit(limit + 1)
    rows = connection.execute(query).all()
    found = [_enrolment(row) for row in rows[:limit]]
    return found, found[-1].id if len(rows) > limit else None


def newest(connection: Connection, limit: int) -> list[Enrolment]:
    """Return at most `limit` of those that are over, the newest first."""
    c = enrolments.c
    query = select(enrolments).where(c.state.not_in(WAITING)).order_by(c.decided.desc(), c.id.desc())
    return [_enrolment(row) for row in connection.execute(query.limit(limit))]


def one(connection: Connection, number: int) -> Enrolment | None:
    """Return a request, if there is one of this number."""
    row = connection.execute(select(enrolments).where(enrolments.c.id == number)).first()
    return None if row is None else _enrolment(row)


def decide(connection: Connection, numbers: Collection[int], state: str, now: float, why: str | None = None) -> None:
    """Note what became of requests that wait."""
    c = enrolments.c
    change = update(enrolments).where(c.id.in_(numbers), c.state.in_(WAITING))
    connection.execute(change.values(state=state, decided=now, why=why))


def _enrolment(row: Row[Any]) -> Enrolment:
    what = (row.kind, row.group, row.device, row.public, row.epoch)
    return Enrolment(row.id, *what, row.token, row.asked, row.state, row.decided, row.why)
