"""The coordinator's side of the toy protocol: a round is open until every board that said hello has
told, or its window is over."""

import time

from agent.crypto import p256
from agent.wire.envelope import Envelope
from broker.coordinator.actions import Action
from broker.coordinator.outgoing import Outgoing
from broker.coordinator.protocols.base import Workplace
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from broker.coordinator.upload_filter import Refused, Upload, UploadFilter
from tests.toy_protocol import wire
from tests.toy_protocol.coordinator.records import CloseRound, OpenRound, Saved

UPLOADS = {wire.HELLO: 256, wire.TALLY: 256}


class Toy:
    """One group of one epoch: events in, actions out."""

    def __init__(self, scope: Scope, workplace: Workplace, schedule: Schedule, saved: Saved) -> None:
        self.scope = scope
        self._filter = UploadFilter(scope, {wire.HELLO: self._on_hello, wire.TALLY: self._on_tally}, UPLOADS)
        self.refused = self._filter.refused
        self._least = wire.read_part(scope.roster.part)
        self._outgoing = Outgoing(scope, workplace.private, workplace.result_key)
        self._keys = {
            name: wire.up_key(p256.ecdh(workplace.private, public), scope.digest, name)
            for name, public in scope.roster.members
        }
        self._schedule = schedule
        self._round = saved.next_round
        self._opening = saved.opening
        self._last_result = saved.last_result
        self._here: set[str] = set()
        self._told: dict[str, int] = {}
        self._due_at: float | None = None
        self._closes_at = 0.0

    @property
    def finished(self) -> bool:
        rounds = self._schedule.rounds
        return rounds is not None and self._round >= rounds and self._opening is None

    @property
    def phase(self) -> str:
        return "open" if self._opening else "idle"

    @property
    def next_round(self) -> int:
        return self._round

    @property
    def ready(self) -> list[str]:
        return sorted(self._here)

    # -- events

    def link_up(self, now: float) -> list[Action]:
        if self._due_at is None:
            self._due_at = now
        self._closes_at = now + self._schedule.window
        actions: list[Action] = [self._outgoing.retained("roster", self.scope.signed_roster)]
        if self._last_result:
            actions.append(self._outgoing.retained("result", self._last_result))
        return [*actions, self._outgoing.retained(wire.TOPIC, self._opening or b"")]

    def message(self, device: str, kind: str, payload: bytes, now: float) -> list[Action]:
        actions = self._filter.take(device, kind, payload)
        return [] if actions is None else [*actions, *self.tick(now)]

    def presence(self, device: str, online: bool, now: float) -> list[Action]:
        if not online:
            self._here.discard(device)
        return self.tick(now)

    def tick(self, now: float) -> list[Action]:
        if self._due_at is None or self.finished:
            return []
        if self._opening is None:
            all_here = len(self._here) == len(self._keys)
            if now < self._due_at + (0 if all_here else self._schedule.patience):
                return []
            return self._open(now)
        if now < self._closes_at and not (self._here and self._here <= self._told.keys()):
            return []
        return self._close()

    def prepare(self) -> list[Action]:
        return []

    def computed(self, key: tuple[str, int, int], outcome: object, now: float) -> list[Action]:
        raise AssertionError("it has nothing computed")

    def end(self, now: float) -> list[Action]:
        return self._close() if self._opening else []

    # -- messages

    def _on_hello(self, upload: Upload) -> list[Action]:
        wire.read_hello(self._plain(wire.HELLO, upload))
        if upload.envelope.round:
            raise Refused("malformed")
        self._here.add(upload.device)
        return []

    def _on_tally(self, upload: Upload) -> list[Action]:
        if upload.envelope.round != self._round or self._opening is None:
            raise Refused("late" if upload.envelope.round < self._round else "early")
        letters = wire.read_tally(self._plain(wire.TALLY, upload))
        if letters >= len(self._keys):
            raise Refused("malformed")
        if upload.device in self._told:
            raise Refused("duplicate" if self._told[upload.device] == letters else "conflict")
        self._told[upload.device] = letters
        self._here.add(upload.device)
        return []

    def _plain(self, kind: str, upload: Upload) -> bytes:
        if upload.envelope.nonce != wire.nonce(kind, upload.envelope.round):
            raise Refused("malformed")
        context = self.scope.up(kind, upload.envelope.round, upload.device)
        return bytes(upload.envelope.open(self._keys[upload.device], context))

    # -- rounds

    def _open(self, now: float) -> list[Action]:
        seconds = max(1, int(self._schedule.window / 2))  # so that a tally comes before the window is over
        self._opening = self._outgoing.signed(wire.TOPIC, self._round, "", wire.opening(self.scope.digest, seconds))
        self._told = {}
        self._closes_at = now + self._schedule.window
        self._due_at = now + self._schedule.interval
        record = OpenRound(self.scope.group, self.scope.epoch, self._round, self._opening)
        return [record, self._outgoing.retained(wire.TOPIC, self._opening)]

    def _close(self) -> list[Action]:
        letters = sum(self._told.values()) if len(self._told) >= self._least else None
        counted = wire.count(self.scope.digest, len(self._told), letters)
        message = self._outgoing.signed("result", self._round, "", counted)
        place = (self.scope.group, self.scope.epoch, self._round)
        record = CloseRound(*place, message, len(self._told), letters, time.time())
        self._opening, self._last_result = None, message
        self._round += 1
        return [record, self._outgoing.retained("result", message), self._outgoing.retained(wire.TOPIC, b"")]


def result_of(scope: Scope, coordinator: bytes, message: bytes) -> tuple[int, int, int | None]:
    """Return (round, boards, letters) of a published result, as a client of the coordinator with
    this public key reads it."""
    parsed = Envelope(message)
    digest, boards, letters = wire.read_count(parsed.verify(coordinator, scope.down("result", parsed.round)))
    assert digest == scope.digest
    return parsed.round, boards, letters
