"""Public keys as people hand them on."""

from agent.crypto import CryptoError, p256
from broker.authority.errors import AuthorityError

FILE_MOST = 4096  # bytes of a file with a key in it


def read_public(text: str) -> bytes:
    """Return the 65-byte key in `text` (hexadecimal, uncompressed). Raises AuthorityError."""
    try:
        public = bytes.fromhex(text.strip())
        # Checks length, range and that the point is on the curve.
        p256.ecdh((1).to_bytes(32, "big"), public)
    except (ValueError, CryptoError):
        raise AuthorityError("not a P-256 public key: 130 hexadecimal digits that begin with 04 are wanted") from None
    return public
