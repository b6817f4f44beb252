"""Exact samples of the discrete Laplace distribution, P(x) proportional to exp(-|x| / scale) over
the integers, from a key.

Integers only: a board's floats have single precision, and boards must draw the same number from the
same key. The scale is a ratio of integers. The method, to build exp(-gamma) out of coins of
rational bias and the noise out of such coins, is that of Canonne, Kamath and Steinke ("The Discrete
Gaussian for Differential Privacy", 2020, section 5). A coin of bias a/b here compares random bits
with the binary digits of a/b, which takes two bits on average.

Work is bounded: a Bits gives at most 256 blocks, and one sample takes more with a probability below
2^-100 for every scale allowed here (Chernoff's bound; a test computes it). A sample takes about a
block for a scale of 2^32.
"""

from agent.crypto.hmac import hmac_sha256

BLOCKS_MOST = 256  # of 256 bits
TERM_MOST = 1 << 120  # the greatest numerator and denominator of a scale
FOLDS_LEAST = 4  # a truncated sample's bound, in scales: fewer would have it drawn again and again

_BLOCK_BITS = 256


class NoiseError(Exception):
    """No noise: args[0] is "scale" or "bound" (out of range), or "exhausted" (the key's bits are
    used up)."""


class Bits:
    """A stream of bits from `key` (bytes): block i is HMAC-SHA-256(key, i as 32 bits), from i = 0,
    its highest bit first."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._blocks = 0
        self._pool = 0
        self._left = 0

    def take(self, count: int) -> int:
        """Return the next `count` bits, 0 or more, as an integer whose highest bit came first.
        Raises NoiseError("exhausted")."""
        while self._left < count:
            if self._blocks == BLOCKS_MOST:
                raise NoiseError("exhausted")
            block = hmac_sha256(self._key, self._blocks.to_bytes(4, "big"))
            self._pool = self._pool << _BLOCK_BITS | int.from_bytes(block, "big")
            self._left += _BLOCK_BITS
            self._blocks += 1
        self._left -= count
        value = self._pool >> self._left
        self._pool -= value << self._left
        return value


def below(bits: Bits, limit: int) -> int:
    """Return a uniform integer in [0, limit), limit >= 1."""
    size = 0
    while (limit - 1) >> size:
        size += 1
    value = bits.take(size)
    while value >= limit:
        value = bits.take(size)
    return value


def coin(bits: Bits, numerator: int, denominator: int) -> bool:
    """Return True with probability numerator/denominator, a ratio in [0, 1]: is a uniform real
    number below it?"""
    while True:
        numerator <<= 1
        digit = numerator >= denominator
        if digit:
            numerator -= denominator
        if bits.take(1) != digit:
            return digit


def exponential_coin(bits: Bits, numerator: int, denominator: int) -> bool:
    """Return True with probability exp(-g), g = numerator/denominator in [0, 1].

    Coins of bias g, g/2, g/3, ... are thrown until one fails. That the first k succeed has
    probability g^k / k!, so that an even number of them succeeds has 1 - g + g^2/2! - ... =
    exp(-g).
    """
    thrown = 1
    while coin(bits, numerator, denominator * thrown):
        thrown += 1
    return thrown & 1 == 1


def discrete_laplace(bits: Bits, numerator: int, denominator: int) -> int:
    """Return an integer x with probability (1 - p) / (1 + p) * p^|x|, p = exp(-1/scale), scale =
    numerator/denominator.

    Both are 1 to 2^120. Mean 0, variance 2p / (1 - p)^2, which is less than 2 * scale^2. Raises
    NoiseError.

    u + numerator * v, for a u kept with probability exp(-u/numerator) and a v that counts coins of
    bias exp(-1), has the weight exp(-(u + numerator * v) / numerator); dividing it by the
    denominator sums runs of such weights, all in the same proportion.
    """
    _check_scale(numerator, denominator)
    shared = _common(numerator, denominator)
    numerator //= shared
    denominator //= shared
    while True:
        low = below(bits, numerator)
        if not exponential_coin(bits, low, numerator):
            continue
        turns = 0
        while exponential_coin(bits, 1, 1):
            turns += 1
        size = (low + numerator * turns) // denominator
        negative = bits.take(1)
        if size or not negative:  # or zero would come twice as often as it should
            return -size if negative else size


def bound_of(numerator: int, denominator: int, folds: int) -> int:
    """Return the least integer that is at least `folds` scales."""
    return (folds * numerator + denominator - 1) // denominator


def truncated_laplace(bits: Bits, numerator: int, denominator: int, bound: int) -> int:
    """Return a discrete_laplace() under the condition that it lies in [-bound, bound]; bound at
    least 4 scales. Raises NoiseError.

    What it costs: let a value that changes by at most D be hidden by it, scale = D/epsilon. Without
    the bound that is epsilon- private. With it, outputs that only one of the two values can have
    are the D outermost ones, so that it is exactly (epsilon, delta)-private with
        delta = p^(bound - D + 1) * (1 - p^D) / (1 + p - 2 p^(bound + 1)),
    about (exp(epsilon) - 1) / 2 * exp(-bound/scale).
    """
    _check_scale(numerator, denominator)
    if bound * denominator < FOLDS_LEAST * numerator:
        raise NoiseError("bound")
    while True:
        value = discrete_laplace(bits, numerator, denominator)
        if -bound <= value <= bound:
            return value


def _check_scale(numerator: int, denominator: int) -> None:
    if not (1 <= numerator <= TERM_MOST and 1 <= denominator <= TERM_MOST):
        raise NoiseError("scale")


def _common(a: int, b: int) -> int:
    """The greatest common divisor (MicroPython's math has none)."""
    while b:
        a, b = b, a % b
    return a
