"""The overlay against exhaustive checks: every suitable n below 500, floods around failed nodes,
what the round of arrival tells."""

import random
from collections import Counter
from collections.abc import Iterable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.protocols.base import overlay
from agent.protocols.gossip.overlay import routes

BELOW = 500


def powers_of_two(n: int) -> list[int]:
    """Return 2^0, 2^1, ... modulo n up to the first that was there before."""
    found: list[int] = []
    power = 1 % n
    while power not in found:
        found.append(power)
        power = power * 2 % n
    return found


# By the definition: 2 generates 1 ... n-1. No test of primes: only a prime's powers are all of
# them.
SUITABLE = [n for n in range(3, BELOW) if sorted(powers_of_two(n)) == list(range(1, n))]
sizes = st.sampled_from(SUITABLE)


def rounds_to_reach_all(n: int, failed: Iterable[int], start: int = 0) -> int:
    """Return in how many rounds a flood from node 0, begun in round `start`, has reached every
    living node (n at most: never)."""
    living = (1 << n) - 1
    for node in failed:
        living &= ~(1 << node)
    reached = 1
    step = pow(2, start, n)
    for done in range(n):
        if reached == living:
            return done
        reached |= (reached << step | reached >> n - step) & living
        step = step * 2 % n
    return n


def test_suitable_sizes_are_those_that_generate_all_residues() -> None:
    assert [n for n in range(BELOW) if overlay.is_suitable(n)] == SUITABLE
    for n in range(SUITABLE[-1] + 1):
        assert overlay.suitable_size(n) == min(s for s in SUITABLE if s >= n)


