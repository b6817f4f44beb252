"""What the database and the feed know reaches metrics and the home's broker: after a start, with
each round, and when a group is no longer served."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from broker.client.asking import Wanted
from broker.client.members import RequestTold
from broker.gateway import outlets
from broker.gateway.book import computations, rounds
from broker.gateway.book.book import Book
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.book.tables import standings
from broker.gateway.feed import Feed
from broker.gateway.home_assistant.home import Home
from broker.gateway.hub import Hub
from broker.gateway.members import Members
from broker.gateway.metrics import Metrics
from broker.gateway.outlets import Kept, Outlets, count, home_of
from broker.gateway.programs.requests import KeptError
from broker.gateway.rounds import Round
from broker.gateway.site import Outward, Site
from broker.transport.link import Link

NOWHERE = Link("127.0.0.1", 1, None, None, None)
MEMBERS = ("a", "b", "c")
WAIT_S = 30.0
DEVICES = [f"homeassistant/device/hum_town_{group}/config" for group in ("lane", "street")]


class Scene:
    """A gateway without brokers: what its home's broker would be told waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = Site("town", bytes(65), folder, {"street": ("feeder=7",)})
        self.book = Book(folder)
        self.site.results.mkdir(exist_ok=True)
        self.key("street").write_text(bytes(16).hex())

    def key(self, group: str) -> Path:
        return self.site.results / f"{group}.key"

    def record(self, number: int, sums: tuple[int, ...] | None = (100,), group: str = "street", **other: Any) -> Any:
        status = "complete" if sums else "incomplete"
        at = 1_790_000_100 + 900 * number
        one = Round(group, 1, number, status, ("load",), sums, (), MEMBERS, at, at + 5.0)
        kind = other.get("protocol", "private-sum")
        return self.book.write(rounds.record, GroupRoster(group, 1, kind, (("load", 0, 1000),), MEMBERS), one)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Hub, Metrics, Home]]:
        hub, members = Hub(self.book.read(rounds.last_event)), Members()
        metrics = Metrics("0.1", members, energy=True)
        feed = Feed(self.site, NOWHERE, self.book, hub, members)
        home = home_of(Outward(NOWHERE), "town", "0.1", Kept(self.book), metrics)
        assert home
        running = Outlets(self.site, self.book, feed, hub, metrics, home)
        tasks = [asyncio.create_task(work) for work in (feed.run(), running.run())]
        try:
            yield hub, metrics, home
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=WAIT_S)


def said(home: Home, topic: str) -> Any:
    """Return what waits for the home's broker under a topic: None for nothing, {} to take it
    back."""
    one = home._waiting.get(topic)
    return one and (json.loads(one.payload) if one.payload else {})


def total(home: Home) -> Any:
    found = said(home, "hum-gateway/town/g/street/sum")
    return found and found["slots"]["load"]["total"]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_was_is_told_after_a_start_and_what_comes_with_each_round(scene: Scene):
    scene.record(0)
    scene.record(1, None)
    scene.record(0, group="lane")  # which is served no more

    async def play() -> None:
        async with scene.running() as (hub, metrics, home):
            await until(lambda: total(home) == 100)
            assert said(home, DEVICES[1])["device"]["via_device"] == "hum_town"
            assert said(home, DEVICES[0]) == {}
            assert said(home, "hum-gateway/town/groups")[0]["labels"] == ["feeder=7"]
            assert said(home, "hum-gateway/town/g/street/state") == {"state": "offline"}  # there is no link
            text = metrics.render().decode()
            assert 'hum_energy_joules_total{group="street",slot="load"} 360000.0' in text
            assert 'hum_rounds_total{group="street",status="complete"} 0.0' in text
            assert "lane" not in text
            for number in (2, 3):
                hub.tell(scene.record(number))
            await until(lambda: total(home) == 300)
            assert 'hum_rounds_total{group="street",status="complete"} 2.0' in metrics.render().decode()

    asyncio.run(play())


def test_more_rounds_than_are_kept_in_memory_are_read_from_the_database(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outlets, "EVENTS_MOST", 2)

    async def play() -> None:
        scene.record(0)
        async with scene.running() as (hub, metrics, home):
            await until(lambda: total(home) == 100)
            events = [scene.record(number) for number in range(1, 6)]
            hub.tell(events[-1])  # the others were told before this gateway listened
            await until(lambda: total(home) == 600)
            assert 'hum_rounds_total{group="street",status="complete"} 5.0' in metrics.render().decode()

    asyncio.run(play())


def test_a_group_whose_key_is_taken_away_is_forgotten(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("broker.gateway.feed.KEYS_S", 0.05)
    monkeypatch.setattr(outlets, "LOOK_S", 0.05)
    scene.record(0)

    async def play() -> None:
        async with scene.running() as (_, metrics, home):
            await until(lambda: total(home) == 100)
            scene.key("street").unlink()
            await until(lambda: said(home, DEVICES[1]) == {})
            assert said(home, "hum-gateway/town/g/street/sum") == {}
            assert "street" not in metrics.render().decode()

    asyncio.run(play())


def test_what_queries_have_cost_is_told_after_a_start_and_with_each_news(scene: Scene):
    told = RequestTold("street", 7, 1, 0, "open", None, 1, 1, 1, 0.5, (), 1.5)
    for group in ("street", "lane"):  # which is served no more
        kept = scene.book.write(computations.ask, group, Wanted("load", "sum"), 60, None, "who")
        scene.book.write(computations.record, replace(kept, state="open", spent=1.0))

    async def play() -> None:
        async with scene.running() as (_, metrics, _):
            await until(lambda: b'hum_privacy_spent_epsilon{group="street"} 1.0' in metrics.render())
            assert b'"lane"' not in metrics.render()
            count(metrics, told)
            assert b'hum_privacy_spent_epsilon{group="street"} 1.5' in metrics.render()

    asyncio.run(play())


def test_programs_hear_of_what_they_may_ask_for_and_of_nothing_else(scene: Scene):
    async def play() -> None:
        async with scene.running() as (hub, _, home):
            home.programs.compute = frozenset({"lane:max"})
            for function in ("sum", "max"):
                kept = scene.book.write(computations.ask, "lane", Wanted("load", function), 60, None, "who")
                event = scene.book.write(computations.record, replace(kept, state="open"))
                assert event
                hub.tell(event)
            await until(lambda: bool(home._responses))
            (one,) = home._responses
            assert one.topic == "hum-gateway/town/g/lane/computation" and not one.retain
            assert json.loads(one.payload)["function"] == "max"

    asyncio.run(play())


def test_groups_that_answer_queries_are_no_devices(scene: Scene):
    scene.record(0, protocol="gossip")

    async def play() -> None:
        async with scene.running() as (_, metrics, home):
            await until(lambda: 'hum_group_members{group="street"} 3.0' in metrics.render().decode())
            assert said(home, DEVICES[1]) is None

    asyncio.run(play())


def test_a_database_that_cannot_be_read_is_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(outlets, "RETRY_S", 0.05)
    scene.record(0)
    good = scene.book.read(rounds.standing, "street").to_json()
    change = update(standings).where(standings.c.group == "street")
    scene.book.write(lambda connection: connection.execute(change.values(standing="{}")))

    async def play() -> None:
        with pytest.raises(KeptError):
            await Kept(scene.book).standing("street")
        async with scene.running() as (_, _, home):
            await until(lambda: "wait for the database" in caplog.text)
            scene.book.write(lambda connection: connection.execute(change.values(standing=good)))
            await until(lambda: total(home) == 100)

    asyncio.run(play())
