"""A request to a coordinator, from the gateway's side: a sans-IO machine, events in, actions out.

It is said until the coordinator has answered, with the same number and the same content, so that
it is asked once however often it is said. The number has to be on the gateway's disk before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.protocols import QUERIES
from agent.protocols.base.identity import Policy
from agent.protocols.gossip.functions import FunctionError
from agent.protocols.gossip.group import tolerated
from agent.protocols.gossip.onion import proof
from agent.protocols.gossip.plan import Plan, PlanError
from agent.protocols.gossip.privacy.terms import EPSILON_MOST, MILLION, PrivacyError
from agent.protocols.gossip.query_function import SEED, function_of, terms_of
from agent.wire.queries import PERIOD_LEAST, PERIOD_MOST
from broker.client.access import ClientError, Group
from broker.client.members import RequestTold
from broker.wire import channel, requests
from broker.wire.channel import Channel
from broker.wire.requests import TRIES_MOST, Ask

RETRY_S = 5.0  # until the first answer
LOOK_S = 60.0  # afterwards: news may have been lost with a link
LAST_S = 30.0  # after the time of a request: its refusal may be on its way
AHEAD_MOST_S = 3600
BYZANTINE = "gossip-bft"
FUNCTIONS = {  # what can be asked, and the names of its parameters
    "sum": (),
    "count": (),
    "mean": (),
    "variance": (),
    "min": (),
    "max": (),
    "histogram": ("low", "width", "bins"),
    "top-k": ("k",),
}


@dataclass(frozen=True)
class Wanted:
    """What is asked: `function` of the readings in `slot`, of those in `between` only; the function
    and its `parameters` as in docs/protocol/queries.md; epsilons of noise, 0 for none. It is asked
    up to `tries` times, and each time costs the boards of their budget."""

    slot: str
    function: str
    parameters: Sequence[int] = ()
    between: tuple[int, int] | None = None
    epsilon: float = 0
    record_epsilon: float = 0
    period_ms: int = 2000
    tries: int = 3


@dataclass(frozen=True)
class Send:
    """Say `payload` to `topic` with QoS 1, not retained."""

    topic: str
    payload: bytes


@dataclass(frozen=True)
class Changed:
    """There is news of the request."""

    told: RequestTold


@dataclass(frozen=True)
class Unanswered:
    """The time of the request is over, and nobody has told how it ended; `reason` is
    "unanswered"."""

    reason: str = "unanswered"


Action = Send | Changed | Unanswered


def next_number(last: int, unix_s: float) -> int:
    """Return the number of a new request, after `last`, the greatest there was: it is greater, and
    so is that of a gateway whose database was lost or restored, for the time is in it."""
    return max(last + 1, int(unix_s * 1000))


def needed(group: Group) -> int:
    """Return how many boards of a group have to be there for a query: as many as may fail or
    collude, and besides those that an answer is of at least, where the authority signed no other
    number."""
    return tolerated(group.roster.parameters) + Policy().contributors_least


def check(wanted: Wanted, group: Group) -> None:
    """Raise ClientError with one line that says what to do, unless a group may be asked so."""
    if group.roster.protocol not in QUERIES:
        raise ClientError(
            f"{group.name} runs {group.roster.protocol}, which answers no queries; {', '.join(QUERIES)} do"
        )
    slots = [name for name, _, _ in group.roster.slots]
    if wanted.slot not in slots:
        raise ClientError(f"slot {wanted.slot!r}: {group.name} has {', '.join(slots)}")
    if not 1 <= wanted.tries <= TRIES_MOST:
        raise ClientError(f"tries {wanted.tries}: 1 to {TRIES_MOST} are wanted")
    if not PERIOD_LEAST <= wanted.period_ms <= PERIOD_MOST:
        raise ClientError(f"period {wanted.period_ms} ms: {PERIOD_LEAST} to {PERIOD_MOST} are wanted")
    if wanted.between and wanted.between[0] > wanted.between[1]:
        raise ClientError(f"between {wanted.between[0]} and {wanted.between[1]}: the lower bound first")
    for epsilon in (wanted.epsilon, wanted.record_epsilon):
        if epsilon and not 1 <= round(epsilon * MILLION) <= EPSILON_MOST:
            raise ClientError(f"epsilon {epsilon:g}: 0.000001 to 100 is wanted, or 0 for no noise")
    cost_of(wanted, group)


def cost_of(wanted: Wanted, group: Group) -> float | None:
    """Return what one try costs each board, were all there, in epsilon; None for a result without
    noise, whose loss has no bound. Raises ClientError."""
    ask, count = _ask(wanted, 1, 0), len(group.roster.members)
    slot = next(slot for slot in group.roster.slots if slot[0] == wanted.slot)
    tolerate = tolerated(group.roster.parameters)
    try:
        function = function_of(ask.function, ask.parameters, ask.between)
        proofs = proof.SIZE if group.roster.protocol == BYZANTINE else 0
        seed = SEED if ask.epsilon else 0
        plan = Plan(group.roster.protocol, 1, count, tolerate, function, seed_bytes=seed, proof_bytes=proofs)
        if not ask.epsilon and not ask.record_epsilon:
            return None
        cost = terms_of(ask, slot, tolerate, plan.groups, count).cost
    except (FunctionError, PlanError, PrivacyError) as error:
        raise ClientError(f"{wanted.function} of {wanted.slot} cannot be asked so: {error.args[0]}") from None
    return None if cost is None else cost / MILLION


class Asking:
    """One request `number` of a group, until `until`, Unix seconds, at most AHEAD_MOST_S from now.
    Times that are given are of one monotonic clock, but for `unix_s`."""

    def __init__(self, gate: Channel, group: str, number: int, until: int, wanted: Wanted) -> None:
        self.group = group
        self.number = number
        self.until = until
        self.told: RequestTold | None = None
        self._topic = channel.topic(gate.deployment, group, channel.ASK)
        self._gate = gate
        self._plain = _ask(wanted, number, until).encode()
        self._due = float("-inf")
        self._unanswered = False

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more."""
        return self._unanswered or (self.told is not None and self.told.state in requests.OVER)

    def link_up(self, now: float) -> list[Action]:
        """There is a link: what was said on another may not have got there, and what was answered
        neither."""
        return self._say(now)

    def hear(self, told: RequestTold, now: float) -> list[Action]:
        """Take what is told of requests; what is of others, or was known, is nothing new."""
        if self.over or (told.group, told.number) != (self.group, self.number):
            return []
        self._due = now + LOOK_S
        if self.told and told.step <= self.told.step:
            return []
        self.told = told
        return [Changed(told)]

    def tick(self, now: float, unix_s: float) -> list[Action]:
        """Time has passed: say it again, or give up."""
        if self.over:
            return []
        is_open = self.told is not None and self.told.state == requests.OPEN
        if unix_s > self.until + (AHEAD_MOST_S if is_open else LAST_S):
            self._unanswered = True
            return [Unanswered()]
        return self._say(now) if now >= self._due else []

    def _say(self, now: float) -> list[Action]:
        if self.over:
            return []
        self._due = now + (LOOK_S if self.told else RETRY_S)
        return [Send(self._topic, self._gate.seal(channel.ASK, self.group, 0, self._plain))]


def _ask(wanted: Wanted, number: int, until: int) -> Ask:
    noise = (round(wanted.epsilon * MILLION), round(wanted.record_epsilon * MILLION))
    between = list(wanted.between) if wanted.between else None
    what = (wanted.slot, wanted.function, list(wanted.parameters), between)
    return Ask(number, until, *what, wanted.period_ms, *noise, wanted.tries)