@pytest.mark.parametrize("n", SUITABLE)
def test_partners_are_the_definition_and_each_round_is_a_permutation(n: int) -> None:
    steps = powers_of_two(n)
    assert len(steps) == n - 1
    everyone = set(range(n))
    for j, step in enumerate(steps):
        partners = [overlay.partner(i, j, n) for i in range(0, n, max(1, n // 40))]
        assert partners == [(i + step) % n for i in range(0, n, max(1, n // 40))]
        assert overlay.round_of(3 % n, (3 + step) % n, n) == j
    row = [overlay.partner(i, n // 2, n) for i in range(n)]
    assert set(row) == everyone
    assert [overlay.predecessor(i, n // 2, n) for i in row] == list(range(n))


@pytest.mark.parametrize("n", SUITABLE)
def test_every_node_meets_every_other_in_exactly_one_round(n: int) -> None:
    """Uniformity (definition 4.3), from a node that is not 0."""
    a = n // 3
    partners = [overlay.partner(a, j, n) for j in range(n - 1)]
    assert sorted(partners) == [b for b in range(n) if b != a]
    assert [overlay.round_of(a, b, n) for b in partners] == list(range(n - 1))
    assert all(overlay.predecessor(b, j, n) == a for j, b in enumerate(partners))


@pytest.mark.parametrize("n", SUITABLE)
def test_what_one_node_knows_reaches_all_in_the_logarithm_from_any_round_on(n: int) -> None:
    """Efficiency (definition 4.2), and no faster: in each round at most twice as many know."""
    for start in range(n - 1):
        assert rounds_to_reach_all(n, (), start) == overlay.log2_ceil(n) == (n - 1).bit_length()


@given(sizes, st.integers(-(2**70), 2**70), st.integers(0, BELOW))
def test_rounds_may_be_any_integer(n: int, j: int, i: int) -> None:
    i %= n
    assert overlay.predecessor(overlay.partner(i, j, n), j, n) == i
    assert overlay.partner(i, j, n) == overlay.partner(i, j % (n - 1), n)


@pytest.mark.parametrize("n", [n for n in SUITABLE if n <= 19])
def test_floods_reach_all_living_nodes_whichever_failed(n: int) -> None:
    """All sets of failed nodes. Node 0 and round 0 stand for all: adding a, and multiplying by 2^j,
    map the overlay to itself."""
    for count in range(n - 1 if n < 19 else 6):
        worst = max(rounds_to_reach_all(n, failed) for failed in combinations(range(1, n), count))
        assert worst <= overlay.flood_rounds(n, count), (count, worst)


@pytest.mark.parametrize(("n", "count"), [(29, 3), (37, 3), (53, 2), (61, 2), (101, 2)])
def test_floods_reach_all_living_nodes_around_few_failed_ones(n: int, count: int) -> None:
    worst = max(rounds_to_reach_all(n, failed) for failed in combinations(range(1, n), count))
    assert worst <= overlay.flood_rounds(n, count)


@pytest.mark.parametrize(("n", "failed", "rounds"), [(11, (1, 2), 7), (1019, [2**i for i in range(10)], 21)])
def test_the_papers_time_to_live_is_too_short_where_nodes_are_in_the_way_twice(
    n: int, failed: list[int], rounds: int
) -> None:
    assert rounds_to_reach_all(n, failed) == rounds == overlay.log2_ceil(n) + len(failed) + 1
    assert rounds <= overlay.flood_rounds(n, len(failed))


def bad_sets(n: int, count: int, tries: int, generator: random.Random) -> int:
    """Return the most rounds that a search by small changes found a flood to take around `count`
    failed nodes."""

    def near() -> int:
        if generator.random() < 0.5:
            return generator.randrange(1, n)
        return pow(2, generator.randrange(overlay.flood_rounds(n, count)), n)

    failed = [pow(2, i, n) for i in range(count)]
    worst = rounds_to_reach_all(n, failed)
    for _ in range(tries):
        changed = list(failed)
        changed[generator.randrange(count)] = near()
        taken = rounds_to_reach_all(n, changed)
        if len(set(changed)) == count and taken >= worst:
            failed, worst = changed, taken
    return worst


@pytest.mark.parametrize(("n", "count"), [(29, 10), (37, 20), (53, 12), (101, 10), (197, 15), (1019, 10)])
def test_floods_are_long_enough_for_the_worst_sets_that_a_search_finds(n: int, count: int) -> None:
    worst = bad_sets(n, count, 400, random.Random(n))
    assert overlay.log2_ceil(n) + count < worst <= overlay.flood_rounds(n, count)


@pytest.mark.parametrize("n", [11, 13, 19])
def test_every_origin_has_exactly_one_route_for_each_choice_of_the_free_bits(n: int) -> None:
    low = overlay.log2_ceil(n)
    rounds = low + 3
    for start in range(n - 1):
        for free in range(1 << low, 1 << rounds, 1 << low):
            for a in range(n):
                x = routes.route(a, 5, start, rounds, n, free)
                assert [y for y in range(free, free + n) if routes.visited(a, y, start, n)[-1] == 5] == [x]
                assert x.bit_length() == free.bit_length()


@pytest.mark.parametrize("n", [n for n in SUITABLE if 11 <= n <= 101])
def test_a_route_that_visits_no_node_twice_arrives_in_every_round_after_the_logarithm(n: int) -> None:
    """For every origin, so that the round can be drawn first. In the round of the logarithm itself
    at most one origin has none."""
    low = overlay.log2_ceil(n)

    def has_route(distance: int, top: int) -> bool:
        for x in range((1 << top) + (distance - (1 << top)) % n, 2 << top, n):
            nodes = [0, *routes.visited(0, x, 0, n)]
            if len(set(nodes)) == len(nodes):
                return True
        return False

    assert sum(not has_route(distance, low) for distance in range(1, n)) <= 1
    for top in range(low + 1, low + 7):
        assert all(has_route(distance, top) for distance in range(1, n))


def arrivals(n: int, rounds: int, origins: Iterable[int], target: int, draws: int) -> dict[int, Counter[int]]:
    """Return, for each origin, how often one tuple to `target` arrived in which round."""
    generator = random.Random(n)
    found = {}
    for a in origins:
        found[a] = Counter(
            routes.routes(a, [target], 4, rounds, n, generator.randbytes)[0][0].bit_length() - 1 for _ in range(draws)
        )
    return found


def chi_square(tables: Iterable[Counter[int]], cells: range) -> float:
    """Return the statistic of the tables against the same share in each cell."""
    total = 0.0
    for table in tables:
        expected = sum(table.values()) / len(cells)
        assert set(table) <= set(cells)
        total += sum((table[cell] - expected) ** 2 / expected for cell in cells)
    return total


@pytest.mark.parametrize(("n", "step"), [(11, 1), (13, 1), (19, 1), (101, 9)])
def test_the_round_of_arrival_is_uniform_for_every_origin(n: int, step: int) -> None:
    """Statistics of seeded draws: of `degrees` degrees of freedom; five standard deviations above
    the mean are allowed."""
    low = overlay.log2_ceil(n)
    rounds = 2 * low + 3
    origins = [a for a in range(0, n, step) if a != 5]
    tables = arrivals(n, rounds, origins, 5, 300)
    degrees = len(origins) * (rounds - low - 2)
    statistic = chi_square(tables.values(), range(low + 1, rounds))
    assert abs(statistic - degrees) < 5 * (2 * degrees) ** 0.5


def test_without_late_the_round_of_arrival_betrays_the_origin() -> None:
    """What the trap is: the same statistic, of routes that are as short as they come, is far
    out."""
    generator = random.Random(1)
    tables = [
        Counter(
            routes.routes(a, [5], 4, 11, 13, generator.randbytes, late=False)[0][0].bit_length() - 1 for _ in range(50)
        )
        for a in range(13)
        if a != 5
    ]
    degrees = 12 * 10
    assert chi_square(tables, range(11)) > degrees + 50 * (2 * degrees) ** 0.5


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_routes_lead_to_their_targets_within_the_phase(data: st.DataObject) -> None:
    n = data.draw(st.sampled_from([n for n in SUITABLE if n >= 11]))
    k = data.draw(st.integers(1, 3))
    low = overlay.log2_ceil(n)
    rounds = data.draw(st.integers(low + k, 2 * low + k))
    nodes = st.integers(0, n - 1)
    a = data.draw(nodes)
    targets = data.draw(st.lists(nodes, min_size=k, max_size=k))
    avoid = set(data.draw(st.lists(nodes, max_size=n // 8))) - {a, *targets}
    start = data.draw(st.integers(0, n - 2))
    late = data.draw(st.booleans())
    generator = random.Random(data.draw(st.integers(0, 2**32)))
    try:
        found, sharing = routes.routes(a, targets, start, rounds, n, generator.randbytes, avoid, late)
    except routes.RouteError:
        assert n < 64, "there is always room in a greater group"
        return
    interiors = []
    for x, b in zip(found, targets, strict=True):
        assert (low if late else 0) < x.bit_length() <= rounds
        nodes_visited = routes.visited(a, x, start, n)
        assert nodes_visited[-1] == b
        inside = nodes_visited[:-1]
        assert len(set(inside)) == len(inside)
        assert not set(inside) & {a, *targets, *avoid}
        interiors.append(set(inside))
    meeting = [i for i in interiors if any(j is not i and i & j for j in interiors)]
    assert (sharing == 0) <= (not meeting)
    assert len(meeting) <= max(sharing, 0)
