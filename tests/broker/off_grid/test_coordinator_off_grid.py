"""Rounds off the grid, in virtual time: opened on request between two of the schedule, which they
never disturb, and told of in the database, whatever fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from agent.protocols.base.identity import CLOSE_WINDOW
from agent.wire import coordination, messages
from agent.wire.messages import OFF_GRID
from broker.coordinator.protocols.private_sum import reading, tables
from broker.coordinator.protocols.private_sum.asks import requests
from broker.coordinator.protocols.private_sum.on_request.records import CloseRequest
from broker.coordinator.protocols.private_sum.on_request.rounds import FAILED_MOST
from broker.coordinator.protocols.private_sum.records import Absence, CloseRound, OpenRound
from broker.coordinator.schedule import Schedule
from tests.support.hand_made import RESULT, ROLL, ROUND, World, of_kind, published

INTERVAL = 100.0
SCHEDULE = Schedule(interval=INTERVAL, window=20, patience=30, answers=30)
LAST = 60  # the last round that members have masks for


class Street(World):
    """A group with a round every INTERVAL seconds, from 0 on; the first one is over."""

    def __init__(self, folder: Path, members: int = 4, schedule: Schedule = SCHEDULE) -> None:
        self.openings: list[bytes] = []
        super().__init__(folder, members, schedule)
        self.first_set(0.0)
        self.all_ready(last=LAST)
        self.whole(published(self.tick(0.0), ROUND)[-1], 1.0)

    def ask(self) -> int:
        """Somebody asks for a sum; return the request's id."""
        key = self.home.storage.write(
            lambda connection: connection.execute(requests.entry("main")).inserted_primary_key
        )
        self.hand()
        assert key
        return int(key[0])

    def hand(self) -> None:
        self.machine.on_request.ask(self.home.storage.read(requests.waiting))

    def request(self, number: int) -> Any:
        table = tables.requests
        return self.home.storage.read(lambda c: c.execute(table.select().where(table.c.id == number)).one())

    def opened(self, now: float) -> list[tuple[int, int]]:
        """Let time pass; return (round, instant) of the openings."""
        openings = [one for one in published(self.tick(now), ROUND) if one]
        self.openings = openings or self.openings
        return [(found[1], found[7]) for found in map(messages.read_opening, openings)]

    def whole(self, opening: bytes, now: float, names: list[str] | None = None) -> list[Any]:
        """All that were there last take part in a round; return what came of it."""
        actions = self.send("contribution", self.contributions(opening, names), now)
        for roll in published(actions, ROLL):
            actions += self.send("answer", self.answers(roll), now) if roll else []
        return actions

    def contributions(self, opening: bytes, names: list[str] | None = None) -> dict[str, bytes]:
        return {
            name: self.members[name].contribution(opening, 100 + self.names.index(name), last=LAST)
            for name in (self.names if names is None else names)
        }


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


@pytest.fixture
def street(tmp_path: Path) -> Any:
    world = Street(tmp_path)
    yield world
    world.close()


ALL = 100 + 101 + 102 + 103


def test_a_sum_that_is_asked_for_is_marked_exact_and_told_of_and_the_next_round_is_on_time(street: Street) -> None:
    assert street.opened(40.0) == []
    request = street.ask()
    assert street.request(request).status == "waiting"
    assert street.opened(40.1) == [(1, OFF_GRID)]
    assert street.request(request)[3:6] == ("open", 1, 1)
    actions = street.whole(street.openings[0], 41.0)
    (closed,) = of_kind(actions, CloseRound)
    assert (closed.status, closed.sums, closed.missing) == (coordination.COMPLETE, [ALL], [])
    assert of_kind(actions, CloseRequest) == [CloseRequest(request, None)]
    result = street.client(published(actions, RESULT)[-1])
    assert result.off_grid and result.instant is None and result.sums == [ALL]
    row = street.request(request)
    assert (row.status, row.epoch, row.round, row.reason) == ("complete", 1, 1, None)
    assert street.opened(INTERVAL - 0.1) == [] and street.opened(INTERVAL) == [(2, 0)]
    # What was read off the grid is counted: the next reading goes on from there.
    assert messages.read_opening(street.openings[0])[5] == coordination.counted(1, 1) * 4
    (closed,) = of_kind(street.whole(street.openings[0], INTERVAL + 1), CloseRound)
    assert closed.sums == [ALL]
    rows = street.home.storage.read(reading.shown, "main", 9)
    assert [(row["round"], row["off_grid"], row["instant"]) for row in rows] == [
        (0, False, None),
        (1, True, None),
        (2, False, None),
    ]


