"""Computations that programs ask for on the home's broker: nothing unless hum.toml says so; refused
by name; and from the request to the answer through a coordinator's own code."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from agent.crypto import accelerate
from broker.client.gateway_link import Linked
from broker.gateway.book import book as book_module
from broker.gateway.book import computations, rounds
from broker.gateway.book.book import Book
from broker.gateway.book.computations import LIVE_OF_GROUP
from broker.gateway.computations import service
from broker.gateway.computations.asked import AskedByPrograms
from broker.gateway.computations.service import Computations
from broker.gateway.hub import Hub
from broker.gateway.programs.machine import Programs
from broker.gateway.programs.requests import Kept, Requests
from tests.broker.gateway.computations.bureau import SUM, Bureau
from tests.broker.gateway.gate import WAIT_S
from tests.support.street_of_askers import GROUP

WISH = {"group": GROUP, "slot": "load", "function": "sum"}
ROOT = "hum-gateway/town"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(service, "TICK_S", 0.02)
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Scene:
    """A bureau, a gateway's computations, and what programs may ask for."""

    def __init__(self, folder: Path, *compute: str) -> None:
        self.bureau = Bureau(folder)
        self.book = Book(folder / "gateway")
        say = lambda send: self.bureau.hear(send.payload)  # noqa: E731
        self.live = Computations(self.book, Hub(0), self.bureau.watch, say)
        self.programs = Programs("town", "1", compute)
        asked = AskedByPrograms(self.book, self.live, lambda: {GROUP})
        self.requests = Requests(self.programs, cast(Kept, None), asked)  # nothing else is asked

    async def ask(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        payload = json.dumps(fields).encode()
        (said,) = await self.requests.take(f"{ROOT}/request/{name}", payload, False, 1e6)
        assert (said.topic, said.retain) == (f"{ROOT}/response/{name}", False)
        return json.loads(said.payload)

    def news(self) -> list[dict[str, Any]]:
        """What programs are told of what has happened."""
        events = self.book.read(rounds.events_after, 0, 100)
        said = [one for event in events if event.computation for one in self.programs.computed(event.computation)]
        assert {(one.topic, one.retain) for one in said} <= {(f"{ROOT}/g/{GROUP}/computation", False)}
        return [json.loads(one.payload) for one in said]


def test_a_program_asks_and_hears_the_answer(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Scene(tmp_path, f"{GROUP}:sum")
        running = asyncio.create_task(scene.live.run())
        await asyncio.sleep(0)
        scene.live.hear(Linked(True))
        answer = await scene.ask("compute", WISH | {"epsilon": 0.5, "transaction": "t"})
        made = answer["data"]
        assert (answer["status"], answer["transaction"], made["state"], made["cost"]) == ("ok", "t", "asked", 1.0)
        async with asyncio.timeout(WAIT_S):
            while not scene.bureau.gateway._desk._live:
                await asyncio.sleep(0.01)
            for one in scene.bureau.turn():
                scene.live.hear(one)
            scene.bureau.answer()
            for one in scene.bureau.news():
                scene.live.hear(one)
            while len(scene.news()) < 3:
                await asyncio.sleep(0.01)
        assert [(one["id"], one["state"]) for one in scene.news()] == [
            (made["id"], state) for state in ("accepted", "open", "complete")
        ]
        last = scene.news()[-1]
        assert last["result"]["count"] == 5 and (last["absent"], last["spent"]) == (0, 1.0)
        assert (await scene.ask("computation", {"id": made["id"]}))["data"] == last
        kept = scene.book.read(computations.one, int(made["id"]))
        assert kept and kept.asked_by == "mqtt"
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(main())


def test_without_a_word_in_hum_toml_nothing_is_asked_or_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for name in ("compute", "computation"):
        answer = asyncio.run(scene.ask(name, WISH))
        assert answer["error"] == "unknown-request: known are groups, rounds, totals"
    made = scene.book.write(computations.ask, GROUP, SUM, 60, None, "who")
    assert scene.programs.computed(made) == [] and len(scene.book.read(computations.live)) == 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"function": "max"}, "not-allowed"),
    ({"group": "lane"}, "unknown-group"),
    ({"group": 7}, "not-allowed"),
    ({"slot": "water"}, "cannot-be-asked"),
    ({"slot": 7}, "wrong-function"),
    ({"function": None}, "wrong-function"),
    ({"parameters": [0.5]}, "wrong-parameters"),
    ({"parameters": [1]}, "cannot-be-asked"),
    ({"between": [1]}, "wrong-between"),
    ({"between": [5, 1]}, "cannot-be-asked"),
    ({"epsilon": "1"}, "wrong-epsilon"),
    ({"epsilon": float("nan")}, "wrong-epsilon"),
    ({"record_epsilon": -1}, "wrong-epsilon"),
    ({"tries": True}, "wrong-number"),
    ({"tries": 6}, "cannot-be-asked"),
    ({"wait_s": 5}, "wrong-wait"),
    ({"why": "so"}, "unknown-field"),
]


def test_what_a_program_cannot_ask_is_refused_by_name(tmp_path: Path) -> None:
    scene = Scene(tmp_path, f"{GROUP}:sum", "lane:sum")
    for fields, said in REFUSED:
        scene.requests.refused.clear()
        answer = asyncio.run(scene.ask("compute", WISH | fields))
        assert answer["status"] == "error" and answer["error"].startswith(f"{said}: "), fields
        assert scene.requests.refused == {said: 1} and scene.book.read(computations.live) == []


def test_of_what_programs_may_not_ask_they_hear_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, f"{GROUP}:max")
    made = scene.book.write(computations.ask, GROUP, SUM, 60, None, "who")
    for identifier, said in ((str(made.number), "unknown-computation"), ("1", "unknown-computation"), (1, "wrong-id")):
        assert asyncio.run(scene.ask("computation", {"id": identifier}))["error"].startswith(f"{said}: ")
    assert scene.programs.computed(made) == []


def test_where_there_is_no_room_or_no_database_a_program_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, f"{GROUP}:sum")
    for _ in range(LIVE_OF_GROUP):
        assert asyncio.run(scene.ask("compute", WISH))["status"] == "ok"
    assert asyncio.run(scene.ask("compute", WISH))["error"].startswith("busy: ")
    monkeypatch.setattr(book_module, "BUSY_S", 0.01)
    scene.book.close()
    scene.book.path.write_bytes(b"no database at all")
    for name, fields in (("compute", WISH), ("computation", {"id": "1"})):
        assert asyncio.run(scene.ask(name, fields))["error"].startswith("storage-unavailable: ")
