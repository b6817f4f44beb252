"""Routes through the overlay: which of a phase's rounds a tuple moves in, and which it waits out.

A phase has `rounds` rounds; its first is the overlay's round `start`. A tuple that moves in the
i-th of them goes 2^(start+i) further, so a route is one number x: bit i says "move in the i-th
round", and x leads from a to b exactly if

    x = (b - a) / 2^start   (mod n).

With L = ceil(log2 n), the bits from L on can be chosen freely: then the low ones are the least
residue of what is left, below n <= 2^L (the paper's proof of efficiency, section 4.1, turned into a
method; its breadth-first search needs a table of the graph).

Why the round of arrival tells nothing of the origin. The round of arrival is the highest bit of x.
The numbers from 2^j to 2^(j+1) - 1 are 2^j in a row: for j >= L, n or more, so that every residue
is among them. For every origin a, every target b and every such j there is thus a route from a to b
that arrives in j. So j can be drawn, uniformly, before anything is asked about a; whatever rule
then chooses among the routes that arrive in j, as fewest moves, the round has the same distribution
for every origin, and with it the node from which b gets the tuple: b - 2^(start+j), whoever sent
it. The paper's shortest paths have not this property: what arrives after r < L rounds can have but
2^r origins. Routes that visit a node twice are not taken here; without them one origin has no route
for j = L, and all have routes for each j > L (tests/host_sim/gossip/test_overlay_exhaustive.py).
Hence routes() draws from L+1 on, if there are so many.

What this does not hide. A relay that receives a tuple in the i-th round, i < L, knows that it is
from one of at most 2^i origins; it has an onion, and neither the value nor the target. And
node-disjoint routes to several targets exist for some draws of the rounds of arrival and, where n
is small, not for others, which depends on the origin: routes() draws another round then, and so do
`avoid` and `moves_most` make it. `hum-sim bench overlay` measures how far from the property that
leads.

Source: Tremel et al., "Anonymous, Fault-Tolerant Distributed Queries for Smart Devices", section
4.2.
"""

from agent.protocols.base.overlay import log2_ceil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.protocols.gossip.ports import Random

FEW = 32  # routes to one target with one round of arrival: up to these, all are looked at
CHOICES = 16  # if there are more, so many at random
PASSES = 16  # of drawing routes to all targets, until none shares a node


class RouteError(Exception):
    """There is no such route. args[0] is the reason."""


def visited(a: int, route: int, start: int, n: int) -> list[int]:
    """Return the nodes that a tuple from a is at after each move of `route`; the last is the
    target."""
    step = pow(2, start % (n - 1), n)
    nodes = []
    while route:
        if route & 1:
            a = (a + step) % n
            nodes.append(a)
        step = step * 2 % n
        route >>= 1
    return nodes


def route(a: int, b: int, start: int, rounds: int, n: int, free: int) -> int:
    """Return the route from a to b with the free bits `free`: bits log2_ceil(n) to rounds-1, 0 for
    none. ValueError for others."""
    low = log2_ceil(n)
    if rounds < low or free >> rounds or free & ((1 << low) - 1):
        raise ValueError("free bits out of range")
    return free | ((b - a) * pow(2, -start % (n - 1), n) - free) % n


def routes(
    a: int,
    targets: list[int],
    start: int,
    rounds: int,
    n: int,
    random: "Random",
    avoid: "Iterable[int]" = (),
    late: bool = True,
    moves_most: int | None = None,
) -> tuple[list[int], int]:
    """Return (a route from a to each of `targets`, how many of the routes share a node with
    another).

    No route has a node of `avoid`, of the targets or the source in its interior, and none visits a
    node twice. The interiors are disjoint where such routes were found. A target that is given more
    than once gets several routes; the source may be a target. With `late`, every route arrives in a
    round after log2_ceil(n), or in it if it is the last, drawn at random; without, routes are as
    short as they come and their rounds tell of the origin. `moves_most` bounds each route's moves.
    random(k) returns k random bytes. Raises RouteError("no route") if none was found without a node
    of `avoid`, or more moves; ValueError if `rounds` are too few.
    """
    low = log2_ceil(n)
    if rounds < low + late:
        raise ValueError("too few rounds")
    blocked = set(avoid)
    blocked.update(targets)
    blocked.add(a)
    best = None
    for _ in range(PASSES):
        found = _draw(a, targets, start, low, rounds, n, random, blocked, late, moves_most or rounds)
        if found is not None and (best is None or found[1] < best[1]):
            best = found
        if best is not None and best[1] == 0:
            break
    if best is None:
        raise RouteError("no route")
    return best


