"""Scatter and Gather: each copy of a tuple goes to a relay, and from there to its proxy, by routes
around the nodes that the survey missed.

An onion of two layers and no more, whatever the distance: the relay's has the way to the proxy and
the proxy's layer. In between, a cell has its route in the clear, less the part behind it; the route
to the relay is late, so the relay cannot tell the origin from the round and the predecessor, and
the proxy sees the relay's route only. A relay and the proxy together know no more than the relay.

The paper's version (section 5.1) is not exact: a value is lost to a healthy group if its relay dies
(92 % exact at 10 % failed, measured on the authors' code). Here the faults + 1 chains source -
relay - proxy share no node, if such routes are found, so `faults` later failures leave one tuple at
a living proxy at least, and Echo does the rest as in gossip.

Source: paper, section 5.1.
"""

from agent.protocols.gossip.onion import onion, tuples
from agent.protocols.gossip.onion.peeling import Peeling
from agent.protocols.gossip.overlay import routes
from agent.protocols.gossip.overlay.sizes import FEW, ID
from agent.protocols.gossip.phases import routed_cells, shuffle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.protocols.gossip.node import Node
    from agent.protocols.gossip.plan import Phase, Plan
    from agent.protocols.gossip.ports import RunningPhase, Work


def _rounds(plan: "Plan") -> int:
    return 2 * plan.bits + (plan.faults if plan.n <= FEW else 0) + 1


def _inner(plan: "Plan") -> int:
    return onion.size(1, plan.tuple_size)


def _errand(plan: "Plan") -> int:
    """Return the bytes of what a relay is told: route | proxy | the proxy's cell."""
    return routed_cells.width(_rounds(plan)) + ID + _inner(plan)


class Scatter:
    """A running phase (agent/protocols/gossip/ports.py): tuples go to relays. `held` are the
    errands that this node is to run in Gather."""

    @staticmethod
    def shape(plan: "Plan") -> tuple[int, int, int]:
        """Few copies, each with some moves."""
        rounds = _rounds(plan)
        return rounds, 16 * plan.groups * plan.bits // rounds, routed_cells.size(rounds, onion.size(1, _errand(plan)))

    def __init__(self, node: "Node", phase: "Phase", before: "RunningPhase | None") -> None:
        self._node = node
        self._phase = phase
        self._peeling = Peeling(node)
        self._routed = routed_cells.RoutedCells(node, phase)
        self._arrived: list[bytes] = []
        self.held: list[bytes] = []

    def enter(self, r: int) -> "Work | None":
        """Send the own tuple at the phase's beginning."""
        return self._begin() if r == self._phase.first and self._node.has_tuple else None

    def _begin(self) -> "Work":
        node = self._node
        gather = node.plan.phases[self._phase.index + 1]
        proxies = shuffle.pick_proxies(node.plan, node.random, node.absent)
        raw = node.own_tuple(proxies)
        chains = _chains(node, [p for p in proxies if p != tuples.NOBODY], self._phase, gather)
        for proxy, relay, there, onwards in chains:
            if not there or not onwards:
                node.count_missed("no-route", 1)
                continue
            inner = yield from node.secrets.onion([proxy], [], raw, 1)
            errand = onwards.to_bytes(routed_cells.width(gather.rounds), "big") + proxy.to_bytes(ID, "big") + inner
            cell = yield from node.secrets.onion([relay], [], errand, 1)
            self._routed.post(there, relay, cell)

    def take(self, r: int, cells: list[bytes]) -> "Work | None":
        """Forward, and peel what is for this relay."""
        self._routed.take(cells, r, self._arrived.append)
        return self._peel() if self._arrived else None

    def _peel(self) -> "Work":
        node = self._node
        while self._arrived:
            peeled = yield from self._peeling.steps(self._arrived.pop(0), 1, _errand(node.plan))
            if peeled is None:
                continue
            if peeled[0] is not None:
                node.refuse("bad-round")
            elif len(self.held) == node.plan.tuples_most:
                node.refuse("too-many")
            else:
                self.held.append(peeled[1])

    def end(self) -> None:
        """Errands wait for Gather."""


class Gather:
    """A running phase (agent/protocols/gossip/ports.py): relays send the tuples on to their
    proxies."""

    @staticmethod
    def shape(plan: "Plan") -> tuple[int, int, int]:
        """As many cells as in Scatter, and smaller ones."""
        rounds = _rounds(plan)
        return rounds, 16 * plan.groups * plan.bits // rounds, routed_cells.size(rounds, _inner(plan))

    def __init__(self, node: "Node", phase: "Phase", before: "RunningPhase | None") -> None:
        self._node = node
        self._phase = phase
        self._peeling = Peeling(node)
        assert isinstance(before, Scatter)
        self._errands = before.held
        self._routed = routed_cells.RoutedCells(node, phase)
        self._arrived: list[bytes] = []

    def enter(self, r: int) -> None:
        """Run the errands at the phase's beginning."""
        if r != self._phase.first:
            return
        width = routed_cells.width(self._phase.rounds)
        for errand in self._errands:
            route = int.from_bytes(errand[:width], "big")
            proxy = int.from_bytes(errand[width : width + ID], "big")
            if not 0 < route < 1 << self._phase.rounds or proxy >= self._node.plan.n:
                self._node.refuse("bad-route")
            else:
                self._routed.post(route, proxy, errand[width + ID :])

    def take(self, r: int, cells: list[bytes]) -> "Work | None":
        """Forward, and peel what is for this proxy."""
        self._routed.take(cells, r, self._arrived.append)
        return self._peel() if self._arrived else None

    def _peel(self) -> "Work":
        node = self._node
        while self._arrived:
            peeled = yield from self._peeling.steps(self._arrived.pop(0), 1, node.plan.tuple_size)
            if peeled is None:
                continue
            if peeled[0] is None:
                node.keep(peeled[1])
            else:
                node.refuse("bad-round")

    def end(self) -> None:
        """Nothing is left to do."""


def _chains(
    node: "Node", proxies: list[int], scatter: "Phase", gather: "Phase"
) -> "Iterator[tuple[int, int, int, int]]":
    """Return (proxy, relay, route to the relay, route from there to the proxy) for each proxy, as
    disjoint as can be; 0 for no route.
    """
    plan, own_id, random, absent = node.plan, node.own_id, node.random, node.absent
    taken = set(proxies)
    taken.add(own_id)
    taken.update(absent)
    relays = []
    free = [v for v in range(plan.n) if v not in taken]
    for _ in proxies:
        # Where hardly anybody is left, a proxy or the source itself may have to relay.
        relays.append(free.pop(shuffle.below(len(free), random)) if free else own_id)
    there, shared = shuffle.find(plan, own_id, relays, scatter, random, absent | set(proxies))
    used = taken | set(relays)
    for route in there:
        used.update(routes.visited(own_id, route, plan.start + scatter.first, plan.n))
    onwards = []
    for proxy, relay in zip(proxies, relays):
        route = shuffle.find(plan, relay, [proxy], gather, random, used - {proxy, relay}, late=False)[0][0]
        if not route:
            route = shuffle.find(plan, relay, [proxy], gather, random, absent, late=False)[0][0]
            shared += 1
        used.update(routes.visited(relay, route, plan.start + gather.first, plan.n))
        onwards.append(route)
    node.count_missed("shared-route", shared)
    return zip(proxies, relays, there, onwards)
