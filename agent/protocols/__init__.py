"""Protocols by name. Each is one sans-IO state machine in a module of its own, imported when a roster first names it.

The modules on the coordinator's side are in broker/coordinator/protocols under the same names.
"""


class UnknownProtocol(Exception):
    """No protocol of that name is registered."""


def load(name):
    """Return the board's machine class of the protocol called `name`. Raises UnknownProtocol."""
    if name == "private-sum":
        from agent.protocols.private_sum import PrivateSum

        return PrivateSum
    raise UnknownProtocol(name)
