"""Colluders shift a sum although all answer, and an honest member is named as the one whose answer
is wrong.

Ten members, threshold 7, three colluders. They add e(x) = s * prod(x - h) to their answers, over
all honest positions h but one: they need to know no honest share, and the honest member left out
of the product is the one that is named.

What must hold: (answers - threshold) / 2 liars are found out; where there may be more, no sum is
reported as sure and nobody is named.
"""

import math
import random

from agent.joye_libert import blinding, parameters
from agent.joye_libert.packing import Packing, PackingError
from broker.coordinator.protocols.private_sum.arithmetic import recovery
from tests.faults.verdict import Verdict

PARAMETERS = parameters.load("hum-2048")
MEMBERS, THRESHOLD = 10, 7
LIARS, FRAMED = (8, 9, 10), 1
TOTAL, SHIFT = 345678, 54321
PACKING = Packing([("load", 0, 100000)], MEMBERS, PARAMETERS.bits)
FIELD = blinding.field(PACKING.bits)


def fits(value: int) -> bool:
    try:
        PACKING.unpack(value, MEMBERS)
    except PackingError:
        return False
    return True


class Round:
    """A round in which nobody is missing, so that the masks cancel; `honest` and `answers` are by
    position."""

    def __init__(self) -> None:
        p, n = FIELD.p, PARAMETERS.n
        rnd = random.Random(4)
        polynomial = [rnd.randrange(p) for _ in range(THRESHOLD)]
        agreed = [x for x in range(1, MEMBERS + 1) if x not in LIARS and x != FRAMED]
        scale = -SHIFT * pow(math.prod(-h for h in agreed), -1, p) % p
        positions = range(1, MEMBERS + 1)
        self.honest = {x: sum(a * pow(x, k, p) for k, a in enumerate(polynomial)) % p for x in positions}
        self.answers = dict(self.honest)
        for x in LIARS:
            self.answers[x] = (self.honest[x] + scale * math.prod(x - h for h in agreed)) % p
        self.product = (1 + (TOTAL + polynomial[0]) % p * n) % n**2

    def open(self, answers: dict[int, int]) -> tuple[int, set[int]] | None:
        """Return (sum, positions named as wrong), or None if the coordinator believes in no sum."""
        cohort = recovery.Cohort(MEMBERS, THRESHOLD, False, answers)
        try:
            total, wrong = recovery.open_unit(PARAMETERS, self.product, [cohort], FIELD.p, fits)
        except recovery.WrongShares:
            return None
        return total, {x for named in wrong for x in named}


def fault() -> list[Verdict]:
    attacked = Round()
    assert attacked.open(attacked.honest) == (TOTAL, set()), "an honest round is not opened"
    cases = {
        "all ten answer": range(1, MEMBERS + 1),
        "eight, the framed too": [1, 2, 3, 4, 5, 8, 9, 10],
        "seven, not the framed": [2, 3, 4, 5, 8, 9, 10],
    }
    verdicts = []
    for case, among in cases.items():
        found = attacked.open({x: attacked.answers[x] for x in among})
        total, named = found or (TOTAL, set())
        framed = sorted(named - set(LIARS))
        seen = f"shifted by {total - TOTAL}, honest members named: {framed}" if found else "no sum is believed"
        verdicts.append(Verdict(total != TOTAL or bool(framed), seen, case))
    return verdicts
