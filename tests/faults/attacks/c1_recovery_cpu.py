"""A few wrong answers make the coordinator search for seconds which ones to leave out.

Each further answer begins the search again. Times of a search are of the processor, in open_unit(),
which holds whatever thread calls it, for one cohort of 64. The event loop's case is a whole
coordinator with a hundred other groups; its control is the same one when it searches on its loop.

What must hold: the search is bounded in time, here to a second, and ends in the sum or in
WrongShares; and other groups have their receipts before it ends.
"""

import asyncio
import math
import random
import time
from pathlib import Path
from tempfile import mkdtemp

from gmpy2 import mpz, powmod

from agent.joye_libert import blinding, cohorts, parameters
from broker.coordinator.protocols.private_sum.arithmetic import recovery
from host_sim.bench.coordinator import GROUPS, MEMBERS, OnTheLoop, Street
from tests.faults.verdict import Verdict

BOUND_S = 1.0
GIVEN_S = 0.5  # to a search that is told when to end
SIZE = 64
TOTAL = 123456
ANSWERS = (44, 53, 63)
PARAMETERS = parameters.load("hum-2048")


class Round:
    """The answers of all members but the last, who is missing."""

    def __init__(self, liars: int) -> None:
        rnd = random.Random(1)
        n = PARAMETERS.n
        square = mpz(n) ** 2
        self.threshold = cohorts.threshold(SIZE)
        self.p = blinding.field(64).p
        base = mpz(rnd.getrandbits(4000)) % square
        key = rnd.getrandbits(4096)
        coefficients = [math.factorial(SIZE) * key, *(rnd.getrandbits(4600) for _ in range(self.threshold - 1))]
        masks = [rnd.randrange(self.p) for _ in range(self.threshold)]
        self.recovery, self.blinding = {}, {}
        for x in range(1, SIZE):
            exponent = sum(a * x**k for k, a in enumerate(coefficients))
            self.recovery[x] = int(powmod(base, exponent, square))
            self.blinding[x] = sum(a * pow(x, k, self.p) for k, a in enumerate(masks)) % self.p
        for x in range(1, liars + 1):
            self.recovery[x] = self.recovery[x] * 3 % int(square)
        plain = (TOTAL + masks[0]) % self.p
        self.product = int((1 + plain * mpz(n)) * powmod(base, -key, square) % square)

    def search(self, answers: int, *seconds: float) -> tuple[float, int | None]:
        """Return the seconds that the search takes with the first so many answers, and the sum
        that it finds, None if it finds none; it is told to end after `seconds`, if they are
        given."""
        among = range(1, answers + 1)
        shares = [{x: given[x] for x in among} for given in (self.blinding, self.recovery)]
        unit = [recovery.Cohort(SIZE, self.threshold, True, *shares)]
        begun = time.process_time()
        try:
            opening = recovery.open_unit(
                PARAMETERS, self.product, unit, self.p, lambda value: value < 1 << 40, *seconds
            )
        except recovery.WrongShares:
            return time.process_time() - begun, None
        return time.process_time() - begun, opening.total


def loop() -> Verdict:
    """Whether the receipts of other groups wait for the search of a hostile one."""
    held = Street(Path(mkdtemp()), GROUPS, OnTheLoop)
    assert not asyncio.run(held.run()), "receipts leave before a search on the loop ends"
    street = Street(Path(mkdtemp()), GROUPS)
    searching = asyncio.run(street.run())
    slowest = max(street.receipts.values())
    seen = f"{GROUPS * MEMBERS} receipts {'before' if searching else 'not before'} a search ended, in {slowest:.1f} s"
    return Verdict(not searching, f"{seen}; in {max(held.receipts.values()):.1f} s if it is on the loop", "event loop")


def fault() -> list[Verdict]:
    took, total = Round(0).search(SIZE - 1)
    assert total == TOTAL and took < BOUND_S, "an honest round is not opened in time"
    verdicts = []
    for liars in (10, 20):
        attacked = Round(liars)
        found = [attacked.search(answers) for answers in ANSWERS]
        assert all(total in (None, TOTAL) for _, total in found), "a wrong sum"
        worst = max(seconds for seconds, _ in found)
        seen = f"one search took {worst:.1f} s (bound: {BOUND_S:.0f} s)"
        verdicts.append(Verdict(worst > BOUND_S, seen, f"{liars} liars of {SIZE}"))
    told = max(attacked.search(answers, GIVEN_S)[0] for answers in ANSWERS)
    seen = f"one search took {told:.1f} s, given {GIVEN_S} s (bound: {BOUND_S:.0f} s)"
    verdicts.append(Verdict(told > BOUND_S, seen, f"{liars} liars, an end given"))
    return [*verdicts, loop()]
