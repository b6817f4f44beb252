"""The coordinator's blind signatures in a simulated query of gossip-bft: a stand-in of the same
size, and the real thing."""

import random
import shutil
import tempfile
import weakref
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path

from agent.crypto.blind_rsa import run
from agent.protocols.gossip.onion import proof
from broker.coordinator.protocols.gossip.blind_signer import BlindSigner

REQUEST_BYTES = 256  # in an envelope each: a blinded message and its signature


class StandInSigner:
    """Proofs that only who knows the seed can make; here nobody tries but through `proof`, once for
    each board."""

    def __init__(self, seed: int) -> None:
        self._key = sha256(b"signer %d" % seed).digest()
        self._random = random.Random(f"signer {seed}")
        self._signed: set[int] = set()

    def proof(self, board: int, content: bytes) -> bytes:
        """Return the proof of one tuple of each board (the member's index). ValueError for a
        second."""
        if board in self._signed:
            raise ValueError("second")
        self._signed.add(board)
        prefix = self._random.randbytes(32)
        return prefix + self._signature(prefix + content)

    def genuine(self, raw: bytes) -> Generator[None, None, bool]:
        """Tell whether the proof at a tuple's end is one of these."""
        yield from ()
        return raw[-256:] == self._signature(raw[-proof.SIZE : -256] + raw[: -proof.SIZE])

    def _signature(self, prepared: bytes) -> bytes:
        return sha256(self._key + prepared).digest() * 8


class RealSigner:
    """The coordinator's BlindSigner in a folder of its own, and the boards' side of the protocol
    with it."""

    def __init__(self, seed: int, number: int) -> None:
        drawn = random.Random(f"signer {seed}")
        self._random = drawn.randbytes
        self._digest = drawn.randbytes(32)
        self._number = number
        folder = Path(tempfile.mkdtemp())
        self._signer = BlindSigner(folder)
        weakref.finalize(self, _close, self._signer, folder)

    def proof(self, board: int, content: bytes) -> bytes:
        """Return the proof of one tuple of each board (the member's index). BlindSignerError for a
        second."""
        modulus = self._signer.modulus
        blinded, secret = run(proof.blind_steps(modulus, self._digest, content, self._random))
        answer = self._signer.sign("overlay", 1, self._number, f"b{board}", blinded)
        return bytes(run(proof.proof_steps(modulus, answer, secret)))

    def genuine(self, raw: bytes) -> Generator[None, None, bool]:
        """Tell whether a tuple's proof holds."""
        return proof.genuine_steps(self._signer.modulus, self._digest, raw)


def _close(signer: BlindSigner, folder: Path) -> None:
    signer.close()
    shutil.rmtree(folder)


Signer = StandInSigner | RealSigner
