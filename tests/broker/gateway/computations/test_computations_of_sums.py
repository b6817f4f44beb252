"""A group of sums is asked by the gateway's computations: for one sum off the grid, whose round has
all slots, and of which one is the answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from broker.client import RoundResult
from broker.client.asking import Send, Wanted
from broker.client.members import RequestTold
from broker.gateway.book import computations, rounds
from broker.gateway.computation import ROUND, Computation
from broker.gateway.computations.live import RESULT_S, Live
from broker.gateway.computations.service import Computations
from tests.broker.gateway.gate import Gate, a_round
from tests.broker.gateway.lane import ask
from tests.broker.gateway.test_scopes import reason
from tests.broker.gateway.test_sum_requests import UNIX, Town

API = "/api/v1"
SUM = {"slot": "load", "function": "sum"}


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Asked:
    """The computations of a town's gateway, and what they wanted kept."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.live = Live(town.watch.channel_of)
        self.told: list[Computation] = []
        town.asking = self
        self.do(self.live.link_up(0.0, UNIX))

    def do(self, actions: Any) -> None:
        for action in actions:
            if isinstance(action, Send):
                said, refused = self.town.gateway.hear(
                    "main", action.topic.rpartition("/")[2], action.payload, {"main": self.town.machine}
                )
                assert not refused
                self.town.perform(said)
            else:
                self.told.append(action)

    def hear(self, told: RequestTold, now: float) -> list[Any]:
        self.do(self.live.hear(told, now, UNIX + now))
        return []

    def ask(self, slot: str, tries: int = 2) -> None:
        now = UNIX + self.town.now
        wanted = Wanted(slot, "sum", tries=tries)
        made = Computation(7, "main", wanted, int(now) + 600, now, now, "who", ROUND, cost=0.0)
        self.do(self.live.ask(made, self.town.now, now))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    world = Town(tmp_path)
    yield world
    world.close()


@pytest.mark.parametrize("result_first", [True, False])
def test_the_answer_is_the_slots_sum_of_the_round_that_was_opened_for_it(town: Town, result_first: bool) -> None:
    asked = Asked(town)
    town.now = 30.0
    slot = town.machine.scope.roster.slots[0][0]
    asked.ask(slot)
    opening = town.openings(31.0)
    if result_first:
        asked.do(asked.live.summed(RoundResult("main", 1, 1, "complete", [slot], [400], [], off_grid=True), 4, UNIX))
    town.whole(opening, 32.0)
    if not result_first:
        assert [one.state for one in asked.told] == ["accepted", "open"]  # its result is on its way
        result = town.client(town.machine._last_result)
        assert (result.off_grid, result.sums) == (True, [400])
        asked.do(asked.live.summed(result, 4, UNIX + 33))
    states = [(one.state, one.query, one.cost) for one in asked.told]
    assert states == [("accepted", None, 0.0), ("open", "1.1", 0.0), ("complete", "1.1", 0.0)]
    assert asked.told[-1].result == {"sum": 400, "count": 4, "left_out": 0}
    assert Computation.from_json(asked.told[-1].to_json()) == asked.told[-1]


def test_a_round_without_a_sum_is_no_answer(town: Town) -> None:
    asked = Asked(town)
    town.now = 30.0
    asked.ask("load")
    opening = town.openings(31.0)
    asked.do(asked.live.summed(RoundResult("main", 1, 1, "incomplete", ["load"], None, [], off_grid=True), 4, UNIX))
    town.whole(opening, 32.0)
    assert (asked.told[-1].state, asked.told[-1].reason) == ("complete", "result-missed")


def test_one_whose_result_does_not_come_is_complete_without_it(town: Town) -> None:
    asked = Asked(town)
    town.now = 30.0
    asked.ask("load")
    town.whole(town.openings(31.0), 32.0)
    asked.do(asked.live.tick(town.now + RESULT_S - 1, UNIX))
    assert asked.told[-1].state == "open"
    asked.do(asked.live.tick(town.now + RESULT_S, UNIX))
    assert (asked.told[-1].state, asked.told[-1].reason) == ("complete", "result-missed")


def test_what_a_group_of_sums_can_be_asked_and_what_that_costs(tmp_path: Path, town: Town) -> None:
    gate = Gate(tmp_path / "gateway")
    gate.put(a_round(0, group="main"))
    gate.feed.linked = True
    gate.serving.computations = Computations(gate.book, gate.hub, town.watch, gate.feed.say)
    found = gate.ask(f"{API}/groups/main/functions").json()
    assert (found["kind"], found["why"]) == ("round", "no-coordinator")
    assert found["functions"] == [{"function": "sum", "parameters": [], "allowed": True}]
    quote = gate.ask(f"{API}/groups/main/quote", params=SUM).json()
    assert (quote["kind"], quote["cost"], quote["cost_most"], quote["members"]) == ("round", 0.0, 0.0, 4)
    for other in ({"function": "mean"}, {"slot": "water"}, {"epsilon": 1}, {"between": [1, 2]}, {"parameters": [1]}):
        answer = ask(gate, group="main", **SUM | other)
        assert (answer.status_code, reason(answer)) == (422, "cannot-be-asked"), other
    assert reason(ask(gate, gate.token("ask:main:mean"), group="main", **SUM)) == "scope-missing"
    body = ask(gate, group="main", **SUM).json()
    assert (body["kind"], body["state"], body["cost"]) == ("round", "asked", 0.0)
    (kept,) = gate.book.read(computations.live)
    assert kept.kind == ROUND and gate.book.read(computations.page, [("main", "sum")], None, 1 << 62, 9)[0] == [kept]
    assert gate.book.read(rounds.last_event) == 1
