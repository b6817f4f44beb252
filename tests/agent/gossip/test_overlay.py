"""The overlay's arithmetic and its routes, on both interpreters. Exhaustive:
tests/host_sim/gossip/test_overlay_exhaustive.py."""

from agent.protocols.base import overlay
from agent.protocols.gossip.overlay import routes
from tests.support.expect import raises

PAPER_11 = (2, 4, 8, 5, 10, 9, 7, 3, 6, 1)  # the paper's footnote 2: 2^1 ... 2^10 modulo 11


class Drawn:
    """random(k) for routes(): the same bytes in every run, by the generator of Lehmer (modulus 2^31
    - 1, factor 48271)."""

    def __init__(self, seed):
        self.state = seed

    def __call__(self, count):
        made = bytearray(count)
        for i in range(count):
            self.state = self.state * 48271 % 2147483647
            made[i] = self.state >> 16 & 255
        return bytes(made)


def multicast(n, k, drawn):
    """Return a source and k targets, one in each of k groups of consecutive ids; none is the
    source."""
    while True:
        a = (drawn(1)[0] << 8 | drawn(1)[0]) % n
        targets = []
        for i in range(k):
            low, high = i * n // k, (i + 1) * n // k
            targets.append(low + (drawn(1)[0] << 8 | drawn(1)[0]) % (high - low))
        if a not in targets:
            return a, targets


def interiors(a, found, start, n):
    return [routes.visited(a, x, start, n)[:-1] for x in found]


def test_the_steps_modulo_11_are_the_papers():
    assert tuple(overlay.partner(0, j, 11) for j in range(1, 11)) == PAPER_11
    assert overlay.partner(9, 3, 11) == 6 and overlay.predecessor(6, 3, 11) == 9


def test_suitable_sizes_below_110_are_the_primes_with_primitive_root_2():
    known = [3, 5, 11, 13, 19, 29, 37, 53, 59, 61, 67, 83, 101, 107]  # OEIS A001122
    assert [n for n in range(110) if overlay.is_suitable(n)] == known


def test_the_suitable_size_is_the_next_one_not_below():
    for members, n in ((1, 3), (3, 3), (4, 5), (12, 13), (13, 13), (14, 19), (102, 107), (780, 787), (1019, 1019)):
        assert overlay.suitable_size(members) == n, members


def test_pseudoprimes_and_powers_of_primes_are_not_suitable():
    for n in (0, 1, 2, 4, 9, 25, 27, 121, 169, 341, 561, 1105, 1729, 2047, 2821, 4369, 8321):
        assert not overlay.is_suitable(n), n


def test_rounds_repeat_and_each_pair_meets_in_one():
    for n in (3, 5, 13, 101):
        for b in range(1, n):
            j = overlay.round_of(0, b, n)
            assert 0 <= j <= n - 2
            assert overlay.partner(0, j, n) == b and overlay.predecessor(b, j, n) == 0
            assert overlay.partner(0, j + n - 1, n) == b and overlay.partner(0, j - (n - 1), n) == b
    raises(ValueError, overlay.round_of, 7, 7, 13)


def test_floods_have_rounds_for_failed_nodes_in_the_way_twice():
    assert overlay.flood_rounds(11, 0) == 4
    assert overlay.flood_rounds(11, 2) >= 7
    assert overlay.flood_rounds(1019, 10) >= 21
    assert overlay.flood_rounds(13, 12) == 12


def test_a_route_leads_to_its_target_whatever_the_free_bits():
    for n, rounds in ((13, 9), (101, 12), (1019, 21)):
        drawn = Drawn(n)
        low = overlay.log2_ceil(n)
        for _ in range(40):
            a, (b,) = multicast(n, 1, drawn)
            start = drawn(1)[0]
            free = (drawn(1)[0] << 8 | drawn(1)[0]) % (1 << rounds - low) << low
            x = routes.route(a, b, start, rounds, n, free)
            assert x >> low == free >> low and x < 1 << rounds
            at = a
            for i in range(rounds):
                if x >> i & 1:
                    at = overlay.partner(at, start + i, n)
            assert at == b
            assert routes.visited(a, x, start, n)[-1] == b


