"""The other half of queries.py: the payloads that only the coordinator makes, and those that only
it and its clients read.

A board never imports this module.
"""

from agent.wire import cbor, topics
from agent.wire.messages import MEMBERS_MOST, check, fields, is_bytes, is_integer
from agent.wire.queries import NUMBER_MOST, PARAMETERS_MOST, is_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
COMPLETE = 0
INCOMPLETE = 1
STATE_MOST = 4096  # bytes of an aggregate


def query(body: bytes, tags: "Iterable[bytes]") -> bytes:
    """Make the message that asks: the Query's encoding, and the members' tags in roster order."""
    return cbor.encode({1: body, 2: b"".join(tags)})


def read_aggregate(payload: bytes, size: int) -> tuple[int, bytes, bytes]:
    """Return (virtual id of the leader, the group's result, `size` bytes; the digest of the query's
    text)."""
    leader, data, text = fields(payload, 3)
    check(is_integer(leader, 0, 0xFFFF) and is_bytes(data, size) and is_bytes(text, 32))
    return leader, data, text


def outcome(roster_digest: bytes, status: int, sealed: bytes | None) -> bytes:
    """Make a query's outcome: COMPLETE with the answer sealed for the coordinator's clients, else
    None in its place."""
    return cbor.encode({1: roster_digest, 2: status, 3: sealed})


def read_outcome(payload: bytes) -> tuple[bytes, int, bytes | None]:
    """Return (roster digest, status, sealed answer or None)."""
    digest, status, sealed = fields(payload, 3)
    check(is_bytes(digest, 32) and is_integer(status, COMPLETE, INCOMPLETE))
    check(isinstance(sealed, bytes) if status == COMPLETE else sealed is None)
    return digest, status, sealed


class Answer:
    """What a query found: `count` values went into `state` (bytes:
    agent/protocols/gossip/functions.py reads them), `outside` were not in the range asked for. The
    rest is the query's."""

    def __init__(
        self,
        number: int,
        slot: str,
        function: str,
        parameters: list[int],
        between: list[int] | None,
        count: int,
        outside: int,
        state: bytes,
    ) -> None:
        self.number = number
        self.slot = slot
        self.function = function
        self.parameters = parameters
        self.between = between
        self.count = count
        self.outside = outside
        self.state = state

    def encode(self) -> bytes:
        """Return the payload."""
        values: list[object] = [self.number, self.slot, self.function, self.parameters, self.between]
        values += [self.count, self.outside, self.state]
        return cbor.encode(dict(enumerate(values, 1)))


def read_answer(payload: bytes) -> Answer:
    """Return the Answer in `payload`."""
    number, slot, function, parameters, between, count, outside, state = fields(payload, 8)
    check(is_integer(number, 1, NUMBER_MOST) and topics.valid_name(slot) and topics.valid_name(function))
    check(is_values(parameters) and len(parameters) <= PARAMETERS_MOST)
    check(between is None or (is_values(between) and len(between) == 2 and between[0] <= between[1]))
    check(is_integer(count, 0, MEMBERS_MOST) and is_integer(outside, 0, MEMBERS_MOST))
    check(isinstance(state, bytes) and len(state) <= STATE_MOST)
    return Answer(number, slot, function, parameters, between, count, outside, state)
