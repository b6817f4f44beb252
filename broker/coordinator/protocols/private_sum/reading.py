"""What is read from the tables of private sums: what a machine is restored from, and what a person
asks."""

import json
import time
from collections import Counter
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select, tuple_

from agent.protocols.base.identity import CLOSE_WINDOW
from agent.wire import messages, rosters
from agent.wire.envelope import Envelope
from broker.coordinator.protocols.base import Published
from broker.coordinator.protocols.private_sum import roll_call, tables
from broker.coordinator.protocols.private_sum.records import (
    STATUS,
    Absence,
    ActiveSet,
    Answer,
    Contribution,
    Counted,
    LeftOut,
    MasksUntil,
    Saved,
)
from broker.storage import tables as stored

DAY_S = 86_400.0
CALLED = 2 * CLOSE_WINDOW  # roll calls: what boards remember of them

_R = TypeVar("_R", Contribution, Answer)


def saved(connection: Connection, group: str, epoch: int) -> Saved:
    """Return what a machine of this group and epoch is to be restored from."""
    found = Saved()
    rounds, masks_until, counted = tables.rounds, tables.masks_until, tables.counted
    last = select(rounds).where((rounds.c.group == group) & (rounds.c.epoch == epoch))
    for row in connection.execute(last.order_by(rounds.c.round.desc()).limit(2)):
        contributions = _of_round(connection, Contribution, row)
        if row.status is None:
            found.open_message, found.roll_message = row.opening, row.roll
            found.next_round = row.round
            found.open_contributions = contributions
            found.answers = _of_round(connection, Answer, row)
        elif found.last_result is None:
            found.last_result = row.result
            found.next_round = max(found.next_round, row.round + 1)
            found.closed_contributions = contributions
    # The last one, not the greatest: a clock may have been far ahead once.
    instants = select(rounds.c.instant).where((rounds.c.group == group) & rounds.c.instant.is_not(None))
    newest = instants.order_by(rounds.c.epoch.desc(), rounds.c.round.desc()).limit(1)
    found.instant = connection.execute(newest).scalar() or 0
    called = last.where(rounds.c.roll.is_not(None)).order_by(rounds.c.round.desc()).limit(CALLED)
    found.called = [row.roll for row in connection.execute(called)][::-1]
    here = select(masks_until).where((masks_until.c.group == group) & (masks_until.c.epoch == epoch))
    found.masks_until = {row.device: MasksUntil(**row._mapping) for row in connection.execute(here)}
    of_group = select(counted).where(counted.c.group == group)
    found.counted = _of_same_boards(
        connection, group, epoch, [Counted(**row._mapping) for row in connection.execute(of_group)]
    )
    absences = select(tables.absences).where(tables.absences.c.group == group)
    found.absences = {row.device: Absence(**row._mapping) for row in connection.execute(absences)}
    _sets(connection, group, epoch, found)
    return found


def _of_same_boards(connection: Connection, group: str, epoch: int, counted: list[Counted]) -> dict[str, Counted]:
    """Return by device what was counted last of boards that have the key that they had then: of one
    that took a name over nothing was."""
    c, before = stored.rosters.c, {one.epoch for one in counted} - {epoch}
    wanted = (c.group == group) & c.epoch.in_({epoch, *before} if before else set())
    rows = connection.execute(select(c.epoch, c.signed).where(wanted))
    keys = {row.epoch: dict(rosters.read_roster(Envelope(row.signed).unverified()).members) for row in rows}
    now = keys.get(epoch, {})
    same = (one for one in counted if keys.get(one.epoch, {}).get(one.device) == now.get(one.device))
    return {one.device: one for one in same}


def _sets(connection: Connection, group: str, epoch: int, found: Saved) -> None:
    sets, left_out = tables.active_sets, tables.left_out
    this = (sets.c.group == group) & (sets.c.epoch == epoch)
    for row in connection.execute(select(sets).where(this).order_by(sets.c.number)):
        found.sets[row.unit] = ActiveSet(**row._mapping)
        found.proposed.append((row.unit, row.at))
    # Of all epochs: the number of a set is never used again, whatever roster it was of.
    last = select(func.max(sets.c.number)).where(sets.c.group == group)
    found.last_number = connection.execute(last).scalar() or 0
    of_epoch = select(left_out).where((left_out.c.group == group) & (left_out.c.epoch == epoch))
    found.left_out = {row.device: LeftOut(**row._mapping) for row in connection.execute(of_epoch)}


def _of_round(connection: Connection, kind: type[_R], row: Any) -> list[_R]:
    """Return the records of one kind of the round that `row` is about."""
    table = tables.contributions if kind is Contribution else tables.answers
    query = select(table).where(tables.of_round(table, row))
    return [kind(**found._mapping) for found in connection.execute(query)]


def results(connection: Connection, group: str | None, last: int | None) -> list[dict[str, Any]]:
    """Return the last closed rounds of one group or of each, all if `last` is None, in the order of
    groups, epochs and rounds, whatever the clock was; each as a dictionary with JSON types.

    "status" is a number of agent/wire/coordination.py; "attendance" as in records.py, None for a
    round of before there was one.
    """
    c = tables.rounds.c
    place = func.row_number().over(partition_by=c.group, order_by=(c.epoch.desc(), c.round.desc())).label("place")
    closed = select(tables.rounds, place).where(c.status.is_not(None))
    if group:
        closed = closed.where(c.group == group)
    found = closed.subquery()
    query = select(found).order_by(found.c.group, found.c.epoch, found.c.round)
    if last is not None:
        query = query.where(found.c.place <= last)
    return [_result(row._mapping) for row in connection.execute(query)]


