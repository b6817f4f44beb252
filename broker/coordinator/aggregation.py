"""What only the coordinator computes: the group's sum from the members' ciphertexts, with gmpy2.

V = (product of ciphertexts) * H(round)^(-K) mod N^2 with K the sum of the members' public offsets and of the coordinator's parts.
If every member's ciphertext is there, V = 1 + N*(sum of plaintexts); a wrong or missing one leaves V != 1 mod N but for a chance
of 2^-|N|. Source: Joye and Libert (threshold-joye-libert paper, section 3.6, equation 2), without the trusted dealer.
"""

from collections.abc import Iterable

from gmpy2 import invert, mpz, powmod

from agent.crypto import p256
from agent.joye_libert import masks, zero_sum
from agent.joye_libert.parameters import Parameters
from agent.wire import topics
from agent.wire.messages import Roster


class WrongSum(Exception):
    """The ciphertexts do not open to a sum: at least one is not what a member's board makes."""


class Keys:
    """What the coordinator shares with the members of one roster: a part of each one's exponent, and its round keys."""

    def __init__(self, private: bytes, roster: Roster, roster_digest: bytes, parameters: Parameters) -> None:
        self.round_keys: dict[str, bytes] = {}
        self.opening_keys: dict[str, bytes] = {}
        total = len(roster.members) * zero_sum.offset(len(roster.members), parameters)
        for name, public in roster.members:
            secret = p256.ecdh(private, public)
            total += zero_sum.pair_key(secret, roster_digest, name, topics.COORDINATOR, parameters)
            self.round_keys[name], self.opening_keys[name] = zero_sum.round_keys(secret, roster_digest, name)
        self.exponent = total


def unmask_factor(parameters: Parameters, place: tuple[str, str, int], round_number: int, exponent: int) -> int:
    """Return H(round)^(-exponent) mod N^2; `place` is (deployment, group, epoch). Needs no ciphertext: make it ahead."""
    x0, x1 = masks.base(parameters, *place, round_number, 0)
    modulus = mpz(parameters.n) ** 2
    return int(invert(powmod(mpz(x0) + parameters.n * mpz(x1), exponent, modulus), modulus))


def open_sum(parameters: Parameters, factor: int, ciphertexts: Iterable[bytes]) -> int:
    """Return the sum of the plaintexts, below N. Raises WrongSum."""
    n = mpz(parameters.n)
    value = mpz(factor)
    for ciphertext in ciphertexts:
        value = value * mpz(int.from_bytes(ciphertext, "big")) % (n * n)
    total, rest = divmod(value - 1, n)
    if rest:
        raise WrongSum
    return int(total)
