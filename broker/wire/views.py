"""The payloads by which a coordinator tells its gateway of a group: members, their boards' reports,
and the progress of rounds (CDDL in docs/protocol/gateway.md). Members are told in the order of the
epoch's roster, and named by their places in it.

Each reader takes bytes that were authenticated, and still trusts nothing: MessageError("malformed")
unless all is of its type and in its range.
"""

from dataclasses import dataclass
from typing import Any

from agent.wire import cbor, topics
from agent.wire.messages import EVERYONE, MEMBERS_MOST, check, fields, is_integer

ORDER_MOST = (1 << 53) - 1
TIME_MOST = (1 << 32) - 1
WHY_MOST = 40  # characters of a reason
WORD_MOST = {"phase": 16, "trouble": 24}  # characters of what a board says in a word
STATES = ("unheard", "offline", "joining", "ready", "absent", "left-out")
STATUS = ("open", "complete", "incomplete", "invalid")
ROUNDS_MOST = 2
REPORT = (
    "phase",
    "trouble",
    "masks",
    "version",
    "rssi_dbm",
    "heap_free",
    "uptime_s",
    "links",
    "link_losses",
    "flash_bytes",
)


@dataclass(frozen=True, order=True)
class Order:
    """Where a message stands among a coordinator's: `life` grows with each start, `number` with
    each message."""

    life: int
    number: int


@dataclass(frozen=True)
class Standing:
    """A member as the coordinator knows it: `state` of STATES, `online`, None if nobody has said;
    why it is in no sum, in words, and since which round and when, Unix seconds."""

    state: str
    online: bool | None
    why: str | None = None
    since_round: int | None = None
    since: int | None = None


@dataclass(frozen=True)
class Report:
    """When something was last heard under a board's name, Unix seconds, and what it says of itself
    by the names of REPORT. Nobody has authenticated it."""

    seen: int | None
    said: dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """A round of sums: `status` of STATUS; times in Unix seconds, None for what has not come to
    pass; bitmaps of who sent, was listed and answered, and of whose reading is missing; `needed`
    how many it takes, None if there is more than one cohort."""

    round: int
    status: str
    opened_at: int
    instant: int | None
    closed_at: int | None
    sent: int
    listed: int | None
    answered: int
    missing: int | None
    why: str | None
    needed: int | None


def members(order: Order, at: int, standing: list[Standing]) -> bytes:
    """Make the message of how members stand at a time."""
    rows = [[STATES.index(one.state), one.online, one.why, one.since_round, one.since] for one in standing]
    return cbor.encode({1: order.life, 2: order.number, 3: at, 4: rows})


def read_members(payload: bytes) -> tuple[Order, int, list[Standing]]:
    """Return (order, time, how each member stands)."""
    order, at, rows = _read(payload, MEMBERS_MOST)
    found = []
    for row in rows:
        check(isinstance(row, list) and len(row) == 5)
        state, online, why, since_round, since = row
        check(is_integer(state, 0, len(STATES) - 1) and (online is None or isinstance(online, bool)))
        check(_is_text(why, WHY_MOST) and _is_time(since_round) and _is_time(since))
        found.append(Standing(STATES[state], online, why, since_round, since))
    return order, at, found


def reports(order: Order, at: int, found: list[Report]) -> bytes:
    """Make the message of what boards say of themselves."""
    rows = [[one.seen, {REPORT.index(name): value for name, value in one.said.items()}] for one in found]
    return cbor.encode({1: order.life, 2: order.number, 3: at, 4: rows})


def read_reports(payload: bytes) -> tuple[Order, int, list[Report]]:
    """Return (order, time, each member's report)."""
    order, at, rows = _read(payload, MEMBERS_MOST)
    found = []
    for row in rows:
        check(isinstance(row, list) and len(row) == 2 and _is_time(row[0]) and isinstance(row[1], dict))
        check(all(is_integer(key, 0, len(REPORT) - 1) for key in row[1]))
        said = {REPORT[key]: value for key, value in row[1].items()}
        check(all(_is_said(name, value) for name, value in said.items()))
        found.append(Report(row[0], said))
    return order, at, found


def progress(order: Order, at: int, rounds: list[Progress]) -> bytes:
    """Make the message of how the last rounds went, and how the one that is open goes."""
    rows = []
    for one in rounds:
        times = [one.opened_at, one.instant, one.closed_at]
        steps = [one.sent, one.listed, one.answered, one.missing]
        rows.append([one.round, STATUS.index(one.status), *times, *steps, one.why, one.needed])
    return cbor.encode({1: order.life, 2: order.number, 3: at, 4: rows})


def read_progress(payload: bytes) -> tuple[Order, int, list[Progress]]:
    """Return (order, time, rounds), the older one first."""
    order, at, rows = _read(payload, ROUNDS_MOST)
    found = []
    for row in rows:
        check(isinstance(row, list) and len(row) == 11)
        number, status, opened_at, instant, closed_at, sent, listed, answered, missing, why, needed = row
        check(is_integer(number, 0, TIME_MOST) and is_integer(status, 0, len(STATUS) - 1))
        check(is_integer(opened_at, 0, TIME_MOST) and _is_time(instant) and _is_time(closed_at))
        check(is_integer(sent, 0, EVERYONE) and is_integer(answered, 0, EVERYONE))
        check(all(bits is None or is_integer(bits, 0, EVERYONE) for bits in (listed, missing)))
        check(_is_text(why, WHY_MOST) and (needed is None or is_integer(needed, 1, MEMBERS_MOST)))
        times = (opened_at, instant, closed_at)
        found.append(Progress(number, STATUS[status], *times, sent, listed, answered, missing, why, needed))
    return order, at, found


def _read(payload: bytes, most: int) -> tuple[Order, int, list[Any]]:
    life, number, at, rows = fields(payload, 4)
    check(is_integer(life, 1, ORDER_MOST) and is_integer(number, 1, ORDER_MOST) and is_integer(at, 0, TIME_MOST))
    check(isinstance(rows, list) and len(rows) <= most)
    return Order(life, number), at, rows


def _is_time(value: object) -> bool:
    return value is None or is_integer(value, 0, TIME_MOST)


def _is_text(value: object, most: int) -> bool:
    return value is None or (isinstance(value, str) and 1 <= len(value) <= most and value.isascii())


def _is_said(name: str, value: object) -> bool:
    if name in WORD_MOST:
        return topics.valid_name(value) and _is_text(value, WORD_MOST[name])
    if name == "rssi_dbm":
        return is_integer(value, -127, -1)
    return is_integer(value, 0, TIME_MOST)
