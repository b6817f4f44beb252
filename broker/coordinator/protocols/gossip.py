"""The coordinator's side of anonymous queries: a sans-IO machine, events in, actions out (diagram in docs/architecture.md).

Requests wait in order. One is open at a time: asked of all members at once, and over when all leaders have sent their group's result,
or when the schedule, which is public, has run out. agent/gossip/results.py says which result is taken. One that lacks more tuples than
failures are tolerated, or that another leader contradicts, is told nobody.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from agent import protocols
from agent.crypto import p256
from agent.crypto.errors import CryptoError
from agent.gossip import proof, results, signing
from agent.gossip.admission import PACKET_MOST
from agent.gossip.asked import SEED, function_of, terms_of
from agent.gossip.functions import FunctionError
from agent.gossip.group import tolerated
from agent.gossip.inquiry import aggregate_nonce
from agent.gossip.pair_keys import query_keys
from agent.gossip.plan import Plan, PlanError
from agent.gossip.privacy import PrivacyError
from agent.protocols.gossip import ready_nonce
from agent.wire import answers, envelope, messages, queries, topics
from agent.wire.envelope import Envelope, EnvelopeError
from agent.wire.queries import Query
from broker.coordinator import queries as records
from broker.coordinator.actions import Action, Publish, Saved
from broker.coordinator.blind_signer import BlindSigner, BlindSignerError
from broker.coordinator.place import Place
from broker.coordinator.protocols.private_sum import Schedule
from broker.coordinator.queries import CloseQuery, OpenQuery, Request
from broker.coordinator.uploads import UPLOAD_MOST, Refused

MEMBERS_LEAST = 3
SURVEYING = "gossip-flood"
BYZANTINE = "gossip-bft"  # whose leaders may lie, up to a number that the rule of acceptance knows
GRACE_S = 1.0  # what a leader's result may take to get here


@dataclass
class Open:
    """The request that is open, its Query and Plan, the leaders' virtual ids by group, and their results by group. It is over at
    `ends_at` at the latest."""

    request: Request
    query: Query
    plan: Any
    leaders: dict[int, int]
    opened_at: float
    ends_at: float
    results: dict[int, bytes]


class Gossip:
    """One group of one epoch. Times are seconds of one monotonic clock, but for `unix_time()`, which boards are told. `refused`
    counts refusals by named reason. Of the schedule only the patience with boards that make their keys is a query's."""

    def __init__(
        self,
        place: Place,
        private: bytes,
        result_key: bytes,
        schedule: Schedule,
        saved: Saved,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self.place = place
        self.refused: dict[str, int] = {}
        self._private = private
        self._result_key = result_key
        self._patience = schedule.patience
        self._unix_time = unix_time
        self._names = place.roster.names()
        try:
            self._tolerate = tolerated(place.roster.parameters)
        except protocols.Refused as error:
            raise CryptoError(error.args[0]) from None
        self._keys = {
            name: query_keys(p256.ecdh(private, public), place.digest, name) for name, public in place.roster.members
        }
        self._number = saved.queries.last_number
        self._left_open = saved.queries.open_request
        self._last_outcome = saved.queries.last_outcome
        self._waiting: deque[Request] = deque()
        self._known: set[int] = set()
        self._ready: set[str] = set()
        self._offline: set[str] = set()
        self.signer: BlindSigner | None = None  # of gossip-bft
        self._open: Open | None = None
        self._since: float | None = None

    @property
    def finished(self) -> bool:
        """There may always be another query."""
        return False

    @property
    def phase(self) -> str:
        """Between queries "idle", else "open"."""
        return "open" if self._open else "idle"

    @property
    def next_round(self) -> int:
        """The number of the query that is open, or of the next one."""
        return self._number + (self._open is None)

    @property
    def ready_members(self) -> int:
        """How many members have their keys and are online."""
        return len(self._ready - self._offline)

    # -- events

    def link_up(self, now: float) -> list[Action]:
        """The link is (again) there: publish all that is retained, for a broker may have lost it."""
        if self._since is None:
            self._since = now
        actions: list[Action] = [Publish(self.place.topic("roster"), self.place.signed_roster, retain=True)]
        if self._last_outcome:
            actions.append(Publish(self.place.topic("result"), self._last_outcome, retain=True))
        return actions

    def ask(self, request: Request) -> None:
        """Somebody asks. The same request again changes nothing."""
        if request.id not in self._known:
            self._known.add(request.id)
            self._waiting.append(request)

    def message(self, device: str, kind: str, payload: bytes, now: float) -> list[Action]:
        """Take what `device` published to its `kind` topic."""
        try:
            parsed = self._parse(device, kind, payload)
            if kind == "blind":
                return self._on_blind(device, parsed)
            if kind == "ready":
                self._on_ready(device, parsed)
            else:
                self._on_aggregate(device, parsed)
        except (Refused, EnvelopeError, messages.MessageError, BlindSignerError) as error:
            self.refuse(error.args[0])
            return []
        return self.tick(now)

    def presence(self, device: str, online: bool, now: float) -> list[Action]:
        """`device`, or its last will, says whether it is online: who is not is announced absent. Who is no member is ignored."""
        if device in self._keys:
            (self._offline.discard if online else self._offline.add)(device)
        return self.tick(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed: open the next query, or end the one that is open."""
        if self._left_open is not None:
            # Its schedule went on without this process, and the results of the leaders are gone.
            number, self._left_open = self._left_open, None
            return [CloseQuery(number, records.INCOMPLETE, "restarted")]
        if self._open:
            answered = self._open.results.keys() >= self._open.leaders.keys() or self._agreed(self._open)
            return self._close(self._open, now) if answered or now >= self._open.ends_at else []
        if self._waiting and self._since is not None and self._may_open(now):
            return self._begin(self._waiting.popleft(), now)
        return []

    def prepare(self) -> None:
        """There is nothing to compute ahead."""

    def refuse(self, reason: str) -> None:
        """Count one refusal."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    # -- messages

    def _parse(self, device: str, kind: str, payload: bytes) -> Envelope:
        if kind not in ("ready", "aggregate", "blind"):
            raise Refused("wrong-topic")
        if device not in self._keys:
            raise Refused("not-a-member")
        if len(payload) > UPLOAD_MOST + answers.STATE_MOST:
            raise Refused("oversized")
        parsed = Envelope(payload)
        if parsed.epoch != self.place.epoch:
            raise Refused("wrong-epoch")
        return parsed

    def _on_ready(self, device: str, parsed: Envelope) -> None:
        if parsed.nonce != ready_nonce() or parsed.round:
            raise Refused("malformed")
        messages.read_nothing(parsed.open(self._keys[device][0], self.place.up("ready", 0, device)))
        self._ready.add(device)

    def _on_blind(self, device: str, parsed: Envelope) -> list[Action]:
        current = self._open
        if current is None or parsed.round != current.query.number or self.signer is None:
            raise Refused("late")
        if parsed.nonce != signing.blind_nonce(parsed.round):
            raise Refused("malformed")
        plain = parsed.open(self._keys[device][0], self.place.up("blind", parsed.round, device))
        place = self.place
        answer = self.signer.sign(place.group, place.epoch, parsed.round, device, signing.read_request(plain))
        return [Publish(place.mailbox(device), bytes(signing.encode_answer(place.epoch, parsed.round, answer)))]

    def _on_aggregate(self, device: str, parsed: Envelope) -> None:
        current = self._open
        if current is None or parsed.round != current.query.number:
            raise Refused("late")
        plain = parsed.open(self._keys[device][0], self.place.up("aggregate", parsed.round, device))
        plan = current.plan
        leader, data = answers.read_aggregate(plain, plan.partial_size + 2)
        if parsed.nonce != aggregate_nonce(leader, parsed.round):
            raise Refused("malformed")
        if leader >= plan.n or self._names[self._index(leader)] != device:
            raise Refused("not-a-leader")
        group = plan.group_of(leader)
        # A survey may have found the first of a group dead: then it is led by another, and the boards know by whom.
        if current.leaders.get(group) != leader and plan.protocol != SURVEYING:
            raise Refused("not-a-leader")
        if group in current.results:
            raise Refused("duplicate" if current.results[group] == data else "conflict")
        if results.read(plan, data) is None:
            raise Refused("malformed")
        current.results[group] = data

    # -- queries

    def _may_open(self, now: float) -> bool:
        assert self._since is not None
        waited_for = set(self._names) - self._ready - self._offline
        return not waited_for or now >= self._since + self._patience

    def _begin(self, request: Request, now: float) -> list[Action]:
        living = [name for name in self._names if name in self._ready and name not in self._offline]
        if len(living) < MEMBERS_LEAST:
            return [CloseQuery(request.id, records.REFUSED, "too-few")]
        slot = next((slot for slot in self.place.roster.slots if slot[0] == request.slot), None)
        if slot is None:
            return [CloseQuery(request.id, records.REFUSED, "unknown-slot")]
        if self._number >= queries.NUMBER_MOST:
            return [CloseQuery(request.id, records.REFUSED, "epoch-used-up")]
        number = self._number + 1
        try:
            function = function_of(request.function, request.parameters, request.between)
            name = self.place.roster.protocol
            seed_bytes, proof_bytes = SEED if request.epsilon else 0, proof.SIZE if name == BYZANTINE else 0
            members = len(self._names)
            plan = Plan(name, number, members, self._tolerate, function, seed_bytes=seed_bytes, proof_bytes=proof_bytes)
            cost = None
            if request.epsilon or request.record_epsilon:
                cost = terms_of(request, slot, self._tolerate, plan.groups, len(living)).cost
        except (FunctionError, PlanError, PrivacyError) as error:
            return [CloseQuery(request.id, records.REFUSED, error.args[0])]
        if plan.message_size > PACKET_MOST:
            return [CloseQuery(request.id, records.REFUSED, "too-large")]
        self._number = number
        absent = sum(1 << index for index, name in enumerate(self._names) if name not in living)
        asked = (request.slot, request.function, request.parameters, request.between)
        place = self.place
        told = (absent, request.period, int(self._unix_time()), request.epsilon, request.record_epsilon)
        query = Query(place.epoch, number, place.digest, *asked, *told)
        message = self._message(query)
        periods = plan.deadlines + (signing.periods(request.period) if plan.proof_bytes else 0)
        ends_at = now + request.period * periods / 1000 + GRACE_S
        self._open = Open(request, query, plan, self._leaders(plan, absent), now, ends_at, {})
        return [
            OpenQuery(place.group, place.epoch, number, request.id, message, cost),
            Publish(place.topic("query"), message),
        ]

    def _message(self, query: Query) -> bytes:
        body = query.encode()
        tags = [
            queries.query_tag(key, self.place.down("query", query.number, name), body)
            for name, (_, key) in self._keys.items()
        ]
        return bytes(answers.query(body, tags))

    def _leaders(self, plan: Plan, absent: int) -> dict[int, int]:
        """Return the leader of each group that has one: the first virtual id in it that is not announced absent."""
        leaders: dict[int, int] = {}
        for node in range(plan.n):
            if not absent >> self._index(node) & 1:
                leaders.setdefault(plan.group_of(node), node)
        return leaders

    def _index(self, node: int) -> int:
        return node if node < len(self._names) else node - len(self._names)

    @staticmethod
    def _agreed(current: Open) -> bool:
        """Tell whether no further leader can change the answer: in gossip-bft more groups than can be faulty have said the same."""
        if current.plan.protocol != BYZANTINE:
            return False
        try:
            results.accept(current.plan, current.results)
        except results.NotAccepted:
            return False
        return True

    def _close(self, current: Open, now: float) -> list[Action]:
        self._open = None
        status, reason, state = self._accept(current)
        count = outside = encoded = sealed = None
        if state is None:
            self.refuse(reason or records.INCOMPLETE)
        else:
            count, outside, encoded = state[0], state[1], bytes(current.plan.function.encode(state))
            sealed = self._sealed(current.query, count, outside, encoded)
        told = answers.INCOMPLETE if state is None else answers.COMPLETE
        payload = answers.outcome(self.place.digest, told, sealed)
        outcome = bytes(envelope.sign(self._private, self.place.down("outcome", current.query.number), payload))
        self._last_outcome = outcome
        latency_ms = (now - current.opened_at) * 1000
        closed = CloseQuery(current.request.id, status, reason, count, outside, encoded, outcome, latency_ms)
        return [closed, Publish(self.place.topic("result"), outcome, retain=True)]

    def _accept(self, current: Open) -> tuple[str, str | None, tuple[int, ...] | None]:
        """Return (status, why there is no answer, the state that is accepted)."""
        try:
            _, count, _, state = results.accept(current.plan, current.results)
        except results.NotAccepted as error:
            return records.INCOMPLETE, error.args[0], None
        living = len(self._names) - current.query.absent.bit_count()
        if count < living - self._tolerate:
            return records.INCOMPLETE, "too-many-failed", None
        found = [results.read(current.plan, data) for data in current.results.values()]
        if current.plan.protocol != BYZANTINE and any(one[1] == count and one[3] != state for one in found):
            return records.INCOMPLETE, "leaders-disagree", None  # crashes alone do not lead to this
        return records.COMPLETE, None, state

    def _sealed(self, query: Query, count: int, outside: int, state: bytes) -> bytes:
        """Seal the answer for the clients, who hold the result key; the broker relays it and learns nothing."""
        answer = answers.Answer(
            query.number, query.slot, query.function, query.parameters, query.between, count, outside, state
        )
        context = self.place.context("answer", query.number, topics.COORDINATOR, "clients")
        # As a sum's: the result key outlives an epoch and serves all groups. "answer" keeps it apart from a sum's.
        place = f"answer/{self.place.deployment}/{self.place.group}/{self.place.epoch}/{query.number}"
        return bytes(envelope.seal(self._result_key, sha256(place.encode()).digest()[:13], context, answer.encode()))