def test_two_requests_are_two_rounds_one_after_the_other(street: Street) -> None:
    first, second = street.ask(), street.ask()
    assert street.opened(40.0) == [(1, OFF_GRID)] and street.opened(40.5) == []
    street.whole(street.openings[0], 41.0)
    assert street.opened(41.1) == [(2, OFF_GRID)]
    street.whole(street.openings[0], 42.0)
    assert [street.request(one)[3:6] for one in (first, second)] == [("complete", 1, 1), ("complete", 1, 2)]
    street.hand()
    assert street.opened(43.0) == []


def test_without_room_before_the_next_round_it_comes_after_it_and_not_while_that_is_open(street: Street) -> None:
    street.ask()
    assert street.opened(INTERVAL - SCHEDULE.room + 0.1) == [] and SCHEDULE.room == 25.0
    assert street.opened(INTERVAL) == [(1, 0)] and street.opened(INTERVAL + 0.5) == []
    street.whole(street.openings[0], INTERVAL + 1)
    assert street.opened(INTERVAL + 1.1) == [(2, OFF_GRID)]


def test_it_takes_no_mask_that_the_next_round_needs(tmp_path: Path) -> None:
    world = Street(tmp_path)
    for name in world.names:
        known = world.machine._members.masks_until(name)
        world.machine._members.advance(type(known)(**(vars(known) | {"round": 1})))
    world.ask()
    assert world.opened(40.0) == []
    for name in world.names[:3]:
        world.say(name, "ready", world.members[name].ready(LAST + 1), 40.0)
    assert world.opened(41.0) == []  # one of them would be without
    world.say("b3", "ready", world.members["b3"].ready(LAST + 1), 41.0)
    assert world.opened(42.0) == [(1, OFF_GRID)]
    world.close()


def test_one_that_is_still_open_is_closed_for_the_next_round_which_is_on_time(street: Street) -> None:
    request = street.ask()
    assert street.opened(INTERVAL - SCHEDULE.room) == [(1, OFF_GRID)]
    actions = street.send("contribution", street.contributions(street.openings[0]), INTERVAL - 10)
    assert published(actions, ROLL)
    (closed,) = of_kind(street.tick(INTERVAL), CloseRound)
    assert (closed.round, closed.status) == (1, coordination.INCOMPLETE)
    assert street.opened(INTERVAL) == [(2, 0)]
    row = street.request(request)
    assert (row.status, row.reason, row.again) == ("refused", "too-few-answers", True)
    (closed,) = of_kind(street.whole(street.openings[0], INTERVAL + 1), CloseRound)
    assert closed.sums == [ALL]


def test_who_takes_no_part_off_the_grid_is_not_absent_and_the_next_round_waits_for_it(street: Street) -> None:
    request = street.ask()
    assert street.opened(40.0) == [(1, OFF_GRID)]
    actions = street.send("contribution", street.contributions(street.openings[0], street.names[:3]), 41.0)
    actions += street.tick(61.0)  # its window
    (closed,) = of_kind(actions, CloseRound)
    assert closed.why == "no-list" and closed.missing == ["b3"] and published(actions, ROLL) == []
    assert of_kind(actions, CloseRequest) == [CloseRequest(request, "no-list", True)]
    assert of_kind(actions, Absence) == [] and street.machine._members.absent() == 0
    assert street.opened(INTERVAL) == [(2, 0)]
    assert messages.read_opening(street.openings[0])[4] == 0
    actions = street.send("contribution", street.contributions(street.openings[0], street.names[:3]), INTERVAL + 1)
    assert published(actions, ROLL) == []  # it waits
    actions = street.send("contribution", street.contributions(street.openings[0], ["b3"]), INTERVAL + 2)
    assert len(published(actions, ROLL)) == 1


