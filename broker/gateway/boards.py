"""What members' boards say of themselves, as it comes by MQTT. Nobody has authenticated it: it is
kept of members only, the last of each, and steers nothing. No I/O."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.wire import coordination, topics
from agent.wire.messages import MessageError

PRESENCE_MOST = 64  # bytes


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
    """The boards of a deployment that are members of a group. `refused` counts what was refused, by
    named reason."""

    def __init__(self, deployment: str) -> None:
        self.refused: Counter[str] = Counter()
        self._deployment = deployment
        self._members: dict[str, tuple[str, ...]] = {}
        self._boards: dict[str, Board] = {}

    def filters(self) -> list[str]:
        """Return the topic filters to subscribe to."""
        return [topics.device(self._deployment, "+", kind) for kind in ("state", "diag")]

    def describe(self, group: str, members: Collection[str]) -> None:
        """Keep what is said by these members of a group; by none, where it is gone."""
        self._members[group] = tuple(members)
        known = {name for names in self._members.values() for name in names}
        self._boards = {name: self._boards.get(name, Board()) for name in sorted(known)}

    def of(self, group: str) -> list[Board]:
        """Return the boards of a group's members."""
        return [self._boards[name] for name in self._members.get(group, ())]

    def every(self) -> Mapping[str, Board]:
        """Return all members' boards by name."""
        return self._boards

    def take(self, topic: str, payload: bytes, retained: bool, now: float) -> None:
        """Take what was heard at `now`, in Unix seconds."""
        match topics.split(topic):
            case [self._deployment, "dev", name, "state" | "diag" as kind]:
                board = self._boards.get(name)
            case _:
                self.refused["wrong-topic"] += 1
                return
        if board is None:
            self.refused["not-a-member"] += 1
            return
        try:
            if kind == "state":
                _take_presence(board, payload)
            else:
                _take_report(board, payload)
        except MessageError as error:
            self.refused[error.args[0]] += 1
            return
        if not retained:
            board.seen = now


def _take_presence(board: Board, payload: bytes) -> None:
    if len(payload) > PRESENCE_MOST:
        raise MessageError("oversized")
    # An empty one takes back what was retained of a board that is gone.
    board.online = coordination.read_presence(payload) if payload else False


def _take_report(board: Board, payload: bytes) -> None:
    _, _, _, masks, heap_free, _, health = coordination.read_diagnostics(payload)
    board.masks, board.heap_free, board.health = masks, heap_free, health
