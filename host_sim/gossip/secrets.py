"""Secrets for simulated nodes: stand-ins of exactly the real sizes, and the real ones.

A stand-in says in the clear what a real cell hides, and its check sums keep off accidents only:
they are for counting messages, bytes and time, and for nothing else. The machines above cannot tell
the difference: the same seed gives the same messages either way.
"""

import random
import zlib
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from agent.crypto import p256
from agent.protocols.base.identity import Identity
from agent.protocols.gossip.group import Group
from agent.protocols.gossip.onion import onion
from agent.protocols.gossip.onion.secrets import Layers, Secrets
from agent.protocols.gossip.overlay.sizes import SEAL
from agent.protocols.gossip.pair_keys import PairKeys, pair_secret
from agent.protocols.gossip.plan import Plan
from agent.protocols.gossip.roster_part import query_part
from agent.wire.rosters import Roster

if TYPE_CHECKING:
    from agent.protocols.gossip.ports import NodeSecrets
    from host_sim.gossip.simulation import Simulation

_LAYER = 9  # a sign and 8 bytes, as the machines read them
_HEAD = _LAYER + 4 + 2


class StandIn:
    """`secrets` of agent/protocols/gossip/node.py without secrets."""

    def __init__(self, own: int, seed: int) -> None:
        self._own = own
        self._random = random.Random(f"layers {seed} {own}")

    def onion(self, path: list[int], rounds: list[int], payload: bytes, hops_most: int) -> Generator[None, None, bytes]:
        """Lay path, rounds and payload open in a cell of the real size."""
        yield from ()
        if len(path) > hops_most or len(rounds) != len(path) - 1:
            raise onion.OnionError("out-of-range")
        steps = b"".join(node.to_bytes(2, "big") + bytes((r,)) for node, r in zip(path, [*rounds, 255], strict=True))
        rest = bytes((0, len(path))) + steps + payload
        rest += bytes(onion.size(hops_most, len(payload)) - _LAYER - 4 - len(rest))
        return self._cell(self._random.randbytes(8), rest)

    def peel(self, cell: bytes, hops_most: int, payload_size: int) -> Generator[None, None, tuple[int | None, bytes]]:
        """Take one step of what onion() laid open."""
        yield from ()
        if len(cell) != onion.size(hops_most, payload_size):
            raise onion.OnionError("wrong-size")
        at, hops = cell[_LAYER + 4], cell[_LAYER + 5]
        step = cell[_HEAD + 3 * at : _HEAD + 3 * at + 3]
        # What another node can peel fails here as the tag of a real one would.
        if cell != self._cell(cell[1:_LAYER], cell[_LAYER + 4 :]) or step[:2] != self._own.to_bytes(2, "big"):
            raise onion.OnionError("bad-tag")
        if at + 1 == hops:
            return None, cell[_HEAD + 3 * hops :][:payload_size]
        layer = zlib.crc32(cell[1:_LAYER]).to_bytes(4, "big") + cell[1:5]
        return step[2], self._cell(layer, bytes((at + 1,)) + cell[_LAYER + 5 :])

    def seal(self, to: int, part: bytes, payload: bytes) -> bytes:
        """Add a check sum of the size of a real tag."""
        return payload + zlib.crc32(part + self._pair(self._own, to) + payload).to_bytes(SEAL, "big")

    def open(self, sender: int, part: bytes, sealed: bytes) -> bytes | None:
        """Undo seal()."""
        payload = sealed[:-SEAL]
        check = zlib.crc32(part + self._pair(sender, self._own) + payload).to_bytes(SEAL, "big")
        return payload if check == sealed[-SEAL:] else None

    def sign(self, message: bytes) -> Generator[None, None, bytes]:
        """Return 64 bytes that verify() knows."""
        yield from ()
        return _signature(self._own, message)

    def verify(self, peer: int, message: bytes, signature: bytes) -> Generator[None, None, bool]:
        """Tell whether sign() of `peer` made this."""
        yield from ()
        return signature == _signature(peer, message)

    @staticmethod
    def _pair(sender: int, receiver: int) -> bytes:
        return sender.to_bytes(2, "big") + receiver.to_bytes(2, "big")

    @staticmethod
    def _cell(layer: bytes, rest: bytes) -> bytes:
        return b"\x02" + layer + zlib.crc32(layer + rest).to_bytes(4, "big") + rest


