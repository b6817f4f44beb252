"""What a protocol declares of its operator's side. The coordinator's process, its home and storage,
the authority and the commands know a protocol by its declaration alone."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Executable, ScalarSelect

from agent.wire.rosters import Roster
from broker.coordinator.actions import Record
from broker.coordinator.machine import Machine
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from broker.storage.schema import Schema
from broker.wire.requests import Ask


class RosterError(Exception):
    """A protocol cannot run with a roster, or has no use for an option. args[0] is a sentence."""


@dataclass(frozen=True)
class Workplace:
    """What machines are made with: the coordinator's private key, the result key, 16 bytes, of
    the group's clients, the coordinator's folder, and what tells the Unix time."""

    private: bytes
    result_key: bytes
    folder: Path
    unix_time: Callable[[], float] = time.time


@dataclass(frozen=True)
class RosterRules:
    """A protocol's part of a roster, as the authority makes it.

    `make(protocol, members, options)` returns the fields from 6 on, for so many members; of
    `options` only those in the tuple of names are given, and none that is None. `check(roster)`
    looks at all of a roster that was read. Both raise RosterError.
    """

    options: tuple[str, ...]
    make: Callable[[str, int, Mapping[str, Any]], dict[int, object]]
    check: Callable[[Roster], None]


class Request(Protocol):
    """What another process asks of a group, through the database."""

    @property
    def id(self) -> int: ...

    @property
    def group(self) -> str: ...


@dataclass(frozen=True)
class Opened:
    """The request with the id `request` is open, as the `number`-th of an epoch: what it costs each
    board in millionths of epsilon, None for a loss without bound, and who was absent, a bitmap."""

    request: int
    epoch: int
    number: int
    cost: int | None
    absent: int


@dataclass(frozen=True)
class Closed:
    """The request with the id `request` is over: `reason` says why it has no answer, None if it has
    one; `again` tells whether it may have one if it is asked once more."""

    request: int
    reason: str | None
    again: bool = False


@dataclass(frozen=True)
class Asks:
    """How what a gateway asks (broker/wire/requests.py) becomes a request of a protocol.

    `quote(machine, group, ask)` returns what it costs each board, as Opened has it, and raises
    Refused if it cannot be asked. `enter(group, ask)` writes it to where requests wait, `newest`
    finds the id that it has got, in the same transaction; `give_up(id)` takes one back that still
    waits. `heed(record)` tells what a machine's record says of a request; `over(connection, id)`
    how one has ended, None if it has not; `spent(connection, group)` what all have cost each board.
    """

    quote: Callable[[Any, str, Ask], int | None]
    enter: Callable[[str, Ask], Executable]
    newest: ScalarSelect[Any]
    give_up: Callable[[int], Executable]
    heed: Callable[[Record], Opened | Closed | None]
    over: Callable[[Connection, int], Closed | None]
    spent: Callable[[Connection, str], int]


@dataclass(frozen=True)
class Requests:
    """Where requests come from: `waiting` finds those that wait, in order; `give(machine,
    requests)` hands a machine those of its group; `refuse` makes the record of one whose group
    there is not; `asks` is there if a gateway may ask, too."""

    waiting: Callable[[Connection], Sequence[Any]]
    give: Callable[[Any, Sequence[Any]], None]
    refuse: Callable[[Any], Record]
    asks: Asks | None = None


@dataclass(frozen=True)
class Published:
    """A round that is over, of an epoch with the signed `roster`: its `result` as it was said to
    all, and when it opened and closed, Unix seconds."""

    epoch: int
    round: int
    opened_at: float
    closed_at: float
    result: bytes
    roster: bytes


@dataclass(frozen=True)
class Declaration:
    """One protocol, or several of one machine: `serves` are their names in rosters.

    `make(scope, workplace, schedule, saved)` makes the machine, and raises RosterError for a roster
    that none can be made of; `saved(connection, group, epoch)` finds what it is restored from.
    `uploads` are the kinds of what boards send up, with the most bytes of each; `says` the kinds of
    what is said to all of a group, beside the roster. `results(connection, group, last)` returns
    the last rows for `hum result`, of one group or of each, or all rows if `last` is None: each
    with "group", "epoch", "round" and "closed_at", in that order and never in that of a clock.
    `status(connection, group)` tells what `hum status` says of a group. `past(connection, group,
    epoch, round, most)` returns the first rounds that are over, from that one on, at most so many.
    """

    name: str
    serves: tuple[str, ...]
    make: Callable[[Scope, Workplace, Schedule, Any], Machine]
    saved: Callable[[Connection, str, int], Any]
    uploads: Mapping[str, int]
    says: tuple[str, ...]
    schema: Schema
    roster: RosterRules
    requests: Requests | None = None
    results: Callable[[Connection, str | None, int | None], list[dict[str, Any]]] | None = None
    status: Callable[[Connection, str], dict[str, Any]] | None = None
    past: Callable[[Connection, str, int, int, int], list[Published]] | None = None
