"""What RSA-2048 costs a simulated board (paper, section 7.3), and what it costs this machine: the
figures to judge the constants by.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.protocols.gossip.overlay.sizes import FEW
from agent.protocols.gossip.plan import Plan

# OpenSSL on one core of a desktop processor, 2048 bits: public operations are some 30 times as fast
# as private ones.
ENCRYPT_MS = 0.03
DECRYPT_MS = 0.9
SIGN_MS = 0.9
VERIFY_MS = 0.03


@dataclass
class Costs:
    """Milliseconds an operation."""

    encrypt: float = ENCRYPT_MS
    decrypt: float = DECRYPT_MS
    sign: float = SIGN_MS
    verify: float = VERIFY_MS

    def of(self, operation: str) -> float:
        """Return the ms of one encrypt, decrypt, sign or verify."""
        return float(getattr(self, operation))

    def round_ms(self, plan: Plan) -> float:
        """Return how much longer a round's deadline has to be: for a full message of cells, and for
        all own copies.

        In Shuffle every cell is decrypted, and where all copies go in one move; of travelling
        copies hardly more than half of a message's are at their end. What a node encrypts at once
        is a copy for each pair of proxies of a tuple.
        """
        cells = [p.capacity if p.name == "shuffle" or plan.n <= FEW else p.capacity // 2 for p in plan.phases]
        longest: float = max(cells) * self.decrypt + plan.groups * plan.groups * self.encrypt
        return longest


def measure(times: int = 60) -> dict[str, float]:
    """Return the ms that each operation takes here, in the `cryptography` library (OAEP and PSS
    with SHA-256).

    The shortest of many: other processes may be at work on the same cores.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key()
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    sealed, signature = public.encrypt(bytes(32), oaep), key.sign(bytes(32), pss, hashes.SHA256())

    def took(call: Callable[[], object]) -> float:
        best = math.inf
        for _ in range(times):
            started = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - started)
        return round(best * 1000, 4)

    return {
        "encrypt": took(lambda: public.encrypt(bytes(32), oaep)),
        "decrypt": took(lambda: key.decrypt(sealed, oaep)),
        "sign": took(lambda: key.sign(bytes(32), pss, hashes.SHA256())),
        "verify": took(lambda: public.verify(signature, bytes(32), pss, hashes.SHA256())),
    }
