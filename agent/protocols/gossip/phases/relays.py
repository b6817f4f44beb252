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
from agent.protocols.gossip.overlay import routes
from agent.protocols.gossip.overlay.sizes import FEW, ID
from agent.protocols.gossip.phases import routed_cells as carried
from agent.protocols.gossip.phases import shuffle


def _rounds(plan):
    return 2 * plan.bits + (plan.faults if plan.n <= FEW else 0) + 1


def _inner(plan):
    return onion.size(1, plan.tuple_size)


def _errand(plan):
    """Return the bytes of what a relay is told: route | proxy | the proxy's cell."""
    return carried.width(_rounds(plan)) + ID + _inner(plan)


class Scatter:
    """A part (agent/protocols/gossip/phases/catalogue.py): tuples go to relays. `held` are the
    errands that this node is to run in Gather."""

    @staticmethod
    def shape(plan):
        """Few copies, each with some moves."""
        rounds = _rounds(plan)
        return rounds, 16 * plan.groups * plan.bits // rounds, carried.size(rounds, onion.size(1, _errand(plan)))

    def __init__(self, node, phase, before):
        self._node = node
        self._phase = phase
        self._carried = carried.Carried(node, phase)
        self._arrived = []
        self.held = []

    def enter(self, r):
        """Send the own tuple at the phase's beginning."""
        return self._begin() if r == self._phase.first and self._node.has_tuple else None

    def _begin(self):
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
            errand = onwards.to_bytes(carried.width(gather.rounds), "big") + proxy.to_bytes(ID, "big") + inner
            cell = yield from node.secrets.onion([relay], [], errand, 1)
            self._carried.post(there, relay, cell)

    def take(self, r, cells):
        """Forward, and peel what is for this relay."""
        self._carried.take(cells, r, self._arrived.append)
        return self._peel() if self._arrived else None

    def _peel(self):
        node = self._node
        while self._arrived:
            peeled = yield from node.peel(self._arrived.pop(0), 1, _errand(node.plan))
            if peeled is None:
                continue
            if peeled[0] is not None:
                node.refuse("bad-round")
            elif len(self.held) == node.plan.tuples_most:
                node.refuse("too-many")
            else:
                self.held.append(peeled[1])

    def end(self):
        """Errands wait for Gather."""


class Gather:
    """A part (agent/protocols/gossip/phases/catalogue.py): relays send the tuples on to their
    proxies."""

    @staticmethod
    def shape(plan):
        """As many cells as in Scatter, and smaller ones."""
        rounds = _rounds(plan)
        return rounds, 16 * plan.groups * plan.bits // rounds, carried.size(rounds, _inner(plan))

    def __init__(self, node, phase, before):
        self._node = node
        self._phase = phase
        self._errands = before.held
        self._carried = carried.Carried(node, phase)
        self._arrived = []

    def enter(self, r):
        """Run the errands at the phase's beginning."""
        if r != self._phase.first:
            return
        width = carried.width(self._phase.rounds)
        for errand in self._errands:
            route = int.from_bytes(errand[:width], "big")
            proxy = int.from_bytes(errand[width : width + ID], "big")
            if not 0 < route < 1 << self._phase.rounds or proxy >= self._node.plan.n:
                self._node.refuse("bad-route")
            else:
                self._carried.post(route, proxy, errand[width + ID :])

    def take(self, r, cells):
        """Forward, and peel what is for this proxy."""
        self._carried.take(cells, r, self._arrived.append)
        return self._peel() if self._arrived else None

    def _peel(self):
        node = self._node
        while self._arrived:
            peeled = yield from node.peel(self._arrived.pop(0), 1, node.plan.tuple_size)
            if peeled is None:
                continue
            if peeled[0] is None:
                node.keep(peeled[1])
            else:
                node.refuse("bad-round")

    def end(self):
        """Nothing is left to do."""


def _chains(node, proxies, scatter, gather):
    """Return (proxy, relay, route to the relay, route from there to the proxy) for each proxy, as
    disjoint as can be; 0 for no route.
    """
    plan, own, random, absent = node.plan, node.own, node.random, node.absent
    taken = set(proxies)
    taken.add(own)
    taken.update(absent)
    relays = []
    free = [v for v in range(plan.n) if v not in taken]
    for _ in proxies:
        # Where hardly anybody is left, a proxy or the source itself may have to relay.
        relays.append(free.pop(shuffle.below(len(free), random)) if free else own)
    there, shared = shuffle.find(plan, own, relays, scatter, random, absent | set(proxies))
    used = taken | set(relays)
    for route in there:
        used.update(routes.visited(own, route, plan.start + scatter.first, plan.n))
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
