"""What a new set costs a board, computed; `hum-sim bench cohort` measures the bytes.

A board deals shares of its key, and of its blinding in the batch in use and in the next, to all
others of its cohort anew, keeps theirs, and makes one mask before it can be in a round; the second
batch and the other masks are made in idle time.
"""

from dataclasses import asdict, dataclass

from agent.joye_libert import cohorts, pairs
from agent.joye_libert.blinding import Field
from agent.joye_libert.integer_shares import Sharing
from agent.joye_libert.parameters import Parameters
from agent.joye_libert.zero_sum import offset
from agent.runtime.flash.slots import BLINDINGS_EACH, KEYS_EACH

# Of a letter, besides its topic and what it carries: MQTT's PUBLISH and the envelope.
LETTER_BYTES = 64
BATCHES = 2  # the one in use and the next
# Written besides, but for keys and a mask: the set, and a few times who holds shares.
SMALL_BYTES = 620
SLOT_BYTES, HEAD_BYTES = 9, 10  # with each share on the flash, and with each record of shares
# An RP2040 at 125 MHz. Computed from its rate of 32-bit multiplications and hashes: one step of
# Horner's rule on a key share of 576 bytes, with the hash that makes its coefficient. As many times
# less as on MicroPython's unix port: one on a share of blinding, and, 5 times a step, the keys with
# one member.
STEP_S, STEP_BYTES = 0.0092, 576
BLINDING_STEP_S, BLINDING_BYTE_S = 0.0012, 0.00002
KEYS_S = 0.047
PRODUCT_S = 0.08 / 5  # four squarings and a product take 80 ms: agent/joye_libert/pairs.py
SIGNATURE_S = 1.25  # a check, two powers of points of P-256: agent/runtime/system/watchdog.py


def power_s(bits: int) -> float:
    """Return the seconds of a power modulo N^2 whose exponent has so many bits: a squaring a bit, a
    product a window, and the table."""
    return PRODUCT_S * (bits + bits / (pairs.WINDOW + 1) + pairs.ODD_POWERS)


@dataclass(frozen=True)
class Cost:
    """Of one board: `bytes` that it sends, and as many that it receives, with MQTT's PUBLISH and
    the topics; `flash_bytes` that it writes; `seconds` that an RP2040 computes before it has its
    first mask, `mask_seconds` of them for that."""

    bytes: int
    flash_bytes: int
    seconds: float
    mask_seconds: float

    def told(self) -> dict[str, float]:
        """Return it as a dictionary with JSON types."""
        return asdict(self)


def of_cohort(members: int, topic_bytes: int, chosen: Parameters, field: Field) -> Cost:
    """Return what a new set costs each board of a cohort with so many active members, 2 to 64, that
    is the whole roster; a letter's topic has `topic_bytes`."""
    others, threshold = members - 1, cohorts.threshold(members)
    share = Sharing(members, threshold, members, chosen).share_bytes
    batch = field.batch * field.size
    letters = 2 * (LETTER_BYTES + topic_bytes)  # a share and an acknowledgement
    mask = power_s(offset(members, chosen).bit_length())
    steps = others * (threshold - 1) * STEP_S * share / STEP_BYTES
    steps += others * threshold * field.batch * (BLINDING_STEP_S + field.size * BLINDING_BYTE_S)
    small = SMALL_BYTES + 32 * members + chosen.exponent_bytes + chosen.residue_bytes
    return Cost(
        bytes=others * (share + letters + BATCHES * (batch + letters)),
        flash_bytes=small + _written(others, KEYS_EACH, share) + BATCHES * _written(others, BLINDINGS_EACH, batch),
        seconds=round(SIGNATURE_S + others * KEYS_S + steps + mask, 1),
        mask_seconds=round(mask, 1),
    )


def _written(shares: int, each: int, size: int) -> int:
    """Return the bytes that are written for so many shares, `each` of them in a record: all of it
    with each that is added."""
    full, rest = divmod(shares, each)
    triangles = full * each * (each + 1) // 2 + rest * (rest + 1) // 2
    return shares * HEAD_BYTES + triangles * (SLOT_BYTES + size)
