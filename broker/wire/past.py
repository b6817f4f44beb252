"""The payloads by which a gateway recalls rounds that it has missed, and the coordinator tells them
(CDDL in docs/protocol/gateway.md). As in views.py readers trust nothing."""

from dataclasses import dataclass

from agent.wire import cbor
from agent.wire.messages import check, fields, is_integer
from broker.wire.views import TIME_MOST

BATCH_MOST = 32  # rounds that one recall brings


@dataclass(frozen=True)
class Recall:
    """Which rounds of a group are wanted: the `round`-th of `epoch`, and those after it."""

    epoch: int
    round: int

    def encode(self) -> bytes:
        """Return the payload."""
        return bytes(cbor.encode({1: self.epoch, 2: self.round}))


def read_recall(payload: bytes) -> Recall:
    """Return the Recall in `payload`."""
    epoch, number = fields(payload, 2)
    check(is_integer(epoch, 1, TIME_MOST) and is_integer(number, 0, TIME_MOST))
    return Recall(epoch, number)


@dataclass(frozen=True)
class Past:
    """A round as it was published: `result`, and by the coordinator's clock when it opened and
    closed, Unix seconds; `left` more are told after it."""

    opened_at: int
    closed_at: int
    left: int
    result: bytes

    def encode(self) -> bytes:
        """Return the payload."""
        return bytes(cbor.encode({1: self.opened_at, 2: self.closed_at, 3: self.left, 4: self.result}))


def read_past(payload: bytes) -> Past:
    """Return the Past in `payload`."""
    opened_at, closed_at, left, result = fields(payload, 4)
    check(is_integer(opened_at, 0, TIME_MOST) and is_integer(closed_at, 0, TIME_MOST))
    check(is_integer(left, 0, BATCH_MOST - 1) and isinstance(result, bytes))
    return Past(opened_at, closed_at, left, result)
