"""Rounds and their events in the database: each round once, with its event and its group's standing
in the same transaction."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from broker.gateway import totals
from broker.gateway.book.changes import Changes
from broker.gateway.book.tables import events, rosters, rounds, standings
from broker.gateway.computation import Computation
from broker.gateway.rounds import Round
from broker.gateway.totals import Standing

ROUND, COMPUTATION = "round", "computation"  # kinds of events
SUMS = "private-sum"  # a protocol
_OF = (rosters.c.group == rounds.c.group) & (rosters.c.epoch == rounds.c.epoch)


@dataclass(frozen=True)
class GroupRoster:
    """What results of an epoch of a group are of; `slots` are (name, low, high)."""

    group: str
    epoch: int
    protocol: str
    slots: tuple[tuple[str, int, int], ...]
    members: tuple[str, ...]

    @property
    def has_sums(self) -> bool:
        """Tell whether its results are sums, and no answers to queries."""
        return self.protocol == SUMS


@dataclass(frozen=True)
class Event:
    """Something that happened, to a round, to members or to a computation, as it stood then; `id`
    grows by one from event to event."""

    id: int
    kind: str
    round: Round | None = None
    changes: Changes | None = None
    computation: Computation | None = None


@dataclass(frozen=True)
class Wanted:
    """Which rounds of a group are asked for: those numbered above `after`, measured from `since`
    on and before `until`, in Unix seconds, that ended in `status`; at most `limit`."""

    after: int
    limit: int
    since: float | None = None
    until: float | None = None
    status: str | None = None


def record(connection: Connection, roster: GroupRoster, found: Round) -> Event | None:
    """Keep a round with its totals and its event; return that. A round that is not later than the
    last one of its group is there already, or old: then None is returned, and nothing changes."""
    before = standing(connection, found.group)
    after = totals.after(before, found)
    if after is before:
        return None
    found = totals.with_totals(found, after)
    _keep_roster(connection, roster)
    number = connection.execute(insert(rounds).values(_row(found))).lastrowid
    values = {"group": found.group, "standing": after.to_json()}
    connection.execute(upsert(standings).values(**values).on_conflict_do_update(["group"], set_=values))
    identifier = connection.execute(insert(events).values(kind=ROUND, round=number)).lastrowid
    return Event(identifier, ROUND, found)


def _keep_roster(connection: Connection, roster: GroupRoster) -> None:
    values = {"group": roster.group, "epoch": roster.epoch, "protocol": roster.protocol}
    values |= {"slots": json.dumps(roster.slots), "members": json.dumps(roster.members)}
    connection.execute(upsert(rosters).values(**values).on_conflict_do_nothing())


def standing(connection: Connection, group: str) -> Standing | None:
    """Return where a group stands, None before its first round. Raises StandingError."""
    text = connection.execute(select(standings.c.standing).where(standings.c.group == group)).scalar()
    return None if text is None else Standing.from_json(text)


def last_rosters(connection: Connection) -> list[GroupRoster]:
    """Return the roster of each group's last epoch that had a round."""
    newest = select(rosters.c.group, func.max(rosters.c.epoch).label("epoch")).group_by(rosters.c.group).subquery()
    query = select(rosters).join(newest, (rosters.c.group == newest.c.group) & (rosters.c.epoch == newest.c.epoch))
    return [
        GroupRoster(row.group, row.epoch, row.protocol, tuple(map(tuple, json.loads(row.slots))), _tuple(row.members))
        for row in connection.execute(query.order_by(rosters.c.group))
    ]


