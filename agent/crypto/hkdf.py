"""HKDF with SHA-256 (RFC 5869)."""

from agent.crypto.errors import CryptoError
from agent.crypto.hmac import hmac_sha256
from agent.crypto.octets import octets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.crypto.octets import Octets
_HASH = 32
MAX_LENGTH = 255 * _HASH


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
