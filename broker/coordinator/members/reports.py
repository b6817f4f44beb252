"""What boards say of their health. Diagnostics are not authenticated: of members only, the last of
each, and they steer nothing."""

import time
from collections.abc import Collection
from typing import Any

from agent.wire import coordination, messages
from broker.coordinator.commits import Commits
from broker.storage.storage import Health

HEALTH_S = 10.0  # between two records


class Reports:
    """The reports that wait to be recorded by `commits`."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._health: Health = {}
        self._due = 0.0

    def hear(self, device: str, payload: bytes, members: Collection[str]) -> list[str]:
        """Take what `device` says; return why it is refused, if it is."""
        if device not in members:
            return ["not-a-member"]
        try:
            phase, done, total, masks, heap_free, refused, health = coordination.read_diagnostics(payload)
        except messages.MessageError as error:
            return [error.args[0]]
        report: dict[str, object] = {
            "phase": phase,
            "done": done,
            "total": total,
            "masks": masks,
            "heap_free": heap_free,
        }
        report |= health
        if isinstance(reset := health.get("reset"), int):
            report["reset"] = coordination.RESETS[reset]
        self._health[device] = (time.time(), report | {"refused": refused})
        return []

    def of(self, device: str) -> dict[str, Any]:
        """Return what `device` has just said."""
        return self._health[device][1]

    def count(self) -> int:
        """Return of how many boards a report waits."""
        return len(self._health)

    def note(self, now: float) -> None:
        """Have recorded what was heard, if it is time; `now` is of a monotonic clock."""
        if self._health and now >= self._due:
            self._commits.note_health(self._health)
            self._health = {}
            self._due = now + HEALTH_S

    def note_last(self) -> None:
        """Have recorded what was heard."""
        self._due = 0.0
        self.note(0.0)
