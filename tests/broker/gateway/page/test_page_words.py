"""How members and rounds are put into words: of what a real coordinator's machine tells a
real Watch, with members made by hand and no broker."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.crypto import accelerate
from broker.gateway.page.words import members, steps
from broker.wire.views import STATES
from tests.broker.gateway.page.told_street import GROUP, ToldStreet
from tests.support.hand_made import ROLL, ROUND, published


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


@pytest.fixture
def street(tmp_path: Path) -> Iterator[ToldStreet]:
    found = ToldStreet(tmp_path)
    yield found
    found.sums.world.close()


def words(row: steps.Row) -> list[str]:
    return [state.word for state in row[1:]]


def test_a_round_is_awaited_sent_listed_and_answered_by_each(street: ToldStreet) -> None:
    world = street.sums.world
    opening = world.open()
    assert {tuple(words(row)) for row in street.look().rows} == {("awaited", "not yet", "–", "–")}
    sent = world.contributions(opening)
    world.send("contribution", {"b1": sent.pop("b1")})
    shown = street.look()
    assert shown.state.word == "open: 1 of 4 have sent" and words(shown.rows[1]) == ["sent", "not yet", "–", "–"]
    roll = published(world.send("contribution", sent), ROLL)[0]
    shown = street.look()
    assert (shown.state.word, shown.sent, shown.listed) == ("open: 0 of 4 have answered", 4, 4)
    assert words(shown.rows[0]) == ["sent", "listed", "awaited", "–"]
    world.send("answer", world.answers(roll), 1.25)
    shown = street.look()
    assert (shown.state.kind, shown.state.word, shown.missing, shown.shortfall) == ("good", "complete", [], None)
    assert all(words(row)[-1] == "summed" and row.sent.kind == row.listed.kind == "good" for row in shown.rows)
    assert shown.answered == len([row for row in shown.rows if row.answered.word == "answered"]) >= 3
    assert {row.answered.word for row in shown.rows} <= {"answered", "not by then"}


def test_who_is_missing_is_told_with_who_stood_in(street: ToldStreet) -> None:
    world = street.sums.world
    opening = world.open()
    world.send("contribution", world.contributions(opening, ["b0", "b1", "b2"]))
    roll = published(world.tick(5.5), ROLL)[0]
    assert words(street.look().rows[3]) == ["silent", "–", "–", "–"]
    world.send("answer", world.answers(roll), 6.0)
    shown = street.look()
    assert shown.state == steps.State("some", "complete, 1 missing")
    assert (shown.missing, shown.stood_in) == (["b3"], ["b0", "b1", "b2"])
    assert words(shown.rows[3]) == ["silent", "–", "–", "missing"]


def test_a_round_without_a_sum_says_how_many_it_takes_how_many_came_and_who_is_silent(street: ToldStreet) -> None:
    world = street.sums.world
    opening = world.open()
    world.send("contribution", world.contributions(opening, ["b0", "b1"]))
    world.tick(5.5)
    short = street.look().shortfall
    assert short and (short.needed, short.came, short.why) == (3, 2, "too few sent in time")
    assert [one.name for one in short.silent] == ["b2", "b3"]
    standing = street.members.standing(GROUP)
    assert all(one.since_round == 0 and one.since for one in short.silent)
    before = replace(street.round(), closed_at=1)  # since when is of a later absence
    assert steps.unfolded(before, world.names, standing).shortfall == short._replace(
        silent=[steps.Silent(name, None, None) for name in ("b2", "b3")]
    )
    listed = replace(street.round(), why="too-few-answers", listed=("b0", "b1", "b2"), answered=("b1",))
    short = steps.unfolded(listed, world.names, None).shortfall
    assert short and (short.came, [one.name for one in short.silent]) == (1, ["b0", "b2"])
    other = replace(street.round(), status="invalid", why="wrong-sum")
    short = steps.unfolded(other, world.names, None).shortfall
    assert short and (short.needed, short.came) == (None, None) and "do not fit" in short.why


def test_each_member_is_told_with_a_state_and_why_it_is_in_no_sum(street: ToldStreet) -> None:
    world = street.sums.world
    world.first_set()
    world.all_ready()
    opening = published(world.online("b3", False), ROUND)[-1]
    for name in world.names:
        street.sums.gateway.view.presence(name, name != "b3")
    roll = published(world.send("contribution", world.contributions(opening, ["b0", "b1", "b2"])), ROLL)[0]
    world.send("answer", world.answers(roll), 1.25)
    street.look()
    standing = street.members.standing(GROUP)
    assert standing
    known = members.known(standing)
    assert [one.state.word for one in known] == ["ready", "ready", "ready", "offline"]
    gone = known[3]
    assert (gone.code, gone.since_round) == ("no-link", 0) and gone.since and "has said that it is gone" in gone.why
    assert members.counted(known) == [(members.STATES["ready"], 3), (members.STATES["offline"], 1)]
    assert members.reason("never-dealt not-here") == "it never took part; it has not said that it has this roster"
    assert members.reason("some-new-reason") == "some new reason"


def test_states_differ_by_word_and_each_that_there_is_has_one() -> None:
    assert set(members.STATES) == set(STATES)
    assert len({state.word for state in members.STATES.values()}) == len(STATES)


def test_a_signal_is_told_in_a_word(street: ToldStreet) -> None:
    street.sums.world.open()
    street.sums.gateway.view.report("b2", {"phase": "ready", "masks": 7, "version": 3, "rssi_dbm": -61})
    street.look()
    reports = street.members.reports(GROUP)
    assert reports
    found = members.said(reports)
    assert found[2].signal == members.State("good", "fair") and found[2].report.masks == 7
    assert found[0].signal is None and found[0].report.seen is None
    assert [members.signal(dbm).word for dbm in (-127, -81, -80, -70, -60, -1)] == [
        "faint",
        "faint",
        "weak",
        "fair",
        "strong",
        "strong",
    ]
