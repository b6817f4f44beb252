"""The coordinator's side of anonymous queries: a sans-IO machine, events in, actions out (diagram
in docs/develop/architecture.md).

Requests wait in order. One is open at a time: asked of all members at once, and over when all
leaders have sent their group's result, or when the schedule, which is public, has run out. An
answer that is not believed (broker/coordinator/protocols/gossip/leaders.py) is told nobody.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agent.crypto import p256
from agent.protocols.gossip import signing
from agent.protocols.gossip.group import tolerated
from agent.protocols.gossip.inquiry import aggregate_nonce
from agent.protocols.gossip.pair_keys import query_keys, ready_nonce
from agent.wire import answers, messages, queries
from broker.coordinator.actions import LOST, Action, Compute
from broker.coordinator.protocols.gossip import records
from broker.coordinator.protocols.gossip.asking import Asked, NotAsked, asked
from broker.coordinator.protocols.gossip.blind_signer import sign_all
from broker.coordinator.protocols.gossip.leaders import Leaders, NoAnswer
from broker.coordinator.protocols.gossip.outgoing import QueryOutgoing
from broker.coordinator.protocols.gossip.records import CloseQuery, OpenQuery, Request, Saved
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from broker.coordinator.upload_filter import Refused, Upload, UploadFilter

_MOST = 2048 + answers.STATE_MOST
UPLOADS = {"ready": _MOST, "aggregate": _MOST, "blind": _MOST}  # the most bytes of each kind
SIGN_S = 60.0  # what the signatures for 64 boards may take, some 0.1 s by themselves
GRACE_S = 1.0  # what a leader's result may take to get here


@dataclass(frozen=True)
class Open:
    """The query that is open, for which request, and what its leaders have sent. It is over at
    `ends_at` at the latest."""

    request: int
    asked: Asked
    leaders: Leaders
    opened_at: float
    ends_at: float


class Gossip:
    """One group of one epoch. Times are seconds of one monotonic clock, but for `unix_time()`,
    which boards are told, and random(k) returns k random bytes. `refused` counts refusals by named
    reason. Of the schedule only the patience with boards that make their keys is a query's."""

    def __init__(
        self,
        scope: Scope,
        private: bytes,
        result_key: bytes,
        schedule: Schedule,
        saved: Saved,
        unix_time: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.scope = scope
        takers = {"ready": self._on_ready, "aggregate": self._on_aggregate, "blind": self._on_blind}
        self._filter = UploadFilter(scope, takers, UPLOADS)
        self.refused = self._filter.refused
        self._tolerate = tolerated(scope.roster.parameters)
        self._keys: dict[str, bytes] = {}
        query_tag_keys: dict[str, bytes] = {}
        for name, public in scope.roster.members:
            self._keys[name], query_tag_keys[name] = query_keys(p256.ecdh(private, public), scope.digest, name)
        self._outgoing = QueryOutgoing(scope, private, result_key, query_tag_keys)
        self._patience = schedule.patience
        self._unix_time = unix_time
        self._random = random
        self._names = scope.roster.names()
        self._number = saved.last_number
        self._left_open = saved.open_request
        self._last_outcome = saved.last_outcome
        self._waiting: list[Request] = []
        self._ready: set[str] = set()
        self._offline: set[str] = set()
        self.signs_in: Path | None = None  # the folder of what signs tuples, in gossip-bft
        self._to_sign: dict[str, bytes] = {}  # by device: what waits to be signed
        self._being_signed: dict[str, bytes] = {}
        self._signed: dict[str, tuple[bytes, bytes]] = {}  # of the open query: request, signature
        # Requests that were begun or refused, and may still be read as waiting.
        self._taken: set[int] = set()
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
    def ready(self) -> list[str]:
        """Which members have their keys and are online."""
        return sorted(self._ready - self._offline)

    # -- events

    def link_up(self, now: float) -> list[Action]:
        """The link is (again) there: publish all that is retained, for a broker may have lost
        it."""
        if self._since is None:
            self._since = now
        actions: list[Action] = [self._outgoing.retained("roster", self.scope.signed_roster)]
        if self._last_outcome:
            actions.append(self._outgoing.retained("result", self._last_outcome))
        return actions

    def ask(self, waiting: Sequence[Request]) -> None:
        """These requests wait, in this order. One that waited before and is not among them is not
        asked any more: who wanted the answer has given up, and boards have a budget."""
        self._taken &= {request.id for request in waiting}
        self._waiting = [request for request in waiting if request.id not in self._taken]

    def quote(self, request: Request) -> int | None:
        """Return what a request would cost each board, were all there: millionths of epsilon, None
        for a loss without bound. Raises NotAsked."""
        return asked(request, self.scope, self._tolerate, self._number + 1, 0, 0, bytes(queries.CHALLENGE)).cost

    def message(self, device: str, kind: str, payload: bytes, now: float) -> list[Action]:
        """Take what `device` published to its `kind` topic."""
        actions = self._filter.take(device, kind, payload)
        return [] if actions is None else [*actions, *self.tick(now)]

    def presence(self, device: str, online: bool, now: float) -> list[Action]:
        """`device`, or its last will, says whether it is online: who is not is announced absent.
        Who is no member is ignored."""
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
            return self._close(self._open, now) if self._open.leaders.answered() or now >= self._open.ends_at else []
        if self._waiting and self._since is not None and self._may_open(self._since, now):
            request = self._waiting.pop(0)
            self._taken.add(request.id)
            return self._begin(request, now)
        return []

    def prepare(self) -> list[Action]:
        """There is nothing to compute ahead."""
        return []

    def computed(self, key: tuple[str, int, int], outcome: Any, now: float) -> list[Action]:
        """Requests were signed, or refused, or LOST: a board asks again."""
        requests, self._being_signed = self._being_signed, {}
        actions: list[Action] = []
        for device, signature in [] if outcome is LOST else outcome:
            if isinstance(signature, str):
                self._filter.refuse(signature)
            else:
                if key[1] == self._number:
                    self._signed[device] = (requests[device], signature)
                actions.append(self._outgoing.signature(key[1], device, signature))
        return [*actions, *self._sign(), *self.tick(now)]

    def end(self, now: float) -> list[Action]:
        """The epoch is over: close the query that is open, with what there is."""
        left = self.tick(now) if self._left_open is not None else []
        return [*left, *self._close(self._open, now)] if self._open else left

    # -- messages

    def _on_ready(self, upload: Upload) -> list[Action]:
        if upload.envelope.nonce != ready_nonce() or upload.envelope.round:
            raise Refused("malformed")
        messages.read_nothing(self._opened("ready", upload))
        self._ready.add(upload.device)
        return []

    def _on_blind(self, upload: Upload) -> list[Action]:
        number = upload.envelope.round
        if self._open is None or number != self._number or self.signs_in is None:
            raise Refused("late")
        if upload.envelope.nonce != signing.blind_nonce(number):
            raise Refused("malformed")
        request, text = signing.read_request(self._opened("blind", upload))
        if text != self._open.asked.text:
            raise Refused("other-text")
        for waiting in (self._to_sign, self._being_signed):
            if upload.device in waiting:
                raise Refused("duplicate" if waiting[upload.device] == request else "second")
        if (done := self._signed.get(upload.device)) and done[0] == request:
            return [self._outgoing.signature(number, upload.device, done[1])]
        self._to_sign[upload.device] = request
        return self._sign()

    def _sign(self) -> list[Action]:
        """Have all signed that waits, if nothing is being signed: each signature is a power, and on
        the disk before it leaves."""
        if self.signs_in is None or self._being_signed or not self._to_sign:
            return []
        self._being_signed, self._to_sign = self._to_sign, {}
        requests = list(self._being_signed.items())
        job = partial(sign_all, self.signs_in, self.scope.group, self.scope.epoch, self._number, requests)
        return [Compute(("sign", self._number, 0), job, SIGN_S)]

    def _on_aggregate(self, upload: Upload) -> list[Action]:
        number = upload.envelope.round
        if self._open is None or number != self._number:
            raise Refused("late")
        size = self._open.asked.plan.partial_size + 2
        leader, data, text = answers.read_aggregate(self._opened("aggregate", upload), size)
        if upload.envelope.nonce != aggregate_nonce(leader, number):
            raise Refused("malformed")
        if text != self._open.asked.text:
            raise Refused("other-text")
        self._open.leaders.take(upload.device, leader, data)
        return []

    def _opened(self, kind: str, upload: Upload) -> bytes:
        context = self.scope.up(kind, upload.envelope.round, upload.device)
        return bytes(upload.envelope.open(self._keys[upload.device], context))

    # -- queries

    def _may_open(self, since: float, now: float) -> bool:
        waited_for = set(self._names) - self._ready - self._offline
        return not waited_for or now >= since + self._patience

    def _begin(self, request: Request, now: float) -> list[Action]:
        there = self._ready - self._offline
        absent = sum(1 << index for index, name in enumerate(self._names) if name not in there)
        try:
            drawn = int(self._unix_time()), self._random(queries.CHALLENGE)
            chosen = asked(request, self.scope, self._tolerate, self._number + 1, absent, *drawn)
        except NotAsked as error:
            return [CloseQuery(request.id, records.REFUSED, error.args[0])]
        self._number += 1
        self._to_sign, self._signed = {}, {}
        periods = chosen.plan.deadlines + (signing.periods(request.period) if chosen.plan.proof_bytes else 0)
        ends_at = now + request.period * periods / 1000 + GRACE_S
        leaders = Leaders(chosen.plan, self._names, absent, self._tolerate)
        self._open = Open(request.id, chosen, leaders, now, ends_at)
        message = self._outgoing.query(chosen.query)
        scope = (self.scope.group, self.scope.epoch, self._number)
        return [OpenQuery(*scope, request.id, message, chosen.cost), self._outgoing.to_all("query", message)]

    def _close(self, current: Open, now: float) -> list[Action]:
        self._open = None
        answer, reason = None, None
        try:
            state = current.leaders.state()
            answer = (state[0], state[1], bytes(current.asked.plan.function.encode(state)))
        except NoAnswer as error:
            reason = error.args[0]
            self._filter.refuse(reason)
        outcome = self._outgoing.outcome(current.asked.query, answer)
        self._last_outcome = outcome
        status = records.INCOMPLETE if answer is None else records.COMPLETE
        count, outside, encoded = answer or (None, None, None)
        latency_ms = (now - current.opened_at) * 1000
        closed = CloseQuery(current.request, status, reason, count, outside, encoded, outcome, latency_ms)
        return [closed, self._outgoing.retained("result", outcome)]
