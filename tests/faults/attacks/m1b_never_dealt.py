"""A member that is on the roster and never deals its key shares leaves its cohort without sums.

It was never switched on, or means harm. One is missing of eight, of whom two may fail, and no
round has a sum, nor is anybody told why.

What must hold: who never dealt counts among those that may be missing.
"""

from pathlib import Path
from tempfile import mkdtemp

from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.schedule import Schedule
from host_sim.virtual.network import Network, VirtualClock
from host_sim.virtual.street import Street
from tests.faults.verdict import Verdict
from tests.support.quick_arithmetic import remembered

MEMBERS = 8
ROUNDS = 12


def complete(dealt: bool) -> int:
    """Return how many rounds have a sum without the last member, which died as soon as it had
    dealt, or was never there."""
    clock = VirtualClock()
    rows = [[100 * (index + 1)] * 60 for index in range(MEMBERS)]
    schedule = Schedule(interval=10, window=5, patience=5, rounds=ROUNDS, answers=8)
    street = Street(Network(clock), Path(mkdtemp()), rows, schedule, masks=4)
    street.coordinator.start()
    for board in street.boards[:-1]:
        board.start()
    if dealt:
        street.boards[-1].start()
        clock.run(6)
        street.boards[-1].crash()
    clock.run(400)
    results = street.coordinator.home.storage.read(reading.results, "main", 2 * ROUNDS)
    return sum(row["status"] == 0 for row in results)


def fault() -> Verdict:
    with remembered():
        assert complete(True) == ROUNDS, "a member that dies after it has dealt costs sums"
        sums = complete(False)
    return Verdict(2 * sums < ROUNDS, f"{sums} of {ROUNDS} rounds have a sum; {ROUNDS} if it dies after it has dealt")
