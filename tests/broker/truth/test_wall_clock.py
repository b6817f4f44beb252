"""Rounds stay on their grid and results in their order, whatever becomes of the clock: a step back
or ahead between rounds and within one, summer time, a restart; and without instants nothing
drifts."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.wire import messages
from broker.cli.results.rows import local
from broker.coordinator import history
from broker.coordinator.history import Span
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.protocols.private_sum.records import CloseRound, OpenRound
from broker.coordinator.protocols.private_sum.timing import Timing
from broker.coordinator.schedule import Schedule
from tests.support.hand_made import ROLL, ROUND, World, of_kind, published
from tests.support.quick_arithmetic import remembered, small_modulus

QUARTER = 900
INSTANTS = Schedule(interval=QUARTER, window=60, patience=600, answers=100, instants=True)
SUMMER_ENDS = 1_792_890_000  # 2026-10-25 01:00 UTC, when 03:00 becomes 02:00 in Berlin


@pytest.fixture(scope="module", autouse=True)
def arithmetic_is_quick() -> Iterator[None]:
    with remembered(), small_modulus():
        yield


@pytest.fixture
def berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


class Clocked(World):
    """A group with rounds of quarter hours, from `begin` on; its Unix time is `begin + now + off`."""

    def __init__(self, folder: Path, begin: int) -> None:
        self.begin, self.now, self.off = begin, 0.0, 0.0
        super().__init__(folder, 3, INSTANTS)

    def restart(self) -> Any:
        self.home._workplace = replace(self.home._workplace, unix_time=lambda: self.begin + self.now + self.off)
        return super().restart()

    def at(self, now: float) -> list[Any]:
        self.now = now
        return self.tick(now)

    def start(self) -> None:
        self.now = 100.0
        self.first_set(100.0)
        self.all_ready(last=50)

    def until_open(self, now: float, most: float = 2 * QUARTER) -> tuple[bytes, float]:
        """Let time pass in steps of 10 s until a round opens; return the opening, and when."""
        end = now + most
        while now < end:
            if (opened := published(self.at(now), ROUND)) and opened[-1]:
                return opened[-1], now
            now += 10.0
        raise AssertionError("no round opens")

    def play(self, opening: bytes, now: float) -> None:
        """Let all contribute and answer at `now`."""
        self.now = now
        actions = self.send("contribution", self.contributions(opening), now)
        actions += self.send("answer", self.answers(published(actions, ROLL)[0]), now + 1)
        assert of_kind(actions, CloseRound)[0].sums == [303]


def instants(world: World) -> list[int]:
    return [row["instant"] for row in world.home.storage.read(reading.shown, "main", 99)]


def test_the_hour_that_comes_twice_has_rounds_at_each_quarter_of_utc_and_can_be_told(
    tmp_path: Path, berlin: None
) -> None:
    world = Clocked(tmp_path, SUMMER_ENDS - QUARTER)
    world.start()
    now = 100.0
    for number in range(6):
        opening, now = world.until_open(now)
        now = number * QUARTER + QUARTER + 2.0
        world.play(opening, now)
    found = instants(world)
    assert found == [SUMMER_ENDS + number * QUARTER for number in range(6)]
    shown = [local(instant) for instant in found]
    assert shown[0] == "2026-10-25 02:00:00+0100" and len(set(shown)) == 6
    assert local(SUMMER_ENDS - 3600) == "2026-10-25 02:00:00+0200"
    world.close()


@pytest.mark.parametrize(
    ("step", "restarts"), [(-3600.0, False), (-3600.0, True), (-3.0, False), (500.0, True), (3600.0, False)]
)
def test_a_step_within_a_round_leaves_the_next_ones_on_the_grid_and_results_in_order(
    tmp_path: Path, step: float, restarts: bool
) -> None:
    world = Clocked(tmp_path, 1_800_000_000)
    world.start()
    opening, now = world.until_open(100.0)
    world.play(opening, QUARTER + 2.0)
    opening, now = world.until_open(QUARTER + 10.0)
    world.off = step  # the second round is open
    if restarts:
        world.do(world.restart().link_up(now), now)
    world.now = now
    found, now = world.until_open(now + 10.0, 2 * 3600.0)  # the round ends, with a sum or without
    assert found != opening
    assert messages.read_opening(found)[7] % QUARTER == 0
    rows = world.home.storage.read(reading.results, "main", 9)
    assert [row["round"] for row in rows] == [0, 1]
    assert instants(world) == [1_800_000_000 + QUARTER, 1_800_000_000 + 2 * QUARTER]
    assert messages.read_opening(found)[7] not in instants(world) or step <= -QUARTER
    world.close()


def test_after_a_clock_that_was_far_ahead_once_a_restart_opens_no_instant_twice(tmp_path: Path) -> None:
    """The last instant is that of the last round, not the greatest there ever was."""
    world = Clocked(tmp_path, 1_800_000_000)
    world.off = 90_000.0
    world.start()
    opening, now = world.until_open(100.0)
    world.play(opening, QUARTER + 2.0)
    world.off = 0.0
    opening, now = world.until_open(QUARTER + 10.0)
    assert messages.read_opening(opening)[7] == 1_800_000_000 + 2 * QUARTER
    world.now = now + 5.0
    world.do(world.restart().link_up(world.now), world.now)
    assert published(world.at(now + 6.0), ROUND) == [] and world.machine.phase == "open"
    world.play(opening, 2 * QUARTER + 2.0)
    world.close()


def test_results_are_in_the_order_of_epochs_and_rounds_however_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    clock = iter([5000.0 * (at // 16 + 1) - 3600 * (at % 16 >= 8) + at for at in range(32)])
    for epoch in (1, 2):
        for number in range(8):
            monkeypatch.setattr(time, "time", lambda: next(clock))
            world.home.storage.commit([OpenRound("main", epoch, number, b"o", 0)], {})
            world.home.storage.commit([CloseRound("main", epoch, number, 0, [], [number], b"r", 1.0)], {})
    monkeypatch.undo()
    world.close()
    for last in (1, 3, 9, 16):
        rows = history.results(tmp_path / "coordinator", None, Span(last))
        right = [(epoch, number) for epoch in (1, 2) for number in range(8)]
        assert [(row["epoch"], row["round"]) for row in rows] == right[-last:]


def timing(**changes: Any) -> Timing:
    found = Timing(Schedule(**{"interval": 20.0, "window": 10.0, "patience": 60.0} | changes), 0, lambda: 0.0, 0)
    found.link_up(0.0, "idle")
    return found


def test_rounds_without_instants_do_not_drift() -> None:
    found, now = timing(), 0.0
    for number in range(1000):
        now = 20.0 * number + 0.05 * (number % 3)  # a tick is late, a little
        assert found.is_due(now, waits=False) and not found.is_due(20.0 * number - 0.01, waits=False)
        found.open(now)
    assert found.due_at(now) == 20_000.0


@pytest.mark.parametrize(("late", "due"), [(0.0, 20.0), (9.9, 20.0), (10.1, 40.0), (29.0, 40.0), (31.0, 60.0)])
def test_a_round_that_waited_for_boards_has_its_window_before_the_next_one(late: float, due: float) -> None:
    found = timing()
    found.open(late)
    assert found.due_at(late) == due
