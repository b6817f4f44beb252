"""When the host's clock is set back by an hour between two rounds, the last results shown are the
wrong ones.

NTP, a host without a clock of its own, or one that keeps local time.

What must hold: results are ordered by epoch and round, never by the wall clock.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from unittest import mock

from broker.coordinator.protocols.private_sum.records import CloseRound, OpenRound
from tests.faults import ROOT
from tests.faults.verdict import Verdict
from tests.support.hand_made import World

ROUNDS = 8


def last(folder: Path, count: int) -> list[int]:
    """Return the rounds that `hum result` shows as the last."""
    command = [sys.executable, "-m", "broker", "result", "--state", str(folder), "--json", "--last", str(count)]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return [json.loads(line)["round"] for line in shown.stdout.splitlines()]


def close_rounds(folder: Path, back_s: int) -> None:
    """Close rounds five seconds apart; in the middle the clock is set back."""
    world = World(folder, 3)
    now = time.time()
    with mock.patch.object(time, "time", lambda: now):
        for number in range(ROUNDS):
            now += 5 - back_s * (number == ROUNDS // 2)
            world.home.storage.commit([OpenRound("main", 1, number, b"o")], {})
            now += 5
            told = {"latency_ms": 1.0, "missing": [], "sums": [number], "message": b"m"}
            world.home.storage.commit([CloseRound(group="main", epoch=1, round=number, status=0, **told)], {})
    world.close()


def fault() -> Verdict:
    right = list(range(ROUNDS))
    found = []
    for back_s in (0, 3600):
        folder = Path(mkdtemp())
        close_rounds(folder, back_s)
        found.append((last(folder / "coordinator", 3), last(folder / "coordinator", ROUNDS)))
    assert found[0] == (right[-3:], right), "results are out of order although the clock was not set"
    seen = f"the last three of rounds 0 to {ROUNDS - 1}: {found[1][0]}"
    return Verdict(found[1] != (right[-3:], right), seen)
