"""What routes through the overlay cost and give away: `hum-sim bench overlay`, and a part of `make
bench`.

Multicasts: a source and k targets at random, one in each of k groups of consecutive ids, as of a
query that tolerates t failures (k = t + 1, or 2t + 1 against Byzantine ones; t = ceil(log2 n)). The
paper's way is its repeated breadth-first search: the earliest path to each target in turn, its
nodes deleted. It says that k + L rounds suffice (L = ceil(log2 n)). Ours is
agent/protocols/gossip/overlay/routes.py.

Arrivals: how much the round in which a target gets a tuple tells it of the origin, in bits (mutual
information, less what as many draws of independent numbers would show by chance), and how often the
best guess of the origin is right. 0 bits is the aim.
"""

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from agent.protocols.base.overlay import log2_ceil, partner
from agent.protocols.gossip.overlay import routes
from broker.cli.tables import show_figures

MULTICASTS = ((13, 3), (13, 5), (53, 5), (101, 8), (101, 15), (1019, 11))
RUNS = 100
ARRIVALS = ((11, 3), (13, 3), (13, 5), (19, 3), (53, 3), (101, 3))
ORIGINS_MOST = 12
DRAWS = 600


def _setting(n: int, k: int, generator: random.Random) -> tuple[int, list[int], int]:
    """Return a source, k other nodes in k groups, and a first round."""
    while True:
        a = generator.randrange(n)
        targets = [generator.randrange(i * n // k, (i + 1) * n // k) for i in range(k)]
        if a not in targets:
            return a, targets, generator.randrange(n - 1)


def earliest_paths(a: int, targets: list[int], start: int, n: int) -> int:
    """Return in how many rounds the paper's search has node-disjoint paths from a to all targets; n
    where there are none within n-1."""
    free = set(range(n)) - set(targets) - {a}
    longest = 0
    for b in targets:
        came: dict[int, int] = {a: a}
        rounds = 0
        while b not in came:
            if rounds == n:
                return n
            for node in list(came):
                to = partner(node, start + rounds, n)
                if to not in came and (to in free or to == b):
                    came[to] = node
            rounds += 1
        longest = max(longest, rounds)
        node = came[b]
        while node != a:
            free.discard(node)
            node = came[node]
    return longest


def multicasts(n: int, k: int, runs: int = RUNS) -> dict[str, Any]:
    """Return the figures of `runs` multicasts to k targets."""
    generator = random.Random(f"{n}/{k}")
    low = log2_ceil(n)
    settings = [_setting(n, k, generator) for _ in range(runs)]
    lengths = [earliest_paths(*setting, n) for setting in settings]
    figures: dict[str, Any] = {
        "paper: longer than k + L, %": round(100 * sum(length > k + low for length in lengths) / runs, 1),
        "paper: rounds, mean": round(statistics.fmean(lengths), 1),
        "paper: rounds, most": max(lengths),
    }
    for label, rounds in (("k + L", k + low), ("k + 2L", k + 2 * low)):
        shared, none = 0, 0
        moves: list[int] = []
        started = time.perf_counter()
        for a, targets, start in settings:
            try:
                found, sharing = routes.routes(a, targets, start, rounds, n, generator.randbytes)
            except routes.RouteError:
                none += 1
                continue
            shared += sharing > 0
            moves += [route.bit_count() for route in found]
        figures |= {
            f"late, {label} rounds: a node is shared, %": round(100 * shared / runs, 1),
            f"late, {label} rounds: no routes, %": round(100 * none / runs, 1),
            f"late, {label} rounds: moves a route": round(statistics.fmean(moves), 2),
            f"late, {label} rounds: ms a multicast": round(1000 * (time.perf_counter() - started) / runs, 2),
        }
    return figures


def arrivals(n: int, k: int, draws: int = DRAWS) -> dict[str, Any]:
    """Return what the round of arrival tells one of k targets, in a phase of k + 2L rounds."""
    generator = random.Random(f"{n}/{k}")
    rounds = k + 2 * log2_ceil(n)
    b = n - 1 - n // (2 * k)
    origins = [a for a in range(n) if a != b]
    origins = generator.sample(origins, min(len(origins), ORIGINS_MOST))
    figures = {}
    for label, late in (("late routes", True), ("shortest routes", False)):
        tables, others = ([_rounds(n, k, a, b, rounds, late, draws, generator) for a in origins] for _ in range(2))
        figures[f"{label}: bits told"] = round(_told(tables), 3)
        figures[f"{label}: best guess right, %"] = round(100 * _guessed(tables, others), 1)
    figures["bits to hide"] = round(math.log2(len(origins)), 3)
    figures["a blind guess right, %"] = round(100 / len(origins), 1)
    return figures


def _rounds(
    n: int, k: int, a: int, b: int, rounds: int, late: bool, draws: int, generator: random.Random
) -> Counter[int]:
    """Return how often a tuple from a came to b, the last of k targets, in which round."""
    table: Counter[int] = Counter()
    while table.total() < draws:
        targets = [*(generator.randrange(i * n // k, (i + 1) * n // k) for i in range(k - 1)), b]
        found, _ = routes.routes(a, targets, 0, rounds, n, generator.randbytes, late=late)
        table[found[-1].bit_length() - 1] += 1
    return table


def _told(tables: list[Counter[int]]) -> float:
    """Return the bits that origin and round have in common, less what chance adds; all origins have
    as many draws."""
    total = Counter[int]()
    for table in tables:
        total.update(table)
    all_draws = total.total()
    bits = sum(
        count / all_draws * math.log2(count * len(tables) / total[r]) for table in tables for r, count in table.items()
    )
    return bits - (len(tables) - 1) * (len(total) - 1) / (2 * all_draws * math.log(2))


def _guessed(tables: list[Counter[int]], others: list[Counter[int]]) -> float:
    """Return how often one is right in `others` who guesses, for each round, the origin that was
    the most frequent in `tables`."""
    right = 0
    for r in {r for table in others for r in table}:
        best = max(range(len(tables)), key=lambda i: tables[i][r])
        right += others[best][r]
    return right / sum(table.total() for table in others)


def measure(say: Callable[[str], None] = lambda phase: None) -> dict[str, dict[str, Any]]:
    """Return {"multicasts": ..., "arrivals": ...}, each by "n = ..., k = ..."."""
    figures: dict[str, dict[str, Any]] = {"multicasts": {}, "arrivals": {}}
    for n, k in MULTICASTS:
        say(f"multicasts to {k} targets of {n}")
        figures["multicasts"][f"n = {n}, k = {k}"] = multicasts(n, k)
    for n, k in ARRIVALS:
        say(f"arrivals at a target, n = {n}, k = {k}")
        figures["arrivals"][f"n = {n}, k = {k}"] = arrivals(n, k)
    return figures


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print measure()'s figures as two tables."""
    titles = {
        "multicasts": "Node-disjoint routes to k targets: the paper's search and Hum's",
        "arrivals": "What the round of arrival tells a target of the origin",
    }
    for part, title in titles.items():
        show_figures(title, {case.replace(" = ", "="): rows for case, rows in figures[part].items()})
