"""Cells that carry their route in the clear: route | to (2 bytes) | body. Relays read the route and
do no work on a curve.

Bit i of the route says "move in the phase's i-th round" (agent/protocols/gossip/overlay/routes.py).
Who sends a cell clears the bit of that move: what is left tells a relay where the cell goes, and
only the round and the predecessor say where it may have come from.
"""

from agent.protocols.gossip.overlay.sizes import ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.protocols.gossip.node import Node
    from agent.protocols.gossip.plan import Phase


def width(rounds: int) -> int:
    """Return the bytes of a route in a phase of so many rounds."""
    return (rounds + 7) // 8


def size(rounds: int, body: int) -> int:
    """Return the bytes of a cell with a body of `body` bytes."""
    return width(rounds) + ID + body


class RoutedCells:
    """The cells of one Phase at one Node."""

    def __init__(self, node: "Node", phase: "Phase") -> None:
        self._node = node
        self._first = phase.first
        self._rounds = phase.rounds
        self._width = width(phase.rounds)
        self._end = 1 << phase.rounds

    def post(self, route: int, to: int, body: bytes) -> None:
        """Send `body` (bytes of the phase's size) on its way to `to` by `route`."""
        self._forward(route, to.to_bytes(ID, "big") + body)

    def take(self, cells: list[bytes], r: int, deliver: "Callable[[bytes], object]") -> None:
        """Sort the cells of round r: deliver(body) those for this node, forward the others."""
        own_id = self._node.own_id
        width = self._width
        done = (1 << (r - self._first + 1)) - 1
        for cell in cells:
            route = int.from_bytes(cell[:width], "big")
            if route & done or route >= self._end:
                self._node.refuse("bad-route")
            elif route:
                self._forward(route, cell[width:])
            elif int.from_bytes(cell[width : width + ID], "big") == own_id:
                deliver(cell[width + ID :])
            else:
                self._node.refuse("astray")

    def _forward(self, route: int, rest: bytes) -> None:
        move = route & -route
        i = 0
        while move >> i != 1:
            i += 1
        self._node.post(self._first + i, (route ^ move).to_bytes(self._width, "big") + rest)
