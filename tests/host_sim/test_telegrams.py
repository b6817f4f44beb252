"""Telegrams at random: what is played holds, and the judge sees what does not."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from agent.meters import dsmr
from agent.meters.sml import messages
from host_sim.meters import made, telegrams
from host_sim.meters.telegrams import Violation, alone, judge, on_a_line

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["p1", "sml"])
def test_spoilt_telegrams_are_refused_or_carry_what_is_read(kind: str) -> None:
    luck = random.Random(7)
    told = {alone(luck, kind) for _ in range(400)}
    assert {"read", "crc", "no-energy"} <= told
    assert sum(on_a_line(luck, kind) for _ in range(6)) == 6 * telegrams.STREAM


@pytest.mark.parametrize("kind", ["p1", "sml"])
def test_the_judge_sees_a_register_that_is_not_there_and_a_wrong_checksum(kind: str) -> None:
    data = made.p1(made.LINES) if kind == "p1" else made.sml(made.usual())
    telegram = (dsmr if kind == "p1" else messages).parse_telegram(data)
    judge(kind, data, telegram)
    spoilt = data.replace(b"000310.125", b"000310.126") if kind == "p1" else data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(Violation, match="a wrong checksum passed"):
        judge(kind, spoilt, telegram)
    for slot in ("load", "export", "load-t1"):
        wrong = (dsmr if kind == "p1" else messages).parse_telegram(data)
        wrong.totals[slot] = wrong.totals.get(slot, 0) + 1
        with pytest.raises(Violation, match=f"{slot} "):
            judge(kind, data, wrong)


def test_what_was_tried_is_told() -> None:
    command = [sys.executable, "-m", "host_sim.meters.telegrams", "--count", "300", "--seed", "3"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=250)
    figures = json.loads(run.stdout)
    assert figures["tried"] == 320 and figures["lines"] == 4
    assert sum(int(words.split()[-1]) for words in figures["told"].split(", ")) == 160
