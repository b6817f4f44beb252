"""What a broker, and a proxy, can tell from the traffic of an anonymous query: nothing of who holds
which value."""

import math
import random
from collections import Counter
from typing import Any

import pytest

from agent.protocols.gossip import functions
from agent.protocols.gossip.overlay import routes
from agent.protocols.gossip.phases import shuffle
from agent.protocols.gossip.plan import Plan
from host_sim.gossip.board import ENVELOPE
from host_sim.gossip.network import Seen
from host_sim.gossip.simulation import Outcome, Setting, Simulation


def _seen(values: list[int | None], **setting: Any) -> tuple[list[Seen], Outcome]:
    simulation = Simulation(Setting(len(values), values=values, watched=True, **setting))
    outcome = simulation.run()
    assert simulation.network.log is not None
    return simulation.network.log, outcome


@pytest.mark.parametrize(
    ("protocol", "query", "parameters"),
    [("gossip", "sum", {}), ("gossip", "top-k", {"k": 4}), ("gossip-flood", "max", {"range": (0, 900)})],
)
@pytest.mark.parametrize("failed", [0, 2])
def test_the_broker_sees_the_same_whichever_board_holds_which_value(
    protocol: str, query: str, parameters: dict[str, Any], failed: int
) -> None:
    values: list[int | None] = [i * i * 7 - 50 for i in range(12)]
    setting: dict[str, Any] = {"protocol": protocol, "query": query, "parameters": parameters, "failed": failed}
    setting |= {"tolerate": 2, "failed_in": "echo", "seed": 5}
    seen, outcome = _seen(values, **setting)
    others = random.Random(4).sample(values, 12)
    assert others != values
    # Nor does it see which boards have no value at all, or one that the query does not cover.
    for other in (others, values[::-1], [None] * 11 + [3], [10**9] * 12):
        assert _seen(other, **setting)[0] == seen
    assert outcome.exact


def test_all_messages_of_the_overlay_are_of_one_size_and_every_pair_is_the_prescribed_one() -> None:
    seen, _ = _seen([5] * 29, tolerate=2)
    plan = Plan("gossip", 1, 29, 2, functions.load("sum"))
    cells = [one for one in seen if one.kind == "cells"]
    assert {one.size for one in cells} == {plan.message_size + ENVELOPE}
    pairs = Counter((one.sender, one.receiver) for one in cells)
    prescribed = Counter((own, plan.partner(own, r)) for own in range(plan.n) for r in range(plan.rounds))
    assert pairs == prescribed
    assert len({one.size for one in seen if one.kind == "partial"}) == 1


def _bits(table: Counter[tuple[int, int]]) -> float:
    """Return how many bits the second entry tells of the first, less what a sample of this size
    seems to tell by chance."""
    total = table.total()
    first: Counter[int] = Counter()
    second: Counter[int] = Counter()
    for (a, b), count in table.items():
        first[a] += count
        second[b] += count
    found = sum(c / total * math.log2(c * total / (first[a] * second[b])) for (a, b), c in table.items())
    return found - (len(first) - 1) * (len(second) - 1) / (2 * total * math.log(2))


@pytest.mark.parametrize(
    ("n", "tolerate", "draws", "most"), [(13, 2, 120, 0.035), (53, 3, 24, 0.02), (101, 4, 12, 0.02)]
)
def test_the_round_and_the_predecessor_of_an_arrival_tell_a_proxy_nothing_of_the_origin(
    n: int, tolerate: int, draws: int, most: float
) -> None:
    drawn = random.Random(2)
    plan = Plan("gossip", 5, n, tolerate, functions.load("sum"))
    phase = plan.phases[0]
    origins: Counter[tuple[int, int]] = Counter()
    distances: Counter[tuple[int, int]] = Counter()
    shortest: Counter[tuple[int, int]] = Counter()
    for own in range(n):
        for _ in range(draws):
            proxies, paths, shared = shuffle.draw(plan, own, drawn.randbytes, set())
            assert shared == 0
            for proxy, (path, moves) in zip(proxies, paths, strict=True):
                # The predecessor in a round is prescribed: it is no more news than the round is.
                before = path[-2] if len(path) > 1 else own
                assert before == plan.predecessor(proxy, moves[-1])
                origins[own, moves[-1]] += 1
                distances[(proxy - own) % n, moves[-1]] += 1
            short = routes.routes(own, proxies[:1], plan.start, phase.rounds, n, drawn.randbytes, (), False)[0][0]
            shortest[(proxies[0] - own) % n, short.bit_length()] += 1
    assert _bits(origins) < most
    assert _bits(distances) < most
    # The paper's shortest paths: an early tuple betrays its origin.
    assert _bits(shortest) > 1
