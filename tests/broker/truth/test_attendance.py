"""Who took part in a round, who did not and why: recorded, in the log, and there after a restart."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import p256
from agent.wire import coordination
from broker.authority.authority import Authority
from broker.coordinator import overview
from broker.coordinator.home import Home
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.protocols.private_sum.records import Absence, CloseRound, Counted
from tests.support.hand_made import ROLL, ROUND, World, of_kind, published
from tests.support.quick_arithmetic import remembered, small_modulus


@pytest.fixture(scope="module", autouse=True)
def arithmetic_is_quick() -> Iterator[None]:
    with remembered(), small_modulus():
        yield


@pytest.fixture
def five(tmp_path: Path) -> Any:
    world = World(tmp_path, 5)
    yield world
    world.close()


def closing(actions: list[Any]) -> CloseRound:
    (closed,) = of_kind(actions, CloseRound)
    assert isinstance(closed, CloseRound)
    return closed


def lines(actions: list[Any]) -> list[tuple[int, str]]:
    return [record.line() for record in actions if isinstance(record, CloseRound | Absence)]


def stands(world: World) -> dict[str, dict[str, Any]]:
    """How each member stands, as it is shown."""
    (group,) = overview.groups(world.home.storage)
    return {row["member"]: row for row in group["attendance"]}


def test_a_round_that_goes_well_is_one_line_and_nobody_is_absent(five: World) -> None:
    actions = five.whole_round()
    assert lines(actions) == [(logging.INFO, "round 0 of main: complete, 5 of 5 in 1.2 s")]
    rows = stands(five)
    assert [row["sent"] for row in rows.values()] == [True] * 5
    assert sum(row["answered"] for row in rows.values()) == 4  # it takes no more
    assert {row["why"] for row in rows.values()} == {None} and {row["now"] for row in rows.values()} == {None}


def test_an_incomplete_round_says_why_and_names_who_was_really_missing(five: World) -> None:
    opening = five.open()
    five.online("b4", False, 0.5)
    five.send("contribution", five.contributions(opening, ["b0", "b1", "b2"]))
    actions = five.tick(5.0)
    closed = closing(actions)
    assert (closed.status, closed.why, closed.missing) == (coordination.INCOMPLETE, "too-few-sent", ["b3", "b4"])
    assert five.result(closed.message) == (0, "incomplete", ["b3", "b4"], None)
    assert lines(actions) == [
        (
            logging.WARNING,
            "round 0 of main: incomplete; too few sent, 3 of 5, and it takes 4; missing: b3 (no-reading), b4 (no-link)",
        ),
        (logging.WARNING, "b3 of main is absent since round 0: no-reading"),
        (logging.WARNING, "b4 of main is absent since round 0: no-link"),
    ]


def test_who_is_absent_since_when_and_why_outlives_a_restart(five: World) -> None:
    roll = five.call(five.names[:4])
    five.send("answer", five.answers(roll), 5.5)
    before = stands(five)
    assert (before["b4"]["why"], before["b4"]["since_round"], before["b4"]["sent"]) == ("no-reading", 0, False)
    five.restart()
    assert stands(five) == before
    five.do(five.machine.link_up(6.0), 6.0)
    opening = published(five.tick(20.0), ROUND)[0]
    actions = five.send("contribution", five.contributions(opening, five.names[:4]), 21.0)
    actions += five.tick(25.0)
    actions += five.send("answer", five.answers(published(actions, ROLL)[0]), 25.5)
    assert (closing(actions).round, of_kind(actions, Absence)) == (1, [])  # nothing new of it
    assert (stands(five)["b4"]["since_round"], stands(five)["b4"]["since"]) == (0, before["b4"]["since"])
    opening = published(five.tick(30.0), ROUND)[0]
    five.online("b4", True, 30.5)
    sent = five.contributions(opening, ["b4", *five.names[:4]])  # nobody waits for who seems to be dead
    actions = five.send("contribution", sent, 31.0)
    actions += five.send("answer", five.answers(published(actions, ROLL)[0]), 31.5)
    assert lines(actions)[1:] == [(logging.INFO, "b4 of main is back in round 2")]
    assert stands(five)["b4"]["why"] is None


def test_what_members_do_in_the_round_that_is_open_is_there_after_a_restart(five: World) -> None:
    opening = five.open()
    five.send("contribution", five.contributions(opening, ["b0", "b1"]))
    five.restart()
    five.do(five.machine.link_up(2.0), 2.0)
    assert [row["now"] for row in stands(five).values()] == ["sent", "sent", "awaited", "awaited", "awaited"]
    actions = five.send("contribution", five.contributions(opening, ["b2", "b3", "b4"]), 2.0)
    answers = five.answers(published(actions, ROLL)[0])
    five.say("b0", "answer", answers["b0"], 2.5)
    five.restart()
    assert [row["now"] for row in stands(five).values()] == ["answered", "listed", "listed", "listed", "listed"]


def test_without_masks_it_is_the_masks_that_lack(five: World) -> None:
    five.first_set()
    five.all_ready(last=0)
    opening = published(five.tick(0.0), ROUND)[0]
    actions = five.send("contribution", {n: five.members[n].contribution(opening, 1, last=0) for n in five.names})
    actions += five.send("answer", five.answers(published(actions, ROLL)[0]), 1.5)
    five.all_ready(five.names[:4], last=3)
    opening = published(five.tick(40.0), ROUND)[0]  # patience with b4 is over
    five.send("contribution", five.contributions(opening, five.names[:4]), 41.0)
    actions = five.tick(45.0)
    assert published(actions, ROLL) or published(five.tick(45.1), ROLL)
    five.tick(60.0)
    assert stands(five)["b4"]["why"] == "no-mask"


def test_who_was_never_there_was_never_dealt_anything(tmp_path: Path) -> None:
    world = World(tmp_path, 5)
    world.do(world.machine.link_up(0.0), 0.0)
    world.arrive(world.names[:4], 0.0)
    world.tick(20.0)  # patience with the fifth is over
    world.all_ready(world.names[:4])
    opening = published(world.tick(21.0), ROUND)[0]
    actions = world.send("contribution", world.contributions(opening, world.names[:4]), 22.0)
    actions += world.send("answer", world.answers(published(actions, ROLL)[0]), 22.5)
    assert closing(actions).line() == (
        logging.INFO,
        "round 0 of main: complete, 4 of 5 in 1.5 s; missing: b4 (never-dealt)",
    )
    assert stands(world)["b4"]["why"] == "never-dealt not-here"
    world.close()


def test_too_late_is_not_the_same_as_nothing(five: World) -> None:
    opening = five.open()
    sent = five.contributions(opening)
    five.send("contribution", {name: sent[name] for name in five.names[:4]})
    actions = five.tick(5.0)
    five.say("b4", "contribution", sent["b4"], 5.2)  # the roll is called
    actions = five.send("answer", five.answers(published(actions, ROLL)[0]), 5.5)
    assert of_kind(actions, Absence)[0].reason == "late"


def test_rounds_of_before_have_no_attendance(five: World) -> None:
    five.whole_round()
    with five.home.storage._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE rounds SET attendance = NULL, why = NULL")
    (row,) = five.home.storage.read(reading.shown, "main", 9)
    assert (row["attendance"], row["why"]) == (None, None)
    assert {row["sent"] for row in stands(five).values()} == {None}


def test_what_was_counted_of_a_board_is_not_of_the_one_that_takes_its_name_over(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    home = Home.init(tmp_path / "coordinator", "test", bytes.fromhex(authority.public))
    keys = [p256.public_key(p256.generate(os.urandom)).hex() for _ in range(6)]
    for index in range(5):
        authority.enrol("main", f"b{index}", keys[index])
    how = (home.public, [("load", 0, 1000)], "private-sum", "hum-2048")
    home.adopt("main", authority.sign_roster("main", *how)[1])
    home.storage.commit([Counted("main", f"b{index}", 1, 7) for index in range(5)], {})
    authority.replace("b2", keys[5])
    home.adopt("main", authority.sign_roster("main", *how)[1])
    assert sorted(home.storage.read(reading.saved, "main", 1).counted) == ["b0", "b1", "b2", "b3", "b4"]
    assert sorted(home.storage.read(reading.saved, "main", 2).counted) == ["b0", "b1", "b3", "b4"]
    home.storage.close()