def test_free_bits_out_of_range_are_refused():
    raises(ValueError, routes.route, 0, 5, 0, 8, 13, 1 << 8)
    raises(ValueError, routes.route, 0, 5, 0, 8, 13, 1 << 3)
    raises(ValueError, routes.route, 0, 5, 0, 3, 13, 0)


def test_routes_of_a_small_group_are_disjoint_and_late():
    for n, k, rounds in ((11, 3, 11), (13, 3, 11), (13, 5, 13), (19, 5, 15), (53, 5, 17)):
        drawn = Drawn(n * k)
        low = overlay.log2_ceil(n)
        for _ in range(8):
            a, targets = multicast(n, k, drawn)
            start = drawn(1)[0] % (n - 1)
            found, sharing = routes.routes(a, targets, start, rounds, n, drawn)
            assert sharing == 0
            seen = [node for nodes in interiors(a, found, start, n) for node in nodes]
            assert len(seen) == len(set(seen))
            assert not set(seen) & set(targets + [a])
            for x, b in zip(found, targets):
                assert 1 << low <= x < 1 << rounds
                assert routes.visited(a, x, start, n)[-1] == b


def test_routes_go_around_the_nodes_to_avoid():
    drawn = Drawn(5)
    for _ in range(10):
        a, targets = multicast(53, 3, drawn)
        avoid = [v for v in range(0, 53, 4) if v != a and v not in targets]
        found, sharing = routes.routes(a, targets, 7, 15, 53, drawn, avoid)
        assert sharing == 0
        for nodes in interiors(a, found, 7, 53):
            assert not set(nodes) & set(avoid)


def test_routes_have_no_more_moves_than_asked_for():
    drawn = Drawn(6)
    for _ in range(6):
        a, targets = multicast(101, 3, drawn)
        found, _sharing = routes.routes(a, targets, 3, 17, 101, drawn, moves_most=4)
        assert all(bin(x).count("1") <= 4 for x in found)


def test_several_routes_to_one_target_are_disjoint():
    drawn = Drawn(8)
    for late in (True, False):
        found, sharing = routes.routes(2, [30, 30, 30], 0, 16, 53, drawn, late=late)
        assert sharing == 0 and len(set(found)) == 3
        seen = [node for nodes in interiors(2, found, 0, 53) for node in nodes]
        assert len(seen) == len(set(seen)) and 30 not in seen and 2 not in seen


def test_a_source_may_be_its_own_target():
    drawn = Drawn(9)
    found, sharing = routes.routes(4, [4, 20], 11, 15, 53, drawn)
    assert sharing == 0
    assert routes.visited(4, found[0], 11, 53)[-1] == 4
    assert len(routes.visited(4, found[0], 11, 53)) > 1


def test_routes_that_must_share_say_how_many_and_still_lead_to_their_targets():
    drawn = Drawn(10)
    shared = 0
    for _ in range(5):
        a, targets = multicast(53, 11, drawn)
        found, sharing = routes.routes(a, targets, 0, 12, 53, drawn)
        for x, b in zip(found, targets):
            assert routes.visited(a, x, 0, 53)[-1] == b
        parts = interiors(a, found, 0, 53)
        meeting = [p for p in parts if any(q is not p and set(p) & set(q) for q in parts)]
        assert sharing == len(meeting)
        shared += sharing > 0
    assert shared > 0


def test_no_route_is_an_error_and_not_a_guess():
    drawn = Drawn(11)
    everyone = list(range(13))
    error = raises(routes.RouteError, routes.routes, 0, [1], 0, 4 + 1, 13, drawn, everyone)
    assert error.args[0] == "no route"
    raises(ValueError, routes.routes, 0, [1], 0, 4, 13, drawn)
