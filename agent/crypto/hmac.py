"""HMAC-SHA-256 (RFC 2104, FIPS 198-1) and a comparison whose time does not depend on the
content."""

from hashlib import sha256

from agent.crypto.octets import octets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.crypto.octets import Octets
_BLOCK = 64
_INNER = int.from_bytes(b"\x36" * _BLOCK, "big")
_OUTER = int.from_bytes(b"\x5c" * _BLOCK, "big")


def hmac_sha256(key: "Octets", message: "Octets") -> bytes:
    """Return the 32-byte code of `message` under `key`, byte strings of any length. CryptoError for
    other types."""
    key = octets(key, "HMAC key")
    message = octets(message, "message")
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    padded = int.from_bytes(key + bytes(_BLOCK - len(key)), "big")
    inner = sha256((padded ^ _INNER).to_bytes(_BLOCK, "big"))
    inner.update(message)
    outer = sha256((padded ^ _OUTER).to_bytes(_BLOCK, "big"))
    outer.update(inner.digest())
    return outer.digest()


def constant_time_equal(a: "Octets", b: "Octets") -> bool:
    """Return whether two byte strings are equal, looking at every byte of them whatever their
    content.

    The lengths are not secret: byte strings of unequal length are unequal at once. CryptoError for
    other types.
    """
    a = octets(a, "first value")
    b = octets(b, "second value")
    if len(a) != len(b):
        return False
    difference = 0
    for i in range(len(a)):
        difference |= a[i] ^ b[i]
    return difference == 0
