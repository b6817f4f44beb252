"""What a gateway asks of a group of sums: a round off the grid, taken once, told step by step, asked
again a bounded number of times, and refused by name."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.wire import cbor, topics
from broker.client.access import Access, ClientError, Group
from broker.client.asking import Asking, Changed, Send, Wanted, WantedRound, check
from broker.client.members import RequestTold, Watch
from broker.coordinator.actions import Publish, Record
from broker.coordinator.gateway.gateway import Gateway
from broker.coordinator.protocols.handing import Handing
from broker.coordinator.schedule import Schedule
from broker.wire import channel, requests
from tests.support.hand_made import ROLL, ROUND, World, published

UNIX = 1_700_000_000.0
INTERVAL = 100.0
LAST = 40


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Town(World):
    """A coordinator of a group of sums, with its gateway; the first round is over."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        super().__init__(folder, 4, Schedule(INTERVAL, 20, 30, answers=30))
        self.key = p256.generate(os.urandom)
        self.told: list[tuple[str, str | None]] = []
        self.news: list[RequestTold] = []
        self.asking: Asking | None = None
        self.watch = Watch(Access("test", bytes.fromhex(self.authority)), self.key)
        assert self.watch.take(topics.group("test", "main", "roster"), self.roster) == []
        self.begin()
        self.first_set(0.0)
        self.all_ready(last=LAST)
        self.whole(self.openings(0.0), 1.0)

    def begin(self) -> None:
        """The coordinator starts, or starts again."""
        private = self.home._workplace.private
        self.gateway = Gateway(self.home.storage, "test", private, p256.public_key(self.key), lambda: UNIX + self.now)
        self.handing = Handing(self.home.storage, lambda records: self.do(list(records)), self.gateway.given_up)
        self.perform(self.gateway.link_up())

    def do(self, actions: list[Any], now: float = 1.0) -> list[Any]:
        """As the service: what is recorded is told to the gateway, which reads it at once."""
        done = super().do(actions, now)
        if hasattr(self, "gateway"):
            self.perform(self.gateway.heed([action for action in done if isinstance(action, Record)]))
        return done

    def perform(self, actions: list[Any]) -> None:
        self.home.storage.commit([action for action in actions if isinstance(action, Record)], {})
        for said in actions:
            for news in self.watch.take(said.topic, said.payload) if isinstance(said, Publish) else []:
                if isinstance(news, RequestTold) and self.asking:
                    self.heard(self.asking.hear(news, self.now))

    def heard(self, actions: list[Any]) -> list[str]:
        refused: list[str] = []
        for action in actions:
            if isinstance(action, Changed):
                self.told.append((action.told.state, action.told.reason))
                self.news.append(action.told)
            elif isinstance(action, Send):
                told, reasons = self.gateway.hear("main", channel.ASK, action.payload, {"main": self.machine})
                self.perform(told)
                refused += reasons
        return refused

    def ask(self, number: int, wanted: Any, seconds: float = 900) -> list[str]:
        gate = self.watch.channel_of("main")
        assert gate
        self.told, self.news = [], []
        self.asking = Asking(gate, "main", number, int(UNIX + self.now + seconds), wanted)
        return self.heard(self.asking.link_up(self.now))

    def openings(self, now: float) -> list[bytes]:
        """Let time pass; return the openings that came."""
        self.now = now
        self.perform(self.gateway.turn({"main": self.machine}, now))
        self.handing.turn({"main": self.machine})
        return [one for one in published(self.tick(now), ROUND) if one]

    def whole(self, openings: list[bytes], now: float, names: list[str] | None = None) -> None:
        (opening,) = openings
        self.now = now
        sent = {
            name: self.members[name].contribution(opening, 100, last=LAST)
            for name in (self.names if names is None else names)
        }
        for roll in published(self.send("contribution", sent, now), ROLL):
            self.send("answer", self.answers(roll) if roll else {}, now)


@pytest.fixture
def town(tmp_path: Path) -> Any:
    world = Town(tmp_path)
    yield world
    world.close()


