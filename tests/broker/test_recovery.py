"""The coordinator's recovery arithmetic, against Python's own and against the paper's method, over
random subsets and wrong answers."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.joye_libert import cohorts as rule
from broker.coordinator.protocols.private_sum.arithmetic.multi_power import multi_power
from broker.coordinator.protocols.private_sum.arithmetic.recovery import (
    WrongShares,
    blinding_sum,
    consistent,
    lagrange,
    open_blinded,
    open_unit,
)
from host_sim.bench.threshold import paper_method
from tests.support.unit_at_hand import HUM, SMALL, P, Unit, fits


def drawn(draw, most):
    """A cohort's size and a set of missing positions that leaves at least a threshold."""
    size = draw(st.integers(2, most))
    spare = size - rule.threshold(size)
    return size, draw(st.sets(st.integers(1, size), max_size=spare))


@st.composite
def units(draw):
    cohorts = [drawn(draw, 12) for _ in range(draw(st.integers(1, 3)))]
    sizes, absent = zip(*cohorts, strict=True)
    return Unit(sizes, absent, draw(st.integers(0, 2**32)))


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(-(2**200), 2**200)), max_size=12))
def test_a_multi_power_is_the_product_of_powers(pairs):
    modulus = 2**127 - 1
    expected = 1
    for base, exponent in pairs:
        expected = expected * pow(base, exponent, modulus) % modulus
    assert multi_power([b for b, _ in pairs], [e for _, e in pairs], modulus) == expected


def test_a_multi_power_refuses_a_base_without_inverse():
    assert multi_power([21, 4], [1, 3], 49) == 21 * 64 % 49
    with pytest.raises(ZeroDivisionError):
        multi_power([21, 4], [-1, 3], 49)


@given(st.sets(st.integers(1, 64), min_size=1, max_size=43))
def test_lagrange_coefficients_are_those_of_rational_arithmetic(xs):
    xs = sorted(xs)
    weights, scale = lagrange(xs)
    exact = [math.prod((Fraction(v, v - j) for v in xs if v != j), start=Fraction(1)) for j in xs]
    assert [Fraction(weight, scale) for weight in weights] == exact
    assert scale == math.lcm(*(fraction.denominator for fraction in exact))


@given(st.integers(1, 12), st.integers(0, 2**32), st.data())
def test_any_threshold_of_blinding_shares_gives_the_secret(threshold, seed, data):
    rng = random.Random(seed)
    polynomial = [rng.randrange(P) for _ in range(threshold)]
    points = {x: sum(a * x**k for k, a in enumerate(polynomial)) % P for x in range(1, 20)}
    chosen = data.draw(st.permutations(sorted(points)))[:threshold]
    assert blinding_sum({x: points[x] for x in chosen}, threshold, P) == polynomial[0]
    assert consistent(points, threshold, P)
    wrong = data.draw(st.integers(1, 19))
    assert not consistent(points | {wrong: (points[wrong] + 1) % P}, threshold, P)
    with pytest.raises(WrongShares, match="too-few-answers"):
        blinding_sum({x: points[x] for x in chosen[1:]}, threshold, P)


@settings(deadline=None, max_examples=60)
@given(units())
def test_a_unit_opens_to_the_sum_of_the_present_members(unit):
    opening = unit.open()
    assert opening.total == unit.sum
    assert opening.sides == [(sorted(cohort.blinding), []) for cohort in unit.cohorts]
    assert opening.withstands == min(len(cohort.blinding) - cohort.threshold for cohort in unit.cohorts)


def split(unit, *apart):
    """Sides where those at `apart`, a set for each cohort, are alone."""
    pairs = zip(unit.cohorts, apart, strict=True)
    return [(sorted(set(cohort.blinding) - off), sorted(off)) for cohort, off in pairs]


def refused(unit):
    with pytest.raises(WrongShares) as error:
        unit.open()
    return error.value.args


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from(["blinding", "recovery", "both"]), st.data())
def test_with_two_answers_to_spare_a_wrong_one_stands_alone_and_the_sum_is_right(seed, kind, data):
    unit = Unit([12, 5], [{data.draw(st.integers(1, 12))}, {2}], seed)  # 11 answers, 9 needed
    cohort = unit.cohorts[0]
    liar = data.draw(st.sampled_from(sorted(cohort.blinding)))
    if kind != "recovery":
        cohort.blinding[liar] = (cohort.blinding[liar] + 2**100) % P
    if kind != "blinding":
        cohort.recovery[liar] = data.draw(st.sampled_from([0, SMALL.n, cohort.recovery[liar] * 2 % SMALL.n**2]))
    opening = unit.open()
    assert (opening.total, opening.sides) == (unit.sum, split(unit, {liar}, set()))
    assert opening.withstands == 0  # in the cohort of five, with no answer to spare


