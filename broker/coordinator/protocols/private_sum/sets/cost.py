"""What a new set costs a board, computed (docs/measured has what was measured of its parts).

A board deals shares of its key and of its blinding anew to all others of its cohort, keeps theirs,
and makes one mask before the next round; the other masks are made in idle time.
"""

from dataclasses import asdict, dataclass

from agent.joye_libert import cohorts, parameters
from agent.joye_libert.blinding import Field
from agent.joye_libert.integer_shares import Sharing

LETTER_BYTES = 75  # of the envelope around a share
KEYS_A_BLOCK, BLOCK_BYTES = 6, 4096  # key shares that a board keeps in one block of its flash
# An RP2040 at 125 MHz, computed from its rate of 32-bit multiplications and hashes: one step of
# Horner's rule on a key share of 576 bytes, with the hash that makes its coefficient.
STEP_S, STEP_BYTES = 0.0092, 576


@dataclass(frozen=True)
class Cost:
    """Of one board: `bytes` that it sends for key shares, `blinding_bytes` for a batch of blinding
    shares, `flash_bytes` that key shares take, in whole blocks, `seconds` that an RP2040 computes
    key shares for."""

    bytes: int
    blinding_bytes: int
    flash_bytes: int
    seconds: float

    def told(self) -> dict[str, float]:
        """Return it as a dictionary with JSON types."""
        return asdict(self)


def of_cohort(members: int, chosen: parameters.Parameters, field: Field) -> Cost:
    """Return what a new set costs each board of a cohort with so many active members, 2 to 64."""
    threshold = cohorts.threshold(members)
    share = Sharing(members, threshold, members, chosen).share_bytes
    batch = field.batch * field.size
    steps = (members - 1) * (threshold - 1)
    return Cost(
        bytes=(members - 1) * (share + LETTER_BYTES),
        blinding_bytes=(members - 1) * (batch + LETTER_BYTES),
        flash_bytes=-(-(members - 1) // KEYS_A_BLOCK) * BLOCK_BYTES,
        seconds=round(steps * STEP_S * share / STEP_BYTES, 1),
    )
