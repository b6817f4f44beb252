"""Rounds of instants: when they open and close, what they are of, and what becomes of them when the
coordinator or its clock is not where it was."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.wire import messages
from broker.coordinator.home import HomeError
from broker.coordinator.protocols.base import RosterError
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.protocols.private_sum.records import CloseRound
from broker.coordinator.protocols.private_sum.timing import Timing
from broker.coordinator.schedule import Schedule
from tests.support.hand_made import RESULT, ROLL, ROUND, World, of_kind, published
from tests.support.quick_arithmetic import remembered, small_modulus

BEGIN = 1_800_000_000  # a quarter hour
SPREAD = 120
SCHEDULE = Schedule(interval=900, window=60, patience=600, rounds=None, answers=100, instants=True)
LEAD = SCHEDULE.lead


class Quarters(World):
    """A group with rounds of quarter hours; its Unix time is BEGIN + now, and `off` seconds
    more."""

    def __init__(self, folder: Path, members: int = 3) -> None:
        self.now = self.off = 0.0
        super().__init__(folder, members, SCHEDULE, spread=SPREAD)

    def restart(self) -> Any:
        self.home._workplace = replace(self.home._workplace, unix_time=lambda: BEGIN + self.now + self.off)
        return super().restart()

    def at(self, now: float) -> list[Any]:
        """Let time pass to `now`."""
        self.now = now
        return self.tick(now)

    def opened(self, now: float) -> tuple[int, int, int]:
        """Let time pass; return (round, time, instant) of the opening that was published, counted
        from BEGIN."""
        (opening,) = published(self.at(now), ROUND)
        found = messages.read_opening(opening)
        return found[1], found[6] - BEGIN, found[7] - BEGIN

    def begin(self) -> bytes:
        """Bring the machine to the first round, and return its opening."""
        self.now = 100.0
        self.first_set(100.0)
        self.all_ready(last=50)
        assert published(self.at(899 - LEAD), ROUND) == []
        return published(self.at(900 - LEAD), ROUND)[-1]


@pytest.fixture(scope="module", autouse=True)
def arithmetic_is_quick() -> Iterator[None]:
    with remembered(), small_modulus():
        yield


@pytest.fixture
def quarters(tmp_path: Path) -> Any:
    world = Quarters(tmp_path)
    yield world
    world.close()


def test_a_round_opens_a_lead_before_each_quarter_hour_and_its_result_is_of_it(quarters: Quarters) -> None:
    opening = quarters.begin()
    assert messages.read_opening(opening)[6:] == (BEGIN + 870, BEGIN + 900)
    quarters.now = 901.0
    actions = quarters.send("contribution", quarters.contributions(opening), 901.0)
    actions += quarters.send("answer", quarters.answers(published(actions, ROLL)[0]), 902.0)
    (closed,) = of_kind(actions, CloseRound)
    assert closed.sums == [303] and closed.latency_ms == pytest.approx(2000, abs=1)  # since the instant
    (message,) = published(actions, RESULT)
    assert quarters.client(message).instant == BEGIN + 900
    (row,) = quarters.home.storage.read(reading.shown, "main", 9)
    assert row["instant"] == BEGIN + 900
    assert published(quarters.at(1800 - LEAD - 0.1), ROUND) == []
    assert quarters.opened(1800 - LEAD) == (1, 1770, 1800)
    assert quarters.machine.refused == {}


def test_contributions_are_taken_for_the_window_after_the_instant_and_the_spread(quarters: Quarters) -> None:
    opening = quarters.begin()
    quarters.now = 1000.0
    assert published(quarters.send("contribution", quarters.contributions(opening, ["b0", "b1"]), 1000.0), ROLL) == []
    assert quarters.at(900 + SPREAD + 59.9) == []
    (closed,) = of_kind(quarters.at(900 + SPREAD + 60), CloseRound)
    assert (closed.missing, closed.why) == (["b2"], "too-few-sent")


def test_who_sends_before_the_instant_counts_and_is_noticed(quarters: Quarters) -> None:
    opening = quarters.begin()
    quarters.now = 898.5
    quarters.send("contribution", quarters.contributions(opening, ["b0"]), 898.5)
    assert quarters.machine.refused == {"before-instant": 1}
    quarters.now = 899.5
    actions = quarters.send("contribution", quarters.contributions(opening, ["b1", "b2"]), 899.5)
    assert len(published(actions, ROLL)) == 1 and quarters.machine.refused == {"before-instant": 1}


def test_patience_ends_before_the_instant(quarters: Quarters) -> None:
    """A round that waited for ten minutes would be of no quarter hour."""
    quarters.begin()
    quarters.now = 1800 - LEAD / 2 - 0.1
    assert not quarters.machine._timing.is_due(quarters.now, waits=True)
    quarters.now = 1800 - LEAD / 2
    assert quarters.machine._timing.is_due(quarters.now, waits=True)


def test_an_instant_that_passed_without_a_set_is_left_out(tmp_path: Path) -> None:
    world = Quarters(tmp_path)
    world.do(world.machine.link_up(0.0), 0.0)
    for now in (870.0, 899.9, 900.1, 950.0):
        assert published(world.at(now), ROUND) == []
    world.now = 950.0
    world.arrive(now=950.0)
    world.all_ready(last=9)
    assert published(world.at(1000.0), ROUND) == []
    assert world.opened(1800 - LEAD) == (0, 1770, 1800)
    world.close()


@pytest.mark.parametrize("then", [870.5, 899.0, 901.0, 1000.0])
def test_a_coordinator_that_starts_again_goes_on_with_the_round_of_its_instant(quarters: Quarters, then: float) -> None:
    opening = quarters.begin()
    quarters.now = then
    machine = quarters.restart()
    assert published(quarters.do(machine.link_up(then), then), ROUND) == [opening]
    over = max(then, 900.0) + SPREAD + 60
    assert of_kind(quarters.at(over - 0.1), CloseRound) == []
    (closed,) = of_kind(quarters.at(over), CloseRound)
    assert closed.round == 0
    assert quarters.opened(1800 - LEAD)[2] == 1800


@pytest.mark.parametrize("off", [0.0, -3.0, -30.0, -800.0])
def test_no_instant_has_two_rounds(quarters: Quarters, off: float) -> None:
    """Whatever starts again, and wherever the clock is set back to."""
    opening = quarters.begin()
    quarters.now = 901.0
    actions = quarters.send("contribution", quarters.contributions(opening), 901.0)
    quarters.send("answer", quarters.answers(published(actions, ROLL)[0]), 902.0)
    quarters.off, quarters.now = off, 902.0
    machine = quarters.restart()
    quarters.do(machine.link_up(902.0), 902.0)
    for name in quarters.names:
        quarters.online(name, True, 902.0)
        quarters.say(name, "here", quarters.members[name].here(), 902.0)
    for now in (903.0, 905.0, 1800 - LEAD - off - 0.2):
        assert published(quarters.at(now), ROUND) == []
    assert quarters.opened(1800 - LEAD - off)[2] == 1800


def test_a_clock_that_was_far_ahead_is_forgotten(quarters: Quarters) -> None:
    quarters.off = 90_000.0
    quarters.now = 100.0
    quarters.first_set(100.0)
    quarters.all_ready(last=50)
    assert quarters.opened(900 - LEAD)[2] == 90_900
    quarters.off = 0.0
    assert [record.round for record in of_kind(quarters.at(1800 - LEAD), CloseRound)] == [0]
    assert quarters.opened(1800 - LEAD)[1:] == (1770, 1800)


def test_without_instants_nothing_names_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    opening = world.open()
    assert messages.read_opening(opening)[7] == 0
    actions = world.send("contribution", world.contributions(opening))
    actions += world.send("answer", world.answers(published(actions, ROLL)[0]), 1.25)
    (message,) = published(actions, RESULT)
    assert world.client(message).instant is None
    (row,) = world.home.storage.read(reading.shown, "main", 9)
    assert row["instant"] is None
    world.close()


def test_a_spread_that_leaves_no_time_for_answers_is_refused() -> None:
    def timing(spread: int, **changes: Any) -> Timing:
        return Timing(replace(SCHEDULE, **changes), spread, lambda: 0.0, 0)

    assert timing(450).instant == 0 and timing(3600, instants=False).instant == 0
    with pytest.raises(RosterError, match="its spread of 451 s is more than half of the interval of 900 s"):
        timing(451)


def test_a_roster_with_such_a_spread_is_one_line(quarters: Quarters) -> None:
    with pytest.raises(HomeError, match="the roster of main is of no use: its spread of 120 s"):
        quarters.home.machines(replace(SCHEDULE, interval=60))


def test_each_instant_is_the_first_multiple_that_has_not_come() -> None:
    unix = 0.0
    make: Callable[[int], Timing] = lambda last: Timing(SCHEDULE, 0, lambda: unix, last)  # noqa: E731  (one expression)
    for unix, last, instant in (
        (0.0, 0, 900),
        (0.1, 0, 900),
        (900.0, 0, 900),
        (900.1, 0, 1800),
        (870.0, 900, 1800),
        (899.9, 900, 1800),
        (1750.0, 900, 1800),
        (100.0, 900, 1800),
        (100.0, 1000, 900),  # a clock that was an interval ahead, or more
        (950.0, 1000, 1800),  # of another interval
        (950.0, 1801, 2700),
    ):
        timing = make(last)
        timing.link_up(0.0, "idle")
        assert timing.due_at(0.0) == pytest.approx(instant - LEAD - unix), (unix, last)
