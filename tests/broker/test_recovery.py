"""The coordinator's recovery arithmetic, against Python's own and against the paper's method, over
random subsets and wrong answers."""

import math
import random
from fractions import Fraction
from functools import partial

import pytest
from gmpy2 import powmod
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.joye_libert import cohorts as rule
from agent.joye_libert import parameters
from broker.coordinator.protocols.private_sum.arithmetic.multi_power import multi_power
from broker.coordinator.protocols.private_sum.arithmetic.recovery import (
    Cohort,
    WrongShares,
    blinding_sum,
    consistent,
    lagrange,
    open_blinded,
    open_unit,
)
from host_sim.bench.threshold import paper_method

P = 2**128 - 159
SUM_BITS = 40
SMALL = parameters.Parameters("toy", 128, str((2**61 - 1) * (2**89 - 1)))  # two Mersenne primes: quick, and no secret
HUM = parameters.load("hum-2048")


def below(bits, value):
    """Whether `value` is below 2^bits: what a packing of that width asks of a sum. It can be sent
    to another process."""
    return not value >> bits


fits = partial(below, SUM_BITS)


class Unit:
    """A unit of cohorts with real ciphertexts, shares and answers; `absent` names the missing
    positions of each cohort."""

    def __init__(self, sizes, absent, seed=0, chosen=SMALL):
        rng = random.Random(seed)
        self.n = chosen.n
        self.parameters = chosen
        modulus = self.n**2
        self.base = pow(rng.randrange(2, modulus), 2, modulus)
        exponents, self.product, self.sum, self.cohorts, self.ciphertexts = 0, 1, 0, [], []
        for size, missing in zip(sizes, absent, strict=True):
            threshold = rule.threshold(size)
            present = [x for x in range(1, size + 1) if x not in missing]
            blinding = dict.fromkeys(present, 0)
            recovery = dict.fromkeys(present, 0)
            for x in range(1, size + 1):
                key = rng.randrange(2 ** (2 * chosen.bits))
                exponents += key
                if x in missing:
                    shares = [math.factorial(size) * key] + [rng.randrange(2**300) for _ in range(threshold - 1)]
                    for helper in present:
                        recovery[helper] += sum(a * helper**k for k, a in enumerate(shares))
                else:
                    value = rng.randrange(1000)
                    self.sum += value
                    polynomial = [rng.randrange(P) for _ in range(threshold)]
                    plaintext = (value + polynomial[0]) % P
                    ciphertext = (1 + plaintext * self.n) * powmod(self.base, key, modulus) % modulus
                    self.product = self.product * ciphertext % modulus
                    self.ciphertexts.append(ciphertext)
                    for helper in present:
                        blinding[helper] += sum(a * helper**k for k, a in enumerate(polynomial))
            self.cohorts.append(
                Cohort(
                    size,
                    threshold,
                    bool(missing),
                    {x: value % P for x, value in blinding.items()},
                    {x: powmod(self.base, value, modulus) for x, value in recovery.items()} if missing else {},
                )
            )
        self.product = self.product * powmod(self.base, -exponents, modulus) % modulus

    def open(self):
        return open_unit(self.parameters, self.product, self.cohorts, P, fits)


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
    assert unit.open() == (unit.sum, [[] for _ in unit.cohorts])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from(["blinding", "recovery", "both"]), st.data())
def test_a_wrong_answer_is_named_and_the_sum_is_right(seed, kind, data):
    missing = data.draw(st.sets(st.integers(1, 12), min_size=1, max_size=2))  # 10 or 11 answers, 9 needed
    unit = Unit([12, 5], [missing, {2}], seed)
    cohort = unit.cohorts[0]
    liar = data.draw(st.sampled_from(sorted(cohort.blinding)))
    if kind != "recovery":
        cohort.blinding[liar] = (cohort.blinding[liar] + 2**100) % P
    if kind != "blinding":
        cohort.recovery[liar] = data.draw(st.sampled_from([0, SMALL.n, cohort.recovery[liar] * 2 % SMALL.n**2]))
    total, wrong = unit.open()
    assert total == unit.sum
    assert wrong[1] == []
    # A recovery answer that was not needed goes unchecked as long as nothing failed.
    unused = liar not in sorted(cohort.blinding)[:9]
    assert wrong[0] == ([] if kind == "recovery" and unused else [liar])


