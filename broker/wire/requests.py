"""The payloads by which a gateway asks for a query or a sum, and by which a coordinator tells what
becomes of it (CDDL in docs/protocol/gateway.md). As in views.py readers trust nothing."""

from dataclasses import dataclass

from agent.wire import cbor, topics
from agent.wire.messages import EVERYONE, check, fields, is_integer
from agent.wire.queries import EPSILON_MOST, NUMBER_MOST, PARAMETERS_MOST, PERIOD_LEAST, PERIOD_MOST, is_values
from broker.wire.views import ORDER_MOST, TIME_MOST, WHY_MOST

ACCEPTED, OPEN, AGAIN, COMPLETE, REFUSED = "accepted", "open", "again", "complete", "refused"
STATES = (ACCEPTED, OPEN, AGAIN, COMPLETE, REFUSED)
OVER = (COMPLETE, REFUSED)
TRIES_MOST = 5
STEP_MOST = 4 * TRIES_MOST
COST_MOST = (1 << 53) - 1  # millionths
_THREE_FIELDS = b"\xa3"  # a map of as many


@dataclass(frozen=True)
class Ask:
    """A request: `number` is the gateway's, and grows; nobody waits for an answer after `until`,
    Unix seconds; the query's own fields as in agent/wire/queries.py; `tries` is how often it is
    asked at most."""

    number: int
    until: int
    slot: str
    function: str
    parameters: list[int]
    between: list[int] | None
    period: int
    epsilon: int
    record_epsilon: int
    tries: int

    def encode(self) -> bytes:
        """Return the payload."""
        values: list[object] = [self.number, self.until, self.slot, self.function, self.parameters, self.between]
        values += [self.period, self.epsilon, self.record_epsilon, self.tries]
        return bytes(cbor.encode(dict(enumerate(values, 1))))


@dataclass(frozen=True)
class AskRound:
    """A request for a sum off the grid: as in Ask."""

    number: int
    until: int
    tries: int

    def encode(self) -> bytes:
        """Return the payload."""
        return bytes(cbor.encode({1: self.number, 2: self.until, 3: self.tries}))


def read_ask(payload: bytes) -> Ask | AskRound:
    """Return the Ask or AskRound in `payload`."""
    if payload[:1] == _THREE_FIELDS:
        return _read_round(payload)
    number, until, slot, function, parameters, between, period, epsilon, record_epsilon, tries = fields(payload, 10)
    check(is_integer(number, 1, ORDER_MOST) and is_integer(until, 0, TIME_MOST))
    check(topics.valid_name(slot) and topics.valid_name(function))
    check(is_values(parameters) and len(parameters) <= PARAMETERS_MOST)
    check(between is None or (is_values(between) and len(between) == 2 and between[0] <= between[1]))
    check(is_integer(period, PERIOD_LEAST, PERIOD_MOST) and is_integer(tries, 1, TRIES_MOST))
    check(is_integer(epsilon, 0, EPSILON_MOST) and is_integer(record_epsilon, 0, EPSILON_MOST))
    return Ask(number, until, slot, function, parameters, between, period, epsilon, record_epsilon, tries)


def _read_round(payload: bytes) -> AskRound:
    number, until, tries = fields(payload, 3)
    check(is_integer(number, 1, ORDER_MOST) and is_integer(until, 0, TIME_MOST))
    check(is_integer(tries, 1, TRIES_MOST))
    return AskRound(number, until, tries)


@dataclass(frozen=True)
class Told:
    """What became of the request `number`, its `step`-th news. `state` is of STATES, `reason` why
    it is asked again or refused. Of the try `attempt`, counted from 1: the `query`, a number of
    `epoch`, or the round of a sum; what it costs each board in millionths of epsilon, None without
    bound; and the bitmap of the members that were absent when it was asked. `spent` is what queries
    have cost each board of the group so far."""

    number: int
    step: int
    at: int
    state: str
    reason: str | None
    attempt: int
    epoch: int | None
    query: int | None
    cost: int | None
    absent: int | None
    spent: int

    def encode(self) -> bytes:
        """Return the payload."""
        values: list[object] = [self.number, self.step, self.at, STATES.index(self.state), self.reason, self.attempt]
        values += [self.epoch, self.query, self.cost, self.absent, self.spent]
        return bytes(cbor.encode(dict(enumerate(values, 1))))


def read_told(payload: bytes) -> Told:
    """Return the Told in `payload`."""
    number, step, at, state, reason, attempt, epoch, query, cost, absent, spent = fields(payload, 11)
    check(is_integer(number, 1, ORDER_MOST) and is_integer(step, 0, STEP_MOST) and is_integer(at, 0, TIME_MOST))
    check(is_integer(state, 0, len(STATES) - 1) and is_integer(attempt, 1, TRIES_MOST))
    check(reason is None or (isinstance(reason, str) and 1 <= len(reason) <= WHY_MOST and reason.isascii()))
    check((reason is None) != (STATES[state] in (AGAIN, REFUSED)))
    check((epoch is None) == (query is None) == (absent is None))
    check(epoch is None or (is_integer(epoch, 1, TIME_MOST) and is_integer(query, 0, NUMBER_MOST)))
    check(absent is None or is_integer(absent, 0, EVERYONE))
    check(cost is None or is_integer(cost, 0, COST_MOST))
    check(is_integer(spent, 0, COST_MOST))
    return Told(number, step, at, STATES[state], reason, attempt, epoch, query, cost, absent, spent)
