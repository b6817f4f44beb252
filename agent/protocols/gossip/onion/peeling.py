"""Peeling at one node in one phase: what is refused is counted, and no layer is peeled twice."""

from agent.protocols.gossip.onion.onion import OnionError
from agent.protocols.gossip.overlay.sizes import IDENTITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.protocols.gossip.node import Node


class Peeling:
    """The onions that come to `node`."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._peeled: set[bytes] = set()

    def steps(
        self, cell: bytes, hops_most: int, payload_size: int
    ) -> "Generator[None, None, tuple[int | None, bytes] | None]":
        """Generator: return (round or None, bytes), or None for what is refused."""
        # Without the sign: a point and its negative differ in that alone.
        layer = cell[1 : IDENTITY + 1]
        if layer in self._peeled:
            self._node.refuse("duplicate")
            return None
        try:
            peeled = yield from self._node.secrets.peel(cell, hops_most, payload_size)
        except OnionError as error:
            self._node.refuse(error.reason)
            return None
        self._peeled.add(layer)
        return peeled
