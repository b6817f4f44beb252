"""What verifiable shares would cost a board: `hum-sim bench verifiable`. Computed, for nothing of
it is built; why not is in docs/security/verifiable-shares.md.

Powers modulo N^2 are counted in products and squarings of the code that makes masks
(agent/joye_libert/pairs.py), for exponents of the sizes that Hum's shares have; operations with
points of P-256 by what a check of a signature takes. Seconds are those of an RP2040 as the sources
say that they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.joye_libert import blinding, cohorts, parameters
from agent.joye_libert.integer_shares import Sharing
from agent.joye_libert.zero_sum import offset
from broker.cli.tables import show_figures
from broker.coordinator.protocols.private_sum.sets.cost import PRODUCT_S, SIGNATURE_S, power_s

SIZES = (8, 16, 32, 64)
DOUBLE_S = SIGNATURE_S  # u*G + v*Q on P-256
POINT_OPERATIONS = 400  # of these: some 256 doublings and 150 additions
POINT_BYTES = 33
SCALAR_BYTES = 32  # P-256's order in the place of p
CHALLENGE_BITS = 128
HIDING_BITS = 128  # by which a nonce is longer than what it hides
SLOT_BITS = 64  # of one reading's sum
NOTES = (
    "powers: 16 ms a squaring or product, by the code that makes masks; points: 1.25 s for the two powers of a commitment or a check",
    "a set: once for every roster or active set, before the first round; a round: for each round, in idle time or not",
    "who deals publishes the commitments once, over the coordinator; each of its cohort reads them",
)


CHOSEN = parameters.load("hum-2048")


@dataclass(frozen=True)
class Cohort:
    """A cohort of `size` that is the whole roster."""

    size: int

    @property
    def others(self) -> int:
        """How many a board deals to, and is dealt to by."""
        return self.size - 1

    @property
    def threshold(self) -> int:
        """How many answers open a sum."""
        return cohorts.threshold(self.size)

    def sharing(self) -> Sharing:
        """Return the sizes of its key shares."""
        return Sharing(self.size, self.threshold, self.size, CHOSEN)

    def mask(self) -> float:
        """Return the seconds of what a board makes for every round today."""
        return power_s(offset(self.size, CHOSEN).bit_length())

    def share_power(self) -> float:
        """Return the seconds of a power to a key share."""
        return power_s(8 * self.sharing().share_bytes)

    def by_points(self, bits: int) -> float:
        """Return the seconds of a sum of points by powers of a position, by Horner's rule."""
        operations = (self.threshold - 1) * (bits + bits // 2 + 1)
        return DOUBLE_S * operations / POINT_OPERATIONS


def exponents(cohort: Cohort) -> dict[str, Any]:
    """Return what a Chaum-Pedersen proof for recovery shares would cost: Feldman's commitments
    g^a(k) mod N^2 to each key share's polynomial, a check of each share that is dealt, and a proof
    with each answer that the exponent is the sum of committed shares."""
    sharing, bits = cohort.sharing(), cohort.size.bit_length()
    commit = cohort.threshold * power_s(8 * sharing.coefficient_bytes)
    check = cohort.share_power() + PRODUCT_S * (cohort.threshold - 1) * (bits + bits // 2 + 1)
    nonce = 8 * sharing.share_bytes + cohort.others.bit_length() + CHALLENGE_BITS + HIDING_BITS
    return {
        "a set: commit, s": commit,
        "a set: check all shares, s": cohort.others * check,
        "a set: published, bytes": cohort.threshold * CHOSEN.residue_bytes,
        "a set: read, bytes": cohort.others * cohort.threshold * CHOSEN.residue_bytes,
        "a round with missing: proof, s": 2 * power_s(nonce),
        "a round with missing: proof, bytes": (CHALLENGE_BITS + nonce + 7) // 8,
        "heap: nonce, answer, commitment, bytes": 2 * ((nonce + 7) // 8) + 2 * CHOSEN.residue_bytes,
    }


def blindings(cohort: Cohort) -> dict[str, Any]:
    """Return what Pedersen's commitments to blindings would cost, with shares modulo P-256's order:
    one for each coefficient of each round, a check of each share, and the second share that each
    answer needs."""
    field, bits = blinding.field(SLOT_BITS), cohort.size.bit_length()
    check = DOUBLE_S + cohort.by_points(bits)
    batch = 2 * field.batch * SCALAR_BYTES - field.batch * field.size
    return {
        "a round: commit, s": cohort.threshold * DOUBLE_S,
        "a round: check all shares, s": cohort.others * check,
        "a round: published, bytes": cohort.threshold * POINT_BYTES,
        "a round: read, bytes": cohort.others * cohort.threshold * POINT_BYTES,
        "a round: more in mail, bytes": cohort.others * batch // field.batch,
        "a round: more in the answer, bytes": 2 * SCALAR_BYTES - field.size,
    }


def measure(sizes: Sequence[int] = SIZES) -> dict[str, dict[str, Any]]:
    """Return the figures of a board by size of its cohort."""
    figures = {}
    for size in sizes:
        cohort = Cohort(size)
        today = {
            "today, a round: mask, s": cohort.mask(),
            "today, a round with missing: recovery share, s": cohort.share_power(),
        }
        parts = {
            "": today,
            "Chaum-Pedersen, ": exponents(cohort),
            "Pedersen, ": blindings(cohort),
        }
        rows = {name + key: value for name, part in parts.items() for key, value in part.items()}
        figures[f"cohort of {size}"] = {key: round(value, 1) for key, value in rows.items()}
    return figures


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print what measure() returned as a table on standard output."""
    show_figures("Verifiable shares: what they would cost a board with an RP2040, computed", figures, NOTES)
