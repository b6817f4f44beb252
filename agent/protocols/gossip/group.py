"""The group that answers queries, as one board sees it: the members under the roster in force, and
their virtual ids."""

from agent.protocols.base import Refused
from agent.wire import topics
from agent.wire.envelope import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.identity import Identity
    from agent.wire.rosters import Roster

TOLERATE_MOST = 9


def tolerated(parameters: str) -> int:
    """Return how many failures the roster's parameters "t1" to "t9" tolerate. Raises
    Refused("unknown-parameters")."""
    if len(parameters) != 2 or parameters[0] != "t" or parameters[1] not in "123456789":
        raise Refused("unknown-parameters")
    return int(parameters[1])


def accept(identity: "Identity", raw: bytes, least_epoch: int, protocol: str) -> "tuple[Group, Roster]":
    """Return (Group, Roster) under the roster in `raw`, as agent/protocols/base/roster.py reads it,
    for a board that runs `protocol`.

    Raises Refused, EnvelopeError or MessageError with the named reason.
    """
    from agent.protocols.base import roster as signed_roster  # once an epoch

    epoch, digest, roster = signed_roster.read(identity, raw, least_epoch)
    if roster.protocol != protocol:
        raise Refused("other-protocol")
    if len(roster.members) < identity.policy.members_least:
        raise Refused("group-too-small")
    if not identity.policy.allows(roster.slots):
        raise Refused("slot-not-allowed")
    return Group(identity, epoch, digest, roster), roster


class Group:
    """`names` are the members' in roster order, `index` is this board's own, `slots` a list of
    (name, low, high); `tolerate` is how many members may fail. Raises Refused for parameters that
    are unknown."""

    def __init__(self, identity: "Identity", epoch: int, digest: bytes, roster: "Roster") -> None:
        self.identity = identity
        self.epoch = epoch
        self.digest = digest
        self.names = roster.names()
        self.index = self.names.index(identity.device)
        self.slots = roster.slots
        self.tolerate = tolerated(roster.parameters)
        from agent.protocols.gossip.roster_part import read_part  # once an epoch

        self.signer = read_part(roster.part)
        self._publics = b"".join(
            [public for _, public in roster.members]
        )  # in one piece: 64 objects would scatter a small heap

    def living_least(self) -> int:
        """Return how few members may live in a query: as many as may fail or collude, and the
        policy's fewest honest ones besides."""
        return self.tolerate + self.identity.policy.contributors_least

    def member(self, node: int) -> int:
        """Return the index of the member that has the virtual id `node`."""
        return node if node < len(self.names) else node - len(self.names)

    def own_nodes(self, n: int) -> tuple[int, ...]:
        """Return this board's virtual ids of the `n` that there are: one, or two where there are
        more ids than members."""
        second = self.index + len(self.names)
        return (self.index, second) if second < n else (self.index,)

    def nodes_of(self, members: int, n: int) -> list[int]:
        """Return the virtual ids, of `n`, of those in `members`, a bitmap."""
        return [node for node in range(n) if members >> self.member(node) & 1]

    def public(self, node: int) -> bytes:
        """Return the 65-byte public key of the member that has the virtual id `node`."""
        at = 65 * self.member(node)
        return self._publics[at : at + 65]

    def context(self, kind: str, round: int, sender: str | None = None, receiver: str = topics.COORDINATOR) -> Context:
        """Return the Context of a message of this epoch; from this board to the coordinator unless
        told otherwise."""
        identity = self.identity
        return Context(
            identity.deployment, kind, identity.group, self.epoch, round, sender or identity.device, receiver
        )
