"""What the coordinator computes when members are missing: one unit's sum from ciphertexts and the
helpers' answers.

A helper's answer holds its share of its cohort's blinding sum, modulo p, and where members of its
cohort are missing, H(round) to the sum of its shares of their exponents. Interpolated at zero, the
first is the blinding; the second, interpolated in the exponent, stands in for the missing
ciphertexts. Source: threshold-joye-libert paper, sections 3.3, 5 and 6, with these differences:
exactly t answers of each cohort are used, those at the lowest positions, for they have the smallest
coefficients; the lcm D of the coefficients' denominators takes the place of the paper's second
Delta; and in place of its division by Delta^2 there is a multiplication by the inverse of E =
lcm(D*Delta) modulo N.

A unit is what opens on its own: a cohort, or the whole fleet. W = 1 modulo N shows that recovery
was right up to a factor 1 + a*N, a sum in range that all the rest was. What fails is tried again
with other answers, and where two choices give two sums that both fit, neither is believed. Against
a helper that lies with intent, answers to spare are the only defence: with t of them it can move
the sum, as any member can with what it contributes.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from gmpy2 import invert, lcm, mpz, powmod

from agent.joye_libert.parameters import Parameters
from broker.coordinator.protocols.private_sum.arithmetic.interpolation import (
    TRIES,
    Subset,
    WrongShares,
    blinding_sum,
    choices,
    consistent,
    first_subset,
    interpolate,
    lagrange,
    ranked,
    weights,
)
from broker.coordinator.protocols.private_sum.arithmetic.multi_power import multi_power

__all__ = ["Cohort", "WrongShares", "blinding_sum", "consistent", "lagrange", "open_blinded", "open_unit"]

Opened = tuple[int, list[list[int]]]


@dataclass(frozen=True)
class Cohort:
    """One cohort's answers: position (1..size) -> share. `missing` says whether members are, so
    that `recovery` is needed."""

    size: int
    threshold: int
    missing: bool
    blinding: dict[int, int]
    recovery: dict[int, int] = field(default_factory=dict)


def in_time(until: float) -> None:
    """Raise WrongShares("out-of-time") if the time of time.monotonic() is over."""
    if time.monotonic() > until:
        raise WrongShares("out-of-time")


class _Recovery:
    """The unit's product of ciphertexts, and what stands in for the missing ones; results by subset
    are kept for the next try."""

    def __init__(self, parameters: Parameters, product: int, cohorts: Sequence[Cohort], until: float) -> None:
        self._until = until
        self._n = mpz(parameters.n)
        self._modulus = self._n**2
        self._product = mpz(product)
        self._unit = cohorts
        self._cohorts = [cohort for cohort in cohorts if cohort.missing]
        self._powers: dict[tuple[int, Subset], mpz] = {}

    def firsts(self) -> tuple[Subset, ...]:
        return tuple(first_subset(cohort.recovery, cohort.threshold) for cohort in self._cohorts)

    def ranked(self) -> list[list[Subset]]:
        return [ranked(cohort.recovery, cohort.threshold, partial(self._agrees, cohort)) for cohort in self._cohorts]

    def wrong(self, choice: Sequence[Subset]) -> list[list[int]]:
        """Return for each of the unit's cohorts which of its answers do not agree with the chosen
        ones."""
        chosen = iter(choice)
        return [self._off(cohort, next(chosen)) if cohort.missing else [] for cohort in self._unit]

    def none_wrong(self) -> list[list[int]]:
        return [[] for _ in self._unit]

    def _off(self, cohort: Cohort, subset: Subset) -> list[int]:
        return [x for x in sorted(cohort.recovery) if x not in subset and not self._agrees(cohort, subset, x)]

    def _combine(self, cohort: Cohort, subset: Subset, at: int) -> tuple[mpz, mpz]:
        """Return (H^(D*f(at)), D), f the sum of the missing members' polynomials; zero where an
        answer has no inverse."""
        in_time(self._until)
        coefficients, scale = weights(subset, at)
        try:
            return multi_power([cohort.recovery[x] for x in subset], coefficients, self._modulus), scale
        except ZeroDivisionError:
            return mpz(0), scale

    def _agrees(self, cohort: Cohort, subset: Subset, x: int) -> bool:
        power, scale = self._combine(cohort, subset, x)
        return bool(power == powmod(cohort.recovery[x], scale, self._modulus))

    def total(self, choice: Sequence[Subset]) -> int | None:
        """Return the sum of the plaintexts, below N, or None if the chosen answers do not open the
        unit."""
        if not choice:  # nobody is missing
            return self._open(self._product, mpz(1))
        powers, factors = [], []
        for at, (cohort, subset) in enumerate(zip(self._cohorts, choice, strict=True)):
            if (at, subset) not in self._powers:
                self._powers[at, subset] = self._combine(cohort, subset, 0)[0]
            powers.append(self._powers[at, subset])
            factors.append(weights(subset, 0)[1] * math.factorial(cohort.size))
        common = lcm(*factors) if len(factors) > 1 else factors[0]
        exponents = [common, *(common // factor for factor in factors)]
        return self._open(multi_power([self._product, *powers], exponents, self._modulus), common)

    def _open(self, value: mpz, factor: mpz) -> int | None:
        quotient, rest = divmod(value - 1, self._n)
        return None if rest else int(quotient * invert(factor, self._n) % self._n)


def _totals(recovery: _Recovery) -> Iterator[tuple[int, list[list[int]]]]:
    """Yield (sum of the plaintexts, wrong answers by cohort) for each choice of answers that opens.

    Answers that the first choice leaves aside are checked only once that choice did not serve.
    """
    firsts = recovery.firsts()
    total = recovery.total(firsts)
    if total is not None:
        yield total, recovery.none_wrong()
    if firsts:
        for choice in choices(recovery.ranked()):
            total = None if choice == firsts else recovery.total(choice)
            if total is not None:
                yield total, recovery.wrong(choice)


def _blindings(cohorts: Sequence[Cohort], p: int) -> Iterator[tuple[int, tuple[Subset, ...]]]:
    """Yield (sum of all cohorts' blindings modulo p, the chosen answers of each cohort), the
    likeliest first."""
    lists = []
    for cohort in cohorts:
        points = cohort.blinding

        def agrees(subset: Subset, x: int, points: dict[int, int] = points) -> bool:
            return bool(interpolate(points, subset, x, p) == points[x] % p)

        lists.append(ranked(points, cohort.threshold, agrees))
    for choice in choices(lists):
        parts = (interpolate(cohort.blinding, subset, 0, p) for cohort, subset in zip(cohorts, choice, strict=True))
        yield int(sum(parts) % p), choice


def _wrong_blinding(points: dict[int, int], subset: Subset, p: int) -> set[int]:
    return {x for x in points if x not in subset and interpolate(points, subset, x, p) != points[x] % p}


def _settle(fitting: Iterator[tuple[int, list[list[int]], bool]]) -> Opened:
    """Return the (total, wrong answers) that is sure, else the only one there is;
    WrongShares("wrong-sum") for none or several."""
    held: dict[int, list[list[int]]] = {}
    for total, wrong, sure in fitting:
        if sure:
            return total, wrong
        held.setdefault(total, wrong)
    if len(held) != 1:
        raise WrongShares("wrong-sum")
    return held.popitem()


def _few(wrong: Sized, points: Sized, threshold: int) -> bool:
    """Whether no other polynomial agrees with as many of `points`: at most half of those to spare
    are wrong."""
    return 2 * len(wrong) <= len(points) - threshold


def open_unit(
    parameters: Parameters,
    product: int,
    cohorts: Sequence[Cohort],
    p: int,
    fits: Callable[[int], bool],
    seconds: float = math.inf,
) -> Opened:
    """Return (the unit's packed sum, for each cohort the sorted positions whose answers were found
    wrong).

    `product` is the product of the unit's ciphertexts times H^-K, modulo N^2; `fits(sum)` says
    whether a sum modulo p can be one. Answers that did not have to be used are checked for their
    blinding always, for their recovery only if the first choice failed. Raises
    WrongShares("too-few-answers") where a cohort has fewer than its threshold,
    WrongShares("wrong-sum") when none of up to 256 choices of answers gives a sum that fits, or
    different sums fit, WrongShares("out-of-time") when the search takes more than `seconds`.
    """
    until = time.monotonic() + seconds
    recovery = _Recovery(parameters, product, cohorts, until)
    recovery.firsts()
    blindings = []  # one where all answers agree
    for blinding in _blindings(cohorts, p):
        in_time(until)
        blindings.append(blinding)
    tries = ((total, wrong, blinding) for total, wrong in _totals(recovery) for blinding in blindings)

    def fitting() -> Iterator[tuple[int, list[list[int]], bool]]:
        for total, wrong_recovery, (blinding, choice) in islice(tries, TRIES):
            in_time(until)
            packed = (total - blinding) % p
            if not fits(packed):
                continue
            wrong, sure = [], True
            for cohort, subset, recovered in zip(cohorts, choice, wrong_recovery, strict=True):
                blinded = _wrong_blinding(cohort.blinding, subset, p) if len(blindings) > 1 else set()
                sure &= _few(blinded, cohort.blinding, cohort.threshold)
                sure &= not recovered or _few(recovered, cohort.recovery, cohort.threshold)
                wrong.append(sorted(blinded.union(recovered)))
            yield packed, wrong, sure

    return _settle(fitting())


def open_blinded(
    parameters: Parameters, product: int, cohorts: Sequence[Cohort], fits: Callable[[int], bool]
) -> Opened:
    """Like open_unit, for a unit whose blinding the caller knows: a block of a wide vector, blinded
    from seeds.

    `fits` is given the sum of the *blinded* plaintexts, below N, which is returned. The cohorts'
    `blinding` is not looked at.
    """

    def fitting() -> Iterator[tuple[int, list[list[int]], bool]]:
        for total, wrong in _totals(_Recovery(parameters, product, cohorts, math.inf)):
            if fits(total):
                pairs = zip(cohorts, wrong, strict=True)
                yield total, wrong, all(not found or _few(found, c.recovery, c.threshold) for c, found in pairs)

    return _settle(fitting())
