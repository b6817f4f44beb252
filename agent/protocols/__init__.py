"""The protocols, a package each above base; registry says which machine runs which.

The packages on the coordinator's side are in broker/coordinator/protocols under the same names.
"""

QUERIES = ("gossip", "gossip-flood", "gossip-bft")  # one machine, agent/protocols/gossip/machine.py


class UnknownProtocol(Exception):
    """No protocol of that name is registered."""
