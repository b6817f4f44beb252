"""What is read from the tables of private sums: what a machine is restored from, and what a person
asks."""

import json
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from agent.protocols.base.identity import CLOSE_WINDOW
from agent.wire import coordination
from broker.coordinator.protocols.private_sum import tables
from broker.coordinator.protocols.private_sum.records import Answer, Contribution, Counted, MasksUntil, Saved

STATUS = {coordination.COMPLETE: "complete", coordination.INCOMPLETE: "incomplete", coordination.INVALID: "invalid"}

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
    called = last.where(rounds.c.roll.is_not(None)).order_by(rounds.c.round.desc()).limit(CALLED)
    found.called = [row.roll for row in connection.execute(called)][::-1]
    here = select(masks_until).where((masks_until.c.group == group) & (masks_until.c.epoch == epoch))
    found.masks_until = {row.device: MasksUntil(**row._mapping) for row in connection.execute(here)}
    of_group = select(counted).where(counted.c.group == group)
    found.counted = {row.device: Counted(**row._mapping) for row in connection.execute(of_group)}
    return found


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
    keys = ("group", "epoch", "round", "status", "opened_at", "closed_at", "latency_ms")
    return [
        {**{key: row[key] for key in keys}, **{key: json.loads(row[key]) for key in ("missing", "wrong", "sums")}}
        for row in reversed(rows)
    ]


def shown(connection: Connection, group: str | None, last: int) -> list[dict[str, Any]]:
    """Return results() as `hum result` shows them."""
    return [
        {**row, "status": STATUS[row["status"]], "latency_ms": round(row["latency_ms"], 1)}
        for row in results(connection, group, last)
    ]


def status(connection: Connection, group: str) -> dict[str, Any]:
    """Return whose answers were wrong in the group's last round."""
    last = results(connection, group, 1)
    return {"wrong": last[0]["wrong"] if last else []}
