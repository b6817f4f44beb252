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
    """What opens on its own under an active set: one cohort, or all of them. `cohorts` are lists of
    the active members' indices, of whom `thresholds` open; the number and the digest of the set,
    and K."""

    number: int
    digest: bytes
    cohorts: list[list[int]]
    thresholds: list[int]
    exponent: int


class Secrets:
    """What the coordinator shares with each member of a roster, by name, and which members open
    together: `units` has the cohorts of each, lists of member indices. `here_keys` are those of
    what needs no set."""

    def __init__(self, private: bytes, scope: Scope, part: SumPart, parameters: Parameters) -> None:
        self.parameters = parameters
        self.names: list[str] = scope.roster.names()
        self.secrets = {name: p256.ecdh(private, public) for name, public in scope.roster.members}
        self.here_keys = {name: self.round_keys(name, scope.digest)[0] for name in self.names}
        cohorts_of = cohorts.assign(self.names, scope.digest, part.cohort)
        self.units = [cohorts_of] if part.seal == cohorts.SEAL_FLEET else [[cohort] for cohort in cohorts_of]

    def round_keys(self, name: str, digest: bytes) -> tuple[bytes, bytes]:
        """Return the member's round key and opening key under the set, or roster, `digest`."""
        first, second = zero_sum.round_keys(self.secrets[name], digest, name)
        return first, second


class Keys:
    """What the coordinator shares with the members of one active set, by name: round keys, opening
    keys; and the `unit`, of whose exponent a part is its own."""

    def __init__(self, secrets: Secrets, at: int, number: int, digest: bytes, members: int) -> None:
        """The set of the unit `at` with this number and digest; `members` is its bitmap."""
        self.round_keys: dict[str, bytes] = {}
        self.opening_keys: dict[str, bytes] = {}
        parameters, exponent = secrets.parameters, 0
        active = [[index for index in cohort if members >> index & 1] for cohort in secrets.units[at]]
        offset = zero_sum.offset(len(secrets.names), parameters)
        for name in (secrets.names[index] for index in sorted(i for cohort in active for i in cohort)):
            self.round_keys[name], self.opening_keys[name] = secrets.round_keys(name, digest)
            exponent += offset + zero_sum.pair_key(secrets.secrets[name], digest, name, topics.COORDINATOR, parameters)
        thresholds = [cohorts.threshold(len(cohort)) for cohort in secrets.units[at]]
        self.unit = Unit(number, digest, active, thresholds, exponent)


def unmask_factor(
    parameters: Parameters, scope: tuple[str, str, int], round_number: int, exponent: int, set_digest: bytes
) -> int:
    """Return H(round)^(-exponent) mod N^2; `scope` is (deployment, group, epoch). Needs no
    ciphertext: make it ahead."""
    x0, x1 = masks.base(parameters, *scope, round_number, 0, set_digest)
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
    """H(round)^(-K) of each unit, by the number of its set, for the round that was asked for
    last."""

    def __init__(self, scope: Scope, parameters: Parameters) -> None:
        self._scope = (scope.deployment, scope.group, scope.epoch)
        self._parameters = parameters
        self._round = -1
        self._made: dict[int, int | None] = {}

    def get(self, round_number: int, unit: Unit) -> int | None:
        """Return the factor of a unit, if it is there."""
        self._turn_to(round_number)
        return self._made.get(unit.number)

    def job(self, round_number: int, unit: Unit) -> Callable[[], int]:
        """Return what computes the factor of a unit."""
        return partial(unmask_factor, self._parameters, self._scope, round_number, unit.exponent, unit.digest)

    def lacking(self, round_number: int, units: Iterable[Unit]) -> Unit | None:
        """Return one of the units whose factor was not computed, nor tried in vain."""
        self._turn_to(round_number)
        return next((unit for unit in units if unit.number not in self._made), None)

    def keep(self, round_number: int, number: int, factor: int | None) -> None:
        """Keep the factor under the set `number`; None for one that was tried in vain."""
        if round_number == self._round:
            self._made[number] = factor

    def _turn_to(self, round_number: int) -> None:
        if round_number != self._round:
            self._round, self._made = round_number, {}
