"""Recovery shares: H(round) to the values of a polynomial, of which some may be wrong.

Nobody can decode in the exponent as in a field (decoding.py), for there the products of two unknown
errors are needed. What can be done is to ask of one set of positions whether it has all the errors:
with u(x) = 1 / prod(x - v), the v being the other positions, and any polynomial q of a degree low
enough, the sum of u(x) q(x) f(x) is zero; so is that of u(x) q(x) L(x) f(x), whatever the values
are where L is zero. So the powers sum of u(x) q(x) x^i of the shares, the syndromes, are made once
for a size of sets, and each set then costs few products (Peterson's locator, in the exponent). q is
drawn anew: who does not know it passes a wrong set with a chance of about 2^-64.

How many sets there are grows with the number of errors: a search has an end.
"""

import math
import secrets
import time
from collections.abc import Sequence
from itertools import combinations

from gmpy2 import gcd, lcm, mpz, powmod

from broker.coordinator.protocols.private_sum.arithmetic.interpolation import (
    Subset,
    WrongShares,
    differences,
    weights,
)
from broker.coordinator.protocols.private_sum.arithmetic.multi_power import multi_power

CHANCE_BITS = 64


def in_time(until: float) -> None:
    """Raise WrongShares("out-of-time") if the time of time.monotonic() is over."""
    if time.monotonic() > until:
        raise WrongShares("out-of-time")


class Exponents:
    """One cohort's recovery shares by position, modulo N^2. A factor of -1 makes no difference
    here, nor may it to who uses these. Methods raise WrongShares("out-of-time")."""

    def __init__(self, shares: dict[int, int], threshold: int, n: int, until: float) -> None:
        self._shares = shares
        self._threshold = threshold
        self._n = n
        self._modulus = mpz(n) ** 2
        self._until = until
        self._at_zero: dict[Subset, mpz] = {}

    def singular(self) -> set[int]:
        """Return the positions whose shares have no inverse."""
        return {x for x, share in self._shares.items() if gcd(share, self._n) != 1}

    def at_zero(self, subset: Subset) -> tuple[mpz, int]:
        """Return (H^(D*f(0)), D), by the shares at `subset`, none of them singular."""
        coefficients, scale = weights(subset, 0)
        if subset not in self._at_zero:
            in_time(self._until)
            self._at_zero[subset] = multi_power([self._shares[x] for x in subset], coefficients, self._modulus)
        return self._at_zero[subset], int(scale)

    def wrong(self, among: Sequence[int], most: int) -> set[int] | None:
        """Return the fewest positions of `among` without which the shares at the others are of one
        polynomial; None if that takes more than `most`. None of `among` is singular."""
        spare = len(among) - self._threshold
        for size in range(min(most, spare) + 1) if spare else ():
            syndromes = self._syndromes(tuple(among), size, spare)
            for chosen in combinations(among, size):
                in_time(self._until)
                if self._explained(syndromes, chosen):
                    return set(chosen)
        return None if spare else set()

    def _syndromes(self, xs: Subset, size: int, spare: int) -> list[mpz]:
        """Return the product of shares^(u(x) q(x) x^i), i = 0..size, to an even power."""
        bottoms = differences(xs)
        scale = 2 * lcm(*bottoms)
        drawn = [secrets.randbits(CHANCE_BITS) for _ in range(spare - size)]
        factors = [
            scale // bottom * sum(a * x**power for power, a in enumerate(drawn))
            for x, bottom in zip(xs, bottoms, strict=True)
        ]
        found = []
        for power in range(size + 1):
            in_time(self._until)
            exponents = [int(factor * x**power) for x, factor in zip(xs, factors, strict=True)]
            found.append(multi_power([self._shares[x] for x in xs], exponents, self._modulus))
        return found

    def _explained(self, syndromes: list[mpz], chosen: Subset) -> bool:
        """Whether errors at `chosen` alone make these syndromes."""
        locator = [1]
        for x in chosen:  # times (X - x), but without the signs, which alternate
            locator = [above + x * same for above, same in zip([0, *locator], [*locator, 0], strict=True)]
        sides = [mpz(1), mpz(1)]
        for power, (syndrome, coefficient) in enumerate(zip(syndromes, locator, strict=True)):
            sides[power % 2] = sides[power % 2] * powmod(syndrome, coefficient, self._modulus) % self._modulus
        return bool(sides[0] == sides[1])


def stand_in(found: Sequence[tuple[mpz, int]], sizes: Sequence[int], product: int, modulus: mpz) -> tuple[mpz, int]:
    """Return (V^E, E): V is `product`, the unit's product of ciphertexts, times what stands in for
    the missing ones. `found` are the at_zero() of the cohorts that lack members, of so many members
    each. E is even, so that a factor of -1 is gone."""
    factors = [scale * math.factorial(size) for (_, scale), size in zip(found, sizes, strict=True)]
    common = 2 * math.lcm(*factors)
    bases = [product, *(int(power) for power, _ in found)]
    return multi_power(bases, [common, *(common // factor for factor in factors)], int(modulus)), common
