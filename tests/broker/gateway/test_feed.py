"""What a broker hands out becomes rounds and events: with keys that come later, over links that are
lost, and a database that takes nothing for a while. The link is played, what it brings is not."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from broker.gateway import feed as module
from broker.gateway.boards import Boards
from broker.gateway.book import book, rounds
from broker.gateway.book.book import Book
from broker.gateway.feed import Feed
from broker.gateway.hub import Hub
from broker.gateway.site import Site
from broker.transport.link import Link, LinkError, Message
from tests.broker.gateway.gate import WAIT_S
from tests.support.client_town import NAMES, Town


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, seconds in (("KEYS_S", 0.02), ("RETRY_S", 0.02)):
        monkeypatch.setattr(module, name, seconds)
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Played(Link):
    """A link that hands out what is `retained`, as a broker does, and then what is said. `failing`
    times it is not there."""

    def __init__(self, failing: int = 0) -> None:
        super().__init__("broker", 1, None, None, None)
        object.__setattr__(self, "retained", {})
        object.__setattr__(self, "failing", [None] * failing)
        object.__setattr__(self, "heard", [])

    retained: dict[str, bytes]
    failing: list[None]
    heard: list[asyncio.Queue[tuple[str, bytes]]]

    def say(self, topic: str, payload: bytes) -> None:
        self.retained[topic] = payload
        for queue in self.heard:
            queue.put_nowait((topic, payload))

    async def follow(
        self, *filters: str, note: Callable[[bool], None] = lambda linked: None
    ) -> AsyncGenerator[Message, None]:
        if self.failing:
            self.failing.pop()
            raise LinkError("refused")
        note(True)
        queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.heard.append(queue)
        for topic, payload in sorted(self.retained.items(), reverse=True):  # rosters first
            yield Message(topic, payload, True)
        while True:
            yield Message(*await queue.get(), False)


class Scene:
    """A town, what its broker has, and the feed of a gateway."""

    def __init__(self, folder: Path, failing: int = 0) -> None:
        self.town = Town(folder / "town")
        self.link = Played(failing)
        self.book = Book(folder / "gateway")
        self.hub = Hub(self.book.read(rounds.last_event))
        site = Site("town", self.town.access.authority, folder / "gateway", {})
        site.results.mkdir()
        self.results = site.results
        self.feed = Feed(site, self.link, self.book, self.hub, Boards(site.deployment))

    def key(self, group: str = "street") -> None:
        (self.results / f"{group}.key").write_text(self.town.result_key.hex())

    def roster(self) -> None:
        self.link.say(self.town.topic("roster"), self.town.roster())

    def result(self, number: int, *sums: int) -> None:
        self.link.say(self.town.topic("result"), self.town.result(number, list(sums) or None, ["b4"]))

    async def told(self, count: int) -> list[str]:
        async with asyncio.timeout(WAIT_S):
            while self.hub.last < count:
                await self.hub.changed(1)
        return [event.round.id for event in self.book.read(rounds.events_after, 0, 100)]


def play(folder: Path, act: Callable[[Scene], Coroutine[Any, Any, None]], failing: int = 0) -> Scene:
    scene = Scene(folder, failing)

    async def main() -> None:
        running = asyncio.create_task(scene.feed.run())
        try:
            await act(scene)
        finally:
            running.cancel()
            await asyncio.wait([running], timeout=WAIT_S)
        assert running.cancelled()

    asyncio.run(main())
    return scene


def test_each_result_is_a_round_once(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.key()
        scene.roster()
        scene.result(3, 7, -8)
        assert await scene.told(1) == ["1.3"]
        scene.result(3, 7, -8)  # signed again
        scene.result(2, 1, -1)
        scene.result(4)
        scene.result(5, 10, -2)
        assert await scene.told(3) == ["1.3", "1.4", "1.5"]
        assert scene.feed.linked and [one.group for one in scene.feed.rosters()] == ["street"]

    scene = play(tmp_path, act)
    found = scene.book.read(rounds.last, "street")
    assert found is not None and found.sums == (10, -2)
    assert (found.members, found.missing, found.summed) == (tuple(NAMES), ("b4",), tuple(NAMES[:4]))
    assert found.total == {"load": 17, "feed-in": -10} and found.status == "complete"


def test_a_round_that_was_written_and_not_told_is_told(tmp_path: Path) -> None:
    """As where a transaction takes longer than the feed waits, and is done in the end."""

    async def act(scene: Scene) -> None:
        scene.key()
        scene.roster()
        scene.result(3, 7, -8)
        assert await scene.told(1) == ["1.3"]
        last = scene.book.read(rounds.last, "street")
        (roster,) = scene.book.read(rounds.last_rosters)
        assert last is not None
        scene.book.write(rounds.record, roster, replace(last, round=4))
        scene.result(4, 7, -8)
        assert await scene.told(2) == ["1.3", "1.4"] and scene.hub.after(1) is None  # the database has it
        scene.result(5, 10, -2)
        assert await scene.told(3) == ["1.3", "1.4", "1.5"]
        assert scene.hub.after(0) is scene.hub.after(1) is None and len(scene.hub.after(2) or []) == 1

    play(tmp_path, act)


def test_a_group_is_read_from_when_its_key_comes(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.roster()
        scene.result(0, 7, -8)
        async with asyncio.timeout(WAIT_S):
            while not scene.link.heard:
                await asyncio.sleep(0.01)
        assert scene.hub.last == 0 and scene.feed.rosters() == []
        scene.key()
        assert await scene.told(1) == ["1.0"]
        (scene.results / "street.key").unlink()
        async with asyncio.timeout(WAIT_S):
            while scene.feed.rosters():
                await asyncio.sleep(0.01)
        scene.result(1, 1, -1)
        scene.key()
        assert await scene.told(2) == ["1.0", "1.1"]

    play(tmp_path, act)


def test_a_link_that_is_not_there_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def act(scene: Scene) -> None:
        scene.key()
        scene.roster()
        scene.result(0, 7, -8)
        assert await scene.told(1) == ["1.0"]

    play(tmp_path, act, failing=3)
    assert caplog.text.count("the broker at broker:1: refused; next try in 0.02 s") == 3


def test_a_database_that_is_locked_delays_events_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(book, "BUSY_S", 0.01)

    async def act(scene: Scene) -> None:
        scene.key()
        scene.roster()
        scene.result(0, 7, -8)
        assert await scene.told(1) == ["1.0"]
        with closing(sqlite3.connect(scene.book.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            scene.result(1, 1, -1)
            scene.result(2, 2, -2)
            async with asyncio.timeout(WAIT_S):
                while scene.feed.keeping:
                    await asyncio.sleep(0.01)
            other.execute("ROLLBACK")
        assert await scene.told(3) == ["1.0", "1.1", "1.2"]
        assert scene.feed.keeping

    play(tmp_path, act)
    assert caplog.text.count("database is locked; rounds wait until that is mended") == 1
