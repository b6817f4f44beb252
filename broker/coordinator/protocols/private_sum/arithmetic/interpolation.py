"""Interpolation from answers of which some may be wrong: Lagrange coefficients, and which answers
to go by.

p is a prime above twice every position. Source: Shamir's sharing, threshold-joye-libert paper,
sections 3.2 and 3.3.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations, islice

from gmpy2 import gcd, invert, lcm, mpz

TRIES = 256

Subset = tuple[int, ...]


class WrongShares(Exception):
    """The answers do not open the unit. args[0] is "too-few-answers" or "wrong-sum"."""


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


def _subsets(xs: list[int], threshold: int) -> list[Subset]:
    """Return at most TRIES subsets: first those that leave out neighbours, so that each answer is
    soon left out, then others."""
    spare = len(xs) - threshold
    found = {tuple(xs[:threshold]): None}
    if not spare:
        return list(found)
    for start in range(0, len(xs), spare):
        found[tuple(sorted((xs[start + spare :] + xs[:start] + xs[start : start + spare])[:threshold]))] = None
    if math.comb(len(xs), spare) <= TRIES:
        found |= dict.fromkeys(combinations(xs, threshold))
    else:
        chance = random.Random(0)
        while len(found) < TRIES:
            found[tuple(sorted(chance.sample(xs, threshold)))] = None
    return list(found)


def ranked(points: dict[int, int], threshold: int, agrees: Callable[[Subset, int], bool]) -> list[Subset]:
    """Return the subsets to try, best first; only one where all answers agree, or where none is to
    spare.

    A subset that an answer outside it agrees with comes first: answers that are wrong by themselves
    do not agree.
    """
    xs = sorted(points)
    first = first_subset(points, threshold)
    if all(agrees(first, x) for x in xs if x not in first):
        return [first]
    subsets = _subsets(xs, threshold)
    checks = ((subset, x) for subset in subsets for x in xs if x not in subset)
    best = next((subset for subset, x in islice(checks, TRIES) if agrees(subset, x)), first)
    return [best, *(subset for subset in subsets if subset != best)]


def _together(lists: Sequence[list[Subset]], total: int) -> Iterator[tuple[Subset, ...]]:
    """Yield the choices of one subset from each list whose ranks add up to `total`."""
    if not lists:
        if not total:
            yield ()
        return
    for rank, subset in enumerate(lists[0][: total + 1]):
        for others in _together(lists[1:], total - rank):
            yield (subset, *others)


def choices(lists: Sequence[list[Subset]]) -> Iterator[tuple[Subset, ...]]:
    """Yield at most TRIES choices of one subset from each list, the best-ranked together first."""
    totals = range(sum(len(subsets) - 1 for subsets in lists) + 1)
    return islice((choice for total in totals for choice in _together(lists, total)), TRIES)
