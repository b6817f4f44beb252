"""The payloads of anonymous queries that a board makes and reads (CDDL in docs/protocol/queries.md;
the other half in answers.py)."""

from agent.crypto.hmac import hmac_sha256
from agent.wire import cbor, topics
from agent.wire.messages import EVERYONE, MEMBERS_MOST, check, fields, is_bytes, is_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.wire.envelope import Context
QUERY_MOST = 4096  # bytes
PERIOD_LEAST = 50  # ms
PERIOD_MOST = 60000
PARAMETERS_MOST = 64
NUMBER_MOST = 0xFFFFFFFF
CHALLENGE = 16  # bytes
EPSILON_MOST = 100000000  # millionths, as in agent/protocols/gossip/privacy/terms.py
_VALUE = 1 << 48  # as the bounds of a slot


class Query:
    """What is asked. `number` counts from 1 in an epoch; `slot` and `function` are names,
    `parameters` a list of integers; `between` is [low, high], what values are counted, or None for
    all; `absent` is the bitmap of the members that are known dead; `period` is the milliseconds of
    a round; `time` in Unix seconds. `epsilon`, of each result, and `record_epsilon`, of a record's
    paired noise, are in millionths, 0 for no noise (agent/protocols/gossip/privacy/terms.py).
    `challenge`: CHALLENGE random bytes of the coordinator's, drawn for this query, so that nobody
    else knows its text before it is sent."""

    def __init__(
        self,
        epoch: int,
        number: int,
        digest: bytes,
        slot: str,
        function: str,
        parameters: list[int],
        between: list[int] | None,
        absent: int,
        period: int,
        time: int,
        epsilon: int,
        record_epsilon: int,
        challenge: bytes,
    ) -> None:
        self.epoch = epoch
        self.number = number
        self.digest = digest
        self.slot = slot
        self.function = function
        self.parameters = parameters
        self.between = between
        self.absent = absent
        self.period = period
        self.time = time
        self.epsilon = epsilon
        self.record_epsilon = record_epsilon
        self.challenge = challenge

    def encode(self) -> bytes:
        """Return the body, the query's text: what all are asked alike, and the members' tags are
        over. Its SHA-256 is what keys, onions, signatures and proofs of the query are bound to."""
        values: list[object] = [self.epoch, self.number, self.digest, self.slot, self.function, self.parameters]
        values += [self.between, self.absent, self.period, self.time, self.epsilon, self.record_epsilon]
        values.append(self.challenge)
        return cbor.encode(dict(enumerate(values, 1)))


def read_query(payload: bytes) -> tuple[Query, bytes, bytes]:
    """Return (Query, its body, the members' 16-byte tags one after the other). Not authentic before
    a tag is checked."""
    body, tags = fields(payload, 2)
    check(isinstance(body, bytes) and isinstance(tags, bytes))
    check(len(tags) % 16 == 0 and len(tags) <= 16 * MEMBERS_MOST)
    found = fields(body, 13)
    epoch, number, digest, slot, function, parameters, between, absent, period, time, *rest = found
    epsilon, record_epsilon, challenge = rest
    check(is_integer(epoch, 1, 0xFFFFFFFF) and is_integer(number, 1, NUMBER_MOST) and is_bytes(digest, 32))
    check(topics.valid_name(slot) and topics.valid_name(function))
    check(is_values(parameters) and len(parameters) <= PARAMETERS_MOST)
    check(between is None or (is_values(between) and len(between) == 2 and between[0] <= between[1]))
    check(is_integer(absent, 0, EVERYONE) and is_integer(period, PERIOD_LEAST, PERIOD_MOST))
    check(is_integer(time, 0, 0xFFFFFFFF))
    check(is_integer(epsilon, 0, EPSILON_MOST) and is_integer(record_epsilon, 0, EPSILON_MOST))
    check(is_bytes(challenge, CHALLENGE))
    return Query(*found), body, tags


def is_values(values: object) -> bool:
    """Tell whether `values` is a list of integers that a slot could have."""
    return isinstance(values, list) and all(is_integer(value, -_VALUE, _VALUE) for value in values)


def query_tag(key: bytes, context: "Context", body: bytes) -> bytes:
    """Return the 16-byte tag by which one member knows that the coordinator asks (HMAC-SHA-256): as
    an opening_tag."""
    return hmac_sha256(key, cbor.encode(["Query", context.external_aad(), body]))[:16]


def aggregate(leader: int, data: bytes, text: bytes) -> bytes:
    """Make what a group's leader sends to the coordinator: its virtual id, the group's result
    (bytes), and the digest of the query's text."""
    return cbor.encode({1: leader, 2: data, 3: text})
