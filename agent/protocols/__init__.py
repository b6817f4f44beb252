"""The protocols, one sans-IO state machine each, in modules of their own (registry.py), and what
all of them refuse.

The modules on the coordinator's side are in broker/coordinator/protocols under the same names.
"""

from agent.crypto.hmac import constant_time_equal

QUERIES = ("gossip", "gossip-flood", "gossip-bft")  # one machine, agent/protocols/gossip/machine.py


class Refused(Exception):
    """An input is against the protocol or the board's policy. args[0] is the named reason."""


class UnknownProtocol(Exception):
    """No protocol of that name is registered."""


def check_tag(tags, index, tag):
    """Raise Refused("bad-tag") unless those 16 bytes are the tag of the member `index`, of all
    members' `tags`."""
    if not constant_time_equal(tags[16 * index : 16 * index + 16], tag):
        raise Refused("bad-tag")
