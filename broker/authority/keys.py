"""Public keys as people hand them on."""

import json
from pathlib import Path

from agent.crypto import CryptoError, p256
from broker.authority.errors import AuthorityError

FILE_MOST = 16384  # bytes of a file with a key in it


def read_public(text: str) -> bytes:
    """Return the 65-byte key in `text` (hexadecimal, uncompressed). Raises AuthorityError."""
    try:
        public = bytes.fromhex(text.strip())
        # Checks length, range and that the point is on the curve.
        p256.ecdh((1).to_bytes(32, "big"), public)
    except (ValueError, CryptoError):
        raise AuthorityError("not a P-256 public key: 130 hexadecimal digits that begin with 04 are wanted") from None
    return public


def public_in(path: Path) -> bytes:
    """Return the 65-byte key in a file: in hexadecimal, or what a board has printed of itself
    ("identity" on its console). Raises AuthorityError."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_MOST + 1).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise AuthorityError(
            f"{path} holds no public key: {getattr(error, 'strerror', None) or 'it is no text'}"
        ) from None
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, dict) and isinstance(said.get("public"), str):
            return read_public(said["public"])
    try:
        return read_public(text)
    except AuthorityError as error:
        raise AuthorityError(f"{path} holds {error}") from None
