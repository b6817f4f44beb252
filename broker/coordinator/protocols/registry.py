"""The coordinator's machines by name, counterparts of agent/protocols under the same names."""

from agent.protocols import QUERIES, UnknownProtocol
from broker.coordinator.protocols.gossip.machine import Gossip
from broker.coordinator.protocols.private_sum.machine import PrivateSum

MACHINES: dict[str, type[PrivateSum] | type[Gossip]] = {"private-sum": PrivateSum} | dict.fromkeys(QUERIES, Gossip)


def load(name: str) -> type[PrivateSum] | type[Gossip]:
    """Return the machine class of the protocol called `name`. Raises UnknownProtocol."""
    if name not in MACHINES:
        raise UnknownProtocol(name)
    return MACHINES[name]
