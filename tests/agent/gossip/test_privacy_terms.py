"""A query's privacy terms: sensitivities against brute force, scales, cost, clamping, the widened
clause, and what is refused."""

from agent.protocols.gossip.functions import load
from agent.protocols.gossip.privacy.terms import EPSILON_MOST, RANGE_MOST, PrivacyError, Terms, sensitivities
from tests.support.expect import raises

E = 1000000
SEED = bytes(range(16))


def refusal(*arguments):
    return raises(PrivacyError, Terms, *arguments).args[0]


def test_sensitivities_are_the_greatest_change_that_one_value_can_make():
    for low, high in ((0, 7), (-3, 7), (-9, 2), (-8, -3), (4, 9)):
        values = range(low, high + 1)
        changes = [abs(a - b) for a in values for b in values]
        squares = [abs(a * a - b * b) for a in values for b in values]
        assert sensitivities("sum", low, high) == sensitivities("mean", low, high) == [max(changes)]
        assert sensitivities("variance", low, high) == [max(changes), max(squares)]
        assert sensitivities("count", low, high) == [1]
        # A record in one of three cells or in none of them: the cells' changes, summed.
        cells = [[int(cell == at) for cell in range(3)] for at in range(4)]
        moves = [sum([abs(x - y) for x, y in zip(a, b)]) for a in cells for b in cells]
        assert sensitivities("histogram", low, high) == [max(moves)]


def test_functions_that_no_such_noise_can_hide_are_refused_with_noise_only():
    for name in ("min", "max", "top-k"):
        assert refusal(name, 0, 10, E) == refusal(name, 0, 10, 0, E) == "not-linear"
        plain = Terms(name, 0, 10, 0)
        assert plain.cost is None and plain.noise(SEED, b"q") == [] and plain.contribution(None) is None


def test_records_of_what_is_not_added_up_get_no_paired_noise():
    for name in ("count", "histogram", "variance"):
        assert refusal(name, 0, 10, E, E) == "not-linear"
        assert Terms(name, 0, 10, E).scale is None


