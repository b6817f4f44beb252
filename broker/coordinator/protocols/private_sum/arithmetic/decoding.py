"""Which blinding shares are off: shares of one polynomial are a word of Reed and Solomon's code.

Of m shares, of which t make the polynomial, up to (m - t) / 2 wrong ones are found, for no other
polynomial agrees with as many; with more than that nothing says which are the wrong ones. Source:
Gao, "A New Algorithm for Decoding Reed-Solomon Codes" (2003): a few thousand products modulo p for
64 shares, however many are wrong.
"""

import math
import random
from collections.abc import Iterator
from itertools import combinations

from gmpy2 import invert, mpz

from broker.coordinator.protocols.private_sum.arithmetic.interpolation import (
    Subset,
    barycentric,
    consistent,
    first_subset,
    interpolate,
)

TRIES = 64

Polynomial = list[mpz]  # coefficients modulo p, from the constant term on, the last one not zero


def correctable(answers: int, threshold: int) -> int:
    """Return how many wrong ones of so many answers can be found."""
    return max(answers - threshold, 0) // 2


def wrong(points: dict[int, int], threshold: int, p: int) -> set[int] | None:
    """Return the positions whose shares are off the polynomial of degree below `threshold` that all
    others are on; None if they are more than correctable(), whichever polynomial is taken.

    `points` are by position, 1 or more; p is a prime above twice every position. Raises
    WrongShares("too-few-answers").
    """
    if consistent(points, threshold, p):
        return set()
    if not correctable(len(points), threshold):
        return None
    found = _decode(points, threshold, p)
    if found is None:
        return None
    off = {x for x, y in points.items() if _value(found, x, p) != y % p}
    return off if len(off) <= correctable(len(points), threshold) else None


def _decode(points: dict[int, int], threshold: int, p: int) -> Polynomial | None:
    xs = tuple(sorted(points))
    master = [mpz(1)]
    for x in xs:
        master = _plus([mpz(0), *master], master, -x, p)
    through = _through(points, xs, master, p)
    # Until the rest is below (m + t) / 2 in degree: it is the wanted times the locator of errors.
    before, rest = master, through
    locator_before, locator = [], [mpz(1)]
    while 2 * (len(rest) - 1) >= len(xs) + threshold:
        quotient, remainder = _divide(before, rest, p)
        before, rest = rest, remainder
        locator_before, locator = locator, _minus_product(locator_before, quotient, locator, p)
    found, remainder = _divide(rest, locator, p)
    return None if remainder or len(found) > threshold else found


def _through(points: dict[int, int], xs: Subset, master: Polynomial, p: int) -> Polynomial:
    """Return the polynomial through all points; `master` is the product of all (X - x)."""
    total = [mpz(0)] * len(xs)
    for x, weight in zip(xs, barycentric(xs, p), strict=True):
        scale, carry = weight * points[x] % p, mpz(0)
        for power in range(len(xs) - 1, -1, -1):  # master / (X - x), by Horner's rule
            carry = (carry * x + master[power + 1]) % p
            total[power] = (total[power] + scale * carry) % p
    return _trimmed(total)


def _trimmed(coefficients: Polynomial) -> Polynomial:
    while coefficients and not coefficients[-1]:
        coefficients.pop()
    return coefficients


def _plus(one: Polynomial, other: Polynomial, scale: int, p: int) -> Polynomial:
    """Return one + scale * other."""
    total = one + [mpz(0)] * (len(other) - len(one))
    for power, coefficient in enumerate(other):
        total[power] = (total[power] + scale * coefficient) % p
    return _trimmed(total)


def _minus_product(one: Polynomial, left: Polynomial, right: Polynomial, p: int) -> Polynomial:
    """Return one - left * right."""
    for power, coefficient in enumerate(left):
        one = _plus(one, [mpz(0)] * power + right, -coefficient, p)
    return one


def _divide(over: Polynomial, under: Polynomial, p: int) -> tuple[Polynomial, Polynomial]:
    """Return (quotient, remainder)."""
    quotient, rest, inverse = [mpz(0)] * max(len(over) - len(under) + 1, 0), list(over), invert(under[-1], p)
    while len(rest) >= len(under):
        power, factor = len(rest) - len(under), rest[-1] * inverse % p
        quotient[power] = factor
        rest = _plus(rest, [mpz(0)] * power + under, -factor, p)
    return quotient, rest


def _value(coefficients: Polynomial, x: int, p: int) -> mpz:
    total = mpz(0)
    for coefficient in reversed(coefficients):
        total = (total * x + coefficient) % p
    return total


# -- who agrees with whom


def largest(points: dict[int, int], threshold: int, p: int) -> list[int]:
    """Return the largest set of more than `threshold` positions that was found whose shares are of
    one polynomial, sorted; empty if none was found. Raises WrongShares("too-few-answers")."""
    first_subset(points, threshold)
    best: list[int] = []
    for subset in subsets(sorted(points), threshold):
        alike = [x for x in points if x in subset or interpolate(points, subset, x, p) == points[x] % p]
        if len(alike) > max(threshold, len(best)):
            best = sorted(alike)
    return best


def subsets(xs: list[int], size: int) -> Iterator[Subset]:
    """Yield at most TRIES subsets: first those that leave out neighbours, so that each answer is
    soon left out, then others."""
    if math.comb(len(xs), size) <= TRIES:
        yield from combinations(xs, size)
        return
    spare = len(xs) - size
    starts = range(0, len(xs), spare)
    for start in starts:
        yield tuple(sorted((xs[start + spare :] + xs[:start] + xs[start : start + spare])[:size]))
    chance = random.Random(0)
    for _ in range(TRIES - len(starts)):
        yield tuple(sorted(chance.sample(xs, size)))
