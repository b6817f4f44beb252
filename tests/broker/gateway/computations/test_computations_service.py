"""Computations with their database: kept before anything is said, told in order, taken up after the
gateway has ended, and waiting while the database takes nothing."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from broker.client.gateway_link import Linked
from broker.gateway.book import book as book_module
from broker.gateway.book import computations, rounds, tables
from broker.gateway.book.book import NAME, Book
from broker.gateway.book.computations import LIVE_MOST, LIVE_OF_GROUP, Busy
from broker.gateway.book.rounds import Event
from broker.gateway.computations import service as module
from broker.gateway.computations.service import Computations
from broker.gateway.hub import Hub
from tests.broker.gateway.computations.bureau import LATE_S, SUM, Bureau
from tests.broker.gateway.gate import WAIT_S, a_round, roster
from tests.support.street_of_askers import GROUP

Act = Callable[["Scene"], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("TICK_S", "RETRY_S"):
        monkeypatch.setattr(module, name, 0.02)
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Scene:
    """A bureau, and the computations of a gateway that may end and begin again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bureau = Bureau(folder)
        self.book = Book(folder / "gateway")
        self.hub = Hub(self.book.read(rounds.last_event))
        self.known: list[int] = []  # of what is said, which was in the database by then

    def say(self, send: Any) -> None:
        self.known.append(len(self.book.read(computations.live)))
        self.bureau.hear(send.payload)

    @asynccontextmanager
    async def gateway(self):
        """A process of the gateway: its computations, with a link."""
        self.computations = Computations(self.book, self.hub, self.bureau.watch, self.say)
        running = asyncio.create_task(self.computations.run())
        await asyncio.sleep(0)
        for one in (Linked(True), *self.bureau.handed_out()):
            self.computations.hear(one)
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running], timeout=WAIT_S)

    async def ask(self, tries: int = 3) -> int:
        said = len(self.known)
        made = self.book.write(computations.ask, GROUP, replace(SUM, tries=tries), 600, None, "who")
        self.computations.asked(made)
        await self.until(lambda: len(self.known) > said)
        return made.number

    def hear(self, seconds: float = 0.0) -> None:
        for one in self.bureau.turn(seconds):
            self.computations.hear(one)

    async def until(self, comes: Callable[[], Any]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not comes():
                await asyncio.sleep(0.01)

    def told(self) -> list[tuple[str, str | None]]:
        events = self.book.read(rounds.events_after, 0, 100)
        return [(one.computation.state, one.computation.reason) for one in events if one.computation]

    async def until_told(self, count: int) -> list[tuple[str, str | None]]:
        await self.until(lambda: len(self.told()) >= count and self.hub.last >= count)
        return self.told()


def play(folder: Path, act: Act) -> Scene:
    scene = Scene(folder)
    asyncio.run(act(scene))
    return scene


def test_each_news_is_an_event_and_the_number_was_kept_before_anything_was_said(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        async with scene.gateway():
            number = await scene.ask()
            scene.hear()
            scene.bureau.answer()
            scene.hear()
            assert await scene.until_told(3) == [("accepted", None), ("open", None), ("complete", None)]
            kept = scene.book.read(computations.one, number)
            assert kept and kept.result and kept.result["count"] == 5
            assert scene.book.read(computations.spent_of, GROUP) == 0
            assert scene.known == [1]

    play(tmp_path, act)


@pytest.mark.parametrize("opened", [False, True])
def test_a_gateway_that_ended_in_the_midst_of_it_goes_on_and_it_is_asked_once(tmp_path: Path, opened: bool) -> None:
    async def act(scene: Scene) -> None:
        async with scene.gateway():
            await scene.ask()
            if opened:
                scene.hear()
                await scene.until_told(2)
        scene.bureau.turn()
        scene.bureau.answer()
        scene.bureau.news()  # said to nobody
        scene.hub = Hub(scene.book.read(rounds.last_event))
        async with scene.gateway():
            await scene.until(lambda: len(scene.known) > 1)
            scene.hear()
            told = await scene.until_told(2 * opened + 1)
            assert told == [("accepted", None), ("open", None), ("complete", None)][-len(told) :]
            assert scene.bureau.machine.next_round == 2

    play(tmp_path, act)


def test_what_was_kept_and_not_said_when_the_gateway_ended_is_said(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.book.write(computations.ask, GROUP, SUM, 600, None, "who")
        async with scene.gateway():
            await scene.until(lambda: scene.known)
            scene.hear()
            assert await scene.until_told(2) == [("accepted", None), ("open", None)]

    play(tmp_path, act)


def test_a_computation_restarted_twice_is_refused_and_each_try_is_an_event(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        async with scene.gateway():
            await scene.ask(tries=3)
            scene.hear()
            scene.bureau.presence("b004", False)
            for _ in range(3):
                scene.hear(LATE_S)
                scene.hear()
            assert await scene.until_told(7) == [
                ("accepted", None),
                ("open", None),
                ("again", "no-result"),
                ("open", None),
                ("again", "no-result"),
                ("open", None),
                ("refused", "no-result"),
            ]

    play(tmp_path, act)


def test_while_the_database_takes_nothing_news_wait_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(book_module, "BUSY_S", 0.01)

    async def act(scene: Scene) -> None:
        async with scene.gateway():
            await scene.ask()
            with closing(sqlite3.connect(scene.book.path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                scene.hear()
                scene.bureau.answer()
                scene.hear()
                await scene.until(lambda: "computations wait for the database" in caplog.text)
                assert scene.told() == []
                other.execute("ROLLBACK")
            assert await scene.until_told(3) == [("accepted", None), ("open", None), ("complete", None)]

    play(tmp_path, act)
    assert caplog.text.count("computations wait for the database") == 1


def test_what_is_forgotten_in_the_midst_of_it_is_told_once_as_given_up(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        async with scene.gateway():
            number = await scene.ask()
            scene.hear()
            await scene.until_told(2)
            event = scene.book.write(computations.forget, number)
            scene.computations.forgotten(number, event)
            await scene.until(lambda: scene.hub.last == 3)
            scene.bureau.answer()
            scene.hear()
            assert scene.told() == [("accepted", None), ("open", None), ("given-up", None)]
            assert scene.book.read(computations.one, number) is None
            assert scene.book.write(computations.forget, number) is None

    play(tmp_path, act)


def test_as_many_wait_as_may_and_no_more(tmp_path: Path) -> None:
    book = Book(tmp_path)
    for _ in range(LIVE_OF_GROUP):
        book.write(computations.ask, GROUP, SUM, 600, None, "who")
    with pytest.raises(Busy):
        book.write(computations.ask, GROUP, SUM, 600, None, "who")
    for number in range(LIVE_MOST - LIVE_OF_GROUP):
        book.write(computations.ask, f"g{number}", SUM, 600, None, "who")
    with pytest.raises(Busy):
        book.write(computations.ask, "other", SUM, 600, None, "who")
    first = book.read(computations.live)[0]
    book.write(computations.record, replace(first, state="refused", reason="busy"))
    assert book.read(computations.waiting, GROUP) == LIVE_OF_GROUP - 1
    book.write(computations.ask, GROUP, SUM, 600, None, "who")


def test_numbers_grow_and_the_oldest_that_are_over_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computations, "KEPT", 3)
    monkeypatch.setattr(computations.time, "time", lambda: 1.0)  # a clock that was set back
    book = Book(tmp_path)
    numbers = []
    for _ in range(6):
        made = book.write(computations.ask, GROUP, SUM, 600, None, "who")
        numbers.append(made.number)
        book.write(computations.record, replace(made, state="complete"))
        assert book.write(computations.record, replace(made, state="open")) is None  # it is over
    assert numbers == list(range(1000, 1006))
    found, more = book.read(computations.page, [(None, None)], None, 1 << 62, 100)
    assert ([one.number for one in found], more) == ([1005, 1004, 1003, 1002], None)
    book.write(computations.forget, 1005)
    assert book.write(computations.ask, GROUP, SUM, 600, None, "who").number == 1006


def test_a_database_of_version_2_is_brought_up_with_its_events(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.write(rounds.record, roster(), a_round(0))
    book.close()
    with closing(sqlite3.connect(tmp_path / NAME)) as old:
        for table in (tables.computations, tables.spent, tables.drawn):
            old.execute(f"DROP TABLE {table.name}")
        old.execute("ALTER TABLE events DROP COLUMN computation")
        old.execute("PRAGMA user_version=2")
    book = Book(tmp_path)
    book.write(computations.ask, GROUP, SUM, 600, None, "who")
    (first,) = book.read(rounds.events_after, 0, 100)
    assert first.round and first.round.id == "1.0" and len(book.read(computations.live)) == 1


def test_an_event_that_another_overtook_is_read_from_the_database() -> None:
    hub = Hub(4)
    hub.tell(Event(6, "computation"))
    hub.tell(Event(5, "computation"))
    assert hub.last == 6 and hub.after(4) is None and [one.id for one in hub.after(5) or []] == [6]
