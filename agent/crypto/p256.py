"""ECDH and ECDSA on NIST P-256 (SEC 1 version 2; FIPS 186-5; nonces by RFC 6979).

Private keys are 32 bytes big-endian, public keys the 65 bytes 04 || x || y of SEC 1, section 2.3.3.
p256_points.py has the arithmetic, and says what is known of its time.
"""

from hashlib import sha256

from agent.crypto import CryptoError, accelerate
from agent.crypto.octets import octets
from agent.crypto.p256_points import (
    GX,
    GY,
    B,
    N,
    P,
    affine,
    base_multiple_steps,
    base_points,
    digits_of,
    odd_multiples,
    sum_steps,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeVar

    from agent.crypto.octets import Octets
    from agent.crypto.p256_points import Affine

    T = TypeVar("T")

_MAX_DRAWS = 64


def generate(random_bytes: "Callable[[int], bytes]") -> bytes:
    """Return a new private key from `random_bytes(count)`, a source like os.urandom, by rejection.

    CryptoError where the source returns something else than 32 bytes, or 64 times in a row nothing
    in [1, n-1].
    """
    for _ in range(_MAX_DRAWS):
        private = octets(random_bytes(32), "random source output", 32)
        if 1 <= int.from_bytes(private, "big") < N:
            return private
    raise CryptoError("random source yields no private key")


def public_key(private: "Octets") -> bytes:
    """Return the 65-byte public key of a private key. CryptoError for one outside [1, n-1]."""
    return _run(public_key_steps(private))


def public_key_steps(private: "Octets") -> "Generator[None, None, bytes]":
    """Do what `public_key` does in some 33 short slices: a generator that yields None and returns
    the public key."""
    x, y = yield from base_multiple_steps(_scalar(private))
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def ecdh(private: "Octets", public: "Octets") -> bytes:
    """Return the 32-byte shared x coordinate (SEC 1, section 3.3.1). CryptoError for an invalid key
    of either kind."""
    return _run(ecdh_steps(private, public))


def ecdh_steps(private: "Octets", public: "Octets") -> "Generator[None, None, bytes]":
    """Do what `ecdh` does in some 65 short slices: a generator that yields None and returns the
    shared secret.

    The keys are checked on the first step: that is where CryptoError comes from.
    """
    scalar = _scalar(private)
    x, y = _point(public)
    point_sum = accelerate.point_sum()
    if point_sum:
        shared = point_sum([(scalar, x, y)])
        assert shared is not None  # the group's order is prime, and above the scalar
        x, y = shared
    else:
        x, y = affine((yield from sum_steps([(digits_of(scalar), odd_multiples((x, y, 1)))])))
    return x.to_bytes(32, "big")


def sign(private: "Octets", message: "Octets") -> bytes:
    """Return the 64-byte signature r || s of `message`, a byte string, with SHA-256 and the nonce
    of RFC 6979.

    CryptoError for a private key outside [1, n-1].
    """
    return _run(sign_steps(private, message))


def sign_steps(private: "Octets", message: "Octets") -> "Generator[None, None, bytes]":
    """Do what `sign` does in some 33 short slices: a generator that yields None and returns the
    signature."""
    from agent.crypto.rfc6979 import nonces  # most boards only verify

    secret = _scalar(private)
    digest = sha256(octets(message, "message")).digest()
    candidates = nonces(secret, digest, N)
    while True:
        nonce = next(candidates)
        r = (yield from base_multiple_steps(nonce))[0] % N
        s = accelerate.powmod(nonce, N - 2, N) * (int.from_bytes(digest, "big") + r * secret) % N
        if r and s:
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(public: "Octets", message: "Octets", signature: "Octets") -> bool:
    """Return whether `signature`, 64 bytes r || s, is one of `message` by `public`. False for
    anything malformed."""
    return _run(verify_steps(public, message, signature))


def verify_steps(public: "Octets", message: "Octets", signature: "Octets") -> "Generator[None, None, bool]":
    """Do what `verify` does in some 65 short slices: a generator that yields None and returns the
    verdict."""
    try:
        digest = sha256(octets(message, "message")).digest()
    except CryptoError:
        return False
    return (yield from verify_digest_steps(public, digest, signature))


def verify_digest_steps(public: "Octets", digest: bytes, signature: "Octets") -> "Generator[None, None, bool]":
    """Do what `verify_steps` does for a message of which only the SHA-256 is at hand."""
    try:
        x, y = _point(public)
        signature = octets(signature, "signature", 64)
    except CryptoError:
        return False
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    if not (1 <= r < N and 1 <= s < N):
        return False
    inverse = accelerate.powmod(s, N - 2, N)
    u1 = int.from_bytes(digest, "big") * inverse % N
    u2 = r * inverse % N
    point_sum = accelerate.point_sum()
    if point_sum:
        total = point_sum([(u1, GX, GY), (u2, x, y)])
        return total is not None and total[0] % N == r
    rows = [(digits_of(u1), base_points()[:8]), (digits_of(u2), odd_multiples((x, y, 1)))]
    x, y, z = yield from sum_steps(rows)
    # x/z^2 mod P is r or r + N, without an inversion.
    zz = z * z % P
    return z != 0 and (r * zz % P == x or (r + N < P and (r + N) * zz % P == x))


def _scalar(private: "Octets") -> int:
    scalar = int.from_bytes(octets(private, "private key", 32), "big")
    if not 1 <= scalar < N:
        raise CryptoError("private key out of range")
    return scalar


def _point(public: "Octets") -> "Affine":
    """Full validation (SEC 1, section 3.2.2.1); the group order is prime, so no subgroup check is
    needed."""
    public = octets(public, "public key", 65)
    x = int.from_bytes(public[1:33], "big")
    y = int.from_bytes(public[33:], "big")
    if public[0] != 4 or x >= P or y >= P or (x * x * x - 3 * x + B - y * y) % P:
        raise CryptoError("public key is not a point on the curve")
    return x, y


def _run(steps: "Generator[None, None, T]") -> "T":
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: "T" = stop.value
            return result
