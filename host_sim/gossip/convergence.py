"""How fast what one node knows reaches all, over the overlay and by random push gossip, with failed
nodes: Figure 8 of Tremel et al.

Synchronous rounds. In each, every living node that knows sends to one other: over the overlay to
partner(), by random gossip to a node drawn uniformly from all others (a random gossiper does not
know who has failed, either). Failed nodes neither send nor receive; the source lives. Each run
draws its failed nodes, its source and its first round anew; both ways get the same failed nodes and
source.
"""

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from agent.protocols.base.overlay import partner

NODES = 1019
SHARES = (0.0, 0.1, 0.3, 0.5)  # of the nodes that failed
RUNS = 200
MOST_ROUNDS = 1000  # a run that has not converged then never does


class NotConverged(Exception):
    """args[0] says after how many rounds how many living nodes still did not know."""


@dataclass(frozen=True)
class Curve:
    """One way of spreading with one share of failed nodes. `known[r]` is the mean share of living
    nodes that know after r rounds."""

    way: str
    failed: float
    mean_rounds: float
    least_rounds: int
    most_rounds: int
    known: list[float]


def _overlay(generator: random.Random, n: int, start: int) -> Callable[[int, int], int]:
    def target(node: int, r: int) -> int:
        to: int = partner(node, start + r, n)
        return to

    return target


def _push(generator: random.Random, n: int, start: int) -> Callable[[int, int], int]:
    return lambda node, r: (node + 1 + generator.randrange(n - 1)) % n


WAYS = {"overlay": _overlay, "random push": _push}


def spread(living: set[int], source: int, target: Callable[[int, int], int]) -> list[int]:
    """Return how many living nodes know after 0, 1, 2, ... rounds, up to all. target(node, round)
    is whom a node sends to."""
    knowing = {source}
    counts = [1]
    while len(knowing) < len(living):
        r = len(counts) - 1
        if r == MOST_ROUNDS:
            raise NotConverged(f"after {r} rounds {len(living) - len(knowing)} living nodes do not know")
        knowing |= {target(node, r) for node in knowing} & living
        counts.append(len(knowing))
    return counts


def measure(
    n: int = NODES, runs: int = RUNS, seed: int = 1, say: Callable[[str], None] = lambda phase: None
) -> list[Curve]:
    """Return a curve for each share of failed nodes and way, each over `runs` runs; all that is
    random follows from `seed`."""
    curves = []
    for share in SHARES:
        counts: dict[str, list[list[int]]] = {way: [] for way in WAYS}
        for run in range(runs):
            if run % 20 == 0:
                say(f"convergence: {share:.0%} failed, run {run} of {runs}")
            generator = random.Random(f"{seed}/{n}/{share}/{run}")
            living = set(generator.sample(range(n), n - round(share * n)))
            source = generator.choice(sorted(living))
            start = generator.randrange(n - 1)
            for way, make in WAYS.items():
                counts[way].append(spread(living, source, make(generator, n, start)))
        curves += [_curve(way, share, counts[way], n - round(share * n)) for way in WAYS]
    return curves


def _curve(way: str, share: float, counts: list[list[int]], living: int) -> Curve:
    rounds = [len(run) - 1 for run in counts]
    known = [statistics.fmean(run[min(r, len(run) - 1)] for run in counts) / living for r in range(max(rounds) + 1)]
    return Curve(way, share, round(statistics.fmean(rounds), 2), min(rounds), max(rounds), known)
