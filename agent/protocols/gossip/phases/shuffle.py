"""Shuffle: a node's tuple goes to one proxy in each group, in onions, along routes that meet
nowhere if they can.

All routes are late (agent/protocols/gossip/overlay/routes.py): the round in which a proxy gets a
tuple, and from whom, tell it nothing of the origin.

Source: paper, section 4.3 (Shuffle) and 4.2 (tunneled multicast).
"""

from agent.protocols.gossip.onion import onion, tuples
from agent.protocols.gossip.onion.peeling import Peeling
from agent.protocols.gossip.overlay import routes
from agent.protocols.gossip.overlay.sizes import FEW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.protocols.gossip.node import Node
    from agent.protocols.gossip.plan import Phase, Plan
    from agent.protocols.gossip.ports import Draw, Path, Random, RunningPhase, Work


class Shuffle:
    """A running phase (agent/protocols/gossip/ports.py)."""

    @staticmethod
    def shape(plan: "Plan") -> tuple[int, int, int]:
        """Late routes end in the second epidemic cycle. Disjoint ones leave the source in different
        rounds, so some more are needed: where nodes are few, all routes are to be disjoint (so they
        were in 4,200 draws, n = 11 to 61); else it is quick to find such.
        """
        rounds = 2 * plan.bits + plan.groups
        if plan.n > FEW:
            rounds = max(2 * plan.bits + 1, plan.bits + plan.groups * 3 // 2)
        # Middle rounds have almost twice the mean: short routes meet there.
        load = 16 * plan.groups * plan.bits // rounds
        return rounds, load, onion.size(plan.hops_most, plan.tuple_size)

    def __init__(self, node: "Node", phase: "Phase", before: "RunningPhase | None") -> None:
        self._node = node
        self._phase = phase
        self._peeling = Peeling(node)

    def enter(self, r: int) -> "Work | None":
        """Send the own tuple at the phase's beginning."""
        return self._begin() if r == self._phase.first and self._node.has_tuple else None

    def _begin(self) -> "Work":
        node, plan = self._node, self._node.plan
        proxies, paths, shared = node.draw or draw(plan, node.own_id, node.random, node.absent)
        raw = node.own_tuple(proxies)
        for path, moves in paths:
            if len(path) == 1 and not plan.mixed(node.own_id, moves[0], node.absent):
                node.count_missed("unmixed", 1)  # the proxy would know whose it is; echo tells it
                continue
            cell = yield from node.secrets.onion(path, moves[1:], raw, plan.hops_most)
            node.post(moves[0], cell)
        node.count_missed("no-route", len([p for p in proxies if p != tuples.NOBODY]) - len(paths))
        node.count_missed("shared-route", shared)

    def take(self, r: int, cells: list[bytes]) -> "Work | None":
        """Peel what has arrived: forward it, or keep a tuple."""
        return self._peel(r, cells) if cells else None

    def _peel(self, r: int, cells: list[bytes]) -> "Work":
        node, plan = self._node, self._node.plan
        for cell in cells:
            peeled = yield from self._peeling.steps(cell, plan.hops_most, plan.tuple_size)
            if peeled is None:
                continue
            to_round, rest = peeled
            if to_round is None:
                yield from self._keep(rest)
            elif r < to_round < self._phase.end:
                node.post(to_round, rest)
            else:
                node.refuse("bad-round")

    def _keep(self, raw: bytes) -> "Work":
        node = self._node
        if node.genuine and tuples.refusal(node.plan, node.own_id, raw) is None and not (yield from node.genuine(raw)):
            node.refuse("forged")
        else:
            node.keep(raw)

    def end(self) -> None:
        """Nothing is left to do."""


def draw(plan: "Plan", own_id: int, random: "Random", absent: "Collection[int]") -> "Draw":
    """Return (proxies, paths, shared): a proxy in each group; for each a (path, rounds), the ids
    visited and the rounds of the query in which each of the moves is made; how many routes share a
    node. A proxy that no route leads to has no path. All that onions need but the value, so that
    their layers can be made ahead of the query.
    """
    phase = plan.phases[0]
    proxies = pick_proxies(plan, random, absent)
    found, shared = find(plan, own_id, [p for p in proxies if p != tuples.NOBODY], phase, random, absent)
    return proxies, [path_of(plan, own_id, route, phase) for route in found if route], shared


def find(
    plan: "Plan",
    own_id: int,
    targets: list[int],
    phase: "Phase",
    random: "Random",
    avoid: "Collection[int]",
    late: bool = True,
) -> tuple[list[int], int]:
    """Return (a route to each target, how many of them share a node with another); 0 for a target
    that none leads to without `avoid`.
    """
    start = plan.start + phase.first
    most = plan.hops_most if late else None
    try:
        return routes.routes(own_id, targets, start, phase.rounds, plan.n, random, avoid, late, most)
    except routes.RouteError:
        if len(targets) == 1:
            return [0], 0
    found = [find(plan, own_id, [target], phase, random, avoid, late)[0][0] for target in targets]
    return found, len(found)


def path_of(plan: "Plan", own_id: int, route: int, phase: "Phase") -> "Path":
    """Return (ids visited, rounds of the query in which each move is made)."""
    moves = [phase.first + i for i in range(phase.rounds) if route >> i & 1]
    return routes.visited(own_id, route, plan.start + phase.first, plan.n), moves


def pick_proxies(plan: "Plan", random: "Random", absent: "Collection[int]") -> list[int]:
    """Return one node of each group, each as likely; NOBODY for a group of which all are absent."""
    proxies = []
    for index in range(plan.groups):
        living = [v for v in plan.group(index) if v not in absent]
        proxies.append(living[below(len(living), random)] if living else tuples.NOBODY)
    return proxies


def below(most: int, random: "Random") -> int:
    """Return a random number below `most`, 1 to 65536, each as likely."""
    while True:
        number = int.from_bytes(random(2), "big")
        if number < 65536 - 65536 % most:
            return number % most
