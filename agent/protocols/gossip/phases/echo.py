"""Echo: a node that holds a tuple sends a sealed copy to each other proxy of it, because a node on
the way to some of them may have died.

Why up to `faults` dead nodes lose no living board's value, if n <= FEW and the routes of Shuffle
were found disjoint. Nodes may die at any time, and "dead" is who is dead in the end. The source's
faults + 1 routes, targets included, share no node, so on one of them nobody is dead: its proxy q
lives through the query and has the tuple. Echo has n-1 rounds, in which every node meets every
other once (the overlay's uniformity), so q gives each living proxy p of the tuple a copy itself. Of
the faults + 1 groups one has no dead node: its tree counts every tuple of every living source, and
once, since a node knows a tuple by its identity.

The paper's argument (section 6.1) lets copies travel, and says that failures "can only occur in
these paths if they did not occur in the Shuffle phase". That is wrong: one dead node can be on the
Shuffle route to p, and again on the Echo route from q to p.

For greater n the copies do travel, by short routes, disjoint where such are found, in two epidemic
cycles. Then p misses a tuple if its Shuffle route is broken and each of the other proxies has no
tuple, is dead, or has a broken route to p. With F of n nodes dead and m moves a route, a route is
broken with probability b of about mF/n, and p misses the tuple with about b * (2b)^(groups-1): at n
= 1019, F = 10, m = 5 that is 5e-12.
"""

from agent.protocols.base import overlay
from agent.protocols.gossip.onion import tuples
from agent.protocols.gossip.overlay.sizes import FEW, ID, SEAL
from agent.protocols.gossip.phases import routed_cells, shuffle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.gossip.node import Node
    from agent.protocols.gossip.plan import Phase, Plan
    from agent.protocols.gossip.ports import RunningPhase, Work

_COUNTER = 2
_HEAD = ID + _COUNTER


class Echo:
    """A running phase (agent/protocols/gossip/ports.py). A cell's body: from (2 bytes) | counter
    (2) | sealed tuple."""

    @staticmethod
    def shape(plan: "Plan") -> tuple[int, int, int]:
        """All meetings, each of one move; or two epidemic cycles, in which the first rounds have
        more than the mean."""
        copies = plan.groups * (plan.groups - 1)
        rounds, load = plan.n - 1, 16 * copies // (plan.n - 1)
        if plan.n > FEW:
            rounds, load = 2 * plan.bits, 6 * copies
        return rounds, load, routed_cells.size(rounds, _HEAD + plan.tuple_size + SEAL)

    def __init__(self, node: "Node", phase: "Phase", before: "RunningPhase | None") -> None:
        self._node = node
        self._phase = phase
        self._routed = routed_cells.RoutedCells(node, phase)
        self._opened: set[bytes] = set()  # (from, counter) of what was opened

    def enter(self, r: int) -> "Work | None":
        """Send copies at the phase's beginning."""
        return self._begin() if r == self._phase.first else None

    def _begin(self) -> "Work":
        node = self._node
        counter = 0
        for raw in list(node.tuples.values()):
            others = tuples.proxies_of(node.plan, raw)
            others = [p for p in others if p not in (node.own_id, tuples.NOBODY) and p not in node.absent]
            for to, route in zip(others, self._routes(others)):
                if route:
                    self._send(to, route, counter, raw)
                    counter += 1
                    yield
                else:
                    node.count_missed("no-route", 1)

    def _send(self, to: int, route: int, counter: int, raw: bytes) -> None:
        head = self._node.own_id.to_bytes(ID, "big") + counter.to_bytes(_COUNTER, "big")
        self._routed.post(route, to, head + self._node.secrets.seal(to, self._nonce(head, to), raw))

    def _routes(self, others: list[int]) -> list[int]:
        node, phase, plan = self._node, self._phase, self._node.plan
        if plan.n > FEW:
            found, shared = shuffle.find(plan, node.own_id, others, phase, node.random, node.absent, late=False)
            node.count_missed("shared-route", shared)
            return found
        start = plan.start + phase.first
        return [1 << (overlay.round_of(node.own_id, to, plan.n) - start) % (plan.n - 1) for to in others]

    def _nonce(self, head: bytes, to: int) -> bytes:
        """Return what no other cell of the query has: phase | counter | from | to."""
        return bytes((self._phase.index,)) + head[ID:] + head[:ID] + to.to_bytes(ID, "big")

    def take(self, r: int, cells: list[bytes]) -> None:
        """Forward, and open what is for this node."""
        if cells:
            self._routed.take(cells, r, self._open)

    def _open(self, body: bytes) -> None:
        node = self._node
        head = body[:_HEAD]
        if head in self._opened:
            node.refuse("duplicate")
            return
        sender = int.from_bytes(head[:ID], "big")
        raw = None
        if sender < node.plan.n:
            raw = node.secrets.open(sender, self._nonce(head, node.own_id), body[_HEAD:])
        if raw is None:
            node.refuse("bad-seal")
            return
        self._opened.add(head)
        node.keep(raw, sender)

    def end(self) -> None:
        """Nothing is left to do."""
