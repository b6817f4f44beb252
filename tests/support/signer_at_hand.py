"""A blind signer whose key was made before: to find its primes takes a second."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from broker.coordinator.protocols.gossip.blind_signer import KEY_FILE, BlindSigner


@cache
def key_file() -> bytes:
    """Return what is in a signer's key file."""
    with TemporaryDirectory() as folder:
        BlindSigner(Path(folder)).close()
        return (Path(folder) / KEY_FILE).read_bytes()


@contextmanager
def signer_in(folder: Path) -> Iterator[BlindSigner]:
    """Let a signer with that key work in `folder`, which has signed nothing yet."""
    (folder / KEY_FILE).write_bytes(key_file())
    signer = BlindSigner(folder)
    try:
        yield signer
    finally:
        signer.close()