def test_after_one_without_a_sum_a_round_on_the_grid_comes_first_and_then_nobody_waits_for_who_was_silent(
    street: Street,
) -> None:
    street.ask()
    street.opened(40.0)
    street.send("contribution", street.contributions(street.openings[0], street.names[:3]), 41.0)
    street.tick(61.0)
    street.ask()
    assert street.opened(62.0) == []
    assert street.opened(INTERVAL) == [(2, 0)]
    street.send("contribution", street.contributions(street.openings[0], street.names[:3]), INTERVAL + 1)
    actions = street.tick(INTERVAL + 21)
    actions += street.send("answer", street.answers(published(actions, ROLL)[0]), INTERVAL + 22)
    assert of_kind(actions, CloseRound)[0].missing == ["b3"]
    # The list is without b3 now, and so may be a round off the grid.
    assert street.opened(INTERVAL + 23) == [(3, OFF_GRID)]
    assert messages.read_opening(street.openings[0])[4] == 0b1000
    (closed,) = of_kind(street.whole(street.openings[0], INTERVAL + 24, street.names[:3]), CloseRound)
    assert closed.sums == [303] and closed.missing == ["b3"]


def test_it_waits_for_the_members_of_the_last_list_to_be_there(street: Street) -> None:
    street.online("b1", False, 30.0)
    street.ask()
    assert street.opened(40.0) == []
    (opening,) = published(street.online("b1", True, 41.0), ROUND)
    assert messages.read_opening(opening)[7] == OFF_GRID


def test_more_members_than_were_listed_last_are_receipted_and_not_listed(street: Street) -> None:
    street.opened(INTERVAL)
    street.send("contribution", street.contributions(street.openings[0], street.names[:3]), INTERVAL + 1)
    actions = street.tick(INTERVAL + 21)
    street.send("answer", street.answers(published(actions, ROLL)[0]), INTERVAL + 22)
    street.online("b3", True, INTERVAL + 23)
    street.ask()
    assert street.opened(INTERVAL + 24) == [(2, OFF_GRID)]
    actions = street.send("contribution", street.contributions(street.openings[0]), INTERVAL + 25)
    (roll,) = published(actions, ROLL)
    actions = street.send("answer", street.answers(roll), INTERVAL + 26)
    (closed,) = of_kind(actions, CloseRound)
    assert closed.missing == ["b3"] and closed.sums == [303]


def test_after_several_without_a_sum_requests_are_refused_for_a_while(street: Street) -> None:
    now, number = 0.0, 1
    for _ in range(FAILED_MOST):
        street.ask()
        ((number, mark),) = street.opened(now + 40)
        assert mark == OFF_GRID
        street.send("contribution", street.contributions(street.openings[0], street.names[:2]), now + 41)
        street.tick(now + 61)
        now += INTERVAL
        street.opened(now)
        street.whole(street.openings[0], now + 1)
    request = street.ask()
    assert street.opened(now + 40) == [] and street.request(request)[7:] == ("failing", False)
    late = requests.Request(request + 1, "main")
    street.machine.on_request.ask([late])
    assert street.machine.on_request.turn(number - 7 + CLOSE_WINDOW, now + 40) == (
        [CloseRequest(late.id, "failing")],
        0,
    )
    street.machine.on_request.ask([late])
    assert street.machine.on_request.turn(number - 6 + CLOSE_WINDOW, now + 40)[0] == []


def test_what_is_given_up_while_it_waits_is_not_opened(street: Street) -> None:
    street.online("b1", False, 30.0)
    request = street.ask()
    assert street.opened(40.0) == []
    street.home.storage.write(lambda connection: connection.execute(requests.giving_up(request)))
    street.hand()
    assert published(street.online("b1", True, 41.0), ROUND) == [] == street.opened(42.0)


