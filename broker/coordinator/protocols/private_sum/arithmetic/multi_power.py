"""Products of many powers, modulo a large number: what recovery costs the coordinator.

The exponents here are Lagrange coefficients: signed, of 20 to 300 bits, the same for every block of
a wide vector. Bos and Coster's chain suits them (de Rooij, EUROCRYPT '94): while two exponents a >=
b are left, x^a * y^b = (y * x^q)^b * x^(a - q*b). There is no table to fill, and the chain depends
on the exponents only, so it is laid out once and walked for every block.
"""

import heapq
from collections.abc import Sequence
from functools import lru_cache

from gmpy2 import invert, mpz, powmod


@lru_cache(maxsize=256)
def chain(exponents: tuple[int, ...]) -> tuple[list[tuple[int, int, int]], int, int]:
    """Return (steps, last, rest) for positive `exponents`: after value[to] *= value[of]^q for each
    step (to, of, q), the product of powers is value[last]^rest."""
    heap = [(-mpz(exponent), index) for index, exponent in enumerate(exponents)]
    heapq.heapify(heap)
    steps = []
    while len(heap) > 1:
        largest, of = heap[0]
        second, to = min(heap[1:3])
        quotient, left = 1, second - largest
        if left >= -second:
            quotient, left = divmod(-largest, -second)
        steps.append((to, of, int(quotient)))
        if left:
            heapq.heapreplace(heap, (-left, of))
        else:
            heapq.heappop(heap)
    rest, last = heap[0]
    return steps, last, -rest


def multi_power(bases: Sequence[int], exponents: Sequence[int], modulus: int) -> mpz:
    """Return the product of bases[i]^exponents[i] modulo `modulus`; exponents are any integers.

    Raises ZeroDivisionError if a base with a negative exponent has no inverse.
    """
    modulus = mpz(modulus)
    values = [mpz(base) for base, exponent in zip(bases, exponents, strict=True) if exponent > 0]
    values += _inverses([mpz(base) for base, exponent in zip(bases, exponents, strict=True) if exponent < 0], modulus)
    positive = [int(exponent) for exponent in exponents if exponent > 0]
    positive += [-int(exponent) for exponent in exponents if exponent < 0]
    if not values:
        return mpz(1) % modulus
    steps, last, rest = chain(tuple(positive))
    for to, of, quotient in steps:
        factor = values[of] if quotient == 1 else powmod(values[of], quotient, modulus)
        values[to] = values[to] * factor % modulus
    return powmod(values[last], rest, modulus)


def _inverses(values: list[mpz], modulus: mpz) -> list[mpz]:
    """Return the inverses of all `values` for one inversion and three products each (Montgomery's
    trick)."""
    if not values:
        return []
    products = [values[0]]
    for value in values[1:]:
        products.append(products[-1] * value % modulus)
    inverse = invert(products[-1], modulus)
    results = []
    for value, before in zip(reversed(values[1:]), reversed(products[:-1]), strict=True):
        results.append(inverse * before % modulus)
        inverse = inverse * value % modulus
    return [inverse, *reversed(results)]
