"""What a broker hands out of a deployment, in its order, becomes results: each once, none that is
older than one before it. No I/O."""

from collections import Counter
from dataclasses import dataclass, replace

from agent.protocols.base import Refused
from agent.wire import messages, topics
from agent.wire.envelope import Envelope, EnvelopeError
from agent.wire.messages import MessageError
from broker.client.access import Access, Group, read_group
from broker.client.results import RESULT_MOST, Result, RoundResult, open_result

GROUPS_MOST = 256
KINDS = ("roster", "round", "result")  # of what is read, a roster first: it says whose a result is


@dataclass
class _Followed:
    """What is known of a group: its roster, also as it came; a result that waits for one; place and
    message of the last result; the last opening that was seen, with the time; and whether another
    key than what there is opens its results."""

    group: Group | None = None
    roster: bytes = b""
    waiting: bytes | None = None
    last: tuple[int, int] = (0, -1)
    payload: bytes = b""
    opening: tuple[int, int] = (0, -1)
    opened_at: float = 0.0
    closed: bool = False


class Reader:
    """Reads the results of all groups of a deployment, up to GROUPS_MOST, or of one called `group`.

    The broker is trusted for nothing: the authority's signature tells whose results a group's are,
    and the coordinator's whether they are. What is refused is counted in `refused`, by named
    reason. A broker can hold results back, and hand out a former epoch to a reader that is new.
    """

    def __init__(self, access: Access, group: str | None = None) -> None:
        self.refused: Counter[str] = Counter()
        self._access = access
        self._only = group
        self._groups: dict[str, _Followed] = {}
        self._others: set[str] = set()  # groups of which nothing is read

    @property
    def deployment(self) -> str:
        """The deployment's name."""
        return self._access.deployment

    def filters(self) -> list[str]:
        """Return the topic filters to subscribe to, in this order; rosters are read of all
        groups."""
        return [topics.group(self.deployment, "+" if kind == "roster" else self._only or "+", kind) for kind in KINDS]

    def reads(self, topic: str) -> bool:
        """Tell whether what comes by `topic` is for it."""
        match topics.split(topic):
            case [self._access.deployment, "g", _, kind]:
                return kind in KINDS
        return False

    def known(self) -> list[str]:
        """Return the groups that have an authentic roster."""
        return sorted({*self._others, *(name for name, followed in self._groups.items() if followed.group)})

    def group(self, name: str) -> Group | None:
        """Return a group whose results are read, as the authority signed it last; None before its
        roster came."""
        followed = self._groups.get(name)
        return followed.group if followed else None

    def take(self, topic: str, payload: bytes, now: float) -> Result | None:
        """Take a message, at `now` in seconds, and return the result that it brings, if any."""
        try:
            match topics.split(topic):
                case [self._access.deployment, "g", name, "roster"] if payload and not self._is_read(name):
                    self._note_other(name, payload)
                    return None
                case [self._access.deployment, "g", name, kind] if kind in KINDS and self._only in (None, name):
                    return self._taken(name, kind, payload, now)
                case _:
                    raise Refused("wrong-topic")
        except (Refused, EnvelopeError, MessageError) as error:
            self.refused[error.args[0]] += 1
            return None

    def _is_read(self, name: str) -> bool:
        """Tell whether results of a group are wanted, and there is a key for them."""
        return self._only in (None, name) and self._access.key_of(name) is not None

    def _note_other(self, name: str, payload: bytes) -> None:
        if name not in self._others and len(self._others) < GROUPS_MOST:
            read_group(self._access, name, payload)
            self._others.add(name)

    def _taken(self, name: str, kind: str, payload: bytes, now: float) -> Result | None:
        if not payload or not self._is_read(name):
            return None  # it takes back what was retained
        followed = self._groups.get(name, _Followed())
        if name not in self._groups:
            if len(self._groups) >= GROUPS_MOST:
                raise Refused("too-many-groups")
            self._groups[name] = followed
        match kind:
            case "roster":
                return self._take_roster(followed, name, payload, now)
            case "round":
                self._take_opening(followed, payload, now)
                return None
            case _:
                return self._take_result(followed, payload, now)

    def _take_roster(self, followed: _Followed, name: str, payload: bytes, now: float) -> Result | None:
        known = followed.group
        if payload == followed.roster:
            return None
        group = read_group(self._access, name, payload)
        if known and group.digest == known.digest:
            return None
        if known and group.epoch <= known.epoch:
            raise Refused("stale-roster" if group.epoch < known.epoch else "conflict")
        followed.roster = payload
        followed.group = group
        waiting, followed.waiting = followed.waiting, None
        return self._take_result(followed, waiting, now) if waiting else None

    def _take_opening(self, followed: _Followed, payload: bytes, now: float) -> None:
        epoch, number, *_, at, instant = messages.read_opening(payload)
        if (epoch, number) != followed.opening:
            followed.opening, followed.opened_at = (epoch, number), now + (instant - at if instant > 0 else 0)

    def _take_result(self, followed: _Followed, payload: bytes, now: float) -> Result | None:
        group = followed.group
        if payload == followed.payload:
            return None
        if len(payload) > RESULT_MOST:
            raise Refused("oversized")
        if group is None or Envelope(payload).epoch > group.epoch:
            followed.waiting = payload  # the roster comes by another topic, and may come later
            return None
        key = self._access.key_of(group.name)
        assert key is not None  # else nothing of the group is taken
        try:
            result = open_result(group, key, payload)
        except Refused as error:
            if error.args[0] == "other-key" and followed.closed:
                return None  # that was said
            followed.closed = error.args[0] == "other-key"
            raise
        place = (result.epoch, result.round)
        if place <= followed.last:
            raise Refused("replayed" if place < followed.last else "conflict")
        followed.last, followed.payload = place, payload
        if isinstance(result, RoundResult) and followed.opening == place:
            result = replace(result, latency_ms=(now - followed.opened_at) * 1000)
        return result

    def without_roster(self) -> list[str]:
        """Return the groups of which a result waits for the roster of its epoch."""
        return sorted(name for name, followed in self._groups.items() if followed.waiting is not None)