def test_wrong_answers_in_two_cohorts_are_both_found():
    unit = Unit([16, 16], [{7}, {5}])  # 15 answers each, 11 needed
    for cohort, liar in zip(unit.cohorts, (1, 2), strict=True):
        cohort.recovery[liar] = cohort.recovery[liar] * unit.base % SMALL.n**2
        cohort.blinding[liar + 7] = 5
    opening = unit.open()
    assert (opening.total, opening.sides) == (unit.sum, split(unit, {1, 8}, {2, 9}))
    assert opening.withstands == 2


def test_a_recovery_answer_shifted_by_a_multiple_of_n_is_found():
    unit = Unit([12], [{1}])
    answers = unit.cohorts[0].recovery
    answers[2] = answers[2] * (1 + 12345 * SMALL.n) % SMALL.n**2
    opening = unit.open()
    assert (opening.total, opening.sides) == (unit.sum, split(unit, {2}))


def test_a_recovery_answer_with_the_other_sign_changes_no_sum():
    unit = Unit([12], [{1, 5, 7}])
    answers = unit.cohorts[0].recovery
    answers[2] = SMALL.n**2 - answers[2]
    assert unit.open().total == unit.sum


def test_two_wrong_answers_of_four_to_spare_are_found():
    unit = Unit([14], [set()], 3)  # 14 answers, 10 needed
    unit.cohorts[0].blinding[2] += 1
    unit.cohorts[0].blinding[9] += 1
    opening = unit.open()
    assert (opening.total, opening.sides, opening.withstands) == (unit.sum, split(unit, {2, 9}), 2)


@pytest.mark.parametrize("kind", ["blinding", "recovery"])
def test_with_one_answer_to_spare_a_wrong_one_leaves_no_sum_and_both_sides_are_told(kind):
    unit = Unit([12], [{1, 2}])  # 10 answers, 9 needed
    answers = getattr(unit.cohorts[0], kind)
    answers[3] = answers[3] * 2 + 2**90
    assert refused(unit) == ("answers-disagree", split(unit, {3}))  # as far as faults go: only these open


def test_where_answers_disagree_in_one_cohort_the_fleet_has_no_sum():
    unit = Unit([12, 12], [{1, 2}, set()])
    unit.cohorts[0].recovery[3] *= 2
    unit.cohorts[1].blinding[5] += 2**100
    assert refused(unit) == ("answers-disagree", split(unit, {3}, {5}))


def test_a_wrong_answer_with_none_to_spare_is_a_wrong_sum():
    for kind in ("blinding", "recovery"):
        unit = Unit([12], [{1, 2, 3}])
        answers = getattr(unit.cohorts[0], kind)
        answers[5] = answers[5] * 2 + 1
        assert refused(unit) == ("wrong-sum",)
    unit = Unit([12], [{1, 2, 3}])
    unit.cohorts[0].recovery[5] = SMALL.n
    assert refused(unit) == ("wrong-sum",)


def test_a_wrong_ciphertext_is_a_wrong_sum_and_nobody_disagrees():
    unit = Unit([6, 12], [set(), {4}])
    unit.product = unit.product * 2 % SMALL.n**2
    assert refused(unit) == ("wrong-sum",)


def test_too_few_answers_of_either_kind_are_refused():
    for kind in ("blinding", "recovery"):
        unit = Unit([12], [{1, 2, 3}])
        getattr(unit.cohorts[0], kind).pop(4)
        with pytest.raises(WrongShares, match="too-few-answers"):
            unit.open()


def test_a_unit_where_nobody_is_missing_needs_no_recovery():
    unit = Unit([4, 5], [set(), set()])
    assert all(not cohort.recovery for cohort in unit.cohorts)
    assert unit.open().total == unit.sum


def test_a_search_ends_when_its_time_is_over():
    unit = Unit([7], [{2}])
    unit.cohorts[0].recovery[1] += 1
    with pytest.raises(WrongShares) as error:
        open_unit(unit.parameters, unit.product, unit.cohorts, P, fits, seconds=-1.0)
    assert error.value.args == ("out-of-time",)


def test_a_unit_of_real_size_opens_at_the_limit_of_failures():
    unit = Unit([32], [set(range(20, 30))], chosen=HUM)
    assert unit.open().total == unit.sum


@settings(deadline=None, max_examples=20)
@given(st.integers(3, 9), st.data())
def test_the_paper_s_aggregation_gives_the_same_blinded_sum(size, data):
    spare = size - rule.threshold(size)
    missing = data.draw(st.sets(st.integers(1, size), max_size=spare))
    unit = Unit([size], [missing], data.draw(st.integers(0, 2**32)))
    ours = open_blinded(unit.parameters, unit.product, unit.cohorts, lambda total: True).total
    zero = paper_method.share_combine(unit.cohorts[0].recovery, size, unit.n) if missing else None
    assert paper_method.aggregate([unit.product], zero, size, unit.n) == ours
