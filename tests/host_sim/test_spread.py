"""`hum-sim bench spread`: boards with drifting clocks read at the instant, and answer at moments of
their own."""

import json
import random
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from host_sim import cli
from host_sim.bench.instants import spread
from host_sim.years.crypto import toy_arithmetic

BOARDS = 8


@pytest.mark.parametrize("seconds", [0, 60])
def test_boards_read_at_the_instant_and_answer_within_the_spread(seconds: int) -> None:
    """A clock is late by a delivery and what it drifts in an interval, and early by the latter
    alone: also that of a board which hears the opening when half of the lead is over."""
    with toy_arithmetic():
        read, sent = spread.group(random.Random(1), spread.SCHEDULE, seconds, BOARDS)
    assert len(read) == len(sent) > BOARDS  # a cohort may miss the first round
    drift = 2 * spread.SCHEDULE.interval * spread.PPM / 1e6
    assert all(-drift <= at <= 10 * spread.DELAYS_S[1] + drift for at in read)
    assert all(left - at < seconds + drift for at, left in zip(sorted(read), sorted(sent), strict=True))
    assert max(sent) - min(sent) > seconds / 20


def test_without_instants_all_answer_at_once() -> None:
    with toy_arithmetic():
        read, sent = spread.group(random.Random(1), replace(spread.SCHEDULE, instants=False), 60, BOARDS)
    assert read == sent and len(sent) > BOARDS


def test_the_command_tells_each_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "group", lambda chance, schedule, seconds, members: ([0.1] * members, [1.1] * members))
    run = CliRunner().invoke(cli.app, ["bench", "spread", "--boards", "41", "--json"])
    figures = json.loads(run.stdout.splitlines()[-1])
    assert list(figures) == ["at once", "instants", "instants, spread 60 s"]
    assert all(
        case["readings"] == 41 and case["read, ms after the instant: median"] == 100 for case in figures.values()
    )
    assert "busiest second" in CliRunner().invoke(cli.app, ["bench", "spread", "--boards", "41"]).stdout
