"""The protocols of the operator's side by name, counterparts of those in agent/protocols."""

from agent.protocols import UnknownProtocol
from broker.coordinator.protocols.base import Declaration
from broker.coordinator.protocols.gossip.declaration import GOSSIP
from broker.coordinator.protocols.private_sum.declaration import PRIVATE_SUM
from broker.storage.schema import Schema

_registered: dict[str, Declaration] = {}


def register(declaration: Declaration) -> None:
    """Serve a protocol from now on, before a home is opened. Raises ValueError if one of its names
    is taken by another."""
    taken = {name for known in _registered.values() for name in known.serves}
    if declaration.name in _registered or taken & set(declaration.serves):
        raise ValueError(f"a protocol called {declaration.name} is registered already")
    _registered[declaration.name] = declaration


def unregister(declaration: Declaration) -> None:
    """Serve a protocol no more: for who registered it for a while."""
    del _registered[declaration.name]


def declarations() -> list[Declaration]:
    """Return all that are registered, in the order in which they were."""
    return list(_registered.values())


def find(protocol: str) -> Declaration:
    """Return the declaration that serves the protocol of this name. Raises UnknownProtocol."""
    for declaration in _registered.values():
        if protocol in declaration.serves:
            return declaration
    raise UnknownProtocol(protocol)


def schemas() -> list[Schema]:
    """Return the schemas of all that are registered."""
    return [declaration.schema for declaration in _registered.values()]


register(PRIVATE_SUM)
register(GOSSIP)
