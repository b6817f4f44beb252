"""Noise on single records that cancels in the sum: the sender of a pair adds a secret number, the
receiver subtracts the same one.

The pairs of a query follow its first overlay round: i sends to i + step mod n, step = 2^start. As n
is prime and the step is not 0, the steps are one circle through all ids. Those without a record, a
member's second id or one announced absent, are stepped over: what is left is one circle through all
members that take part. Each is a sender to the next `reach` of them and a receiver from as many
before.

The paper has reach 1, and says that even two Byzantine neighbours could not tell whose record their
noise is in. They can: less their noise, it is the one that lies in the range of values (a test does
it). So reach = t // 2 + 1 against t of them: who knows t of the 2 * reach >= t + 1 noises still
lacks one, whatever numbers and absences the coordinator chooses.

Both sides draw a pair's noise from the key that they share, for this query and direction only. A
record that never arrives leaves its pairs uncompensated: the sum is wrong by 2 * reach noises, of
mean 0 and as many times the variance of one. Docs: docs/operate/privacy.md.

Source: Tremel et al., "Anonymous, Fault-Tolerant Distributed Queries for Smart Devices", section
6.6.
"""

from agent.crypto.hmac import hkdf_sha256
from agent.protocols.base import overlay
from agent.protocols.gossip.privacy.laplace import Bits, truncated_laplace
from agent.wire import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import TypeAlias

    Pairs: TypeAlias = tuple[list[int], list[int]]  # for whom noise is added, whose is subtracted
    Scale: TypeAlias = tuple[int, int]  # numerator, denominator


class TooFew(Exception):
    """There are not 2 * reach other members that take part. No argument."""


def reach_of(tolerate: int) -> int:
    """Return to how many members each is a sender, so that `tolerate` colluders are not all of its
    neighbours."""
    return tolerate // 2 + 1


def partners(own_id: int, start: int, members: int, n: int, reach: int = 1, absent: "Container[int]" = ()) -> "Pairs":
    """Return (for whom the member `own_id` adds noise, whose noise it subtracts): two lists of
    `reach` members, nobody in both.

    `own_id` is a virtual id below `members`, `start` the overlay's round in which the query starts,
    `absent` the ids announced absent. Takes at most 2n steps. Raises TooFew.
    """
    receivers = _walk(overlay.partner, own_id, start, members, n, reach, absent)
    senders = _walk(overlay.predecessor, own_id, start, members, n, reach, absent)
    if len(receivers) < reach or any(one in senders for one in receivers):
        raise TooFew
    return receivers, senders


def _walk(
    step: "Callable[[int, int, int], int]",
    own_id: int,
    start: int,
    members: int,
    n: int,
    reach: int,
    absent: "Container[int]",
) -> list[int]:
    found: list[int] = []
    at = step(own_id, start, n)
    while at != own_id and len(found) < reach:
        if at < members and at not in absent:
            found.append(at)
        at = step(at, start, n)
    return found


def pair_noise(key: bytes, context: bytes, sender: int, receiver: int, scale: "Scale", bound: int) -> int:
    """Return the noise of one pair, an integer in [-bound, bound]: the same on both sides.

    `key` is the secret that the two share, bytes; `context` the bytes that bind deployment, group,
    epoch, the query's number and its digest, so that no noise is ever used twice; `scale` =
    (numerator, denominator). Raises NoiseError.
    """
    info = cbor.encode(["hum/v1/paired-noise", context, sender, receiver])
    return truncated_laplace(Bits(hkdf_sha256(key, b"", info, 32)), scale[0], scale[1], bound)


def record_noise(
    keys: "Callable[[int, bool], bytes]",
    pairs: "Pairs",
    own_index: int,
    context: bytes,
    scale: "Scale",
    bound: int,
) -> int:
    """Return what the member `own_index` adds to its value: the noise that it sends, less the
    noise that it receives.

    `pairs` is from partners(); keys(peer, outgoing) returns the secret for what goes to the member
    `peer`, or comes from it.
    """
    total = 0
    for peer in pairs[0]:
        total += pair_noise(keys(peer, True), context, own_index, peer, scale, bound)
    for peer in pairs[1]:
        total -= pair_noise(keys(peer, False), context, peer, own_index, scale, bound)
    return total
