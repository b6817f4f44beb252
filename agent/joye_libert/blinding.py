"""Blinding: a round's plaintext is (packed + B) mod p, and shares of B are with the cohort before
the round.

So a ciphertext that comes late, after its sender's exponent was recovered for the round, opens to a
number without meaning: B is uniform modulo the prime p, and only the sum over all present members
is ever recovered (threshold-joye-libert paper, section 6). p has 64 bits more than any packed sum:
a share that has nothing to do with the right one shows as a sum out of range but for a chance of
about 2^-64. One that is wrong on purpose need not: who adds d to its share moves the sum by d times
a Lagrange coefficient, and only the answers of more than t helpers could show it. B and its shares
come from a seed, by round: their maker stores nothing.
"""

from hashlib import sha256

from agent.crypto import CryptoError, accelerate
from agent.crypto.residue import full_domain
from agent.joye_libert.packing import PackingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
# (k, d): p = 2^k - d is the largest prime below 2^k. 64 members' blinded plaintexts add up to less
# than a modulus of 2048 bits.
_PRIMES = ((128, 159), (256, 189), (512, 569), (1024, 105), (1536, 3453), (1984, 815))
_MARGIN = 64  # bits
_BATCH_BYTES = 512
_EXCESS = 16  # bytes more than p has: the remainder modulo p is within 2^-128 of uniform
_CBC = 2
_AT_ONCE = 16  # elements: whole blocks of AES for every size of field


class Field:
    """The integers modulo the prime `p` of `bits` bits: an element is `size` bytes, and shares
    travel for `batch` rounds at once."""

    def __init__(self, bits: int, difference: int) -> None:
        self.bits = bits
        self.p = (1 << bits) - difference
        self.size = bits // 8
        self.batch = max(1, _BATCH_BYTES // self.size)


def field(packing_bits: int) -> Field:
    """Return the smallest Field with 64 bits to spare over sums of `packing_bits` bits.
    PackingError("slots-too-wide") if none.

    The modulus N must have 6 bits more than it: true of hum-2048 always, of paper-1024 only up to
    512 bits.
    """
    for bits, difference in _PRIMES:
        if bits >= packing_bits + _MARGIN:
            return Field(bits, difference)
    raise PackingError("slots-too-wide")


def blind(seed: bytes, round: int, field: Field) -> int:
    """Return B of the `round` (0..2^32-1), in [0, p). `seed` is 32 bytes that nobody else has, for
    one roster and nothing else."""
    return _coefficient(seed, round, 0, field)


def share(seed: bytes, round: int, x: int, threshold: int, field: Field) -> int:
    """Return the share of B that goes to position `x` >= 1 of a cohort of which `threshold` members
    recover, in [0, p).

    This is Shamir's sharing modulo p. Raises CryptoError for another x: the share of position 0
    would be B.
    """
    if not 1 <= x < field.p:
        raise CryptoError("position outside the cohort")
    value = 0
    for j in range(threshold - 1, -1, -1):
        value = (value * x + _coefficient(seed, round, j, field)) % field.p
    return value


def batch_steps(seed: bytes, first_round: int, x: int, threshold: int, field: Field) -> "Generator[None, None, bytes]":
    """Generator: one yield a round; returns the shares of the `field.batch` rounds from
    `first_round` on, `size` bytes each.

    Big-endian, in the order of rounds. Batches are aligned: `first_round` is a multiple of
    `field.batch`, else CryptoError.
    """
    if first_round % field.batch:
        raise CryptoError("batch not aligned")
    shares = bytearray(field.batch * field.size)
    for at in range(field.batch):
        value = share(seed, first_round + at, x, threshold, field)
        shares[at * field.size : (at + 1) * field.size] = value.to_bytes(field.size, "big")
        del value  # nothing but bytes lives on from step to step
        yield
    return bytes(shares)


def expand(seed32: bytes, count: int, field: Field) -> list[int]:
    """Return a list of `count` integers uniform modulo p: for a wide vector a seed is shared in
    place of every element.

    `seed32` is 32 bytes, for this call only: the key of AES-256 in output feedback from a zero
    block (NIST SP 800-38A, section 6.4), which is what CBC makes of zeros. No counter blocks have
    to be laid out, so on a host the stream costs next to nothing.
    """
    if len(seed32) != 32:
        raise CryptoError("seed is not 32 bytes long")
    cipher = accelerate.aes(seed32, _CBC, bytes(16))
    size = field.size + _EXCESS
    zeros = bytes(size * _AT_ONCE)
    stream = bytearray(len(zeros))
    values = []
    for first in range(0, count, _AT_ONCE):
        cipher.encrypt(zeros, stream)
        for at in range(0, size * min(_AT_ONCE, count - first), size):
            values.append(int.from_bytes(stream[at : at + size], "big") % field.p)
    return values


def _coefficient(seed: bytes, round: int, j: int, field: Field) -> int:
    digest = sha256(seed + round.to_bytes(4, "big") + j.to_bytes(4, "big")).digest()
    return int.from_bytes(full_domain(digest, field.size + _EXCESS), "big") % field.p