def _draw(
    a: int,
    targets: list[int],
    start: int,
    low: int,
    rounds: int,
    n: int,
    random: "Random",
    blocked: set[int],
    late: bool,
    most: int,
) -> tuple[list[int], int] | None:
    """Return what routes() does: for each target the first route that shares no node with those
    before, or the fewest; or None.

    In an order at random: where n is small, the last target's round depends most on which rounds
    are left, and so on the origin.
    """
    chosen = [0] * len(targets)
    interiors: list[set[int]] = []
    used = {a}  # which no interior has
    order = list(range(len(targets)))
    while order:
        position = order.pop(_below(len(order), random))
        b = targets[position]
        whole = (b - a) * pow(2, -start % (n - 1), n) % n
        tops = list(range(min(low + 1, rounds - 1), rounds)) if late else [rounds]
        best: tuple[int, set[int]] | None = None
        while tops and (best is None or best[1] & used):
            top = tops.pop(_below(len(tops), random))
            for route in _choices(whole, low, top, late, n, random):
                interior = _interior(a, visited(a, route, start, n), most)
                if interior is None or interior & blocked:
                    continue
                if best is None or len(interior & used) < len(best[1] & used):
                    best = route, interior
                    if not interior & used:
                        break
        if best is None:
            return None
        chosen[position] = best[0]
        interiors.append(best[1])
        used |= best[1]
    sharing = [i for i in interiors if any(j is not i and i & j for j in interiors)]
    return chosen, len(sharing)


def _interior(a: int, nodes: list[int], most: int) -> set[int] | None:
    """Return the set of the nodes before the target; None if there are more than `most` moves, or a
    node twice.

    A route of one move has a node of its own, one for each target, so that no target gets the same
    route twice.
    """
    if len(nodes) > most or len(set(nodes)) < len(nodes) or a in nodes[:-1]:
        return None
    return set(nodes[:-1]) if len(nodes) > 1 else {~nodes[0]}


def _choices(whole: int, low: int, top: int, late: bool, n: int, random: "Random") -> list[int]:
    """Return some routes that are `whole` modulo n, those with few moves first; with `late` all
    arrive in round `top`, else before it.

    Where they are drawn, each waits at the source for some rounds first: else half of all would
    begin in the first round, and so with the same relay.
    """
    last = 1 << top if late else 0
    if late and last // n <= FEW:
        return sorted(range(last + (whole - last) % n, 2 * last, n), key=_moves)
    found = []
    drawn = random(3 * CHOICES)
    for i in range(CHOICES):
        wait = drawn[3 * i] % (top - low + 1)
        free = last >> wait
        span = top - low - wait
        if span and i >= CHOICES // 4:
            free |= 1 << low + drawn[3 * i + 1] % span | 1 << low + drawn[3 * i + 2] % span
        x = free | (whole * pow(2, -wait % (n - 1), n) - free) % n
        if x:
            found.append(x << wait)
    found.sort(key=_moves)
    return found


def _below(most: int, random: "Random") -> int:
    """Return a random number below `most` (1 to 65536), each as likely."""
    while True:
        drawn = random(2)
        number = drawn[0] << 8 | drawn[1]
        if number < 65536 - 65536 % most:
            return number % most


def _moves(route: int) -> int:
    return bin(route).count("1")
