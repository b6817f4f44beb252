"""What the consistency check costs: the part "audit" of `make bench`, and `hum-sim bench audit`.

The real machines over the simulated network (host_sim/virtual/street.py), once with it and
once without it: what the boards send in a round, and how long its sum takes in message times, for
every delivery takes MESSAGE_S and computing takes none. Bytes are those of topic and payload, and
what an MQTT packet adds to them. Beside it what a flood over the overlay with one failure's slack
would send: fewer messages from about ten members on, but of hearsay, with which one liar gets two
lists answered (docs/security/reasoning.md).
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from agent.protocols.base import overlay
from agent.protocols.private_sum.mail import SPLIT, VOUCH
from agent.wire import topics
from agent.wire.envelope import Envelope
from broker.cli.tables import show_figures
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.schedule import Schedule
from host_sim.virtual.network import Network, VirtualClock
from host_sim.virtual.street import Street

SIZES = (8, 12, 32)
SIZES_QUICK = (8, 12)
ROUNDS = 3
# Four ticks of the coordinator, which see to it that all waiting is a multiple of these.
MESSAGE_S = 0.2
# Bytes: packet type, length of up to three bytes, packet number, less one; length of the topic.
PACKET = 7
SCHEDULE = Schedule(interval=60.0, window=30.0, patience=60.0, rounds=ROUNDS, answers=30.0)
NOTES = (
    "real machines, simulated network: a delivery takes one message time, computing none; readings, masks and shares are ready",
    "sent in a round: contribution, answer and the consistency check's letters; the flood is computed, messages as long as a letter",
)


class WrongSum(Exception):
    """A round had no sum, or a wrong one. args[0] says which."""


def cost(members: int, audit: bool) -> dict[str, float]:
    """Return messages and bytes that a board sends in a round, and the message times from opening
    to sum. Raises WrongSum."""
    clock = VirtualClock()
    network = Network(clock, lambda receiver, topic: [MESSAGE_S])
    rows = [[100 * index + number for number in range(ROUNDS)] for index in range(members)]
    with tempfile.TemporaryDirectory() as folder:
        street = Street(network, Path(folder), rows, SCHEDULE, masks=ROUNDS, cohort=64, audit=audit)
        street.start()
        clock.run(SCHEDULE.patience + SCHEDULE.interval * (ROUNDS + 1))
        storage = street.coordinator.home.storage
        results = storage.read(reading.results, "main", ROUNDS)
        storage.close()
    expected = {number: [sum(row[number] for row in rows)] for number in range(ROUNDS)}
    if {row["round"]: row["sums"] for row in results} != expected:
        raise WrongSum(f"{members} members, consistency check {audit}: {results}")
    sent = [size for size in (_size_in_round(*entry) for entry in network.log) if size]
    latency = statistics.median(row["latency_ms"] for row in results)
    return {
        "messages": len(sent) / members / ROUNDS,
        "bytes": sum(sent) / members / ROUNDS,
        "message times": latency / 1000 / MESSAGE_S,
    }


def _size_in_round(sender: str, topic: str, payload: bytes) -> int:
    """Return the bytes of a packet that a board sent for a round, 0 for all else."""
    levels = topic.split("/")
    if sender == topics.COORDINATOR or levels[3] != "g":
        return 0
    nonce = Envelope(payload).nonce if "mail" in levels else None
    letter = nonce is not None and nonce[0] in (VOUCH, SPLIT)
    return len(topic) + len(payload) + PACKET if letter or levels[-1] in ("contribution", "answer") else 0


def measure(sizes: Sequence[int], say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return the figures for each size of a cohort. Raises WrongSum."""
    accelerate.use_host_libraries()
    figures = {}
    for size in sizes:
        say(f"{size} members")
        without, with_it = cost(size, False), cost(size, True)
        letters = with_it["messages"] - without["messages"]
        n = overlay.suitable_size(size)
        flood = overlay.flood_rounds(n, 1) * n / size
        column: dict[str, Any] = {}
        for key in without:
            column[f"{key}: without"] = round(without[key], 1)
            column[f"{key}: with the audit"] = round(with_it[key], 1)
            column[f"{key}: with to without"] = round(with_it[key] / without[key], 2)
        column["letters, one to each other member"] = round(letters, 1)
        column["letters of a flood, computed"] = round(flood, 1)
        column["bytes a letter"] = round((with_it["bytes"] - without["bytes"]) / letters, 1)
        figures[str(size)] = column
    return figures


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print what measure() returned as a table on standard output."""
    show_figures("The consistency check: a board, in a round, by size of the cohort", figures, NOTES)
