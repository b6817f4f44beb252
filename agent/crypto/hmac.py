"""HMAC-SHA-256 (RFC 2104, FIPS 198-1), HKDF with it (RFC 5869), and a comparison whose time does
not depend on the content."""

from hashlib import sha256

from agent.crypto import CryptoError
from agent.crypto.octets import octets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.crypto.octets import Octets
_HASH = 32
MAX_LENGTH = 255 * _HASH
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


def hkdf_sha256(ikm: "Octets", salt: "Octets", info: "Octets", length: int) -> bytes:
    """Return `length` bytes, 1 to 8160, derived from the secret `ikm` (RFC 5869, section 2).

    `ikm`, `salt` and `info` are byte strings; an empty salt counts as 32 zero bytes, as the RFC has
    it. CryptoError for a length out of range or for other types.
    """
    if not isinstance(length, int) or not 1 <= length <= MAX_LENGTH:
        raise CryptoError("HKDF output length out of range")
    info = octets(info, "info")
    pseudorandom_key = hmac_sha256(salt, ikm)
    output = bytearray(length)
    block = b""
    for start in range(0, length, _HASH):
        block = hmac_sha256(pseudorandom_key, block + info + bytes((start // _HASH + 1,)))
        output[start : start + _HASH] = block[: length - start]
    return bytes(output)