def page(connection: Connection, group: str, wanted: Wanted) -> tuple[list[Round], int | None]:
    """Return the rounds that are wanted, in their order; and, if there are more, the number after
    which they begin."""
    query = _rounds().where(rounds.c.group == group, rounds.c.number > wanted.after)
    if wanted.since is not None:
        query = query.where(rounds.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(rounds.c.at < wanted.until)
    if wanted.status is not None:
        query = query.where(rounds.c.status == wanted.status)
    found = connection.execute(query.order_by(rounds.c.number).limit(wanted.limit + 1)).all()
    more = found[wanted.limit - 1].number if len(found) > wanted.limit else None
    return [_round(row) for row in found[: wanted.limit]], more


def one(connection: Connection, group: str, epoch: int, number: int) -> Round | None:
    """Return a round, if there is one."""
    c = rounds.c
    row = connection.execute(_rounds().where(c.group == group, c.epoch == epoch, c.round == number)).first()
    return None if row is None else _round(row)


def last(connection: Connection, group: str) -> Round | None:
    """Return the last round of a group, if there is one."""
    query = _rounds().where(rounds.c.group == group).order_by(rounds.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _round(row)


def newest(connection: Connection, group: str, most: int) -> list[Round]:
    """Return the last rounds of a group, at most so many, in their order."""
    query = _rounds().where(rounds.c.group == group).order_by(rounds.c.number.desc()).limit(most)
    return [_round(row) for row in reversed(connection.execute(query).all())]


def complete(connection: Connection, group: str, since: float, until: float, most: int) -> list[Round]:
    """Return the complete rounds of a group that were measured after `since`, up to `until`, in
    Unix seconds; at most so many."""
    c = rounds.c
    query = _rounds().where(c.group == group, c.at > since, c.at <= until, c.sums.is_not(None))
    return [_round(row) for row in connection.execute(query.order_by(c.number).limit(most))]


def of_instants(connection: Connection, groups: Sequence[str], wanted: Wanted) -> list[Round]:
    """Return the rounds of `groups` of the first instants after `wanted.after`, in Unix seconds: of
    one more than its limit. `status` is not heeded."""
    c = rounds.c
    instants = select(c.instant).distinct().where(c.group.in_(groups), c.instant > wanted.after)
    if wanted.since is not None:
        instants = instants.where(c.instant >= wanted.since)
    if wanted.until is not None:
        instants = instants.where(c.instant < wanted.until)
    some = instants.order_by(c.instant).limit(wanted.limit + 1)
    query = _rounds().where(c.group.in_(groups), c.instant.in_(some))
    return [_round(row) for row in connection.execute(query.order_by(c.instant, c.number))]


def last_event(connection: Connection) -> int:
    """Return the number of the last event, 0 before the first."""
    return int(connection.execute(select(func.max(events.c.id))).scalar() or 0)


def events_after(connection: Connection, after: int, most: int) -> list[Event]:
    """Return at most so many events with greater numbers, in their order."""
    told = (events.c.id, events.c.kind, events.c.changes, events.c.computation)
    query = select(rounds, rosters.c.slots, rosters.c.members, *told).select_from(
        events.outerjoin(rounds, events.c.round == rounds.c.number).outerjoin(rosters, _OF)
    )
    return [
        _event(row) for row in connection.execute(query.where(events.c.id > after).order_by(events.c.id).limit(most))
    ]


def _event(row: Row[Any]) -> Event:
    if row.changes is not None:
        return Event(row.id, row.kind, changes=Changes.from_json(row.changes))
    if row.computation is not None:
        return Event(row.id, row.kind, computation=Computation.from_json(row.computation))
    return Event(row.id, row.kind, _round(row))


def _rounds() -> Select[Any]:
    return select(rounds, rosters.c.slots, rosters.c.members).join(rosters, _OF)


def _row(found: Round) -> dict[str, Any]:
    same = ("group", "epoch", "round", "status", "instant", "opened", "closed")
    at = found.closed if found.instant is None else found.instant
    encoded = {name: _json(getattr(found, name)) for name in ("sums", "missing", "total", "mean_power")}
    return {name: getattr(found, name) for name in same} | encoded | {"at": at}


def _json(value: Iterable[Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _round(row: Row[Any]) -> Round:
    slots = tuple(name for name, _, _ in _tuple(row.slots))
    sums = None if row.sums is None else _tuple(row.sums)
    total, mean_power = (None if text is None else json.loads(text) for text in (row.total, row.mean_power))
    scope = (row.group, row.epoch, row.round, row.status)
    members = (_tuple(row.missing), _tuple(row.members))
    return Round(*scope, slots, sums, *members, row.instant, row.closed, row.opened, total, mean_power)


@lru_cache(maxsize=256)  # a roster's are the same for thousands of rounds
def _tuple(text: str) -> tuple[Any, ...]:
    return tuple(json.loads(text))
