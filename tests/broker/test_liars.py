"""Helpers that lie: up to half of the answers to spare are found out, and beyond that no sum is said
to be sure and nobody is said to lie."""

import math
import random
import time
from itertools import combinations, product

import pytest
from gmpy2 import powmod
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.coordinator.protocols.private_sum.arithmetic import decoding
from broker.coordinator.protocols.private_sum.arithmetic.interpolation import interpolate
from broker.coordinator.protocols.private_sum.arithmetic.recovery import (
    SEARCH_S,
    Cohort,
    WrongShares,
    open_unit,
)
from tests.support.unit_at_hand import HUM, SMALL, P, Unit, fits

SMALL_P = 131  # above twice every position here


def shares(rng, threshold, positions, p):
    polynomial = [rng.randrange(p) for _ in range(threshold)]
    return {x: sum(a * pow(x, k, p) for k, a in enumerate(polynomial)) % p for x in positions}


# -- the decoder


def by_definition(points, threshold, p):
    """Who is off the polynomial that most are on, tried one by one; None if more than half of those
    to spare are off any."""
    for subset in combinations(sorted(points), threshold):
        off = {x for x in points if x not in subset and interpolate(points, subset, x, p) != points[x] % p}
        if 2 * len(off) <= len(points) - threshold:
            return off
    return None


@settings(deadline=None, max_examples=120)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 2**32), st.data())
def test_the_decoder_finds_what_trying_all_finds(count, threshold, seed, data):
    """In a field so small that wrong shares agree by accident, too."""
    count, rng = max(count, threshold), random.Random(seed)
    points = shares(rng, threshold, range(1, count + 1), SMALL_P)
    for x in data.draw(st.sets(st.sampled_from(sorted(points)))):
        points[x] = rng.randrange(SMALL_P)
    assert decoding.wrong(points, threshold, SMALL_P) == by_definition(points, threshold, SMALL_P)


@given(st.integers(1, 63), st.integers(0, 2**32), st.data())
def test_the_decoder_finds_as_many_as_can_be_found_in_cohorts_of_all_sizes(count, seed, data):
    threshold = data.draw(st.integers(1, count))
    rng = random.Random(seed)
    points = shares(rng, threshold, rng.sample(range(1, 65), count), P)
    liars = rng.sample(sorted(points), decoding.correctable(count, threshold))
    for x in liars:
        points[x] = (points[x] + rng.choice([1, 2**64, rng.randrange(1, P)])) % P
    assert decoding.wrong(points, threshold, P) == set(liars)


# -- liars that can be found out


def vanishing(honest, rng):
    """What liars can add that is zero at as many honest positions as a polynomial allows."""
    return lambda x: rng * math.prod(x - h for h in honest)


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**32), st.data())
def test_up_to_half_of_those_to_spare_are_found_out_whatever_they_answer(seed, data):
    sizes = data.draw(st.lists(st.sampled_from([7, 10, 13, 16]), min_size=1, max_size=2))
    absent = [{data.draw(st.integers(1, size))} if data.draw(st.booleans()) else set() for size in sizes]
    unit, rng, apart = Unit(sizes, absent, seed), random.Random(seed), []
    modulus = SMALL.n**2
    for cohort in unit.cohorts:
        there = sorted(cohort.blinding)
        most = (len(there) - cohort.threshold) // 2
        liars = data.draw(st.sets(st.sampled_from(there), max_size=most))
        honest = [x for x in there if x not in liars]
        add = vanishing(rng.sample(honest, cohort.threshold - 1), rng.randrange(1, 2**20))
        for x in liars:
            kind = data.draw(st.sampled_from(["together", "alone", "exponent", "garbage"]))
            if kind in ("together", "alone") or not cohort.missing:
                cohort.blinding[x] = (cohort.blinding[x] + (add(x) if kind == "together" else 1)) % P
            elif kind == "exponent":  # one polynomial in the exponent, too
                cohort.recovery[x] = cohort.recovery[x] * powmod(unit.base, add(x), modulus) % modulus
            else:
                cohort.recovery[x] = data.draw(st.sampled_from([0, SMALL.n, cohort.recovery[x] * (1 + SMALL.n)]))
        apart.append(sorted(liars))
    opening = open_unit(unit.parameters, unit.product, unit.cohorts, P, fits, 60)
    assert opening.total == unit.sum
    assert [off for _, off in opening.sides] == apart
    spare = [len(c.blinding) - len(off) - c.threshold for c, off in zip(unit.cohorts, apart, strict=True)]
    assert opening.withstands == min(spare)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.data())
