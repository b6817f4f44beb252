"""Public keys as people hand them on: in hexadecimal, or as a board has printed its own."""

import json

from agent.crypto import CryptoError, p256

WANTED = "130 hexadecimal digits that begin with 04 are wanted"


def read(text: str) -> bytes:
    """Return the 65-byte key in `text` (hexadecimal, uncompressed). Raises ValueError."""
    try:
        public = bytes.fromhex(text.strip())
        # Checks length, range and that the point is on the curve.
        p256.ecdh((1).to_bytes(32, "big"), public)
    except CryptoError as error:
        raise ValueError(error) from None
    return public


def said(text: str) -> bytes:
    """Return the 65-byte key in `text`: in hexadecimal, or in a line that a board has printed
    ("identity" on its console), among others. Raises ValueError."""
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("public"), str):
            return read(found["public"])
    return read(text)
