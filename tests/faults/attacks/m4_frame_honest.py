"""Colluders shift a sum although all answer, and an honest member is named as the one whose answer
is wrong.

Ten members, threshold 7, three colluders. They add e(x) = s * prod(x - h) to their answers, over
all honest positions h but one: they need to know no honest share, and the honest member left out
of the product is the one that is named.

What must hold: (answers - threshold) / 2 liars are found out; where there may be more, no sum is
reported as sure and nobody is named. To whoever sees the ten answers this round is one in which the
honest member alone lies, so a sum says how many liars it withstands, and the sides are told with no
word on which of them lie: it is sure if it withstands as many as there may be, here three.
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

    def open(self, answers: dict[int, int]) -> recovery.Opening | None:
        """Return what the coordinator believes the unit to open to, None if it believes in no
        sum."""
        cohort = recovery.Cohort(MEMBERS, THRESHOLD, False, answers)
        try:
            return recovery.open_unit(PARAMETERS, self.product, [cohort], FIELD.p, fits)
        except recovery.WrongShares:
            return None


def found(opening: recovery.Opening | None) -> tuple[bool, str]:
    """Return whether the attack got what it was after, and what was seen: a shifted sum that is
    said to hold against as many liars as there were."""
    if opening is None:
        return False, "no sum is believed"
    sure = opening.withstands >= len(LIARS)
    seen = f"shifted by {opening.total - TOTAL}, said to be right if at most {opening.withstands} lie"
    return sure and opening.total != TOTAL, seen


def fault() -> list[Verdict]:
    attacked = Round()
    honest = attacked.open(attacked.honest)
    assert honest and (honest.total, honest.withstands) == (TOTAL, 3), "an honest round is not opened as sure"
    (off,) = attacked.open(attacked.honest | {FRAMED: 1}).sides
    assert off[1] == [FRAMED], "one liar is not found out"
    cases = {
        "all ten answer": range(1, MEMBERS + 1),
        "eight, the framed too": [1, 2, 3, 4, 5, 8, 9, 10],
        "seven, not the framed": [2, 3, 4, 5, 8, 9, 10],
    }
    return [
        Verdict(*found(attacked.open({x: attacked.answers[x] for x in among})), case) for case, among in cases.items()
    ]
