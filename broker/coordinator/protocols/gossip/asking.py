"""Makes a query of a request: its number, its plan and its cost; or tells why it is not asked."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from agent.protocols.base.identity import Policy
from agent.protocols.gossip.admission import PACKET_MOST
from agent.protocols.gossip.functions import FunctionError
from agent.protocols.gossip.onion import proof
from agent.protocols.gossip.plan import Plan, PlanError
from agent.protocols.gossip.privacy.terms import PrivacyError
from agent.protocols.gossip.query_function import SEED, function_of, terms_of
from agent.wire import queries
from agent.wire.queries import Query
from broker.coordinator.protocols.gossip.leaders import BYZANTINE
from broker.coordinator.protocols.gossip.records import Request
from broker.coordinator.scope import Scope

HONEST_LEAST = Policy().contributors_least  # of boards whose authority signed them no other


class NotAsked(Exception):
    """The request is not asked of anybody. args[0] is the named reason."""


@dataclass(frozen=True)
class Asked:
    """`plan` is a Plan; `cost` in millionths of epsilon is what it takes from each board, None for
    a loss without bound."""

    query: Query
    plan: Any
    cost: int | None

    @property
    def text(self) -> bytes:
        """The digest of what all are asked alike: boards say it with what they send."""
        return sha256(self.query.encode()).digest()


def asked(
    request: Request, scope: Scope, tolerate: int, number: int, absent: int, unix_time: int, challenge: bytes
) -> Asked:
    """Make the query `number` of what is requested, with the bitmap of the `absent` members and a
    `challenge` drawn for it. Raises NotAsked."""
    living = len(scope.roster.members) - absent.bit_count()
    if living < tolerate + HONEST_LEAST:
        raise NotAsked("too-few")
    slot = next((slot for slot in scope.roster.slots if slot[0] == request.slot), None)
    if slot is None:
        raise NotAsked("unknown-slot")
    if number > queries.NUMBER_MOST:
        raise NotAsked("epoch-used-up")
    cost = None
    try:
        plan = _plan(request, scope, tolerate, number)
        if request.epsilon or request.record_epsilon:
            cost = terms_of(request, slot, tolerate, plan.groups, living).cost
    except (FunctionError, PlanError, PrivacyError) as error:
        raise NotAsked(error.args[0]) from None
    if plan.message_size > PACKET_MOST:
        raise NotAsked("too-large")
    what = (request.slot, request.function, request.parameters, request.between)
    noise = (request.epsilon, request.record_epsilon)
    query = Query(scope.epoch, number, scope.digest, *what, absent, request.period, unix_time, *noise, challenge)
    return Asked(query, plan, cost)


def _plan(request: Request, scope: Scope, tolerate: int, number: int) -> Any:
    function = function_of(request.function, request.parameters, request.between)
    return Plan(
        scope.roster.protocol,
        number,
        len(scope.roster.members),
        tolerate,
        function,
        seed_bytes=SEED if request.epsilon else 0,
        proof_bytes=proof.SIZE if scope.roster.protocol == BYZANTINE else 0,
    )
