"""What the coordinator's process asks of a machine, whatever its protocol."""

from typing import Any, Protocol

from broker.coordinator.actions import Action
from broker.coordinator.scope import Scope


class Machine(Protocol):
    """One group of one epoch: events in, actions out. Times are seconds of one monotonic clock.

    `refused` counts refusals by named reason, `finished` tells whether nothing will happen any
    more, `phase` is for people; `next_round` is the round or query in progress, or the next one;
    `ready` names who could take part in it. end() closes what is in progress, as it stands:
    the epoch is over.
    """

    scope: Scope
    refused: dict[str, int]

    @property
    def finished(self) -> bool: ...

    @property
    def phase(self) -> str: ...

    @property
    def next_round(self) -> int: ...

    @property
    def ready(self) -> list[str]: ...

    def link_up(self, now: float) -> list[Action]: ...

    def message(self, device: str, kind: str, payload: bytes, now: float) -> list[Action]: ...

    def presence(self, device: str, online: bool, now: float) -> list[Action]: ...

    def tick(self, now: float) -> list[Action]: ...

    def prepare(self) -> list[Action]: ...

    def computed(self, key: tuple[str, int, int], outcome: Any, now: float) -> list[Action]: ...

    def end(self, now: float) -> list[Action]: ...
