"""What is read from the tables of private sums: what a machine is restored from, and what a person
asks."""

import json
import time
from collections import Counter
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select

from agent.protocols.base.identity import CLOSE_WINDOW
from agent.wire import coordination
from broker.coordinator.protocols.private_sum import tables
from broker.coordinator.protocols.private_sum.records import (
    ActiveSet,
    Answer,
    Contribution,
    Counted,
    LeftOut,
    MasksUntil,
    Saved,
)

STATUS = {coordination.COMPLETE: "complete", coordination.INCOMPLETE: "incomplete", coordination.INVALID: "invalid"}

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
    instants = select(func.max(rounds.c.instant)).where(rounds.c.group == group)
    found.instant = connection.execute(instants).scalar() or 0
    called = last.where(rounds.c.roll.is_not(None)).order_by(rounds.c.round.desc()).limit(CALLED)
    found.called = [row.roll for row in connection.execute(called)][::-1]
    here = select(masks_until).where((masks_until.c.group == group) & (masks_until.c.epoch == epoch))
    found.masks_until = {row.device: MasksUntil(**row._mapping) for row in connection.execute(here)}
    of_group = select(counted).where(counted.c.group == group)
    found.counted = {row.device: Counted(**row._mapping) for row in connection.execute(of_group)}
    _sets(connection, group, epoch, found)
    return found


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


def results(connection: Connection, group: str | None, last: int) -> list[dict[str, Any]]:
    """Return the last closed rounds, of one group or of all, oldest first, each as a dictionary
    with JSON types; "status" is a number of agent/wire/coordination.py."""
    c = tables.rounds.c
    query = select(tables.rounds).where(c.status.is_not(None))
    if group:
        query = query.where(c.group == group)
    found = connection.execute(query.order_by(c.closed_at.desc(), c.round.desc()).limit(last))
    rows = [row._mapping for row in found]
    keys = ("group", "epoch", "round", "status", "instant", "opened_at", "closed_at", "latency_ms", "withstands")
    return [
        {**{key: row[key] for key in keys}, **{key: json.loads(row[key]) for key in ("missing", "disagree", "sums")}}
        for row in reversed(rows)
    ]


def shown(connection: Connection, group: str | None, last: int) -> list[dict[str, Any]]:
    """Return results() as `hum result` shows them."""
    return [
        {**row, "status": STATUS[row["status"]], "latency_ms": round(row["latency_ms"], 1)}
        for row in results(connection, group, last)
    ]


def status(connection: Connection, group: str) -> dict[str, Any]:
    """Return the sides of each cohort whose answers disagreed in the group's last round, and of
    each unit how its active set stands."""
    last = results(connection, group, 1)
    return {"disagree": last[0]["disagree"] if last else [], "sets": _standing(connection, group)}


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
