"""A board's place in a group that answers queries: who is who under the roster in force, and where
its virtual ids are."""

from agent.protocols import Refused
from agent.protocols.gossip.roster_part import read_part
from agent.wire import topics
from agent.wire.envelope import Context

TOLERATE_MOST = 9


def tolerated(parameters):
    """Return how many failures the roster's parameters "t1" to "t9" tolerate. Raises
    Refused("unknown-parameters")."""
    if len(parameters) != 2 or parameters[0] != "t" or parameters[1] not in "123456789":
        raise Refused("unknown-parameters")
    return int(parameters[1])


def accept(place, raw, least_epoch, protocol):
    """Return (Group, Roster) under the roster in `raw`, as agent/protocols/base/roster.py reads it,
    for a board that runs `protocol`.

    Raises Refused, EnvelopeError or MessageError with the named reason.
    """
    from agent.protocols.base import roster as signed_roster  # once an epoch

    epoch, digest, roster = signed_roster.read(place, raw, least_epoch)
    if roster.protocol != protocol:
        raise Refused("other-protocol")
    if len(roster.members) < place.policy.members_least:
        raise Refused("group-too-small")
    if not place.policy.allows(roster.slots):
        raise Refused("slot-not-allowed")
    return Group(place, epoch, digest, roster), roster


class Group:
    """`names` are the members' in roster order, `index` is this board's own, `slots` a list of
    (name, low, high); `tolerate` is how many members may fail. Raises Refused for parameters that
    are unknown."""

    def __init__(self, place, epoch, digest, roster):
        self.place = place
        self.epoch = epoch
        self.digest = digest
        self.names = roster.names()
        self.index = self.names.index(place.device)
        self.slots = roster.slots
        self.tolerate = tolerated(roster.parameters)
        self.signer = read_part(roster.part)
        self._publics = b"".join(
            [public for _, public in roster.members]
        )  # in one piece: 64 objects would scatter a small heap

    def member(self, node):
        """Return the index of the member that has the virtual id `node`."""
        return node if node < len(self.names) else node - len(self.names)

    def own_nodes(self, n):
        """Return this board's virtual ids of the `n` that there are: one, or two where there are
        more ids than members."""
        second = self.index + len(self.names)
        return (self.index, second) if second < n else (self.index,)

    def nodes_of(self, members, n):
        """Return the virtual ids, of `n`, of those in `members`, a bitmap."""
        return [node for node in range(n) if members >> self.member(node) & 1]

    def public(self, node):
        """Return the 65-byte public key of the member that has the virtual id `node`."""
        at = 65 * self.member(node)
        return self._publics[at : at + 65]

    def context(self, kind, round, sender=None, receiver=topics.COORDINATOR):
        """Return the Context of a message of this epoch; from this board to the coordinator unless
        told otherwise."""
        place = self.place
        return Context(place.deployment, kind, place.group, self.epoch, round, sender or place.device, receiver)
