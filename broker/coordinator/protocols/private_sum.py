"""The coordinator's side of a private sum: a sans-IO machine, events in, actions out (diagram in docs/architecture.md).

A round is open from the moment its opening is recorded until every member's contribution is in (the sum is published) or its
window has passed (the round is published as incomplete, with the missing names, and no sum).
"""

from dataclasses import dataclass
from hashlib import sha256

from agent.crypto.errors import CryptoError
from agent.joye_libert import parameters
from agent.joye_libert.packing import Packing, PackingError
from agent.protocols.private_sum import CONTRIBUTION_NONCE, READY_NONCE, nonce
from agent.wire import coordination, envelope, messages, topics
from agent.wire.envelope import Context, Envelope, EnvelopeError
from broker.coordinator import aggregation
from broker.coordinator.actions import Action, CloseRound, Contribution, Horizon, OpenRound, Publish, Saved

UPLOAD_MOST = 2048


class Refused(Exception):
    """An input is against the protocol. args[0] is the named reason."""


@dataclass(frozen=True)
class Place:
    """Where a machine works: the roster as signed, and what authenticating it gave."""

    deployment: str
    group: str
    epoch: int
    digest: bytes
    signed_roster: bytes
    roster: messages.Roster


@dataclass(frozen=True)
class Schedule:
    """Seconds: a round opens every `interval`, at most `patience` later if members still make masks; it is open for `window`.

    `rounds` ends the epoch after so many; None goes on for ever.
    """

    interval: float
    window: float
    patience: float
    rounds: int | None = None


