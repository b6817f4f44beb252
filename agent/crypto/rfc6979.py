"""Deterministic nonces for ECDSA on a curve whose order has 256 bits, with HMAC-SHA-256 (RFC 6979,
section 3.2)."""

from agent.crypto.hmac import hmac_sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator


def nonces(secret: int, digest: bytes, order: int) -> "Generator[int, None, None]":
    """Generate the candidates for the nonce, in [1, order): `secret` is the private key, `digest`
    the message's, 32 bytes."""
    seed = secret.to_bytes(32, "big") + (int.from_bytes(digest, "big") % order).to_bytes(32, "big")
    value = b"\x01" * 32
    key = bytes(32)
    for separator in (b"\x00", b"\x01"):
        key = hmac_sha256(key, value + separator + seed)
        value = hmac_sha256(key, value)
    while True:
        value = hmac_sha256(key, value)
        nonce = int.from_bytes(value, "big")
        if 1 <= nonce < order:
            yield nonce
        key = hmac_sha256(key, value + b"\x00")
        value = hmac_sha256(key, value)