def test_a_query_costs_epsilon_for_each_result_and_the_records_once():
    assert Terms("sum", 0, 10, E, 0, 1).cost == E
    assert Terms("sum", 0, 10, E, 0, 5).cost == 5 * E
    assert Terms("sum", 0, 10, E // 2, E // 4, 3).cost == 3 * E // 2 + E // 4
    assert Terms("sum", 0, 10, 0, E, 3).cost is None


def test_paired_noise_widens_the_clause_by_the_bounds_of_all_pairs():
    terms = Terms("sum", -100, 3000, E, E // 2)
    assert terms.scale == (3100 * E, E // 2)
    assert terms.bound == 24 * 6200
    assert terms.clause == (-100 - 2 * terms.bound, 3000 + 2 * terms.bound)
    assert Terms("sum", -100, 3000, E).clause == (-100, 3000)
    wider = Terms("sum", -100, 3000, E, E // 2, 1, 1, 3)
    assert wider.bound == terms.bound and wider.clause == (-100 - 6 * terms.bound, 3000 + 6 * terms.bound)


def test_values_are_clamped_before_noise_and_a_missing_reading_sends_default_data():
    terms = Terms("sum", -5, 20, E)
    assert [terms.contribution(value) for value in (-6, -5, 0, 20, 21, None)] == [-5, -5, 0, 20, 20, 0]
    assert Terms("mean", 7, 20, E).contribution(None) == 7
    assert Terms("variance", -9, -4, 0 + E).contribution(None) == -4
    assert Terms("sum", -5, 20, 0, E).contribution(99) == 20


def test_a_count_tells_whether_a_reading_is_in_the_range_and_no_more():
    terms = Terms("count", -5, 20, E)
    assert [terms.contribution(value) for value in (-6, -5, 3, 20, 21, None)] == [None, -5, -5, -5, None, None]


def test_in_a_histogram_every_board_sends_a_number():
    terms = Terms("histogram", -5, 20, E)
    function = load("histogram", {"low": -RANGE_MOST, "width": 1, "bins": 1})
    sent = [terms.contribution(value) for value in (-6, -5, 3, 20, 21, None)]
    assert sent[1:4] == [-5, 3, 20] and sent[0] == sent[4] == sent[5]
    assert function.add(function.empty(), sent[0])[2:] == (1, 0, 0)
    assert all(terms.clause[0] <= value <= terms.clause[1] for value in sent)
    assert Terms("histogram", -5, 20, 0).clause == (-5, 20)


def test_without_noise_a_value_stays_as_it_is():
    terms = Terms("sum", -5, 20, 0)
    assert terms.contribution(99) == 99 and terms.contribution(None) is None
    assert terms.seed_bytes == 0 and Terms("sum", -5, 20, 1).seed_bytes == 16


def test_noise_comes_in_the_shape_of_the_state():
    shapes = [("sum", 1), ("mean", 1), ("count", 1), ("variance", 2)]
    for name, numbers in shapes:
        assert len(Terms(name, 0, 1000, E).noise(SEED, b"q")) == numbers
    noise = Terms("histogram", 0, 1000, E // 100, 0, 1, 40).noise(SEED, b"q")
    assert len(noise) == 40 and len(set(noise)) > 30


def test_a_leader_sends_a_state_that_reads_as_any_other():
    values = [3, 5, 900, -7, 0, 1000]
    for name, parameters, cells in (
        ("sum", {}, 1),
        ("mean", {}, 1),
        ("variance", {}, 1),
        ("count", {}, 1),
        ("histogram", {"low": 0, "width": 10, "bins": 5}, 7),
    ):
        function = load(name, parameters)
        for epsilon in (1, E):
            terms = Terms(name, 0, 1000, epsilon, 0, 1, cells)
            state = function.empty()
            assert terms.noised(state, SEED, b"q") == state
            for value in values:
                state = function.add(state, terms.contribution(value))
            told = terms.noised(state, SEED, b"q")
            assert function.decode(function.encode(told)) == told
            assert function.tuples(told) == len(values) and 0 <= told[0] <= len(values)
            assert epsilon == E or told != state


def test_a_state_without_noise_stays_as_it_is():
    assert Terms("max", 0, 1000, 0).noised((3, 1, 17), b"", b"q") == (3, 1, 17)


def test_a_noised_sum_is_the_sum_and_the_noise():
    terms = Terms("sum", 0, 1000, E)
    assert terms.noised((6, 0, 4321), SEED, b"q") == (6, 0, 4321 + terms.noise(SEED, b"q")[0])


def test_noise_depends_on_the_seed_and_on_the_query():
    terms = Terms("sum", 0, 1 << 40, 1)
    seen = [terms.noise(seed, context)[0] for seed in (SEED, bytes(16)) for context in (b"query 1", b"query 2")]
    assert len(set(seen)) == 4


def test_noise_is_the_same_on_every_interpreter():
    found = [Terms("variance", -1000, RANGE_MOST, E // 3).noise(bytes([index]) * 16, b"q") for index in range(3)]
    assert found == VECTOR
    assert Terms("histogram", 0, 1, E, 0, 1, 12).noise(SEED, b"q") == VECTOR_CELLS


def test_terms_out_of_range_are_refused():
    for low, high in ((5, 5), (6, 5), (-RANGE_MOST - 1, 0), (0, RANGE_MOST + 1)):
        assert refusal("sum", low, high, E) == "range"
    assert refusal("sum", 5, 5, 0, E) == "range" and Terms("sum", 5, 5, 0).contribution(5) == 5
    for epsilon, record_epsilon in ((-1, 0), (EPSILON_MOST + 1, 0), (E, -1), (E, EPSILON_MOST + 1)):
        assert refusal("sum", 0, 10, epsilon, record_epsilon) == "epsilon"
    for cells in (0, 259):
        assert refusal("histogram", 0, 10, E, 0, 1, cells) == "cells"


def test_noise_that_would_not_fit_a_record_is_refused():
    assert Terms("sum", -RANGE_MOST, RANGE_MOST, E, E // 100).clause[1] < 1 << 63
    assert refusal("sum", -RANGE_MOST, RANGE_MOST, E, E // 1000) == "too-wide"


VECTOR = [
    [3255872415228797, -457072824806266856901600306387],
    [7152662039352548, 684695748795392423236026461369],
    [1425341193756305, -933237045477272972423867144706],
]
VECTOR_CELLS = [-3, 4, -1, 1, 1, -3, 3, 1, 0, 2, -1, 1]
