"""Ten rounds without a sum silence a whole group for the rest of a window of 48.

Nobody's reading was ever denied, for no sum was published at all: a liar, silent members or the
broker kept the answers back. Yet every honest board refuses the good rounds after them as
"uncounted".

What must hold: after an outage the rounds have their sums again.
"""

from pathlib import Path
from tempfile import mkdtemp

from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.schedule import Schedule
from host_sim.virtual.network import Network, VirtualClock
from host_sim.virtual.street import Street
from tests.faults.verdict import Verdict
from tests.support.quick_arithmetic import remembered

OUTAGE = 10  # rounds
ROUNDS = 24
END_S = 1500


def fault() -> Verdict:
    clock = VirtualClock()
    network = Network(clock)
    rows = [[100 * (index + 1)] * 100 for index in range(8)]
    schedule = Schedule(interval=10, window=5, patience=5, rounds=ROUNDS, answers=8)
    with remembered():
        street = Street(network, Path(mkdtemp()), rows, schedule, masks=4)
        delivered = network.fate
        network.fate = lambda receiver, topic: (
            [] if receiver == "coordinator" and topic.endswith("/answer") else delivered(receiver, topic)
        )
        street.start()
        machine = street.coordinator.machines["main"]
        while machine.next_round < OUTAGE and clock.now < END_S:
            clock.run(clock.now + 1)
        network.fate = delivered
        while not machine.finished and clock.now < END_S:
            clock.run(clock.now + 5)
    results = street.coordinator.home.storage.read(reading.results, "main", 2 * ROUNDS)
    status = {row["round"]: row["status"] for row in results}
    assert all(status[number] for number in range(OUTAGE - 1)), "there was no outage"
    # One round may be under way when it ends, and the next one's masks may have been dropped.
    after = [number for number in range(OUTAGE + 2, ROUNDS) if status.get(number) != 0]
    refused = street.boards[0].machine.refused.get("uncounted", 0)
    seen = f"{len(after)} of {ROUNDS - OUTAGE - 2} rounds after it without a sum; 'uncounted' {refused} times"
    return Verdict(bool(after), seen)
