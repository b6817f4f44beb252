"""RSA blind signatures (RFC 9474: RSABSSA-SHA384) for the client: prepare, blind, finalize, verify.
The exponent is 65537.

The variant that Hum uses is RSABSSA-SHA384-PSS-Randomized with 2048 bits. The others differ in two
arguments: a salt of 0 bytes is PSSZERO, and a message that was not prepared is Deterministic.

A modulus is the bytes of it, 256 to 512, of which the first and the last bit are set. Who vouches
for it vouches for this: its maker alone knows its two primes, and raising to the 65537th power
permutes the units. (For a modulus with a prime p = 1 mod 65537 it does not, and then the maker can
tell, of a message that he sees later, that it was not behind 65536 of 65537 blinded ones. Until he
sees it the random bytes in front hide it even so: RFC 9474, section 7.3.)
broker/coordinator/protocols/gossip/blind_signer.py has a proof of it.

A product of two numbers of 2048 bits takes 8 ms on a Pico and a digest of one block 100 ms, so
everything here is a generator of short steps; `run` makes a function of one. Python's integers do
not compute in constant time.
"""

from agent.crypto import CryptoError, accelerate
from agent.crypto.hmac import constant_time_equal
from agent.crypto.octets import octets
from agent.crypto.sha384 import SIZE, sha384_steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeVar

    from agent.crypto.octets import Octets

    T = TypeVar("T")
PREFIX = 32
SALT = 48
EXPONENT = 65537
LEAST = 256
MOST = 512

_MAX_DRAWS = 64
_DIVISIONS_AT_ONCE = 16


