"""The gateway's own key pair, by which the coordinator knows it: `gateway.key`, 32 bytes, which
only its owner can read, and `gateway.pub`, hexadecimal, which the coordinator is told."""

import os
from pathlib import Path

from agent.crypto import CryptoError, p256
from broker.client.access import ClientError
from broker.files import alone_in, private_folder, replace

KEY, PUBLIC = "gateway.key", "gateway.pub"


def make(folder: Path) -> bool:
    """Make what is missing of the key pair in `folder`; tell whether anything was. Raises
    ClientError for a key that is damaged."""
    private_folder(folder)
    with alone_in(folder):
        missing = not (folder / KEY).exists()
        if missing:
            replace(folder / KEY, p256.generate(os.urandom))
        written = (p256.public_key(private_key(folder)).hex() + "\n").encode()
        if not (folder / PUBLIC).is_file() or (folder / PUBLIC).read_bytes() != written:
            replace(folder / PUBLIC, written)
            return True
    return missing


def private_key(folder: Path) -> bytes:
    """Return the private key in `folder`. Raises ClientError."""
    path = folder / KEY
    try:
        with path.open("rb") as file:
            found = file.read(64)
        p256.public_key(found)
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror}; the same `hum init` again makes one") from None
    except CryptoError:
        raise ClientError(f"{path} is damaged; restore it from a copy, or remove it and `hum init` again") from None
    return found
