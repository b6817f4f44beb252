"""The keys of one virtual id, for onions and for the sealed copies of the echo: the real `secrets`
of agent/protocols/gossip/node.py."""

import os

from agent.crypto import CryptoError, aes_ccm, p256
from agent.protocols.gossip.onion import onion
from agent.protocols.gossip.pair_keys import ECHO
from agent.wire import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.protocols.gossip.group import Group
    from agent.protocols.gossip.pair_keys import PairKeys
    from agent.protocols.gossip.ports import Work

PART = 7  # bytes of a nonce that the caller chooses


def context_of(group: "Group", number: int) -> bytes:
    """Return what is known of a query before it comes, and is that of no other number, epoch or
    group: all that layers made ahead can be bound to."""
    identity = group.identity
    return cbor.encode(["hum/v1/query", identity.deployment, identity.group, group.epoch, number, group.digest])


class Layers:
    """Layers of onions for the query `number`, made ahead of it: lists by member. Each layer is
    taken once."""

    def __init__(self, group: "Group", number: int) -> None:
        self.number = number
        self.context = context_of(group, number)
        self._group = group
        self._made: dict[int, list[bytearray]] = {}

    def __len__(self) -> int:
        return sum([len(layers) for layers in self._made.values()])

    def make_steps(self, node: int) -> "Work":
        """Generator: make one layer for the member that has the virtual id `node`. Raises
        OnionError."""
        layer = yield from onion.layer_steps(self._group.public(node), self.context, os.urandom)
        self._made.setdefault(self._group.member(node), []).append(layer)

    def take(self, node: int) -> bytearray | None:
        """Return a layer for a virtual id, None if there is none left."""
        layers = self._made.get(self._group.member(node))
        return layers.pop() if layers else None


class Secrets:
    """The secrets of the virtual id `own_id`, of the board whose Group, PairKeys and Layers these
    are, in the query of `layers` whose text has the digest `text`: nothing that they make holds
    for a board that was asked another text under the same number."""

    def __init__(self, group: "Group", keys: "PairKeys", layers: Layers, own_id: int, text: bytes) -> None:
        self._group = group
        self._keys = keys
        self._layers = layers
        self._own_id = own_id
        self._text = text

    def onion(
        self, path: list[int], rounds: list[int], payload: bytes, hops_most: int
    ) -> "Generator[None, None, bytes]":
        """Generator: return the cell that carries `payload` along the virtual ids of `path`. Raises
        OnionError."""
        layers = []
        for node in path:
            layer = self._layers.take(node)
            while layer is None:
                yield from self._layers.make_steps(node)
                layer = self._layers.take(node)
            layers.append(layer)
        return onion.build(layers, rounds, payload, hops_most, len(payload), os.urandom, self._text)

    def peel(self, cell: bytes, hops_most: int, payload_size: int) -> "Generator[None, None, tuple[int | None, bytes]]":
        """Generator: return (round to forward in, next cell) or (None, payload). Raises
        OnionError."""
        private = self._group.identity.private
        return onion.peel_steps(private, cell, self._layers.context, hops_most, payload_size, self._text)

    def seal(self, to: int, part: bytes, payload: bytes) -> bytes:
        """Return `payload` sealed for the virtual id `to`, 16 bytes longer; `part` (PART bytes) is
        never the same twice in a query."""
        key = self._keys.key(ECHO, self._group.index, self._group.member(to), True, self._text)
        return aes_ccm.seal(key, self._nonce(part, self._own_id, to), payload, self._layers.context)

    def open(self, sender: int, part: bytes, sealed: bytes) -> bytes | None:
        """Return what the virtual id `sender` has sealed for this one, or None if it has not."""
        key = self._keys.key(ECHO, self._group.index, self._group.member(sender), False, self._text)
        try:
            return aes_ccm.open(key, self._nonce(part, sender, self._own_id), sealed, self._layers.context)
        except CryptoError:
            return None

    def sign(self, message: bytes) -> "Generator[None, None, bytes]":
        """Generator: return this board's signature of `message` for this query, 64 bytes."""
        return p256.sign_steps(self._group.identity.private, self._signed(message))

    def verify(self, peer: int, message: bytes, signature: bytes) -> "Generator[None, None, bool]":
        """Generator: return whether `signature` is that of the board with the virtual id `peer`."""
        return p256.verify_steps(self._group.public(peer), self._signed(message), signature)

    def _signed(self, message: bytes) -> bytes:
        # Nothing else that a board signs begins like this: a COSE structure begins with 0x84.
        return b"hum/v1/gossip-bft" + self._layers.context + self._text + message

    def _nonce(self, part: bytes, sender: int, receiver: int) -> bytes:
        # The key is that of an epoch and of two members, each of which may have two virtual ids
        # (members are 64 at most: a byte each).
        if len(part) != PART:
            raise ValueError("part")
        return part + self._layers.number.to_bytes(4, "big") + bytes((sender, receiver))