def test_wrong_answers_in_two_cohorts_are_both_found():
    unit = Unit([12, 12], [{3, 7}, {5, 6}])
    for cohort, liar in zip(unit.cohorts, (1, 2), strict=True):
        cohort.recovery[liar] = cohort.recovery[liar] * unit.base % SMALL.n**2
        cohort.blinding[liar + 7] = 5
    assert unit.open() == (unit.sum, [[1, 8], [2, 9]])


def test_a_recovery_answer_shifted_by_a_multiple_of_n_is_found_by_the_sum():
    unit = Unit([12], [{1}])
    answers = unit.cohorts[0].recovery
    answers[2] = answers[2] * (1 + 12345 * SMALL.n) % SMALL.n**2
    assert unit.open() == (unit.sum, [[2]])


def test_two_wrong_answers_of_four_to_spare_are_named():
    unit = Unit([14], [set()], 3)  # 14 answers, 10 needed
    unit.cohorts[0].blinding[2] += 1
    unit.cohorts[0].blinding[9] += 1
    assert unit.open() == (unit.sum, [[2, 9]])


def test_where_different_sums_fit_neither_is_believed():
    unit = Unit([12], [{1, 2}])  # 10 answers, 9 needed: nothing tells which of two polynomials is right
    unit.cohorts[0].blinding[3] += 1  # moves the sum by a small Lagrange coefficient
    with pytest.raises(WrongShares, match="wrong-sum"):
        unit.open()
    unit = Unit([12], [{1}])  # one more answer tells
    unit.cohorts[0].blinding[3] += 1
    assert unit.open() == (unit.sum, [[3]])


def test_a_wrong_answer_with_none_to_spare_is_a_wrong_sum():
    for kind in ("blinding", "recovery"):
        unit = Unit([12], [{1, 2, 3}])
        answers = getattr(unit.cohorts[0], kind)
        answers[5] = answers[5] * 2 + 1
        with pytest.raises(WrongShares, match="wrong-sum"):
            unit.open()


def test_a_wrong_ciphertext_is_a_wrong_sum_and_nobody_is_blamed():
    unit = Unit([6, 12], [set(), {4}])
    unit.product = unit.product * 2 % SMALL.n**2
    with pytest.raises(WrongShares, match="wrong-sum"):
        unit.open()


def test_too_few_answers_of_either_kind_are_refused():
    for kind in ("blinding", "recovery"):
        unit = Unit([12], [{1, 2, 3}])
        getattr(unit.cohorts[0], kind).pop(4)
        with pytest.raises(WrongShares, match="too-few-answers"):
            unit.open()


def test_a_unit_where_nobody_is_missing_needs_no_recovery():
    unit = Unit([4, 5], [set(), set()])
    assert all(not cohort.recovery for cohort in unit.cohorts)
    assert unit.open() == (unit.sum, [[], []])


def test_a_search_ends_when_its_time_is_over():
    unit = Unit([7], [{2}])
    unit.cohorts[0].recovery[1] += 1
    with pytest.raises(WrongShares) as error:
        open_unit(unit.parameters, unit.product, unit.cohorts, P, fits, seconds=-1.0)
    assert error.value.args == ("out-of-time",)
    assert open_unit(unit.parameters, unit.product, unit.cohorts, P, fits, seconds=60.0)[0] == unit.sum


def test_a_unit_of_real_size_opens_at_the_limit_of_failures():
    unit = Unit([32], [set(range(20, 30))], chosen=HUM)
    assert unit.open() == (unit.sum, [[]])


@settings(deadline=None, max_examples=20)
@given(st.integers(3, 9), st.data())
def test_the_paper_s_aggregation_gives_the_same_blinded_sum(size, data):
    spare = size - rule.threshold(size)
    missing = data.draw(st.sets(st.integers(1, size), max_size=spare))
    unit = Unit([size], [missing], data.draw(st.integers(0, 2**32)))
    ours, _ = open_blinded(unit.parameters, unit.product, unit.cohorts, lambda total: True)
    zero = paper_method.share_combine(unit.cohorts[0].recovery, size, unit.n) if missing else None
    assert paper_method.aggregate([unit.product], zero, size, unit.n) == ours
