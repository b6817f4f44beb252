"""The toy protocol, as the operator's side knows it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agent.crypto import CryptoError
from agent.wire.messages import MessageError
from agent.wire.rosters import Roster
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.base import Declaration, RosterError, RosterRules, Workplace
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from tests.toy_protocol import wire
from tests.toy_protocol.coordinator import records
from tests.toy_protocol.coordinator.machine import UPLOADS, Toy


def make(scope: Scope, workplace: Workplace, schedule: Schedule, saved: records.Saved) -> Toy:
    try:
        return Toy(scope, workplace, schedule, saved)
    except (CryptoError, MessageError) as error:
        raise RosterError(str(error)) from None


def part(_protocol: str, members: int, options: Mapping[str, Any]) -> dict[int, object]:
    return wire.part(options.get("least", members))


def check(roster: Roster) -> None:
    if roster.parameters != wire.PARAMETERS:
        raise RosterError(f"parameters {roster.parameters!r}: {wire.PARAMETERS} is wanted")
    if wire.read_part(roster.part) > len(roster.members):
        raise RosterError("least: no more than there are members")


TOY = Declaration(
    name="toy",
    serves=(wire.PROTOCOL,),
    make=make,
    saved=records.saved,
    uploads=UPLOADS,
    says=(wire.TOPIC, "result"),
    schema=records.SCHEMA,
    roster=RosterRules(("least",), part, check),
    results=records.results,
)


@contextmanager
def registered() -> Iterator[None]:
    """Let the operator's side serve the toy protocol meanwhile."""
    registry.register(TOY)
    try:
        yield
    finally:
        registry.unregister(TOY)
