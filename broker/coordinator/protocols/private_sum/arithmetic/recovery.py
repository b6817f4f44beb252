"""What the coordinator computes when members are missing: one unit's sum from ciphertexts and the
helpers' answers.

A helper's answer holds its share of its cohort's blinding sum, modulo p, and where members of its
cohort are missing, H(round) to the sum of its shares of their exponents. Interpolated at zero, the
first is the blinding; the second, interpolated in the exponent, stands in for the missing
ciphertexts. Source: threshold-joye-libert paper, sections 3.3, 5 and 6, with these differences:
exactly t answers of each cohort are used, those at the lowest positions, for they have the smallest
coefficients; the lcm D of the coefficients' denominators takes the place of the paper's second
Delta; and in place of its division by Delta^2 there is a multiplication by the inverse of E =
2*lcm(D*Delta) modulo N.

A unit is what opens on its own: a cohort, or the whole fleet. W = 1 modulo N shows that recovery
was right up to a factor 1 + a*N, a sum in range that all the rest was, but both only against
faults. Against helpers that lie with intent, answers to spare are the only defence. Of the m
answers of a cohort s agree with each other, the others with no t of them. If at most s - t of all
m lie, then t honest ones are among the s: the sum is right, and who disagrees lies. A unit is
opened only where s is at least (m + t) / 2, for then the s are the only ones that so many agree
with: up to (m - t) / 2 liars are found out. Beyond that nobody can say which answers are wrong, and
nothing is opened. Nobody is ever said to lie: c - t colluders can put an honest member among the
few (docs/security/reasoning.md).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gmpy2 import invert, mpz

from agent.joye_libert.parameters import Parameters
from broker.coordinator.protocols.private_sum.arithmetic import decoding
from broker.coordinator.protocols.private_sum.arithmetic.exponents import Exponents, in_time, stand_in
from broker.coordinator.protocols.private_sum.arithmetic.interpolation import (
    Subset,
    WrongShares,
    blinding_sum,
    consistent,
    first_subset,
    interpolate,
    lagrange,
)

__all__ = [
    "Cohort",
    "Opening",
    "Sides",
    "WrongShares",
    "blinding_sum",
    "consistent",
    "lagrange",
    "open_blinded",
    "open_unit",
]

SEARCH_S = 0.75  # what a search takes at most that is not told when to end

Sides = tuple[list[int], list[int]]  # sorted positions: who agrees with each other, who does not


@dataclass(frozen=True)
class Cohort:
    """One cohort's answers: position (1..size) -> share. `missing` says whether members are, so
    that `recovery` is needed."""

    size: int
    threshold: int
    missing: bool
    blinding: dict[int, int]
    recovery: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Opening:
    """What a unit opened to: the packed sum; for each cohort who agrees and who does not; and with
    how many liars in any one cohort, found or not, the sum is right."""

    total: int
    sides: list[Sides]
    withstands: int


class _Unit:
    """A unit's product of ciphertexts and its answers; `p` is None if blinding is not looked at."""

    def __init__(
        self, parameters: Parameters, product: int, cohorts: Sequence[Cohort], p: int | None, until: float
    ) -> None:
        self._n = mpz(parameters.n)
        self._product = product
        self._cohorts = cohorts
        self._p = p
        self._until = until
        self._given = [self._positions(cohort) for cohort in cohorts]
        self._exponents = [
            Exponents(cohort.recovery, cohort.threshold, parameters.n, until) if cohort.missing else None
            for cohort in cohorts
        ]

    def _positions(self, cohort: Cohort) -> list[int]:
        """Return who has given all that is needed. Raises WrongShares("too-few-answers")."""
        kinds = [cohort.blinding] * (self._p is not None) + [cohort.recovery] * cohort.missing
        given = [x for x in range(1, cohort.size + 1) if all(x in kind for kind in kinds)] if kinds else []
        first_subset(dict.fromkeys(given, 0), cohort.threshold if kinds else 0)
        return given

    def wrong(self) -> list[set[int] | None]:
        """Return for each cohort who disagrees with the others; None where nobody can tell."""
        return [self._wrong(at) for at in range(len(self._cohorts))]

    def _wrong(self, at: int) -> set[int] | None:
        in_time(self._until)
        cohort, given, exponents = self._cohorts[at], self._given[at], self._exponents[at]
        most, off = decoding.correctable(len(given), cohort.threshold), set()
        if self._p is not None:
            found = decoding.wrong({x: cohort.blinding[x] for x in given}, cohort.threshold, self._p)
            if found is None:
                return None
            off |= found
        if exponents:
            off |= exponents.singular() & set(given)
            rest = [x for x in given if x not in off]
            in_exponent = exponents.wrong(rest, most - len(off)) if len(off) <= most else None
            if in_exponent is None:
                return None
            off |= in_exponent
        return off

    def sides(self, wrong: Sequence[set[int] | None], fits: Callable[[int], bool]) -> list[Sides]:
        """Return for each cohort who agrees and who does not, as far as can be told."""
        agree = [
            [x for x in given if x not in off] if off is not None else self._agreeing(at, wrong, fits)
            for at, (given, off) in enumerate(zip(self._given, wrong, strict=True))
        ]
        pairs = zip(agree, self._given, strict=True)
        return [(alike, [x for x in given if x not in alike]) for alike, given in pairs]

    def _agreeing(self, at: int, wrong: Sequence[set[int] | None], fits: Callable[[int], bool]) -> list[int]:
        cohort = self._cohorts[at]
        subsets = [self.lowest(one, off or set()) for one, off in enumerate(wrong)]

        def opens(subset: Subset) -> bool:
            try:
                found = self.total([subset if one == at else other for one, other in enumerate(subsets)])
            except (WrongShares, ZeroDivisionError):  # the time is over; a share has no inverse
                return False
            return found is not None and fits(found)

        given, alike = self._given[at], []
        if self._p is not None:
            points = {x: cohort.blinding[x] for x in given}
            if decoding.wrong(points, cohort.threshold, self._p) is None:
                alike = decoding.largest(points, cohort.threshold, self._p)
        # Any t are of one polynomial: only if they open the unit do they tell anything.
        return alike or list(next((one for one in decoding.subsets(given, cohort.threshold) if opens(one)), ()))

    def lowest(self, at: int, off: set[int]) -> Subset:
        """Return the answers of a cohort to go by: the lowest that are not off, as many as it
        takes."""
        return tuple(x for x in self._given[at] if x not in off)[: self._cohorts[at].threshold]

    def total(self, subsets: Sequence[Subset]) -> int | None:
        """Return what the answers at `subsets`, one for each cohort, open the unit to: its packed
        sum modulo p, or below N where blinding is not looked at. None if they do not."""
        value, factor = mpz(self._product), 1
        found = [(one.at_zero(xs), c.size) for one, xs, c in self._of_missing(subsets)]
        if found:
            value, factor = stand_in([a for a, _ in found], [size for _, size in found], self._product, self._n**2)
        quotient, rest = divmod(value - 1, self._n)
        if rest:
            return None
        plain = int(quotient * invert(factor, self._n) % self._n)
        if self._p is None:
            return plain
        pairs = zip(self._cohorts, subsets, strict=True)
        return int((plain - sum(interpolate(c.blinding, xs, 0, self._p) for c, xs in pairs)) % self._p)

    def _of_missing(self, subsets: Sequence[Subset]) -> list[tuple[Exponents, Subset, Cohort]]:
        parts = zip(self._exponents, subsets, self._cohorts, strict=True)
        return [(exponents, xs, cohort) for exponents, xs, cohort in parts if exponents]

    def open(self, fits: Callable[[int], bool]) -> Opening:
        """Return what the unit opens to. Raises WrongShares."""
        wrong = self.wrong()
        unclear = [at for at, off in enumerate(wrong) if off is None]
        if any(len(self._given[at]) > self._cohorts[at].threshold for at in unclear):
            raise WrongShares("answers-disagree", self.sides(wrong, fits))
        if unclear:
            raise WrongShares("wrong-sum")  # with none to spare nobody disagrees
        total = self.total([self.lowest(at, off or set()) for at, off in enumerate(wrong)])
        if total is None or not fits(total):
            raise WrongShares("wrong-sum")
        sides = self.sides(wrong, fits)
        spare = [len(agree) - c.threshold for (agree, _), c in zip(sides, self._cohorts, strict=True) if agree]
        return Opening(total, sides, min(spare, default=0))


