"""P-256 points in 33 bytes: 02 or 03 for an even or odd y, then x (SEC 1 version 2, sections 2.3.3
and 2.3.4)."""

from agent.crypto import CryptoError, accelerate
from agent.crypto.octets import octets
from agent.crypto.p256_points import B, P

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.crypto.octets import Octets
LENGTH = 33


def compress(public: "Octets") -> bytes:
    """Return the 33 bytes of a 65-byte public key. CryptoError where that is no point of the
    curve."""
    public = octets(public, "public key", 65)
    x = int.from_bytes(public[1:33], "big")
    y = int.from_bytes(public[33:], "big")
    if public[0] != 4 or x >= P or y >= P or y * y % P != _right_side(x):
        raise CryptoError("public key is not a point on the curve")
    return bytes((2 + (y & 1),)) + public[1:33]


def decompress(compressed: "Octets") -> bytes:
    """Return the 65-byte public key of its 33 bytes: one modular power, then one product to check
    it.

    CryptoError for an x that no point has (half of all x), for x >= p, for another first byte or
    length: so also for the point at infinity, which SEC 1 writes as one zero byte.
    """
    compressed = octets(compressed, "compressed point", LENGTH)
    x = int.from_bytes(compressed[1:], "big")
    if compressed[0] not in (2, 3) or x >= P:
        raise CryptoError("not a compressed point")
    square = _right_side(x)
    # A square root if there is one, because p mod 4 = 3.
    y = accelerate.powmod(square, (P + 1) // 4, P)
    if y * y % P != square:
        raise CryptoError("compressed point is not on the curve")
    if y & 1 != compressed[0] & 1:
        y = P - y  # y is not 0: the group's order is odd, so no point is its own negative
    return b"\x04" + compressed[1:] + y.to_bytes(32, "big")


def _right_side(x: int) -> int:
    return (x * x * x - 3 * x + B) % P
