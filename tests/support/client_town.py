"""A deployment as those see it who read its results: an authority, a coordinator's key, groups of
either kind, and what the coordinator's own code publishes of them. No machine and no board."""

import os
from pathlib import Path
from typing import Any

from agent.crypto import p256
from agent.joye_libert import parameters
from agent.protocols.gossip.query_function import function_of
from agent.protocols.private_sum.roster_part import read_part
from agent.wire import coordination, topics
from agent.wire.queries import Query
from broker.authority.authority import Authority
from broker.client import Access
from broker.client.access import read_group
from broker.coordinator.protocols.gossip.outgoing import QueryOutgoing
from broker.coordinator.protocols.private_sum.arithmetic.aggregation import Secrets
from broker.coordinator.protocols.private_sum.outgoing import SumOutgoing
from broker.coordinator.protocols.private_sum.sets.in_force import Sets
from broker.coordinator.scope import Scope
from broker.wire import channel
from broker.wire.channel import Channel

DEPLOYMENT = "town"
NAMES = ["b0", "b1", "b2", "b3", "b4"]
SLOTS = [("load", 0, 1000), ("feed-in", -500, 0)]
PROTOCOLS = {"street": ("private-sum", "hum-2048"), "lane": ("gossip", "t1")}


class Town:
    """Its groups are `street`, of sums, and `lane`, of queries."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.init(folder / "authority", DEPLOYMENT)
        self.private = p256.generate(os.urandom)
        self.result_key = os.urandom(16)
        self.access = Access(DEPLOYMENT, bytes.fromhex(self.authority.public), self.result_key)
        for group in PROTOCOLS:
            for name in NAMES if group == "street" else (f"lane-{name}" for name in NAMES):
                self.authority.enrol(group, name, p256.public_key(p256.generate(os.urandom)).hex())
        self.scopes: dict[str, Scope] = {}
        for group in PROTOCOLS:
            self.sign(group)

    def sign(self, group: str, private: bytes | None = None) -> bytes:
        """Begin the next epoch of a group, of a coordinator that has the key `private` if not the
        same; return the roster."""
        self.private = private or self.private
        public = p256.public_key(self.private).hex()
        epoch, signed = self.authority.sign_roster(group, public, SLOTS, *PROTOCOLS[group])
        found = read_group(self.access, group, signed)
        self.scopes[group] = Scope(DEPLOYMENT, group, epoch, found.digest, signed, found.roster)
        return signed

    def roster(self, group: str = "street") -> bytes:
        return self.scopes[group].signed_roster

    def topic(self, kind: str, group: str = "street") -> str:
        return topics.group(DEPLOYMENT, group, kind)

    def told(self, gateway: bytes, kind: str, payload: bytes, group: str = "street") -> tuple[str, bytes]:
        """Topic and payload by which the coordinator tells this to the gateway with this public
        key."""
        gate = Channel(DEPLOYMENT, self.private, gateway, is_gateway=False)
        sealed = gate.seal(kind, group, 0 if kind == channel.TOLD else self.scopes[group].epoch, payload)
        return channel.topic(DEPLOYMENT, group, kind), sealed

    def result(
        self, number: int, sums: list[int] | None = None, missing: list[str] | None = None, **other: Any
    ) -> bytes:
        """A round's result: complete with these sums, incomplete without."""
        outgoing = self._outgoing(other.get("scope", self.scopes["street"]))
        status = coordination.COMPLETE if sums is not None else coordination.INCOMPLETE
        return outgoing.result(
            *(number, set(), other.get("status", status), (missing or []) if sums is not None else NAMES, sums),
            other.get("instant", 0),
        )

    def opening(self, number: int) -> bytes:
        return self._outgoing(self.scopes["street"]).opening(number, set(), 0, {}, 1700000000)

    def _outgoing(self, scope: Scope) -> SumOutgoing:
        """What says something of sums: clients know rosters, and no sets."""
        secrets = Secrets(self.private, scope, read_part(scope.roster.part), parameters.load(scope.roster.parameters))
        return SumOutgoing(scope, self.private, self.result_key, Sets(scope, secrets, {}))

    def outcome(self, number: int, state: list[int] | None, function: str = "sum", slot: str = "load") -> bytes:
        """A query's outcome: `state` is count, outside and the function's own."""
        scope = self.scopes["lane"]
        query = Query(scope.epoch, number, scope.digest, slot, function, [], None, 0, 1000, 1700000000, 0, 0, bytes(16))
        answer = None
        if state is not None:
            answer = (state[0], state[1], bytes(function_of("sum", [], None).encode(tuple(state))))
        return QueryOutgoing(scope, self.private, self.result_key, {}).outcome(query, answer)
