"""What boards say of themselves, as it comes by MQTT. Nobody has authenticated it: it is told of
members only, the last of each, and steers nothing. No I/O."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.wire import coordination, topics
from agent.wire.messages import MessageError

PRESENCE_MOST = 64  # bytes
BOARDS_MOST = 1 << 14  # a reader's groups with as many members as a group may have


@dataclass
class Board:
    """What a board said last. `seen`, in Unix seconds, is when something was heard that it had not
    said before; None if all was retained. `masks` and `heap_free`, in bytes, are None before its
    first report; `health` has those of coordination.HEALTH that it told."""

    online: bool | None = None
    seen: float | None = None
    masks: int | None = None
    heap_free: int | None = None
    health: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether it can take part in the next round: it is there, and has a mask."""
        return bool(self.online and self.masks)


class Boards:
    """The boards of a deployment, of which those of groups' members are told. `refused` counts what
    was refused, by named reason; `coordinator` tells whether the coordinator says that it is there,
    None before it said anything."""

    def __init__(self, deployment: str) -> None:
        self.refused: Counter[str] = Counter()
        self.coordinator: bool | None = None
        self._deployment = deployment
        self._members: dict[str, tuple[str, ...]] = {}
        self._boards: dict[str, Board] = {}

    def filters(self) -> list[str]:
        """Return the topic filters to subscribe to."""
        every = [topics.device(self._deployment, "+", kind) for kind in ("state", "diag")]
        return [topics.coordinator_state(self._deployment), *every]

    def describe(self, group: str, members: Collection[str]) -> None:
        """These are the members of a group; there are none where it is gone."""
        self._members[group] = tuple(members)
        known = {name for names in self._members.values() for name in names}
        for name in self._boards.keys() - known:
            self._boards[name] = Board(self._boards[name].online)

    def of(self, group: str) -> list[Board]:
        """Return the boards of a group's members, as far as they were heard."""
        return [self._boards[name] for name in self._members.get(group, ()) if name in self._boards]

    def every(self) -> dict[str, Board]:
        """Return all members' boards that were heard, by name."""
        known = {name for names in self._members.values() for name in names}
        return {name: self._boards[name] for name in sorted(known & self._boards.keys())}

    def take(self, topic: str, payload: bytes, retained: bool, now: float) -> None:
        """Take what was heard at `now`, in Unix seconds."""
        try:
            match topics.split(topic):
                case [self._deployment, "coord", "state"]:
                    self.coordinator = _presence(payload)
                case [self._deployment, "dev", name, "state" | "diag" as kind]:
                    self._take(name, kind, payload, None if retained else now)
                case _:
                    raise MessageError("wrong-topic")
        except MessageError as error:
            self.refused[error.args[0]] += 1

    def _take(self, name: str, kind: str, payload: bytes, seen: float | None) -> None:
        is_member = any(name in names for names in self._members.values())
        if kind == "state":
            online = _presence(payload)
            if name not in self._boards and len(self._boards) >= BOARDS_MOST:
                raise MessageError("too-many-boards")
            # It may be retained, and come before the roster that makes it a member.
            board = self._boards.setdefault(name, Board())
            board.online = online
        elif is_member:
            _, _, _, masks, heap_free, _, health = coordination.read_diagnostics(payload)
            board = self._boards.setdefault(name, Board())
            board.masks, board.heap_free, board.health = masks, heap_free, health
        else:
            return
        if is_member and seen is not None:
            board.seen = seen


def _presence(payload: bytes) -> bool:
    """An empty payload takes back what was retained of who is gone."""
    if len(payload) > PRESENCE_MOST:
        raise MessageError("oversized")
    return coordination.read_presence(payload) if payload else False
