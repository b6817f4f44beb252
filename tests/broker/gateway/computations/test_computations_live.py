"""Computations that are not over, against a coordinator's own code: each try is told, the result
comes with the last word, and nothing is said twice or for ever."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.crypto import accelerate
from broker.client import QueryResult
from broker.client.asking import LAST_S, RETRY_S, Wanted
from broker.gateway.computation import Computation
from broker.gateway.computations import live as module
from broker.gateway.computations.live import RESULT_S, Live
from tests.broker.gateway.computations.bureau import LATE_S, SUM, Bureau, Desk
from tests.support.street_of_askers import GROUP


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


@pytest.fixture
def bureau(tmp_path: Path) -> Bureau:
    return Bureau(tmp_path)


def test_a_computation_is_told_step_by_step_and_ends_with_its_result(bureau: Bureau) -> None:
    desk = Desk(bureau)
    desk.ask()
    assert desk.hear(bureau.news()) == [("accepted", None)]
    assert desk.hear(bureau.turn()) == [("open", None)]
    opened = desk.told[-1]
    assert (opened.attempt, opened.query, opened.absent, opened.result) == (1, "1.1", (), None)
    bureau.answer()
    assert desk.hear(bureau.news()) == [("complete", None)]
    result = desk.told[-1].result
    assert result and result["count"] == 5 and result["sum"] == sum(board.value for board in bureau.street.boards)
    assert desk.tick(LATE_S) == [] and len(desk.sent) == 1


def test_each_try_is_told_without_who_vanished_and_then_it_is_refused(bureau: Bureau) -> None:
    desk = Desk(bureau)
    desk.ask(replace(SUM, tries=3))
    desk.hear(bureau.turn())
    bureau.presence("b004", False)
    for _ in range(3):
        desk.hear(bureau.turn(LATE_S) + bureau.turn())
    assert [(one.state, one.reason, one.attempt) for one in desk.told] == [
        ("accepted", None, 1),
        ("open", None, 1),
        ("again", "no-result", 1),
        ("open", None, 2),
        ("again", "no-result", 2),
        ("open", None, 3),
        ("refused", "no-result", 3),
    ]
    assert [one.absent for one in desk.told if one.state == "open"] == [(), ("b004",), ("b004",)]


@pytest.mark.parametrize("result_first", [True, False])
def test_the_result_and_the_word_that_it_is_complete_come_in_any_order(bureau: Bureau, result_first: bool) -> None:
    desk = Desk(bureau)
    desk.ask()
    desk.hear(bureau.turn())
    bureau.answer()
    news = sorted(bureau.news(), key=lambda one: isinstance(one, QueryResult), reverse=result_first)
    assert len(news) == 2
    assert desk.hear(news[:1]) == []
    assert desk.hear(news[1:]) == [("complete", None)] and desk.told[-1].result


def test_a_result_that_never_comes_is_said_to_be_missed_once_there_was_a_link(bureau: Bureau) -> None:
    desk = Desk(bureau)
    desk.ask()
    desk.hear(bureau.turn())
    bureau.answer()
    told = [one for one in bureau.news() if not isinstance(one, QueryResult)]
    assert desk.hear(told) == [] and desk.tick(RESULT_S - 1) == []
    desk.live.link_down()
    assert desk.tick(10 * RESULT_S) == []
    bureau.now += 20 * RESULT_S
    desk.do(desk.live.link_up(bureau.now, bureau.unix()))
    assert desk.tick(RESULT_S - 1) == []
    assert desk.tick(RESULT_S) == [("complete", "result-missed")] and desk.told[-1].result is None


@pytest.mark.parametrize("opened", [False, True])
def test_a_gateway_that_was_away_goes_on_with_what_it_kept(bureau: Bureau, opened: bool) -> None:
    desk = Desk(bureau)
    made = desk.ask()
    desk.hear(bureau.turn() if opened else bureau.news())
    kept = Computation.from_json((desk.told[-1] if opened else made).to_json())
    bureau.turn()
    bureau.answer()
    bureau.news()  # said to nobody
    again = Desk(bureau)
    again.do(again.live.ask(kept, bureau.now, bureau.unix()))
    assert again.hear([*bureau.handed_out(), *bureau.news()]) == [("complete", None)]
    assert again.told[-1].result and bureau.machine.next_round == 2  # it was asked once


def test_what_was_told_before_the_gateway_ended_is_not_told_again(bureau: Bureau) -> None:
    desk = Desk(bureau)
    desk.ask()
    desk.hear(bureau.turn())
    again = Desk(bureau)
    again.do(again.live.ask(desk.told[-1], bureau.now, bureau.unix()))
    assert len(again.sent) == 1 and again.hear(bureau.news()) == []


def test_without_a_link_nothing_is_said_and_with_the_next_it_is(bureau: Bureau) -> None:
    desk = Desk(bureau, linked=False)
    desk.ask()
    assert desk.tick(RETRY_S + 1) == [] and desk.sent == []
    desk.do(desk.live.link_up(bureau.now, bureau.unix()))
    assert len(desk.sent) == 1
    desk.live.link_down()
    assert desk.tick(2 * RETRY_S) == [] and len(desk.sent) == 1


def test_before_there_is_a_roster_it_waits_and_then_it_is_asked(bureau: Bureau) -> None:
    desk = Desk(bureau)
    desk.live = Live(lambda group: None)
    desk.do(desk.live.link_up(bureau.now, bureau.unix()))
    desk.ask()
    assert desk.tick(RETRY_S) == [] and desk.sent == []
    desk.live._channel_of = bureau.watch.channel_of
    assert desk.tick() == [] and len(desk.sent) == 1


@pytest.mark.parametrize("known", [True, False])
def test_nobody_waits_for_ever(bureau: Bureau, known: bool) -> None:
    desk = Desk(bureau, linked=known)
    if not known:
        desk.live = Live(lambda group: None)
    desk.ask(seconds=60)
    bureau.said.clear()  # and what the coordinator says is lost
    assert desk.tick(60 + LAST_S - 1) == []
    assert desk.tick(60 + LAST_S + 2) == [("unanswered", "unanswered")]
    assert desk.tick(1e6) == [] and desk.hear(bureau.turn()) == []


def test_what_is_forgotten_is_asked_no_more_and_its_news_are_nobodys(bureau: Bureau) -> None:
    desk = Desk(bureau)
    desk.ask()
    desk.live.forget(1_000)
    assert desk.hear(bureau.turn()) == []
    assert desk.tick(RETRY_S + 1) == [] and len(desk.sent) == 1


def test_of_several_each_has_its_own_news_and_result(bureau: Bureau) -> None:
    desk = Desk(bureau)
    desk.ask()
    desk.ask(Wanted("load", "max"), 1_001)
    desk.ask(number=1_001)  # known: left as it is
    for _ in range(2):
        desk.hear(bureau.turn())
        bureau.answer()
        desk.hear(bureau.news())
        desk.hear(bureau.turn(1.0))
    ended = {one.number: one for one in desk.told if one.is_over}
    assert sorted(ended) == [1_000, 1_001] and {one.state for one in ended.values()} == {"complete"}
    values = [board.value for board in bureau.street.boards]
    assert [ended[1_000].result["sum"], ended[1_001].result["max"]] == [sum(values), max(values)]


def test_results_that_nobody_here_has_asked_for_are_kept_in_bounds(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESULTS_MOST", 3)
    live = Live(bureau.watch.channel_of)
    for number in range(1, 10):
        assert live.answered(QueryResult(GROUP, 1, number, "incomplete"), 0.0) == []
    assert list(live._results) == [(GROUP, "1.7"), (GROUP, "1.8"), (GROUP, "1.9")]


def test_a_computation_is_the_same_after_it_was_kept() -> None:
    wanted = Wanted("load", "histogram", (0, 10, 3), (0, 20), 0.5, 0.25, 900, 2)
    one = Computation(7, GROUP, wanted, 10, 1.5, 2.5, "who", absent=("b1",), result={"bins": [1, 2], "mean": None})
    assert Computation.from_json(one.to_json()) == one
    assert Computation.from_json(replace(one, absent=None).to_json()).absent is None