def test_no_number_of_liars_gets_a_wrong_sum_that_is_said_to_withstand_them(seed, data):
    """As many as there may be, and more: together they answer by a polynomial of their own."""
    size = data.draw(st.integers(4, 13))
    unit, rng = Unit([size], [set()], seed), random.Random(seed)
    (cohort,) = unit.cohorts
    liars = data.draw(st.sets(st.integers(1, size), min_size=1, max_size=size - 1))
    honest = [x for x in range(1, size + 1) if x not in liars]
    add = vanishing(rng.sample(honest, min(cohort.threshold - 1, len(honest))), rng.randrange(1, 2**20))
    for x in liars:
        cohort.blinding[x] = (cohort.blinding[x] + add(x)) % P
    among = data.draw(st.sets(st.integers(1, size), min_size=cohort.threshold))
    given_ = Cohort(size, cohort.threshold, False, {x: cohort.blinding[x] for x in among})
    lying = len(liars & among)
    try:
        opening = open_unit(unit.parameters, unit.product, [given_], P, lambda _: True)
    except WrongShares as error:
        assert error.args[0] == "answers-disagree" and lying > (len(among) - cohort.threshold) // 2
        return
    if lying <= opening.withstands:
        assert opening.total == unit.sum and opening.sides[0][1] == sorted(liars & among)
    else:
        assert lying > (len(among) - cohort.threshold) // 2


# -- what colluders were shown to do (m4_frame_honest)


def attacked():
    """Ten members, of whom 8, 9 and 10 move the sum and let it seem as if 1 had lied."""
    unit = Unit([10], [set()])
    (cohort,) = unit.cohorts
    add = vanishing(range(2, 8), -54321 * pow(math.factorial(7), -1, P))
    for x in (8, 9, 10):
        cohort.blinding[x] = (cohort.blinding[x] + add(x)) % P
    return unit


def of_those(unit, among):
    (cohort,) = unit.cohorts
    return Cohort(10, 7, False, {x: cohort.blinding[x] for x in among})


def test_colluders_that_frame_an_honest_member_get_no_sum_that_is_sure_and_nobody_is_named():
    unit = attacked()
    opening = unit.open()
    # To anybody who sees the answers this is a round in which 1 lies: it is right if two at most do.
    assert opening.total != unit.sum and opening.withstands == 2 < len((8, 9, 10))
    assert opening.sides == [(list(range(2, 11)), [1])]
    with pytest.raises(WrongShares) as error:
        open_unit(SMALL, unit.product, [of_those(unit, [1, 2, 3, 4, 5, 8, 9, 10])], P, fits)
    assert error.value.args == ("answers-disagree", [([2, 3, 4, 5, 8, 9, 10], [1])])
    seven = open_unit(SMALL, unit.product, [of_those(unit, [2, 3, 4, 5, 8, 9, 10])], P, fits)
    assert seven.total != unit.sum and seven.withstands == 0


def test_without_colluders_the_same_round_is_sure_and_the_same_member_alone_is_found_out():
    unit = Unit([10], [set()])
    assert (unit.open().total, unit.open().withstands) == (unit.sum, 3)
    unit.cohorts[0].blinding[1] += 54321
    opening = unit.open()
    assert (opening.total, opening.sides, opening.withstands) == (unit.sum, [(list(range(2, 11)), [1])], 2)


def test_colluders_shift_no_sum_by_recovery_shares_either_while_others_are_to_spare():
    """The same by factors 1 + a*N, which open as well as the right shares."""
    unit = Unit([10], [{6}])
    (cohort,) = unit.cohorts
    for x in (8, 9, 10):
        cohort.recovery[x] = cohort.recovery[x] * (1 + x * SMALL.n) % SMALL.n**2
    with pytest.raises(WrongShares, match="answers-disagree"):
        unit.open()


# -- the time that liars cost (c1_recovery_cpu)


@pytest.mark.parametrize(
    ("answers", "liars"),
    [
        (63, 20),
        *(pytest.param(*each, marks=pytest.mark.proof) for each in product((44, 53, 63), (10, 20)) if each != (63, 20)),
    ],
)
def test_liars_of_a_large_cohort_cost_a_search_no_more_than_its_time(liars, answers):
    unit = Unit([64], [{64}], chosen=HUM)
    (cohort,) = unit.cohorts
    for x in range(1, liars + 1):
        cohort.recovery[x] = cohort.recovery[x] * 3 % HUM.n**2
    among = range(1, answers + 1)
    parts = ({x: cohort.blinding[x] for x in among}, {x: cohort.recovery[x] for x in among})
    begun = time.process_time()
    with pytest.raises(WrongShares) as error:
        open_unit(HUM, unit.product, [Cohort(64, 43, True, *parts)], P, fits)
    assert time.process_time() - begun < SEARCH_S + 0.25
    assert error.value.args[0] in ("out-of-time", "answers-disagree")


def test_a_few_liars_of_a_large_cohort_are_found():
    unit = Unit([64], [{64}], chosen=HUM)
    (cohort,) = unit.cohorts
    for x in (3, 40):
        cohort.recovery[x] = cohort.recovery[x] * 3 % HUM.n**2
    opening = unit.open(60.0)  # a busy machine takes longer than an idle one
    assert (opening.total, opening.sides[0][1], opening.withstands) == (unit.sum, [3, 40], 61 - 43)