def test_a_sum_is_accepted_opened_and_complete_under_its_round_and_costs_no_epsilon(town: Town) -> None:
    town.now = 30.0
    assert town.ask(5, WantedRound()) == []
    assert town.told == [("accepted", None)]
    opening = town.openings(31.0)
    assert town.told[1:] == [("open", None)]
    opened = town.news[-1]
    assert (opened.epoch, opened.query, opened.absent, opened.cost, opened.spent) == (1, 1, (), 0, 0)
    assert town.heard(town.asking.link_up(31.5)) == ["duplicate"]  # said again it is one round still
    town.whole(opening, 32.0)
    assert town.told[2:] == [("complete", None)] and town.news[-1].query == 1
    assert town.openings(33.0) == []


def test_one_without_a_sum_is_asked_again_after_the_next_round_and_each_try_is_told(town: Town) -> None:
    town.now = 30.0
    town.ask(5, WantedRound(tries=2))
    for attempt, begin in ((1, 31.0), (2, INTERVAL + 31.0)):
        town.whole(town.openings(begin), begin + 1, town.names[:2])
        assert town.openings(begin + 25) == [] and town.openings(begin + 26) == []
        assert town.news[-1].attempt == attempt
        town.whole(town.openings(begin + 69), begin + 70)
    states = [
        ("accepted", None),
        ("open", None),
        ("again", "too-few-sent"),
        ("open", None),
        ("refused", "too-few-sent"),
    ]
    assert town.told == states and [one.query for one in town.news if one.state == "open"] == [1, 3]


def test_one_that_waits_in_vain_is_refused_when_its_time_is_over(town: Town) -> None:
    town.online("b1", False, 30.0)
    town.now = 30.0
    town.ask(5, WantedRound(), seconds=20)
    assert town.openings(40.0) == [] == town.openings(51.0)
    assert town.told == [("accepted", None), ("refused", "too-late")]
    town.online("b1", True, 52.0)
    assert town.openings(53.0) == []


def test_a_coordinator_that_starts_again_goes_on_with_what_was_asked(town: Town) -> None:
    town.now = 30.0
    town.ask(5, WantedRound())
    town.restart()
    town.begin()
    town.do(town.machine.link_up(30.0), 30.0)
    opened = [one for name in town.names for one in published(town.online(name, True, 30.0), ROUND)]
    town.whole(opened or town.openings(30.5), 31.0)  # that of the schedule is due with the start
    assert town.told == [("accepted", None)]
    town.whole(town.openings(32.0), 33.0)
    assert town.told[1:] == [("open", None), ("complete", None)]


def test_what_cannot_be_asked_of_a_group_of_sums_is_refused_by_name(town: Town) -> None:
    town.now = 30.0
    assert town.ask(5, Wanted("load", "sum")) == ["no-queries"]
    assert town.told == [("refused", "no-queries")]
    assert town.ask(6, WantedRound(), seconds=-1) == ["too-late"]
    for number in range(7, 11):
        assert town.ask(number, WantedRound()) == []
    assert town.ask(11, WantedRound()) == ["busy"] and town.told[0] == ("refused", "busy")
    gate = town.watch.channel_of("main")
    assert gate
    for hostile in ({1: 0, 2: 9, 3: 1}, {1: 5, 2: -1, 3: 1}, {1: 5, 2: 9, 3: 6}, {1: 5, 2: 9, 3: True}):
        payload = gate.seal(channel.ASK, "main", 0, cbor.encode(hostile))
        assert town.gateway.hear("main", channel.ASK, payload, {"main": town.machine})[1] == ["malformed"]


def test_a_request_for_a_sum_reads_as_it_was_written() -> None:
    for ask in (requests.AskRound(1, 0, 1), requests.AskRound((1 << 53) - 1, 0xFFFFFFFF, 5)):
        assert requests.read_ask(ask.encode()) == ask


def test_who_asks_is_told_at_once_what_cannot_be(town: Town) -> None:
    found = town.watch._groups["main"].group
    assert isinstance(found, Group)
    check(WantedRound(), found)
    with pytest.raises(ClientError, match="tries 6: 1 to 5 are wanted"):
        check(WantedRound(tries=6), found)
    with pytest.raises(ClientError, match="main runs private-sum, which answers no queries"):
        check(Wanted("load", "sum"), found)
    found.roster.protocol = "gossip"
    with pytest.raises(ClientError, match="main runs gossip, which has no sums; private-sum has"):
        check(WantedRound(), found)