class PrivateSum:
    """One group of one epoch. Times are seconds of one monotonic clock. `refused` counts refusals by named reason."""

    def __init__(self, place: Place, private: bytes, result_key: bytes, schedule: Schedule, saved: Saved) -> None:
        self.place = place
        self.refused: dict[str, int] = {}
        self._private = private
        self._result_key = result_key
        self._schedule = schedule
        self._parameters = parameters.load(place.roster.parameters)
        self._packing = Packing(place.roster.slots, len(place.roster.members), self._parameters.bits)
        self._keys = aggregation.Keys(private, place.roster, place.digest, self._parameters)
        self._factor: tuple[int, int] | None = None
        self._round = saved.next_round
        self._open_message = saved.open_message
        self._opened_at = 0.0
        self._closes_at = 0.0
        self._due_at: float | None = None
        self._current = {c.device: c for c in saved.open_contributions}
        self._previous = {c.device: c for c in saved.closed_contributions}
        self._last_result = saved.last_result
        self._horizons = saved.horizons

    @property
    def finished(self) -> bool:
        """Whether all scheduled rounds are closed."""
        rounds = self._schedule.rounds
        return rounds is not None and self._round >= rounds and self._open_message is None

    @property
    def next_round(self) -> int:
        """The open round, or the one to open next."""
        return self._round

    @property
    def ready_members(self) -> int:
        """How many members have a mask for the round to come, or the open one."""
        return sum(self._horizons.get(name, -1) >= self._round for name in self.place.roster.names())

    # -- events

    def link_up(self, now: float) -> list[Action]:
        """The link is (again) there: publish all that is retained, for a broker may have lost it."""
        actions: list[Action] = [Publish(self._group_topic("roster"), self.place.signed_roster, retain=True)]
        if self._last_result:
            actions.append(Publish(self._group_topic("result"), self._last_result, retain=True))
        if self._due_at is None:
            self._due_at = self._opened_at = now
        self._closes_at = now + self._schedule.window  # boards that lost the link too get the whole window again
        actions.append(Publish(self._group_topic("round"), self._open_message or b"", retain=True))
        return actions

    def message(self, device: str, kind: str, payload: bytes, now: float) -> list[Action]:
        """Take what `device` published to its `kind` topic."""
        try:
            if kind not in ("ready", "contribution") or device not in self._keys.round_keys:
                raise Refused("not-a-member" if kind in ("ready", "contribution") else "wrong-topic")
            if len(payload) > UPLOAD_MOST:
                raise Refused("oversized")
            parsed = Envelope(payload)
            if parsed.epoch != self.place.epoch:
                raise Refused("wrong-epoch")
            if kind == "ready":
                return self._on_ready(device, parsed)
            return self._on_contribution(device, parsed, payload, now)
        except (Refused, EnvelopeError, messages.MessageError) as error:
            self.refuse(error.args[0])
            return []

    def tick(self, now: float) -> list[Action]:
        """Time has passed: open the next round, or close the open one if its window is over or all are in."""
        if self._due_at is None or self.finished:
            return []
        if self._open_message is None:
            waiting = self.ready_members < len(self.place.roster.members)
            if now >= self._due_at + (self._schedule.patience if waiting else 0):
                return self._open(now)
            return []
        everyone = len(self._current) == len(self.place.roster.members)
        if everyone or now >= self._closes_at:
            return self._close(now)
        return []

    def prepare(self) -> None:
        """Idle time: compute what the open or next round's opening needs, before its contributions are there."""
        if self._factor is None or self._factor[0] != self._round:
            place = (self.place.deployment, self.place.group, self.place.epoch)
            factor = aggregation.unmask_factor(self._parameters, place, self._round, self._keys.exponent)
            self._factor = (self._round, factor)

    def refuse(self, reason: str) -> None:
        """Count one refusal."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    # -- messages

    def _on_ready(self, device: str, parsed: Envelope) -> list[Action]:
        if parsed.nonce != nonce(READY_NONCE, parsed.round):
            raise Refused("malformed")
        coordination.read_nothing(
            parsed.open(self._keys.round_keys[device], self._context("ready", parsed.round, device))
        )
        if parsed.round <= self._horizons.get(device, -1):
            raise Refused("replayed")
        return self._advance(device, parsed.round)

    def _advance(self, device: str, horizon: int) -> list[Action]:
        if horizon <= self._horizons.get(device, -1):
            return []
        self._horizons[device] = horizon
        return [Horizon(self.place.group, self.place.epoch, device, horizon)]

    def _on_contribution(self, device: str, parsed: Envelope, payload: bytes, now: float) -> list[Action]:
        digest = sha256(payload).digest()
        for known in (self._current.get(device), self._previous.get(device)):
            if known and known.round == parsed.round and known.digest == digest:
                self.refuse("duplicate")
                return [self._mail(known)]
        if parsed.round != self._round or self._open_message is None:
            raise Refused("late" if parsed.round < self._round else "early")
        if parsed.nonce != nonce(CONTRIBUTION_NONCE, parsed.round):
            raise Refused("malformed")
        context = self._context("contribution", parsed.round, device)
        plain = parsed.open(self._keys.round_keys[device], context)
        ciphertext, horizon = coordination.read_contribution(plain, self._parameters.residue_bytes)
        if not 0 < int.from_bytes(ciphertext, "big") < self._parameters.n**2:
            raise Refused("malformed")
        if device in self._current:
            raise Refused("conflict")
        context = Context(
            self.place.deployment, "receipt", self.place.group, parsed.epoch, parsed.round, topics.COORDINATOR, device
        )
        receipt = envelope.sign(self._private, context, coordination.receipt(digest))
        record = Contribution(
            self.place.group, self.place.epoch, parsed.round, device, digest, bytes(ciphertext), receipt
        )
        self._current[device] = record
        return [record, *self._advance(device, horizon), self._mail(record), *self.tick(now)]

    def _mail(self, record: Contribution) -> Publish:
        topic = topics.mail(self.place.deployment, self.place.group, record.device, topics.COORDINATOR)
        return Publish(topic, record.receipt)

    # -- rounds

    def _open(self, now: float) -> list[Action]:
        tags = [
            envelope.opening_tag(key, self._context("round", self._round, topics.COORDINATOR, name), self.place.digest)
            for name, key in self._keys.opening_keys.items()
        ]
        message = coordination.opening(self.place.epoch, self._round, self.place.digest, tags)
        self._open_message = message
        self._opened_at = now
        self._closes_at = now + self._schedule.window
        self._due_at = now + self._schedule.interval
        self._current = {}
        return [
            OpenRound(self.place.group, self.place.epoch, self._round, message),
            Publish(self._group_topic("round"), message, retain=True),
        ]

    def _close(self, now: float) -> list[Action]:
        members = self.place.roster.names()
        missing = [name for name in members if name not in self._current]
        status, sums = (coordination.INCOMPLETE, None) if missing else self._sums()
        sealed = self._seal(sums) if sums is not None else None
        payload = coordination.result(self.place.digest, status, missing, sealed)
        message = envelope.sign(self._private, self._context("result", self._round, topics.COORDINATOR, ""), payload)
        latency_ms = (now - self._opened_at) * 1000
        closed = CloseRound(self.place.group, self.place.epoch, self._round, status, missing, sums, message, latency_ms)
        self._open_message = None
        self._last_result = message
        self._previous, self._current = self._current, {}
        self._round += 1
        return [
            closed,
            Publish(self._group_topic("result"), message, retain=True),
            Publish(self._group_topic("round"), b"", retain=True),
        ]

    def _sums(self) -> tuple[int, list[int] | None]:
        self.prepare()
        assert self._factor
        try:
            ciphertexts = [c.ciphertext for c in self._current.values()]
            total = aggregation.open_sum(self._parameters, self._factor[1], ciphertexts)
            return coordination.COMPLETE, self._packing.unpack(total, len(ciphertexts))
        except (aggregation.WrongSum, PackingError, CryptoError):
            self.refuse("wrong-sum")
            return coordination.INVALID, None

    def _seal(self, sums: list[int]) -> bytes:
        """The sums are for the coordinator's clients, who hold the result key; the broker relays them and learns nothing."""
        context = self._context("sums", self._round, topics.COORDINATOR, "clients")
        return bytes(envelope.seal(self._result_key, self._result_nonce(), context, coordination.sums(sums)))

    def _result_nonce(self) -> bytes:
        # The result key outlives an epoch and serves all groups, so the nonce must name group, epoch and round at once.
        place = f"{self.place.deployment}/{self.place.group}/{self.place.epoch}/{self._round}"
        return sha256(place.encode()).digest()[:13]

    def _context(self, kind: str, round_number: int, sender: str, receiver: str = topics.COORDINATOR) -> Context:
        return Context(self.place.deployment, kind, self.place.group, self.place.epoch, round_number, sender, receiver)

    def _group_topic(self, kind: str) -> str:
        return str(topics.group(self.place.deployment, self.place.group, kind))
