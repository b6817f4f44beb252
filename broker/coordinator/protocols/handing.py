"""Hands requests that wait in the database to the machines of their groups."""

from collections.abc import Callable, Collection, Mapping, Sequence

from broker.coordinator.actions import Record
from broker.coordinator.machine import Machine
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.base import Declaration, Requests
from broker.storage.storage import Storage


class Handing:
    """`record` makes durable that a request is refused whose group there is not. Those whose ids
    are in `given_up` are not handed on: of these it is being recorded that nobody waits."""

    def __init__(self, storage: Storage, record: Callable[[Sequence[Record]], None], given_up: Collection[int]) -> None:
        self._storage = storage
        self._record = record
        self._given_up = given_up

    def turn(self, machines: Mapping[str, Machine]) -> None:
        """Give what waits to the machines."""
        for declaration in registry.declarations():
            if declaration.requests:
                self._hand(declaration, declaration.requests, machines)

    def _hand(self, declaration: Declaration, requests: Requests, machines: Mapping[str, Machine]) -> None:
        waiting = [one for one in self._storage.read(requests.waiting) if one.id not in self._given_up]
        served = {
            group: machine for group, machine in machines.items() if machine.scope.roster.protocol in declaration.serves
        }
        for group, machine in served.items():
            requests.give(machine, [request for request in waiting if request.group == group])
        unknown = [request for request in waiting if request.group not in served]
        if unknown:
            self._record([requests.refuse(request) for request in unknown])
