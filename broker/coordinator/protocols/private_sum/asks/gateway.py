"""How what a gateway asks becomes a round off the grid, and what records tell of it."""

from sqlalchemy import Connection, Insert, func, select

from broker.coordinator.actions import Record
from broker.coordinator.protocols.base import Asks, Closed, Opened
from broker.coordinator.protocols.private_sum.asks import requests
from broker.coordinator.protocols.private_sum.machine import PrivateSum
from broker.coordinator.protocols.private_sum.on_request.records import CloseRequest, OpenRequest
from broker.coordinator.protocols.private_sum.tables import requests as table
from broker.coordinator.upload_filter import Refused
from broker.wire.requests import Ask, AskRound

FREE = 0  # millionths of epsilon: a policy counts rounds off the grid in another way


def _quote(machine: PrivateSum, group: str, ask: Ask | AskRound) -> int:
    if not isinstance(ask, AskRound):
        raise Refused("no-queries")
    if machine.finished:
        raise Refused("finished")
    return FREE


def _enter(group: str, ask: Ask | AskRound) -> Insert:
    return requests.entry(group)


def _heed(record: Record) -> Opened | Closed | None:
    match record:
        case OpenRequest():
            return Opened(record.request, record.epoch, record.round, FREE, record.absent)
        case CloseRequest():
            return Closed(record.request, record.reason, record.again)
    return None


def _over(connection: Connection, request: int) -> Closed | None:
    found = requests.over(connection, request)
    return Closed(found.request, found.reason, found.again) if found else None


def _spent(connection: Connection, group: str) -> int:
    return FREE


ASKS = Asks(
    quote=_quote,
    enter=_enter,
    newest=select(func.max(table.c.id)).scalar_subquery(),
    give_up=requests.giving_up,
    heed=_heed,
    over=_over,
    spent=_spent,
)
