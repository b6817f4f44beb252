"""What has changed of a group's members and rounds, in the database: an event each, for who comes
again after it; of many the oldest go."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert

from broker.client.members import Member, RoundProgress
from broker.gateway.book.tables import events

MEMBER = "member"  # a kind of event
KEPT = 5_000  # of the last so many events of all kinds, those of members are kept
PRUNED = 100  # events between two looks whether there are more


@dataclass(frozen=True)
class Changes:
    """What has changed of `group` until `at`, Unix seconds: the members that stand otherwise, and
    the rounds that went on, of `epoch`. Never a reading."""

    group: str
    epoch: int
    at: int
    members: tuple[Member, ...]
    rounds: tuple[RoundProgress, ...]

    def to_json(self) -> str:
        """Return it as text, for from_json()."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Changes":
        """Return what to_json() has made a text of."""
        fields = json.loads(text)
        members = tuple(Member(**one) for one in fields["members"])
        return cls(**fields | {"members": members, "rounds": tuple(map(progress_of, fields["rounds"]))})


def progress_of(fields: dict[str, Any]) -> RoundProgress:
    """Return the progress of which asdict(), by way of JSON, has made these fields."""
    named = ("sent", "listed", "answered", "missing")
    return RoundProgress(**fields | {name: None if fields[name] is None else tuple(fields[name]) for name in named})


def keep(connection: Connection, found: Changes) -> int:
    """Keep what has changed; return the number of its event."""
    number = connection.execute(insert(events).values(kind=MEMBER, changes=found.to_json())).lastrowid
    if number % PRUNED == 0:
        connection.execute(delete(events).where(events.c.kind == MEMBER, events.c.id <= number - KEPT))
    return number
