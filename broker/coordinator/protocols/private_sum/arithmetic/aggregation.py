"""What only the coordinator computes, with gmpy2: its part in every member's exponent, and the
product that a sum opens from.

The sum of a unit opens from (product of its ciphertexts) * H(round)^(-K) mod N^2, with K the sum of
the public offsets and of the coordinator's parts of all members of the unit, missing ones too: what
the helpers answer stands in for a missing member's whole ciphertext (recovery.py). Source: Joye and
Libert (threshold-joye-libert paper, section 3.6, equation 2), without the trusted dealer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from gmpy2 import invert, mpz, powmod

from agent.crypto import p256
from agent.joye_libert import cohorts, masks, zero_sum
from agent.joye_libert.parameters import Parameters
from agent.protocols.private_sum.roster_part import SumPart
from agent.wire import topics
from broker.coordinator.scope import Scope


@dataclass(frozen=True)
class Unit:
    """What opens on its own: one cohort, or all of them; lists of member indices, and K."""

    cohorts: list[list[int]]
    exponent: int


class Keys:
    """What the coordinator shares with the members of one roster: round keys, and a part of each
    unit's exponent."""

    def __init__(self, private: bytes, scope: Scope, part: SumPart, parameters: Parameters) -> None:
        self.round_keys: dict[str, bytes] = {}
        self.opening_keys: dict[str, bytes] = {}
        parts = []
        for name, public in scope.roster.members:
            secret = p256.ecdh(private, public)
            parts.append(zero_sum.pair_key(secret, scope.digest, name, topics.COORDINATOR, parameters))
            self.round_keys[name], self.opening_keys[name] = zero_sum.round_keys(secret, scope.digest, name)
        offset = zero_sum.offset(len(parts), parameters)
        assigned = cohorts.assign(scope.roster.names(), scope.digest, part.cohort)
        grouped = [assigned] if part.seal == cohorts.SEAL_FLEET else [[cohort] for cohort in assigned]
        self.units = [Unit(unit, sum(offset + parts[i] for cohort in unit for i in cohort)) for unit in grouped]


def unmask_factor(parameters: Parameters, scope: tuple[str, str, int], round_number: int, exponent: int) -> int:
    """Return H(round)^(-exponent) mod N^2; `scope` is (deployment, group, epoch). Needs no
    ciphertext: make it ahead."""
    x0, x1 = masks.base(parameters, *scope, round_number, 0)
    modulus = mpz(parameters.n) ** 2
    return int(invert(powmod(mpz(x0) + parameters.n * mpz(x1), exponent, modulus), modulus))


def product(parameters: Parameters, factor: int, ciphertexts: Iterable[bytes]) -> int:
    """Return factor * (product of the ciphertexts) mod N^2."""
    modulus = mpz(parameters.n) ** 2
    value = mpz(factor)
    for ciphertext in ciphertexts:
        value = value * mpz(int.from_bytes(ciphertext, "big")) % modulus
    return int(value)


class Factors:
    """H(round)^(-K) of each unit, for the round that was asked for last."""

    def __init__(self, scope: Scope, parameters: Parameters, units: list[Unit]) -> None:
        self._scope = (scope.deployment, scope.group, scope.epoch)
        self._parameters = parameters
        self._units = units
        self._round = -1
        self._made: dict[int, int | None] = {}

    def get(self, round_number: int, at: int) -> int | None:
        """Return the factor of unit `at`, if it is there."""
        self._turn_to(round_number)
        return self._made.get(at)

    def job(self, round_number: int, at: int) -> Callable[[], int]:
        """Return what computes the factor of unit `at`."""
        return partial(unmask_factor, self._parameters, self._scope, round_number, self._units[at].exponent)

    def lacking(self, round_number: int) -> int | None:
        """Return a unit whose factor was not computed, nor tried in vain."""
        self._turn_to(round_number)
        return next((at for at in range(len(self._units)) if at not in self._made), None)

    def keep(self, round_number: int, at: int, factor: int | None) -> None:
        """Keep a factor; None for one that was tried in vain."""
        if round_number == self._round:
            self._made[at] = factor

    def _turn_to(self, round_number: int) -> None:
        if round_number != self._round:
            self._round, self._made = round_number, {}
