"""Computations in the database. Each has its number before anything is said of it, and each news of
one is there, with its event, before it is told."""

import time
from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, delete, false, func, insert, or_, select, true, update
from sqlalchemy.dialects.sqlite import insert as upsert

from broker.client.asking import Wanted, next_number
from broker.gateway.book.rounds import COMPUTATION, Event
from broker.gateway.book.tables import computations, drawn, events, spent
from broker.gateway.computation import GIVEN_UP, QUERY, Computation

KEPT = 1000  # that are over
LIVE_MOST = 64  # that are not
LIVE_OF_GROUP = 4  # as many as a coordinator lets wait
_ONE = 1  # the only row of `drawn`

# A group and a function, None for any: what somebody may ask.
Asks = Collection[tuple[str | None, str | None]]


class Busy(Exception):
    """As many computations as there may be are not over."""


def ask(
    connection: Connection,
    group: str,
    wanted: Wanted,
    seconds: int,
    cost: float | None,
    asked_by: str,
    kind: str = QUERY,
) -> Computation:
    """Keep a new computation, whose answer is waited for so many seconds. Raises Busy."""
    c, now = computations.c, time.time()
    alive = connection.execute(select(c.group).where(~c.over)).scalars().all()
    if len(alive) >= LIVE_MOST or alive.count(group) >= LIVE_OF_GROUP:
        raise Busy
    number = next_number(connection.execute(select(drawn.c.number)).scalar() or 0, now)
    values = {"id": _ONE, "number": number}
    connection.execute(upsert(drawn).values(**values).on_conflict_do_update(["id"], set_=values))
    made = Computation(number, group, wanted, int(now) + seconds, now, now, asked_by, kind, cost=cost)
    row = {"group": group, "function": wanted.function, "over": False, "computation": made.to_json()}
    connection.execute(insert(computations).values(number=number, **row))
    oldest = select(c.number).where(c.over).order_by(c.number.desc()).offset(KEPT)
    connection.execute(delete(computations).where(c.number.in_(oldest)))
    return made


def record(connection: Connection, found: Computation) -> Event | None:
    """Keep how a computation stands now; return the event. None, and nothing changes, if that is
    kept already, or nobody waits for it any more."""
    c, text = computations.c, found.to_json()
    change = update(computations).where(c.number == found.number, ~c.over, c.computation != text)
    if not connection.execute(change.values(over=found.is_over, computation=text)).rowcount:
        return None
    if found.spent is not None and found.kind == QUERY:
        values = {"group": found.group, "epsilon": found.spent}
        connection.execute(upsert(spent).values(**values).on_conflict_do_update(["group"], set_=values))
    return _event(connection, found)


def forget(connection: Connection, number: int) -> Event | None:
    """Keep a computation no longer; return the event of one that was not over."""
    found = one(connection, number)
    connection.execute(delete(computations).where(computations.c.number == number))
    if found is None or found.is_over:
        return None
    return _event(connection, replace(found, state=GIVEN_UP, reason=None, changed=time.time()))


def one(connection: Connection, number: int) -> Computation | None:
    """Return a computation, if there is one."""
    text = connection.execute(select(computations.c.computation).where(computations.c.number == number)).scalar()
    return None if text is None else Computation.from_json(text)


def page(
    connection: Connection, asks: Asks, group: str | None, before: int, limit: int
) -> tuple[list[Computation], int | None]:
    """Return at most `limit` computations that somebody may ask, of `group` if it is said, numbered
    below `before`, the newest first; and, if there are more, the number below which they begin."""
    c = computations.c
    query = select(c.computation).where(c.number < before, or_(false(), *(_may(*each) for each in asks)))
    if group is not None:
        query = query.where(c.group == group)
    found = connection.execute(query.order_by(c.number.desc()).limit(limit + 1)).scalars()
    items = [Computation.from_json(text) for text in found]
    return items[:limit], items[limit - 1].number if len(items) > limit else None


def live(connection: Connection) -> list[Computation]:
    """Return those that are not over, the oldest first."""
    c = computations.c
    found = connection.execute(select(c.computation).where(~c.over).order_by(c.number)).scalars()
    return [Computation.from_json(text) for text in found]


def waiting(connection: Connection, group: str) -> int:
    """Return how many of a group are not over."""
    c = computations.c
    return int(connection.execute(select(func.count()).where(c.group == group, ~c.over)).scalar() or 0)


def spent_of(connection: Connection, group: str) -> float | None:
    """Return what queries have cost each board of a group, in epsilon; None if nobody has told."""
    found: float | None = connection.execute(select(spent.c.epsilon).where(spent.c.group == group)).scalar()
    return found


def every_spent(connection: Connection) -> dict[str, float]:
    """Return what queries have cost each board, by group, as far as anybody has told."""
    return {row.group: row.epsilon for row in connection.execute(select(spent))}


def _may(group: str | None, function: str | None) -> ColumnElement[bool]:
    c = computations.c
    of_group = true() if group is None else c.group == group
    return of_group & (true() if function is None else c.function == function)


def _event(connection: Connection, found: Computation) -> Event:
    values = {"kind": COMPUTATION, "computation": found.to_json()}
    return Event(connection.execute(insert(events).values(**values)).lastrowid, COMPUTATION, computation=found)
