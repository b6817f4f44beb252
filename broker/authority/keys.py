"""Public keys that the authority is given."""

from pathlib import Path

from broker import public_keys
from broker.authority.errors import AuthorityError

FILE_MOST = 16384  # bytes of a file with a key in it


def read_public(text: str) -> bytes:
    """Return the 65-byte key in `text` (hexadecimal, uncompressed). Raises AuthorityError."""
    try:
        return public_keys.read(text)
    except ValueError:
        raise AuthorityError(f"not a P-256 public key: {public_keys.WANTED}") from None


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
    try:
        return public_keys.said(text)
    except ValueError:
        raise AuthorityError(f"{path} holds not a P-256 public key: {public_keys.WANTED}") from None
