"""Results, authenticated by the coordinator's signature and opened with the result key: the last
paragraph of docs/protocol/sums.md, *A coordinator, step by step*. No I/O, and nothing is kept."""

from dataclasses import dataclass
from typing import Any

from agent.protocols import QUERIES
from agent.protocols.base import Refused
from agent.protocols.gossip.functions import FunctionError
from agent.protocols.gossip.query_function import function_of
from agent.wire import answers, coordination
from agent.wire.envelope import Envelope, EnvelopeError
from agent.wire.messages import OFF_GRID, check
from broker.client.access import Group

RESULT_MOST = 8192  # bytes; an answer's state has 4096 at most, 64 names 2176
STATUS = {coordination.COMPLETE: "complete", coordination.INCOMPLETE: "incomplete", coordination.INVALID: "invalid"}


@dataclass(frozen=True)
class RoundResult:
    """What a round of private sums gave. `status` is "complete", "incomplete" or "invalid"; `sums`,
    in the order of `slots`, the readings' names, are None unless it is complete. They are exact
    over the members that are not in `missing`.

    `instant`, in Unix seconds, is when the readings were taken, by the boards' clocks: the
    coordinator's word. None if it named none, and they were taken at once. `off_grid` tells that
    the round was one on request, between two of the schedule.

    `latency_ms` runs from the sight of the round's opening, or from its instant, to the sight of
    its result, if one Reader saw both. An opening is not authentic to clients: the time is an
    indication only.
    """

    group: str
    epoch: int
    round: int
    status: str
    slots: list[str]
    sums: list[int] | None
    missing: list[str]
    latency_ms: float | None = None
    instant: int | None = None
    off_grid: bool = False


@dataclass(frozen=True)
class QueryResult:
    """What a query, the `round`-th of its epoch, found: `status` is "complete" or "incomplete"; the
    rest is None unless it is complete.

    `answer` has the function's values by name, with "count" and "left_out", as `hum query` shows
    them; `parameters` and `between` are the query's (docs/protocol/queries.md).
    """

    group: str
    epoch: int
    round: int
    status: str
    slot: str | None = None
    function: str | None = None
    parameters: list[int] | None = None
    between: list[int] | None = None
    answer: dict[str, Any] | None = None


Result = RoundResult | QueryResult


def open_result(group: Group, result_key: bytes, payload: bytes) -> Result:
    """Return what the group's coordinator published as `payload`.

    Raises Refused, EnvelopeError or MessageError with the named reason: "oversized", "malformed",
    "wrong-epoch" and "wrong-roster" if it is not of the group's roster, "bad-signature" if it is
    not the coordinator's, "other-key" if the key does not open it, "unknown-protocol".
    """
    if len(payload) > RESULT_MOST:
        raise Refused("oversized")
    envelope = Envelope(payload)
    if envelope.epoch != group.epoch:
        raise Refused("wrong-epoch")
    if group.roster.protocol == "private-sum":
        return _sums(group, result_key, envelope)
    if group.roster.protocol in QUERIES:
        return _answer(group, result_key, envelope)
    raise Refused("unknown-protocol")


def _sums(group: Group, result_key: bytes, envelope: Envelope) -> RoundResult:
    signed = envelope.verify(group.roster.coordinator, group.context("result", envelope.round, ""))
    digest, status, missing, sealed, _, instant = coordination.read_result(signed)
    _check_roster(group, digest)
    check(set(missing) <= set(group.roster.names()))
    slots = [name for name, _, _ in group.roster.slots]
    sums = None
    if sealed is not None:
        sums = coordination.read_sums(_opened(group, result_key, "sums", envelope.round, sealed))
        check(len(sums) == len(slots))
    scope = (group.name, group.epoch, envelope.round, STATUS[status])
    return RoundResult(
        *scope, slots, sums, missing, instant=instant if instant > 0 else None, off_grid=instant == OFF_GRID
    )


def _answer(group: Group, result_key: bytes, envelope: Envelope) -> QueryResult:
    signed = envelope.verify(group.roster.coordinator, group.context("outcome", envelope.round, ""))
    digest, status, sealed = answers.read_outcome(signed)
    _check_roster(group, digest)
    scope = (group.name, group.epoch, envelope.round, STATUS[status])
    if sealed is None:
        return QueryResult(*scope)
    found = answers.read_answer(_opened(group, result_key, "answer", envelope.round, sealed))
    check(found.number == envelope.round and found.slot in [name for name, _, _ in group.roster.slots])
    try:
        function = function_of(found.function, found.parameters, found.between)
        values = function.result(function.decode(found.state))
    except FunctionError:
        raise Refused("malformed") from None
    return QueryResult(*scope, found.slot, found.function, found.parameters, found.between, values)


def _check_roster(group: Group, digest: bytes) -> None:
    if digest != group.digest:
        raise Refused("wrong-roster")


def _opened(group: Group, result_key: bytes, kind: str, round_number: int, sealed: bytes) -> bytes:
    """Return what is sealed for the clients. The envelope's own epoch and round must be those of
    the signed one around it."""
    try:
        return Envelope(sealed).open(result_key, group.context(kind, round_number, "clients"))
    except EnvelopeError as error:
        if error.args[0] == "bad-tag":  # what is around it is the coordinator's
            raise Refused("other-key") from None
        raise