def run(steps: "Generator[None, None, T]") -> "T":
    """Return what a generator of this module returns."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: "T" = stop.value
            return result


def prepare(message: "Octets", random: "Callable[[int], bytes]") -> bytes:
    """Return 32 random bytes and then the message (RFC 9474, section 4.1, PrepareRandomize).
    random(k) returns k random bytes."""
    return _drawn(random, PREFIX) + octets(message, "message")


def blind_steps(
    modulus: bytes, prepared: "Octets", random: "Callable[[int], bytes]", salt_length: int = SALT
) -> "Generator[None, None, tuple[bytes, int]]":
    """Return (what the signer gets to see, as many bytes as the modulus; the secret inverse that
    finalize_steps needs, an int).

    RFC 9474, section 4.2. `prepared` is a byte string, `salt_length` 0 to 48. random(k) returns k
    random bytes. CryptoError for input of another kind, and for a random source that yields no
    unit.
    """
    n = _modulus(modulus)
    length = len(modulus)
    salt = _drawn(random, salt_length)
    encoded = int.from_bytes((yield from _encode_steps(octets(prepared, "message"), salt, length)), "big")
    for _ in range(_MAX_DRAWS):
        factor = int.from_bytes(_drawn(random, length), "big")
        if 1 <= factor < n:
            inverse = yield from inverse_steps(factor, n)
            if inverse is not None:
                blinded = encoded * (yield from power_steps(factor, n)) % n
                return blinded.to_bytes(length, "big"), inverse
    raise CryptoError("random source yields no unit")


def finalize_steps(
    modulus: bytes, prepared: "Octets", blind_signature: "Octets", inverse: int, salt_length: int = SALT
) -> "Generator[None, None, bytes]":
    """Return the signature of `prepared`, as many bytes as the modulus (RFC 9474, section 4.4).

    CryptoError where the signer's answer does not lead to a valid one.
    """
    n = _modulus(modulus)
    answer = int.from_bytes(octets(blind_signature, "blind signature", len(modulus)), "big")
    if answer >= n:
        raise CryptoError("blind signature out of range")
    signature = (answer * inverse % n).to_bytes(len(modulus), "big")
    if not (yield from verify_steps(modulus, prepared, signature, salt_length)):
        raise CryptoError("the signer's answer is no signature")
    return signature


def verify_steps(
    modulus: bytes, prepared: "Octets", signature: "Octets", salt_length: int = SALT
) -> "Generator[None, None, bool]":
    """Return whether `signature` is one of `prepared`; False for anything malformed but the
    modulus.

    RSASSA-PSS-VERIFY of RFC 8017, sections 8.1.2 and 9.1.2. CryptoError for a modulus of another
    kind.
    """
    n = _modulus(modulus)
    length = len(modulus)
    try:
        prepared = octets(prepared, "message")
        representative = int.from_bytes(octets(signature, "signature", length), "big")
    except CryptoError:
        return False
    if representative >= n:
        return False
    encoded = (yield from power_steps(representative, n)).to_bytes(length, "big")
    seed = encoded[-SIZE - 1 : -1]
    if encoded[-1] != 0xBC or encoded[0] & 0x80:
        return False
    data = yield from _masked_steps(encoded[: -SIZE - 1], seed)
    start = len(data) - salt_length
    if data[: start - 1].strip(b"\0") or data[start - 1] != 1:
        return False
    return constant_time_equal(seed, (yield from _salted_digest_steps(prepared, data[start:])))


def power_steps(base: int, n: int) -> "Generator[None, None, int]":
    """Return base**65537 % n in 17 steps."""
    if accelerate.fast_powmod():
        return accelerate.powmod(base, EXPONENT, n)
    power = base
    for _ in range(16):
        power = power * power % n
        yield
    return power * base % n


def inverse_steps(value: int, n: int) -> "Generator[None, None, int | None]":
    """Return the inverse of `value` modulo n, 1 <= value < n, or None if there is none: extended
    Euclid.

    Some 1,200 divisions for 2048 bits (Knuth, The Art of Computer Programming, volume 2, section
    4.5.3), 16 a step.
    """
    remainder, last = n, value
    factor, next_factor = 0, 1
    while last:
        for _ in range(_DIVISIONS_AT_ONCE):
            if not last:
                break
            quotient, rest = divmod(remainder, last)
            remainder, last = last, rest
            factor, next_factor = next_factor, factor - quotient * next_factor
        yield
    return factor % n if remainder == 1 else None


def _modulus(modulus: bytes) -> int:
    modulus = octets(modulus, "modulus")
    if not LEAST <= len(modulus) <= MOST or not modulus[0] >> 7 or not modulus[-1] & 1:
        raise CryptoError("not a modulus")
    return int.from_bytes(modulus, "big")


def _drawn(random: "Callable[[int], bytes]", count: int) -> bytes:
    return octets(random(count), "random source output", count)


def _encode_steps(prepared: bytes, salt: bytes, length: int) -> "Generator[None, None, bytes]":
    """EMSA-PSS-ENCODE (RFC 8017, section 9.1.1) to 8*length - 1 bits."""
    digest = yield from _salted_digest_steps(prepared, salt)
    data = bytes(length - SIZE - len(salt) - 2) + b"\x01" + salt
    return (yield from _masked_steps(data, digest)) + digest + b"\xbc"


def _salted_digest_steps(prepared: bytes, salt: bytes) -> "Generator[None, None, bytes]":
    return (yield from sha384_steps(bytes(8) + (yield from sha384_steps(prepared)) + salt))


def _masked_steps(data: bytes, seed: bytes) -> "Generator[None, None, bytes]":
    """Return `data` with the mask that MGF1 (RFC 8017, appendix B.2.1) makes of `seed`, and the
    first bit cleared."""
    mask = b""
    count = 0
    while len(mask) < len(data):
        mask += yield from sha384_steps(seed + count.to_bytes(4, "big"))
        count += 1
    masked = int.from_bytes(data, "big") ^ int.from_bytes(mask[: len(data)], "big")
    return (masked & (1 << (8 * len(data) - 1)) - 1).to_bytes(len(data), "big")