class Watched:
    """Secrets that tell the simulation what they cost, and whose tuple is whose."""

    def __init__(self, simulation: "Simulation", own: int, secrets: "NodeSecrets") -> None:
        self._simulation, self._own, self._secrets = simulation, own, secrets

    def onion(self, path: list[int], rounds: list[int], payload: bytes, hops_most: int) -> Generator[None, None, bytes]:
        self._simulation.note(self._own, payload)
        self._simulation.spend(self._own, "encrypt", len(path))
        return self._secrets.onion(path, rounds, payload, hops_most)

    def peel(self, cell: bytes, hops_most: int, payload_size: int) -> Generator[None, None, tuple[int | None, bytes]]:
        self._simulation.spend(self._own, "decrypt")
        return self._secrets.peel(cell, hops_most, payload_size)

    def seal(self, to: int, part: bytes, payload: bytes) -> bytes:
        self._simulation.spend(self._own, "encrypt")
        return self._secrets.seal(to, part, payload)

    def sign(self, message: bytes) -> Generator[None, None, bytes]:
        self._simulation.spend(self._own, "sign")
        return self._secrets.sign(message)

    def verify(self, peer: int, message: bytes, signature: bytes) -> Generator[None, None, bool]:
        self._simulation.spend(self._own, "verify")
        return self._secrets.verify(peer, message, signature)

    def open(self, sender: int, part: bytes, sealed: bytes) -> bytes | None:
        self._simulation.spend(self._own, "decrypt")
        return self._secrets.open(sender, part, sealed)


def _signature(own: int, message: bytes) -> bytes:
    return zlib.crc32(own.to_bytes(2, "big") + message).to_bytes(4, "big") * 16


class _LazyKeys(PairKeys):
    """Pair keys that are made when they are first asked for: a board makes them once an epoch, here
    most are never used.
    """

    def __init__(self, group: Group) -> None:
        super().__init__(bytes(64 + 32 * len(group.names)), group.names)
        self._group = group
        self._made: set[int] = set()

    def key(self, label: str, own_index: int, peer: int, outgoing: bool, text: bytes = b"") -> bytes:
        """As PairKeys.key."""
        if peer not in self._made:
            self._made.add(peer)
            group, private = self._group, self._group.identity.private
            shared = private if peer == own_index else p256.ecdh(private, group.public(peer))
            secret = pair_secret(shared, group.digest, *sorted((group.names[own_index], group.names[peer])))
            self._record = self._record[: 64 + 32 * peer] + secret + self._record[96 + 32 * peer :]
        return super().key(label, own_index, peer, outgoing, text)


def real(plan: Plan, seed: int) -> Callable[[int], Secrets]:
    """Return a function that makes the real secrets of a virtual id. The boards' keys follow from
    the seed."""
    drawn = random.Random(f"keys {seed}")
    privates = [p256.generate(drawn.randbytes) for _ in range(plan.members)]
    members = [(f"b{i}", p256.public_key(private)) for i, private in enumerate(privates)]
    roster = Roster(plan.protocol, "t1", [], b"", members, query_part())
    boards: dict[int, tuple[Group, PairKeys]] = {}

    def make(own: int) -> Secrets:
        index = own if own < plan.members else own - plan.members
        if index not in boards:
            identity = Identity("simulated", "overlay", members[index][0], privates[index], members[index][1], b"")
            group = Group(identity, 1, bytes(32), roster)
            boards[index] = group, _LazyKeys(group)
        group, keys = boards[index]
        return Secrets(group, keys, Layers(group, plan.number), own, bytes(32))

    return make
