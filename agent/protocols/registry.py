"""Which machine runs the protocol of which name. Its code is loaded when it is asked for."""

from agent.protocols import QUERIES, UnknownProtocol


def load(name):
    """Return what makes the board's machine of the protocol called `name` out of a Provision.
    Raises UnknownProtocol."""
    if name == "private-sum":
        from agent.protocols.private_sum.machine import PrivateSum

        return PrivateSum
    if name in QUERIES:
        from agent.protocols.gossip.machine import Gossip

        return lambda provision: Gossip(provision, name)
    raise UnknownProtocol(name)
