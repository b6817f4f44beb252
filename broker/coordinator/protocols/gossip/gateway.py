"""How what a gateway asks becomes a query, and what a query's records tell of it."""

from sqlalchemy import Connection, Insert, func, select

from agent.wire.queries import read_query
from broker.coordinator.actions import Record
from broker.coordinator.protocols.base import Asks, Closed, Opened
from broker.coordinator.protocols.gossip import queries
from broker.coordinator.protocols.gossip.asking import NotAsked
from broker.coordinator.protocols.gossip.machine import Gossip
from broker.coordinator.protocols.gossip.records import COMPLETE, OVER, CloseQuery, OpenQuery, Request
from broker.coordinator.protocols.gossip.tables import queries as table
from broker.coordinator.upload_filter import Refused
from broker.wire.requests import Ask, AskRound

# Crashes lead to these, and who has crashed is not asked again. Leaders that contradict each other
# would do so once more.
MAY_SUCCEED = frozenset({"no-result", "incomplete", "too-many-failed", "restarted"})


def _request(group: str, ask: Ask | AskRound) -> Request:
    if isinstance(ask, AskRound):
        raise Refused("no-sums")
    noise = (ask.epsilon, ask.record_epsilon)
    return Request(0, group, ask.slot, ask.function, ask.parameters, ask.between, ask.period, *noise)


def _quote(machine: Gossip, group: str, ask: Ask | AskRound) -> int | None:
    try:
        return machine.quote(_request(group, ask))
    except NotAsked as error:
        raise Refused(error.args[0]) from None


def _enter(group: str, ask: Ask | AskRound) -> Insert:
    return queries.entry(_request(group, ask))


def _heed(record: Record) -> Opened | Closed | None:
    match record:
        case OpenQuery():
            absent = read_query(record.message)[0].absent
            return Opened(record.request, record.epoch, record.number, record.cost, absent)
        case CloseQuery():
            return _closed(record.request, record.status, record.reason)
    return None


def _over(connection: Connection, request: int) -> Closed | None:
    row = queries.row(connection, request)
    return _closed(request, row["status"], row["reason"]) if row["status"] in OVER else None


def _closed(request: int, status: str, reason: str | None) -> Closed:
    if status == COMPLETE:
        return Closed(request, None)
    return Closed(request, reason or status, reason in MAY_SUCCEED)


ASKS = Asks(
    quote=_quote,
    enter=_enter,
    newest=select(func.max(table.c.id)).scalar_subquery(),
    give_up=queries.giving_up,
    heed=_heed,
    over=_over,
    spent=queries.spent,
)
