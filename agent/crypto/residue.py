"""Hashing into Z*_{N^2}: a full-domain hash, and its residue as the pair that the Joye-Libert layer
computes with."""

from hashlib import sha256

from agent.crypto import CryptoError
from agent.crypto.octets import octets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.crypto.octets import Octets
MAX_LENGTH = 0xFFFF
MAX_MODULUS_LENGTH = 1024


def full_domain(digest32: "Octets", length: int) -> bytes:
    """Return `length` bytes, 0 to 65535: SHA-256(digest32 || be32(0)) || SHA-256(digest32 ||
    be32(1)) || ... cut short.

    `digest32` is a 32-byte digest of everything that must separate one use from another (this is
    MGF1 of RFC 8017, appendix B.2.1, with a seed of fixed length). CryptoError for another length
    or type.
    """
    digest32 = octets(digest32, "digest", 32)
    if not isinstance(length, int) or not 0 <= length <= MAX_LENGTH:
        raise CryptoError("hash output length out of range")
    output = bytearray(length)
    for start in range(0, length, 32):
        block = sha256(digest32 + (start // 32).to_bytes(4, "big")).digest()
        output[start : start + 32] = block[: length - start]
    return bytes(output)


def hash_to_residue(digest32: "Octets", n: int) -> tuple[int, int]:
    """Return (x0, x1), both in [0, n), where x0 + n*x1 is the hash of `digest32` modulo n^2.

    `n` is the modulus N as an int, at least 2 and of at most 1024 bytes: with nl its length in
    bytes, full_domain makes 2*nl + 16 bytes, 128 bits more than n^2 needs, so the residue is within
    2^-128 of uniform. CryptoError for a modulus out of range or a digest that is not 32 bytes.

    There is no check that the residue is a unit: one that is not shares a factor with N, so finding
    a digest that hashes to it would factor N. For an N that nobody can factor the chance is
    negligible, and nobody can aim for it.
    """
    if not isinstance(n, int) or n < 2 or n >> (8 * MAX_MODULUS_LENGTH):
        raise CryptoError("modulus out of range")
    length = (len("%x" % n) + 1) // 2
    value = int.from_bytes(full_domain(digest32, 2 * length + 16), "big")
    # value = x0 + n*q, so modulo n^2 it is x0 + n*(q mod n): n^2 itself is not needed.
    quotient, x0 = divmod(value, n)
    return x0, quotient % n