def open_unit(
    parameters: Parameters,
    product: int,
    cohorts: Sequence[Cohort],
    p: int,
    fits: Callable[[int], bool],
    seconds: float = SEARCH_S,
) -> Opening:
    """Return the unit's packed sum and who agrees on it, by sorted positions.

    `product` is the product of the unit's ciphertexts times H^-K, modulo N^2; `fits(sum)` says
    whether a sum modulo p can be one. Raises WrongShares: "too-few-answers" where a cohort has
    fewer than its threshold; "answers-disagree" where in one more than (answers - threshold) / 2
    disagree with any others, with what sides() can tell; "wrong-sum" if all is in agreement and
    gives no sum that fits; "out-of-time" when the search for answers that are wrong in the exponent
    takes more than `seconds`.
    """
    return _Unit(parameters, product, cohorts, p, time.monotonic() + seconds).open(fits)


def open_blinded(
    parameters: Parameters, product: int, cohorts: Sequence[Cohort], fits: Callable[[int], bool]
) -> Opening:
    """Like open_unit, for a unit whose blinding the caller knows: a block of a wide vector, blinded
    from seeds.

    `fits` is given the sum of the *blinded* plaintexts, below N, which is returned. The cohorts'
    `blinding` is not looked at.
    """
    return _Unit(parameters, product, cohorts, None, math.inf).open(fits)