def test_a_coordinator_that_starts_again_blames_nobody_for_what_was_off_the_grid(street: Street) -> None:
    request = street.ask()
    street.opened(40.0)
    street.restart()
    assert published(street.do(street.machine.link_up(45.0), 45.0), ROUND) == street.openings
    actions = street.tick(45.1)  # without instants a round is due with its start
    assert of_kind(actions, CloseRequest) == [CloseRequest(request, "too-few-sent", True)]
    street.restart()
    assert street.machine._members.absent() == 0 and street.machine._timing.off_grid


def test_what_an_epoch_before_has_left_open_is_told_as_restarted(street: Street) -> None:
    request = street.ask()
    street.opened(40.0)
    with street.home.storage._engine.begin() as connection:
        connection.execute(tables.requests.update().values(round=77))
    street.restart()
    street.do(street.machine.link_up(45.0), 45.0)
    street.tick(66.0)  # the round in progress is over
    actions = street.tick(67.0)
    assert len(of_kind(actions, OpenRound)) == 1
    assert of_kind(actions, CloseRequest) == [CloseRequest(request, "restarted", True)]
    assert street.request(request)[7:] == ("restarted", True)


def test_the_last_scheduled_round_is_not_taken_by_a_request(tmp_path: Path) -> None:
    world = Street(tmp_path, schedule=Schedule(INTERVAL, 20, 30, rounds=2, answers=30))
    world.ask()
    assert world.opened(40.0) == [] and world.opened(INTERVAL) == [(1, 0)]
    world.close()


def test_before_a_first_list_of_the_epoch_nothing_is_opened_off_the_grid(tmp_path: Path) -> None:
    world = World(tmp_path, 4, SCHEDULE)
    world.first_set(0.0)
    world.all_ready(last=LAST)
    opening = published(world.tick(0.0), ROUND)[-1]
    assert messages.read_opening(opening)[7] == 0
    world.tick(20.1)  # nobody came
    world.machine.on_request.ask([requests.Request(1, "main")])
    assert published(world.tick(21.0), ROUND) == []
    world.close()


def test_a_round_of_an_instant_comes_as_if_there_had_been_none_off_the_grid(tmp_path: Path) -> None:
    begin = 1_800_000_000
    now = [0.0]
    world = World(tmp_path, 4, Schedule(900, 60, 600, answers=100, instants=True))
    world.home._workplace = type(world.home._workplace)(
        **(vars(world.home._workplace) | {"unix_time": lambda: begin + now[0]})
    )
    world.restart()

    def at(moment: float) -> list[Any]:
        now[0] = moment
        return world.tick(moment)

    world.first_set(0.0)
    world.all_ready(last=LAST)
    (opening,) = published(at(870.0), ROUND)
    actions = world.send(
        "contribution", {n: world.members[n].contribution(opening, 5, last=LAST) for n in world.names}, 901.0
    )
    now[0] = 902.0
    world.send("answer", world.answers(published(actions, ROLL)[0]), 902.0)
    world.machine.on_request.ask([requests.Request(1, "main")])
    (opening,) = published(at(1000.0), ROUND)
    assert messages.read_opening(opening)[6:] == (begin + 1000, OFF_GRID)
    world.restart()
    assert published(world.do(world.machine.link_up(1000.0), 1000.0), ROUND) == [opening]
    sent = {n: world.members[n].contribution(opening, 7, last=LAST) for n in world.names}
    actions = world.send("contribution", sent, 1000.0)
    assert "before-instant" not in world.machine.refused
    actions = world.send("answer", world.answers(published(actions, ROLL)[0]), 1001.0)
    (closed,) = of_kind(actions, CloseRound)
    assert closed.sums == [28] and closed.latency_ms == pytest.approx(1000, abs=1)
    assert world.client(published(actions, RESULT)[-1]).off_grid
    (opened,) = of_kind(at(1770.0), OpenRound)
    assert opened.instant == begin + 1800 and opened.round == 2
    world.close()
