"""What a broker hands out becomes rounds and events: with keys that come later, over links that are
lost, and a database that takes nothing for a while. The link is played, what it brings is not."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.wire import messages, topics
from broker.client import identity
from broker.client.asking import Send
from broker.client.gateway_link import Linked
from broker.gateway import feed as module
from broker.gateway import keeper
from broker.gateway.book import book, rounds
from broker.gateway.book.book import Book
from broker.gateway.feed import Feed
from broker.gateway.hub import Hub
from broker.gateway.members import Members
from broker.gateway.site import Site
from broker.transport.link import Connection, Link, LinkError, Message
from broker.wire import channel, views
from broker.wire.requests import Told
from broker.wire.views import Order, Progress, Report, Standing
from tests.broker.gateway.gate import WAIT_S
from tests.support.client_town import NAMES, Town


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, seconds in (("KEYS_S", 0.02), ("RETRY_S", 0.02)):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(keeper, "AGAIN_S", 0.02)
    accelerate.use_host_libraries()
    yield
    accelerate.install()


OLD = views.members(Order(1, 2), 1002, [Standing("offline", False)] * len(NAMES))


class Played(Link):
    """A link that hands out what is `retained`, as a broker does, and then what is said. `failing`
    times it is not there."""

    def __init__(self, failing: int = 0) -> None:
        super().__init__("broker", 1, None, None, None)
        object.__setattr__(self, "retained", {})
        object.__setattr__(self, "failing", [None] * failing)
        for name in ("heard", "filters", "said"):
            object.__setattr__(self, name, [])

    retained: dict[str, bytes]
    failing: list[None]
    heard: list[asyncio.Queue[tuple[str, bytes] | None]]
    filters: list[str]
    said: list[tuple[str, bytes]]

    def say(self, topic: str, payload: bytes) -> None:
        self.retained[topic] = payload
        for queue in self.heard:
            queue.put_nowait((topic, payload))

    def hear(self, topic: str, payload: bytes) -> None:
        """Take what the gateway says: nobody answers."""

    @asynccontextmanager
    async def connect(self, *_: Any, **__: Any) -> AsyncGenerator[Connection, None]:
        if self.failing:
            self.failing.pop()
            raise LinkError("refused")
        yield Connected(self)


class Connected(Connection):
    """A connection to a played broker; None in its queue ends it."""

    def __init__(self, link: Played) -> None:
        self._link = link

    async def subscribe(self, *filters: str, qos: int = 1) -> None:
        self._link.filters += filters

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self._link.said.append((topic, payload))
        self._link.hear(topic, payload)

    async def messages(self) -> AsyncIterator[Message]:
        queue: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()
        self._link.heard.append(queue)
        for topic, payload in sorted(self._link.retained.items(), reverse=True):  # rosters first
            yield Message(topic, payload, True)
        while message := await queue.get():
            yield Message(*message, False)
        raise LinkError("lost")


class Scene:
    """A town, what its broker has, and the feed of a gateway."""

    def __init__(self, folder: Path, failing: int = 0, keyed: bool = True) -> None:
        self.town = Town(folder / "town")
        self.link = Played(failing)
        self.book = Book(folder / "gateway")
        self.hub = Hub(self.book.read(rounds.last_event))
        site = Site("town", self.town.access.authority, folder / "gateway", {})
        site.results.mkdir()
        self.results = site.results
        self.public = b""
        if keyed:
            identity.make(site.folder)
            self.public = p256.public_key(identity.private_key(site.folder))
        self.members = Members()
        self.heard: list[Any] = []
        self.feed = Feed(site, self.link, self.book, self.hub, self.members)
        self.feed.listeners.append(self.heard.append)

    def key(self, group: str = "street") -> None:
        (self.results / f"{group}.key").write_text(self.town.result_key.hex())

    def roster(self) -> None:
        self.link.say(self.town.topic("roster"), self.town.roster())

    def coordinator(self) -> None:
        self.link.say(topics.coordinator_state("town"), messages.presence(True))

    def tell(self, kind: str, payload: bytes) -> None:
        """Have the coordinator tell the gateway, retained."""
        self.link.say(*self.town.told(self.public, kind, payload))

    def stand(self, number: int, state: str) -> None:
        """Have the coordinator tell that all members stand so."""
        self.tell(channel.MEMBERS, views.members(Order(1, number), 1000 + number, [Standing(state, True)] * len(NAMES)))

    def states(self) -> set[str]:
        found = self.members.standing("street")
        return {one.state for one in found.members} if found else set()

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                await asyncio.sleep(0.01)

    def result(self, number: int, *sums: int) -> None:
        self.link.say(self.town.topic("result"), self.town.result(number, list(sums) or None, ["b4"]))

    async def told(self, count: int) -> list[str]:
        async with asyncio.timeout(WAIT_S):
            while self.hub.last < count:
                await self.hub.changed(1)
        return [event.round.id for event in self.book.read(rounds.events_after, 0, 100)]


def play(
    folder: Path, act: Callable[[Scene], Coroutine[Any, Any, None]], failing: int = 0, keyed: bool = True
) -> Scene:
    scene = Scene(folder, failing, keyed)

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
    assert caplog.text.count("members are not known") == 0


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


def test_what_the_coordinator_tells_of_members_and_rounds_is_held(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.key()
        scene.roster()
        scene.stand(1, "ready")
        scene.tell(channel.REPORTS, views.reports(Order(1, 2), 1002, [Report(990, {"masks": 7})] * len(NAMES)))
        progress = Progress(4, "open", 1001, None, None, 0b101, None, 0, None, None, 3)
        scene.tell(channel.PROGRESS, views.progress(Order(1, 3), 1003, [progress]))
        await scene.until(lambda: scene.members.progress("street"))
        assert scene.states() == {"ready"} and scene.members.standing("lane") is None
        told, reports = scene.members.progress("street"), scene.members.reports("street")
        assert told and (told.epoch, told.rounds[0].round, told.rounds[0].sent) == (1, 4, ("b0", "b2"))
        assert reports and [(one.name, one.seen, one.masks) for one in reports.reports] == [(n, 990, 7) for n in NAMES]
        scene.stand(4, "absent")
        await scene.until(lambda: scene.states() == {"absent"})
        assert not scene.feed.refused

    play(tmp_path, act)


def test_members_stay_known_when_keys_come_and_go_and_old_news_is_refused_then(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.key()
        scene.roster()
        scene.stand(5, "ready")
        await scene.until(lambda: scene.states() == {"ready"})
        topic, payload = scene.town.told(scene.public, channel.MEMBERS, OLD)
        scene.link.retained[topic] = payload  # a broker that hands out what was true once
        scene.key("lane")
        await scene.until(lambda: scene.feed.refused)
        assert scene.feed.refused == {"replayed": 1} and scene.states() == {"ready"}

    play(tmp_path, act)


def test_who_listens_is_told_of_the_link_and_of_requests_and_says_something_on_it(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.feed.say(Send("ask", b"nobody hears it"))
        scene.key()
        scene.roster()
        await scene.until(lambda: scene.feed.watch.channel_of("street"))
        assert scene.heard == [Linked(True)]
        scene.feed.say(Send("ask", b"1"), Send("ask", b"2"))
        await scene.until(lambda: len(scene.link.said) == 2)
        assert scene.link.said == [("ask", b"1"), ("ask", b"2")]
        news = Told(77, 1, 1000, "accepted", None, 1, None, None, None, None, 0)
        scene.tell(channel.TOLD, news.encode())
        await scene.until(lambda: len(scene.heard) == 2)
        assert (scene.heard[1].group, scene.heard[1].number, scene.heard[1].state) == ("street", 77, "accepted")
        del scene.link.retained[channel.topic("town", "street", channel.TOLD)]
        changed = scene.feed.changed
        scene.link.heard[-1].put_nowait(None)
        await scene.until(lambda: len(scene.heard) == 4)
        assert scene.heard[2:] == [Linked(False), Linked(True)] and scene.feed.changed > changed
        scene.feed.say(Send("ask", b"3"))
        await scene.until(lambda: scene.link.said[2:] == [("ask", b"3")])

    play(tmp_path, act)


def test_without_its_key_a_gateway_has_results_and_says_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(scene: Scene) -> None:
        scene.key()
        scene.roster()
        scene.coordinator()
        scene.result(3, 7, -8)
        assert await scene.told(1) == ["1.3"]
        assert not any("view" in one or "told" in one for one in scene.link.filters)
        assert scene.feed.watch.coordinator is True
        why = scene.feed.unknown("street")
        assert why and "gateway.key" in why and "`hum init` again" in why

    play(tmp_path, act, keyed=False)
    assert caplog.text.count("members are not known, results are shown all the same") == 1


def test_a_coordinator_that_tells_nothing_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "UNTOLD_S", 0.05)

    async def act(scene: Scene) -> None:
        assert scene.feed.unknown("street") == "the gateway has no link to the broker"
        scene.key()
        scene.roster()
        scene.coordinator()
        scene.result(3, 7, -8)
        assert await scene.told(1) == ["1.3"]
        await scene.until(lambda: "members are not known" in caplog.text)
        await asyncio.sleep(5 * module.KEYS_S)
        scene.stand(1, "ready")
        await scene.until(lambda: scene.states() == {"ready"})
        assert scene.feed.unknown("street") is None

    play(tmp_path, act)
    assert caplog.text.count("street: the coordinator tells this gateway nothing") == 1
    assert "--gateway and the key in" in caplog.text and "gateway.pub" in caplog.text


def test_a_roster_that_is_nobodys_is_refused_once(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.key()
        await scene.until(lambda: scene.link.heard)
        scene.link.say(scene.town.topic("roster"), Town(tmp_path / "other").roster())
        scene.roster()
        await scene.until(lambda: scene.feed.watch.group("street"))
        assert scene.feed.refused == {"bad-signature": 1}

    play(tmp_path, act)
