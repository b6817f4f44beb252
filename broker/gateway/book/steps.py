"""The steps of rounds that are over, member by member, of each group's last ones: who has sent, was
listed, has answered."""

import json
from dataclasses import asdict

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from broker.client.members import RoundProgress
from broker.gateway.book.changes import progress_of
from broker.gateway.book.tables import steps

KEPT = 100  # rounds of a group


def record(connection: Connection, group: str, epoch: int, found: RoundProgress) -> None:
    """Keep how a round went, as it was told last. Of many rounds the oldest go."""
    c = steps.c
    values = {"group": group, "epoch": epoch, "round": found.round, "progress": json.dumps(asdict(found))}
    connection.execute(insert(steps).values(**values).on_conflict_do_update(["group", "epoch", "round"], set_=values))
    oldest = select(c.number).where(c.group == group).order_by(c.epoch.desc(), c.round.desc()).offset(KEPT)
    connection.execute(delete(steps).where(c.number.in_(oldest)))


def one(connection: Connection, group: str, epoch: int, number: int) -> RoundProgress | None:
    """Return how a round went, if that is kept."""
    c = steps.c
    query = select(c.progress).where(c.group == group, c.epoch == epoch, c.round == number)
    text = connection.execute(query).scalar()
    return None if text is None else progress_of(json.loads(text))


def recent(connection: Connection, group: str, most: int) -> list[tuple[int, RoundProgress]]:
    """Return the epochs and the steps of a group's last rounds, at most so many, in their order."""
    c = steps.c
    query = select(c.epoch, c.progress).where(c.group == group).order_by(c.epoch.desc(), c.round.desc()).limit(most)
    return [(row.epoch, progress_of(json.loads(row.progress))) for row in connection.execute(query)][::-1]
