"""Which machine runs the protocol of which name. Its code is loaded when it is asked for.

A protocol from outside these packages registers itself before the board is assembled.
"""

from agent.protocols import QUERIES, UnknownProtocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from agent.protocols.base.identity import Identity
    from agent.protocols.base.machine import Machine

    Maker: TypeAlias = Callable[[str, Identity], Machine]  # of the protocol's name and the board

_others: "dict[str, Maker]" = {}


def register(name: str, maker: "Maker") -> None:
    """Let `maker` make the machines of the protocol called `name`."""
    _others[name] = maker


def known(name: object) -> bool:
    """Tell whether there is a protocol called `name`."""
    return name == "private-sum" or name in QUERIES or name in _others


def sends_kilobytes(name: str) -> bool:
    """Tell whether messages of kilobytes come and go in the protocol called `name`."""
    return name in QUERIES


def make(name: str, identity: "Identity") -> "Machine":
    """Return a machine of the protocol called `name` for a board. Raises UnknownProtocol."""
    if name == "private-sum":
        from agent.protocols.private_sum.machine import PrivateSum

        return PrivateSum(identity)
    if name in QUERIES:
        from agent.protocols.gossip.machine import Gossip

        return Gossip(identity, name)
    if name not in _others:
        raise UnknownProtocol(name)
    return _others[name](name, identity)
