"""Admission of a query: a board checks it, takes up its terms, and adds the noise to its value.
Loaded with the first query."""

from hashlib import sha256

from agent.protocols.base import Refused, actions, check_tag
from agent.protocols.gossip.functions import FunctionError
from agent.protocols.gossip.pair_keys import NOISE
from agent.protocols.gossip.plan import Plan, PlanError
from agent.protocols.gossip.query_function import SEED, function_of, limits_of, terms_of
from agent.wire import queries, topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Policy
    from agent.protocols.gossip.group import Group
    from agent.protocols.gossip.pair_keys import PairKeys
    from agent.protocols.gossip.ports import Clause, Finish
    from agent.protocols.gossip.privacy.terms import Terms
    from agent.wire.messages import Slot
    from agent.wire.queries import Query

# Bytes of a message, before it is sealed: a board's MQTT client takes packets of 8192.
PACKET_MOST = 7936


class Admitted:
    """A Query that a board takes part in: its Plan; `slot`, the roster's; `terms`, the Terms of its
    noise, or None if there is none; `clause`, the values that proxies accept; `text`, the SHA-256
    of what all were asked alike; `cost` in millionths of epsilon, None if it has no bound.
    """

    def __init__(
        self, query: "Query", plan: Plan, slot: "Slot", terms: "Terms | None", clause: "Clause", text: bytes
    ) -> None:
        self.query = query
        self.plan = plan
        self.slot = slot
        self.terms = terms
        self.clause = clause
        self.text = text
        self.cost = terms.cost if terms else None

    def reading(self, slots: "list[Slot]", values: "list[int | None] | None") -> tuple[int | None, str | None]:
        """Return (what the meter has for the query's slot, None); or (None, the reason), if it has
        nothing within the slot's range. `slots` are the roster's, `values` the meter's for them."""
        value = values[slots.index(self.slot)] if values else None
        if value is None:
            return None, "no-reading"
        if not self.slot[1] <= value <= self.slot[2]:
            return None, "out-of-range"
        return value, None

    def contribution(self, value: int | None) -> int | None:
        """Return what goes into the query for a reading in the slot's range, or for None: an int or
        None, without paired noise."""
        return self.terms.contribution(value) if self.terms else self.plan.function.admit(value)

    def record_noise(self, group: "Group", keys: "PairKeys", absent: list[int], context: bytes) -> int:
        """Return the paired noise of the board whose Group and PairKeys these are, 0 where there is
        none; `absent` are the ids announced dead, `context` is what the query's onions are bound
        to."""
        plan, terms = self.plan, self.terms
        if not terms or not terms.scale:
            return 0
        from agent.protocols.gossip.privacy import paired_noise

        reach = paired_noise.reach_of(group.tolerate)
        pairs = paired_noise.partners(group.index, plan.start, plan.members, plan.n, reach, absent)
        return paired_noise.record_noise(
            lambda peer, outgoing: keys.key(NOISE, group.index, peer, outgoing),
            pairs,
            group.index,
            context + self.text,
            terms.scale,
            terms.bound,
        )

    def finish(self, context: bytes) -> "Finish | None":
        """Return what a leader does to its state, the last argument of Node, or None where it adds
        no noise."""
        terms = self.terms
        if not terms or not terms.seed_bytes:
            return None
        bound = context + self.text
        return lambda count, seed, state: terms.noised(state, seed, bound)


def hear(raw: bytes, group: "Group | None", keys: "PairKeys | None", burnt: tuple[int, int]) -> "tuple[Query, bytes]":
    """Return (Query, SHA-256 of what all are asked alike) of a message that the coordinator made
    for this board.

    `group` is its Group, None without a roster, `keys` its PairKeys, None before they are made,
    `burnt` the last (epoch, number) that it answered. Raises Refused, MessageError."""
    if len(raw) > queries.QUERY_MOST:
        raise Refused("oversized")
    query, body, tags = queries.read_query(raw)
    if not group or query.epoch != group.epoch:
        raise Refused("wrong-epoch")
    if query.digest != group.digest:
        raise Refused("other-roster")
    if not keys:
        raise Refused("not-ready")
    if (query.epoch, query.number) <= burnt:
        raise Refused("replayed")
    context = group.context("query", query.number, topics.COORDINATOR, group.identity.device)
    check_tag(tags, group.index, queries.query_tag(keys.query_key, context, body))
    return query, sha256(body).digest()


def admit(query: "Query", text: bytes, group: "Group", policy: "Policy", protocol: str, proof_bytes: int) -> Admitted:
    """Return the Query as Admitted by a board of `group` with this Policy. Raises Refused with the
    reason for which it is not: "too-few", for one, where `tolerate` colluders would leave fewer
    honest members than the policy wants: their values would show in the answer."""
    if query.absent >> len(group.names):
        raise Refused("unknown-member")
    if query.absent >> group.index & 1:
        raise Refused("listed-absent")
    living = len(group.names) - bin(query.absent).count("1")
    if living < group.living_least():
        raise Refused("too-few")
    slot = _slot_of(group, query.slot)
    if slot is None or not policy.allows([slot]):
        raise Refused("slot-not-allowed")
    seed_bytes = SEED if query.epsilon else 0
    try:
        function = function_of(query.function, query.parameters, query.between)
        plan = Plan(
            protocol,
            query.number,
            len(group.names),
            group.tolerate,
            function,
            seed_bytes=seed_bytes,
            proof_bytes=proof_bytes,
        )
    except (FunctionError, PlanError) as error:
        raise Refused(error.args[0])
    if max(plan.message_size, plan.partial_size) > PACKET_MOST:
        raise Refused("too-large")
    if not query.epsilon and not query.record_epsilon:
        return Admitted(query, plan, slot, None, limits_of(query, slot), text)
    from agent.protocols.gossip.privacy.terms import PrivacyError

    try:
        terms = terms_of(query, slot, group.tolerate, plan.groups, living)
    except PrivacyError as error:
        raise Refused(error.args[0])
    return Admitted(query, plan, slot, terms, terms.clause, text)


def burn(admitted: Admitted, group: "Group") -> "Action":
    """Return the action that burns the query's number: its answer is about those that it does not
    call absent."""
    query = admitted.query
    living = [name for index, name in enumerate(group.names) if not query.absent >> index & 1]
    return actions.burn(query.epoch, query.number, admitted.cost, living)


def _slot_of(group: "Group", name: str) -> "Slot | None":
    """Return the roster's slot of this name, (name, low, high), or None."""
    for slot in group.slots:
        if slot[0] == name:
            return slot
    return None
