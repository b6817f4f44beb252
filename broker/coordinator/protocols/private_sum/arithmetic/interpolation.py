"""Interpolation from answers: Lagrange coefficients over the integers and modulo p.

p is a prime above twice every position. Source: Shamir's sharing, threshold-joye-libert paper,
sections 3.2 and 3.3.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

from gmpy2 import gcd, invert, lcm, mpz

Subset = tuple[int, ...]


class WrongShares(Exception):
    """The answers do not open the unit. args[0] is "too-few-answers", "wrong-sum", "out-of-time" or
    "answers-disagree"; then args[1] says for each cohort who agrees, and who does not (recovery.py,
    Sides)."""


@lru_cache(maxsize=1024)
def differences(xs: Subset) -> list[mpz]:
    """Return prod(j - v), over the other v of xs, for each j of xs."""
    products = []
    for j in xs:
        product = mpz(1)
        for v in xs:
            if v != j:
                product *= j - v
        products.append(product)
    return products


@lru_cache(maxsize=1024)
def weights(xs: Subset, at: int) -> tuple[list[mpz], mpz]:
    """Return (D*l_j for each j of xs, D), l_j the Lagrange coefficient at `at`, not one of xs; D is
    the least that makes integers."""
    top = math.prod((at - v for v in xs), start=mpz(1))
    fractions = []
    for j, product in zip(xs, differences(xs), strict=True):
        bottom = product * (at - j)
        common = gcd(top, bottom) if bottom > 0 else -gcd(top, bottom)
        fractions.append((top // common, bottom // common))
    scale = lcm(*(bottom for _, bottom in fractions))
    return [over * (scale // bottom) for over, bottom in fractions], scale


def lagrange(xs: Sequence[int]) -> tuple[list[int], int]:
    """Return (D*lambda_j in the order of `xs`, D): lambda_j interpolates at zero, D is the lcm of
    their reduced denominators.

    `xs` are distinct positions, 1 or more.
    """
    coefficients, scale = weights(tuple(xs), 0)
    return [int(weight) for weight in coefficients], int(scale)


@lru_cache(maxsize=64)
def reciprocals(most: int, p: int) -> list[mpz]:
    """Return the inverses of 1..most modulo the prime p > most, at their own index: from p = q*i +
    r, 1/i = -q * (1/r)."""
    inverses = [mpz(0), mpz(1)]
    for i in range(2, most + 1):
        inverses.append(-(p // i) * inverses[p % i] % p)
    return inverses


@lru_cache(maxsize=1024)
def barycentric(xs: Subset, p: int) -> list[mpz]:
    """Return the inverses of differences(xs) modulo p."""
    return [invert(product, p) for product in differences(xs)]


def interpolate(points: dict[int, int], xs: Subset, at: int, p: int) -> mpz:
    """Return the value at `at` of the polynomial through the points at `xs`, modulo p; `at` is not
    one of xs.

    By the barycentric formula: what depends on xs alone is kept, so each further `at` takes a few
    products a point.
    """
    inverse = reciprocals(1 << max(at, *xs).bit_length(), p)  # few tables, whatever the position
    total = mpz(0)
    for x, weight in zip(xs, barycentric(xs, p), strict=True):
        term = weight * points[x] * inverse[abs(at - x)]
        total += term if at > x else -term
    return total * math.prod((at - x for x in xs), start=mpz(1)) % p


def first_subset(points: dict[int, int], threshold: int) -> Subset:
    """Return the `threshold` lowest positions. Raises WrongShares("too-few-answers")."""
    if len(points) < threshold:
        raise WrongShares("too-few-answers")
    return tuple(sorted(points)[:threshold])


def blinding_sum(points: dict[int, int], threshold: int, p: int) -> int:
    """Return what `threshold` of the shares `points` (position -> value modulo p) interpolate to at
    zero, in [0, p).

    p is a prime above twice every position. With more points than that, those at the lowest
    positions count: see consistent(). Raises WrongShares("too-few-answers").
    """
    return int(interpolate(points, first_subset(points, threshold), 0, p))


def consistent(points: dict[int, int], threshold: int, p: int) -> bool:
    """Whether all `points` are of one polynomial of degree below `threshold` modulo p. Raises
    WrongShares("too-few-answers")."""
    first = first_subset(points, threshold)
    return all(interpolate(points, first, x, p) == points[x] % p for x in points if x not in first)
