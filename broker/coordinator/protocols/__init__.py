"""The coordinator's machines by name, counterparts of agent/protocols under the same names."""

from agent.protocols import UnknownProtocol
from broker.coordinator.protocols.private_sum import PrivateSum

MACHINES = {"private-sum": PrivateSum}


def load(name: str) -> type[PrivateSum]:
    """Return the machine class of the protocol called `name`. Raises UnknownProtocol."""
    if name not in MACHINES:
        raise UnknownProtocol(name)
    return MACHINES[name]
