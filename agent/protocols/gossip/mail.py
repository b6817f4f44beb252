"""The mail of a query between two members. It is sealed, and bound to the round, ids and query that
it was made for.

A message of a round and a partial result differ in their kind and their key; the nonce names query,
round and both virtual ids, so there is one message for each of these under a key of an epoch.
"""

from agent.protocols.base import Refused, actions
from agent.protocols.gossip.pair_keys import AGGREGATE, LINK
from agent.wire import topics
from agent.wire.envelope import Envelope, seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Publish
    from agent.protocols.gossip.group import Group
    from agent.protocols.gossip.pair_keys import PairKeys

CELLS = 1
PARTIAL = 2
_KINDS = {CELLS: ("cells", LINK), PARTIAL: ("partial", AGGREGATE)}
NODE_MOST = 0xFFFF


def nonce(kind: int, number: int, r: int, sender: int, receiver: int) -> bytes:
    """Return the 13-byte nonce: kind, zeros, round (0 for a partial result), the two virtual ids,
    the query's number."""
    numbers = r.to_bytes(2, "big") + sender.to_bytes(2, "big") + receiver.to_bytes(2, "big")
    return bytes([kind]) + bytes(2) + numbers + number.to_bytes(4, "big")


def post(
    group: "Group",
    keys: "PairKeys",
    kind: int,
    number: int,
    r: int,
    sender: int,
    receiver: int,
    payload: bytes,
    text: bytes,
) -> "Publish":
    """Return the action that sends `payload` from the virtual id `sender`, this board's, to
    `receiver`, another member's. Only who was asked the query with the digest `text`, too, can open
    it."""
    peer = group.member(receiver)
    name, label = _KINDS[kind]
    identity = group.identity
    context = group.context(name, number, identity.device, group.names[peer])
    key = keys.key(label, group.index, peer, True, text)
    sealed = seal(key, nonce(kind, number, r, sender, receiver), context, payload)
    return actions.publish(
        topics.mail(identity.deployment, identity.group, group.names[peer], identity.device), sealed, False
    )


class Mail:
    """A message that says to be from the member with index `peer`: `kind`, `number` of the query,
    round `r`, virtual ids `sender` and `receiver`. open() authenticates all of it; whether it is
    prescribed is for the plan to say. Raises Refused, EnvelopeError."""

    def __init__(self, group: "Group", peer: int, raw: bytes) -> None:
        envelope = Envelope(raw)
        if envelope.nonce is None:
            raise Refused("malformed")
        if envelope.epoch != group.epoch:
            raise Refused("wrong-epoch")
        data = envelope.nonce
        self.kind = data[0]
        self.r, self.sender, self.receiver = [int.from_bytes(data[at : at + 2], "big") for at in (3, 5, 7)]
        self.number = envelope.round
        if self.kind not in _KINDS or data != nonce(self.kind, self.number, self.r, self.sender, self.receiver):
            raise Refused("malformed")
        self.peer = peer
        self._envelope: Envelope | None = envelope
        self.payload: bytes  # from open() on

    def open(self, group: "Group", keys: "PairKeys", text: bytes) -> None:
        """Open it, once, as one about the query with the digest `text`: `payload` is there from now
        on. Raises EnvelopeError."""
        assert self._envelope
        name, label = _KINDS[self.kind]
        context = group.context(name, self.number, group.names[self.peer], group.identity.device)
        self.payload = self._envelope.open(keys.key(label, group.index, self.peer, False, text), context)
        self._envelope = None
