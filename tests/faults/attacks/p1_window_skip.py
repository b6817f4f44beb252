"""Limits that count round numbers are skipped by who chooses the numbers.

The coordinator is malicious and nobody colludes. Boards bound close lists in 48 rounds of the
round's number. It announces round 48k, for which nobody is ready and which only moves the boards
on, and then runs round 48k + 1: every real round stands in a window of its own. The lists
alternate between everybody and everybody but the victim, under a policy that allows one close list
in a window.

What must hold: limits count what a board really spent and answered.
"""

from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp

from agent.protocols.base.identity import CLOSE_WINDOW, Policy
from broker.coordinator.protocols.private_sum.arithmetic.recovery import WrongShares
from tests.faults.verdict import Verdict
from tests.host_sim.test_lying_coordinator import EVERYONE, READINGS, VICTIM, WITHOUT, C, World
from tests.support.quick_arithmetic import remembered

ALLOWED = 1
REAL_ROUNDS = 6


def attack(world: World) -> list[int]:
    """Return the sums of the real rounds that could be opened, in order."""
    sums = []
    for k in range(1, REAL_ROUNDS + 1):
        late = CLOSE_WINDOW * k
        world.open(late)
        world.clock.run(world.clock.now + 60)
        world.say(world.outgoing.retained("round", world.outgoing.opening(late, {0}, 0, {}, 0)))
        world.say(world.outgoing.retained("round", b""))
        world.clock.run(world.clock.now + 30)
        world.open(late + 1)
        present = EVERYONE if k % 2 else WITHOUT
        world.call(late + 1, present)
        try:
            sums.append(world.total(late + 1, present))
        except (WrongShares, KeyError):  # it was refused, or not contributed to
            continue
    return sums


def fault() -> Verdict:
    with remembered():
        world = World(Path(mkdtemp()), colluders=0, policy=Policy(close_most=ALLOWED))
        for number, present in enumerate((EVERYONE, WITHOUT, EVERYONE)):
            world.open(number)
            world.call(number, present)
        assert len(world.answers(0)) == C, "an honest round is not answered"
        assert len(world.answers(2)) < world.threshold, "within one window the policy does not hold"
        sums = attack(world)
    told = sum(abs(one - next_one) == READINGS[VICTIM] for one, next_one in pairwise(sums))
    seen = f"the victim's reading {told} times in {REAL_ROUNDS} rounds; its policy allows {ALLOWED}"
    return Verdict(told > 0, seen)
