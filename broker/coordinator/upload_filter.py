"""The filter of all uploads, whatever the protocol: it knows who may send what and how much of it,
and counts refusals."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from agent.wire import messages
from agent.wire.envelope import Envelope, EnvelopeError
from broker.coordinator.actions import Action
from broker.coordinator.scope import Scope

log = logging.getLogger("hum.coordinator")

# What honest boards have refused every day, of no use any more: an answer when the sum is open, a
# message that a broker or a board repeats, what was kept for who links again, what was said of the
# roster or set before, what the broker kept of who is gone.
USUAL = frozenset({"late", "duplicate", "replayed", "wrong-epoch", "other-active", "cleared"})


class Refused(Exception):
    """An input is against the protocol. args[0] is the named reason."""


@dataclass(frozen=True)
class Upload:
    """What a member sent for this epoch; its envelope is not authenticated yet. `digest` is the
    SHA-256 of the whole of it."""

    device: str
    envelope: Envelope
    digest: bytes


class UploadFilter:
    """Hands each upload to the one of `takers` for its kind, of which `most` says how many bytes it
    may have. A taker that does not take it raises Refused, EnvelopeError or MessageError. `refused`
    counts refusals by named reason."""

    def __init__(
        self, scope: Scope, takers: Mapping[str, Callable[[Upload], list[Action]]], most: Mapping[str, int]
    ) -> None:
        self.refused: dict[str, int] = {}
        self._epoch = scope.epoch
        self._members = frozenset(scope.roster.names())
        self._takers = takers
        self._most = most

    def take(self, device: str, kind: str, payload: bytes) -> list[Action] | None:
        """Return what comes of what `device` published to its `kind` topic; None if that was
        refused, and counted."""
        try:
            if kind not in self._takers:
                raise Refused("wrong-topic")
            return self._takers[kind](self._read(device, payload, self._most[kind]))
        except (Refused, EnvelopeError, messages.MessageError) as error:
            self.refuse(error.args[0])
            return None

    def refuse(self, reason: str) -> None:
        """Count one refusal."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _read(self, device: str, payload: bytes, most: int) -> Upload:
        if device not in self._members:
            raise Refused("not-a-member")
        if len(payload) > most:
            raise Refused("oversized")
        envelope = Envelope(payload)
        if envelope.epoch != self._epoch:
            raise Refused("wrong-epoch")
        return Upload(device, envelope, sha256(payload).digest())


class Refusals:
    """What has been refused of each group, "" for none, and is counted and logged already."""

    def __init__(self) -> None:
        self._told: dict[str, Counter[str]] = {}

    def new(self, group: str, refused: Mapping[str, int]) -> dict[str, int]:
        """Return what was refused since this was asked last, of all that was `refused`."""
        new = Counter(refused) - self._told.get(group, Counter())
        if new:
            self._told[group] = Counter(refused)
        for reason, count in new.items():
            level = logging.DEBUG if reason in USUAL else logging.WARNING
            log.log(level, "refused %d%s: %s", count, f" of {group}" if group else "", reason)
        return dict(new)

    def forget(self, group: str) -> None:
        """A group counts anew."""
        self._told.pop(group, None)
