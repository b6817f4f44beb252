"""What a coordinator tells its gateway of groups, in the broker's order: each message is
authenticated, opened, and newer than the one before it, or refused. No I/O."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agent.crypto import CryptoError
from agent.protocols.base import Refused
from agent.protocols.gossip.privacy.terms import MILLION
from agent.wire import coordination, topics
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError, check
from broker.client.access import Access, Group, read_group
from broker.client.reader import GROUPS_MOST
from broker.wire import channel, requests, views
from broker.wire.channel import MEMBERS, PROGRESS, REPORTS, TOLD, VIEWS, Channel
from broker.wire.views import Order, Progress, Report, Standing


@dataclass(frozen=True)
class Member:
    """A member of a group. `state` is "unheard" (since the coordinator was started), "offline",
    "joining", "ready", "absent" or "left-out"; `online` None if nobody has said; `why` it is in no
    sum, in words, and since which round and when, Unix seconds."""

    name: str
    state: str
    online: bool | None
    why: str | None
    since_round: int | None
    since: int | None


@dataclass(frozen=True)
class BoardReport:
    """What a board says of itself, and nobody has authenticated; None for what it does not say.
    `seen` is when anything came under its name last, Unix seconds; `masks` for how many rounds it
    is prepared; `firmware` the version of its application; counts are since its start."""

    name: str
    seen: int | None = None
    phase: str | None = None
    trouble: str | None = None
    masks: int | None = None
    firmware: int | None = None
    rssi_dbm: int | None = None
    heap_free: int | None = None
    uptime_s: int | None = None
    links: int | None = None
    link_losses: int | None = None
    flash_bytes: int | None = None


@dataclass(frozen=True)
class GroupMembers:
    """How the members of a group stood `at` a time, Unix seconds, in the order of the roster of
    `epoch`."""

    group: str
    epoch: int
    at: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class GroupReports:
    """What the boards of a group had said of themselves `at` a time."""

    group: str
    epoch: int
    at: int
    reports: tuple[BoardReport, ...]


@dataclass(frozen=True)
class RoundProgress:
    """How a round of sums goes: `status` is "open", "complete", "incomplete" or "invalid"; by name
    who has sent, is listed in the roll call, None as long as none was called, and has answered;
    whose reading is missing, None as long as it is open. `why` there is no sum, in a word; `needed`
    how many it takes, None if there is more than one cohort. Times are in Unix seconds."""

    round: int
    status: str
    opened_at: int
    instant: int | None
    closed_at: int | None
    sent: tuple[str, ...]
    listed: tuple[str, ...] | None
    answered: tuple[str, ...]
    missing: tuple[str, ...] | None
    why: str | None
    needed: int | None


@dataclass(frozen=True)
class GroupProgress:
    """The last round of the epoch that is over, and the one that is open, as there are, `at` a
    time."""

    group: str
    epoch: int
    at: int
    rounds: tuple[RoundProgress, ...]


@dataclass(frozen=True)
class RequestTold:
    """What became of a request, its `step`-th news: `state` is "accepted", "open", "again" (it is
    asked once more), "complete" or "refused", with the `reason`. Of the try `attempt`: the query's
    number and epoch, under which its answer is a QueryResult, or a round's, a RoundResult; what it
    costs each board, in epsilon, None for a loss without bound; who was absent then, None if that
    epoch's roster is not known. `spent` is what queries have cost each board so far."""

    group: str
    number: int
    step: int
    at: int
    state: str
    reason: str | None
    attempt: int
    epoch: int | None
    query: int | None
    cost: float | None
    absent: tuple[str, ...] | None
    spent: float


News = GroupMembers | GroupReports | GroupProgress | RequestTold


@dataclass
class _Watched:
    """A group: who tells of it, and which message of each kind was the last."""

    group: Group
    gate: Channel
    roster: bytes
    last: dict[str, Order] = field(default_factory=dict)


