"""The threshold Joye-Libert protocol as its paper prints it, for comparison only: tests and
`hum-sim bench threshold` use it.

Source: Mansouri, Oenen and Ben Jaballah, "Learning from Failures", sections 3.2, 3.3, 5 and 6,
figure 4 and appendix A. All arithmetic is gmpy2's, as in recovery.py. Every answer is used, not t
of them; powers are made one by one; Lagrange coefficients are made once a round (section 8.3).
Three points the paper leaves open, or that would not work as printed, are settled in its favour:
the division by Delta^2 is a multiplication by its inverse modulo N, since Delta^2 times the sum may
exceed N; the blinding is added to whole plaintexts modulo a power of two, which asks less of the
PRG than element by element; and its coefficients mu are reduced before any power is made.
"""

import math
import os
from collections.abc import Mapping, Sequence

from Crypto.Cipher import AES
from gmpy2 import invert, mpz, powmod

SEED_BYTES = 16
FIELD = 2**129 - 1365  # of the seeds' shares (appendix A)


def coefficients(xs: Sequence[int], clients: int) -> list[mpz]:
    """Return mu_u = Delta * prod v / prod (v - u) over the other v of `xs`, in the order of `xs`;
    Delta = clients! (section 3.3)."""
    delta = mpz(math.factorial(clients))
    mus = []
    for u in xs:
        over, under = delta, mpz(1)
        for v in xs:
            if v != u:
                over *= v
                under *= v - u
        mus.append(over // under)
    return mus


def share_combine(shares: Mapping[int, int], clients: int, n: int) -> mpz:
    """TJL.ShareCombine (section 5): return H^(Delta^2 * sum of the missing clients' keys) mod N^2
    from all helpers' shares."""
    return combine_with(list(shares.values()), coefficients(list(shares), clients), n)


def combine_with(shares: Sequence[int], mus: Sequence[mpz], n: int) -> mpz:
    """TJL.ShareCombine with the coefficients at hand."""
    modulus = mpz(n) ** 2
    product = mpz(1)
    for share, mu in zip(shares, mus, strict=True):
        product = product * powmod(share, mu, modulus) % modulus
    return product


def aggregate(ciphertexts: Sequence[int], zero: mpz | None, clients: int, n: int) -> int:
    """TJL.Agg (section 5, equations 3 and 4) with the aggregator's key 0: return the sum of the
    plaintexts, below N.

    `zero` is ShareCombine's result, None if nobody failed: then there is no Delta. ArithmeticError
    if it does not open.
    """
    n = mpz(n)
    modulus = n**2
    value = mpz(1)
    for ciphertext in ciphertexts:
        value = value * ciphertext % modulus
    factor = mpz(1)
    if zero is not None:
        factor = mpz(math.factorial(clients)) ** 2
        value = powmod(value, factor, modulus) * zero % modulus
    quotient, rest = divmod(value - 1, n)
    if rest:
        raise ArithmeticError("the ciphertexts do not open")
    return int(quotient * invert(factor, n) % n)


def pseudo_random(seed: bytes, blocks: int, bits: int) -> list[mpz]:
    """PRG (section 3.1, appendix A): return `blocks` integers below 2^bits from AES-128 in counter
    mode under `seed`."""
    size = (bits + 7) // 8
    stream = AES.new(seed, AES.MODE_CTR, nonce=bytes(8)).encrypt(bytes(size * blocks))
    spare = 8 * size - bits
    return [mpz(int.from_bytes(stream[at : at + size], "big") >> spare) for at in range(0, len(stream), size)]


def share_seed(seed: bytes, threshold: int, clients: int) -> list[int]:
    """SS.Share (section 3.2): return the shares for positions 1..clients, below FIELD."""
    field = mpz(FIELD)
    polynomial = [mpz(int.from_bytes(seed, "big"))]
    polynomial += [mpz(int.from_bytes(os.urandom(33), "big")) % field for _ in range(threshold - 1)]
    shares = []
    for x in range(1, clients + 1):
        value = mpz(0)
        for coefficient in reversed(polynomial):
            value = (value * x + coefficient) % field
        shares.append(int(value))
    return shares


def lambdas(xs: Sequence[int]) -> list[mpz]:
    """Return the Lagrange coefficients at zero modulo FIELD, in the order of `xs` (section 3.2)."""
    field = mpz(FIELD)
    result = []
    for u in xs:
        over = under = mpz(1)
        for v in xs:
            if v != u:
                over = over * v % field
                under = under * (v - u) % field
        result.append(over * invert(under, field) % field)
    return result


def reconstruct_seed(shares: Sequence[int], weights: Sequence[mpz]) -> bytes:
    """SS.Recon (section 3.2) with the coefficients at hand: return the seed. OverflowError for
    shares of no seed."""
    total = sum((share * weight for share, weight in zip(shares, weights, strict=True)), start=mpz(0)) % FIELD
    return int(total).to_bytes(SEED_BYTES, "big")


def encrypt(
    plaintexts: Sequence[int],
    bits: int,
    bases: Sequence[int],
    key: int,
    channels: Sequence[bytes],
    threshold: int,
    n: int,
) -> tuple[list[int], list[bytes]]:
    """One client's Encryption step (figure 4): return (ciphertexts, the sealed share of the seed
    for each other client).

    `plaintexts` are below 2^bits, `bases` are H(round, block), `key` is the client's (of either
    sign), `channels` the 32-byte keys of the channels to the clients at positions 2.., the client's
    own position being 1.
    """
    modulus = mpz(n) ** 2
    seed = os.urandom(SEED_BYTES)
    blinding = pseudo_random(seed, len(plaintexts), bits)
    ciphertexts = []
    for plaintext, mask, base in zip(plaintexts, blinding, bases, strict=True):
        blinded = (plaintext + mask) & ((mpz(1) << bits) - 1)
        ciphertexts.append(int((1 + blinded * n) * powmod(base, key, modulus) % modulus))
    sealed = []
    shares = share_seed(seed, threshold, len(channels) + 1)
    for position, (channel, share) in enumerate(zip(channels, shares[1:], strict=True), 2):
        cipher = AES.new(channel, AES.MODE_GCM, nonce=os.urandom(12))
        text = (1).to_bytes(2, "big") + position.to_bytes(2, "big") + share.to_bytes(17, "big")
        encrypted, tag = cipher.encrypt_and_digest(text)
        sealed.append(bytes(cipher.nonce) + encrypted + tag)
    return ciphertexts, sealed