def _result(row: Any) -> dict[str, Any]:
    keys = ("group", "epoch", "round", "status", "instant", "opened_at", "closed_at", "latency_ms", "withstands", "why")
    lists = {key: json.loads(row[key]) for key in ("missing", "disagree", "sums")}
    attendance = json.loads(row["attendance"]) if row["attendance"] else None
    return {**{key: row[key] for key in keys}, **lists, "attendance": attendance}


def shown(connection: Connection, group: str | None, last: int | None) -> list[dict[str, Any]]:
    """Return results() as `hum result` shows them."""
    return [
        {**row, "status": STATUS[row["status"]], "latency_ms": round(row["latency_ms"], 1)}
        for row in results(connection, group, last)
    ]


def past(connection: Connection, group: str, epoch: int, number: int, most: int) -> list[Published]:
    """Return the first rounds of a group that are over, from the `number`-th of `epoch` on, in the
    order of epochs and rounds, at most so many."""
    c, of = tables.rounds.c, stored.rosters.c
    query = select(c.epoch, c.round, c.opened_at, c.closed_at, c.result, of.signed).join(
        stored.rosters, (of.group == c.group) & (of.epoch == c.epoch)
    )
    later = (c.group == group) & (tuple_(c.epoch, c.round) >= (epoch, number)) & c.result.is_not(None)
    rows = connection.execute(query.where(later).order_by(c.epoch, c.round).limit(most))
    return [Published(*row) for row in rows]


def status(connection: Connection, group: str) -> dict[str, Any]:
    """Return the sides of each cohort whose answers disagreed in the group's last round, and of
    each unit how its active set stands."""
    last = results(connection, group, 1)
    return {
        "disagree": last[0]["disagree"] if last else [],
        "sets": _standing(connection, group),
        "last_round": shown(connection, group, 1)[0] if last else None,
        "open_round": open_round(connection, group),
        "absent": absent(connection, group),
    }


def open_round(connection: Connection, group: str) -> dict[str, Any] | None:
    """Return the round of a group that is open, None if there is none: who has sent for it, which
    is durable, who is in its roll call, by their places in the roster, None as long as none was
    called, and who has answered."""
    c = tables.rounds.c
    query = select(tables.rounds).where((c.group == group) & c.status.is_(None))
    row = connection.execute(query.order_by(c.epoch.desc(), c.round.desc()).limit(1)).first()
    newer = select(func.max(c.epoch)).where(c.group == group)
    if row is None or row.epoch != connection.execute(newer).scalar():
        return None  # what a new roster has left open stays so
    present = messages.read_roll(Envelope(row.roll).unverified())[1] if row.roll else None
    return {
        "epoch": row.epoch,
        "round": row.round,
        "instant": row.instant,
        "opened_at": row.opened_at,
        "sent": sorted(one.device for one in _of_round(connection, Contribution, row)),
        "listed": None if present is None else roll_call.members(present),
        "answered": sorted(one.device for one in _of_round(connection, Answer, row)),
    }


def absent(connection: Connection, group: str) -> dict[str, dict[str, Any]]:
    """Return of each member of a group that is absent since which round, since when and why."""
    c = tables.absences.c
    rows = connection.execute(select(tables.absences).where((c.group == group) & c.reason.is_not(None)))
    return {row.device: {"epoch": row.epoch, "round": row.round, "since": row.at, "reason": row.reason} for row in rows}


def _standing(connection: Connection, group: str) -> list[dict[str, Any]]:
    """Return for each unit what its newest roster has: "unit", "number" (0 for no set), "taken_up",
    "active" and "of" how many, "needed" in each cohort, "left_out": why each other member is not in
    sums, with "until" in Unix seconds where it backs off; "sets_today" in the last 24 hours; what a
    new one costs a board (sets/cost.py)."""
    standing, sets, left_out = tables.standing.c, tables.active_sets.c, tables.left_out.c
    rows = connection.execute(select(tables.standing).where(standing.group == group).order_by(standing.unit)).all()
    epoch = max((row.epoch for row in rows), default=0)
    since = (sets.group == group) & (sets.epoch == epoch) & (sets.at > time.time() - DAY_S)
    units = Counter(connection.execute(select(sets.unit).where(since)).scalars())
    backing_off = select(left_out.device, left_out.until).where((left_out.group == group) & (left_out.epoch == epoch))
    until = {device: at for device, at in connection.execute(backing_off).all() if at > time.time()}
    return [
        {
            "unit": row.unit,
            "number": row.number,
            "taken_up": row.taken_up,
            "active": len(row.active),
            "of": len(row.members),
            "needed": row.thresholds,
            "left_out": [
                {"device": name, "reason": why, "until": until.get(name) if name not in row.active else None}
                for name, why in row.others.items()
            ],
            "sets_today": units[row.unit],
            "cost": row.cost,
        }
        for row in rows
        if row.epoch == epoch
    ]