class Watch:
    """Reads what the coordinator tells the gateway whose key is `private`, of all groups of a
    deployment, up to GROUPS_MOST; without a key only whether the coordinator is there.
    `coordinator` tells that, None before it said anything; nobody has authenticated it.

    The broker is trusted for nothing: the authority's signature tells which coordinator is a
    group's. What is refused is counted in `refused`, by named reason. A broker can hold news back;
    to a Watch that is new it can hand out what was true once: `at` tells when.
    """

    def __init__(self, access: Access, private: bytes | None) -> None:
        self.refused: Counter[str] = Counter()
        self.coordinator: bool | None = None
        self._access = access
        self._private = private
        self._groups: dict[str, _Watched] = {}
        self._waiting: dict[tuple[str, str], bytes] = {}  # for the roster of their epoch

    def filters(self) -> list[str]:
        """Return the topic filters to subscribe to, in this order."""
        deployment = self._access.deployment
        state, roster = topics.coordinator_state(deployment), topics.group(deployment, "+", "roster")
        if self._private is None:
            return [state]
        return [state, roster, *(channel.topic(deployment, "+", kind) for kind in (*VIEWS, TOLD))]

    def channel_of(self, group: str) -> Channel | None:
        """Return what requests to a group's coordinator are sealed with; None if there is no roster
        of it yet."""
        watched = self._groups.get(group)
        return watched.gate if watched else None

    def group(self, name: str) -> Group | None:
        """Return a group as the authority signed it, None if there is no roster of it yet."""
        watched = self._groups.get(name)
        return watched.group if watched else None

    def take(self, topic: str, payload: bytes) -> list[News]:
        """Take a message, and return what is new by it. An empty one takes back what was
        retained."""
        try:
            match topics.split(topic):
                case [self._access.deployment, "coord", "state"]:
                    # It has three bytes: what is cut off here is malformed.
                    self.coordinator = bool(payload) and coordination.read_presence(payload[:64])
                    return []
                case [self._access.deployment, "g", *_] if not payload or self._private is None:
                    return []
                case [self._access.deployment, "g", name, "roster"]:
                    return self._take_roster(name, payload)
                case [self._access.deployment, "g", name, "view", kind] if kind in VIEWS:
                    return self._taken(name, kind, payload)
                case [self._access.deployment, "g", name, "told"]:
                    return self._taken(name, TOLD, payload)
                case _:
                    raise Refused("wrong-topic")
        except (Refused, EnvelopeError, MessageError) as error:
            self.refused[error.args[0]] += 1
            return []

    def _take_roster(self, name: str, payload: bytes) -> list[News]:
        assert self._private is not None  # else nothing of a group is taken
        known = self._groups.get(name)
        if known and payload == known.roster:
            return []
        if not known and len(self._groups) >= GROUPS_MOST:
            raise Refused("too-many-groups")
        group = read_group(self._access, name, payload)
        if known and group.digest == known.group.digest:
            return []
        if known and group.epoch <= known.group.epoch:
            raise Refused("stale-roster" if group.epoch < known.group.epoch else "conflict")
        try:
            gate = Channel(self._access.deployment, self._private, group.roster.coordinator, is_gateway=True)
        except CryptoError:
            raise Refused("malformed") from None
        same = known and known.group.roster.coordinator == group.roster.coordinator
        self._groups[name] = _Watched(group, gate, payload, known.last if known and same else {})
        waiting = {kind: self._waiting.pop((name, kind), None) for kind in (*VIEWS, TOLD)}
        return [news for kind, one in waiting.items() if one for news in self._taken(name, kind, one)]

    def _taken(self, name: str, kind: str, payload: bytes) -> list[News]:
        watched = self._groups.get(name)
        if watched is None:
            if len(payload) > channel.MESSAGE_MOST or len(self._waiting) >= 4 * GROUPS_MOST:
                raise Refused("oversized" if len(payload) > channel.MESSAGE_MOST else "too-many-groups")
            # The roster comes by another topic, and may come later.
            self._waiting[name, kind] = payload
            return []
        epoch, plain = watched.gate.open(kind, name, payload)
        if kind == TOLD:
            return [_told(watched.group, requests.read_told(plain))]
        if epoch > watched.group.epoch:
            self._waiting[name, kind] = payload
            return []
        if epoch < watched.group.epoch:
            raise Refused("wrong-epoch")
        return self._viewed(watched, kind, plain)

    def _viewed(self, watched: _Watched, kind: str, plain: bytes) -> list[News]:
        group, names = watched.group, watched.group.roster.names()
        found: News
        if kind == MEMBERS:
            order, at, standing = views.read_members(plain)
            check(len(standing) == len(names))
            found = GroupMembers(group.name, group.epoch, at, tuple(map(_member, names, standing)))
        elif kind == REPORTS:
            order, at, reports = views.read_reports(plain)
            check(len(reports) == len(names))
            found = GroupReports(group.name, group.epoch, at, tuple(map(_report, names, reports)))
        else:
            assert kind == PROGRESS
            order, at, rounds = views.read_progress(plain)
            found = GroupProgress(group.name, group.epoch, at, tuple(_progress(names, one) for one in rounds))
        last = watched.last.get(kind, Order(0, 0))
        if order == last:
            return []  # what is retained comes again with each link
        if order < last:
            raise Refused("replayed")
        watched.last[kind] = order
        return [found]


def _member(name: str, one: Standing) -> Member:
    return Member(name, one.state, one.online, one.why, one.since_round, one.since)


def _report(name: str, one: Report) -> BoardReport:
    said: dict[str, Any] = {"firmware" if key == "version" else key: value for key, value in one.said.items()}
    return BoardReport(name, one.seen, **said)


def _progress(names: list[str], one: Progress) -> RoundProgress:
    return RoundProgress(
        one.round,
        one.status,
        one.opened_at,
        one.instant,
        one.closed_at,
        sent=_named(names, one.sent),
        listed=None if one.listed is None else _named(names, one.listed),
        answered=_named(names, one.answered),
        missing=None if one.missing is None else _named(names, one.missing),
        why=one.why,
        needed=one.needed,
    )


def _named(names: list[str], bits: int) -> tuple[str, ...]:
    check(bits >> len(names) == 0)
    return tuple(name for index, name in enumerate(names) if bits >> index & 1)


def _told(group: Group, one: requests.Told) -> RequestTold:
    known = one.absent is not None and one.epoch == group.epoch
    absent = _named(group.roster.names(), one.absent or 0) if known else None
    cost = None if one.cost is None else one.cost / MILLION
    news = (one.number, one.step, one.at, one.state, one.reason, one.attempt, one.epoch, one.query)
    return RequestTold(group.name, *news, cost, absent, one.spent / MILLION)
