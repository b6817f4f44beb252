"""Shares over the integers of a board's long-term exponent: t of a cohort's active members can
raise to it, fewer learn nothing of it.

f(x) = delta*secret + a_1*x + ... + a_(t-1)*x^(t-1) with delta = a!, and of a active members that at
position x = 1..a holds f(x) (threshold-joye-libert paper, section 3.3, after Rabin, CRYPTO 1998).
Where the paper draws a_k from either side of zero, here it is never negative: a share is a positive
exponent, so nobody has to invert. The range is at least 2^128*delta^2 times the secret's, as in the
paper, and that hides the secret: for any t-1 positions there is a polynomial h with integer
coefficients that is zero at all of them and delta at zero, so f + (other - secret)*h gives the same
t-1 shares for another secret. The coefficients of h but the first add up to at most (t-1)*delta in
size: the chance that one of the new polynomial's is out of range is at most 2^-128.

The coefficients come from a seed, so a share can be made again at any time and none is stored by
its maker.
"""

from hashlib import sha256

from agent.crypto import CryptoError
from agent.crypto.residue import full_domain
from agent.joye_libert.packing import width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.joye_libert.parameters import Parameters


class Sharing:
    """The sizes of a sharing among `active` members (2..64) of a cohort of whom `threshold`
    recover, of a roster of `roster_size` (2..64) in all.

    `members` is how many share; `delta` = members!; `coefficient_bytes` and `share_bytes` are sizes
    in bytes; a secret is of at most `secret_bits` bits: the offset of zero_sum.py and as many keys
    as the roster has members.
    """

    def __init__(self, active: int, threshold: int, roster_size: int, parameters: "Parameters") -> None:
        self.members = active
        self.threshold = threshold
        self.delta = 1
        for factor in range(2, active + 1):
            self.delta *= factor
        self.secret_bits = 1 + width(roster_size) + 2 * parameters.bits
        self.coefficient_bytes = (128 + 2 * width(self.delta) + self.secret_bits + 7) // 8
        growth = (self.threshold - 1) * width(active) + width(threshold)
        self.share_bytes = (8 * self.coefficient_bytes + growth + 7) // 8


def share_steps(seed: bytes, secret_int: int, x: int, sharing: Sharing) -> "Generator[None, None, bytes]":
    """Generator: one yield a coefficient; returns the share of the member at position `x`,
    share_bytes bytes, big-endian.

    `seed` is 32 bytes that nobody else has, for one roster and for nothing else. Raises CryptoError
    on the first step if `x` is not in 1..members (the share of position 0 would be the secret) or
    the secret not in range.
    """
    if not 1 <= x <= sharing.members:
        raise CryptoError("position outside the cohort")
    if secret_int < 0 or secret_int >> sharing.secret_bits:
        raise CryptoError("secret out of range")
    value = bytearray(sharing.share_bytes)
    for k in range(sharing.threshold - 1, 0, -1):
        digest = sha256(seed + k.to_bytes(4, "big")).digest()
        _append(value, x, int.from_bytes(full_domain(digest, sharing.coefficient_bytes), "big"))
        yield
    _append(value, x, sharing.delta * secret_int)
    return bytes(value)


def _append(value: bytearray, x: int, coefficient: int) -> None:
    """Do one step of Horner's rule on `value`, a buffer: an integer that lived from step to step
    would scatter the heap."""
    value[:] = (int.from_bytes(value, "big") * x + coefficient).to_bytes(len(value), "big")
