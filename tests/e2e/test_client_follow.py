"""Results from a real Mosquitto, with the client's password and its rights: those that are there,
those that come, and `hum result` in a folder that holds the result key only."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from agent.wire import messages, topics
from broker.client import Reader, RoundResult, follow, latest
from broker.transport.link import Link, LinkError
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.support.client_town import DEPLOYMENT, NAMES, Town

pytestmark = pytest.mark.alone

PROJECT = Path(__file__).parents[2]
WAIT_S = 200.0


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Scene:
    """A town, its broker, and the coordinator's word there."""

    def __init__(self, folder: Path) -> None:
        self.town = Town(folder / "town")
        self.broker = MosquittoBroker(
            folder / "broker", DEPLOYMENT, {"street": NAMES, "lane": [f"lane-{name}" for name in NAMES]}
        )
        self.folder = folder / "reader"
        self.folder.mkdir()
        (self.folder / "result.key").write_text(self.town.result_key.hex() + "\n")
        (self.folder / "client.json").write_text(json.dumps({"client": self.broker.credentials["client"]}))

    def link(self, user: str = topics.CLIENT) -> Link:
        return Link(HOST, self.broker.port, user, self.broker.credentials[user], None)

    async def say(self, *said: tuple[str, bytes]) -> None:
        """Have the coordinator publish what is retained."""
        async with self.link(topics.COORDINATOR).connect() as connection:
            state = topics.coordinator_state(DEPLOYMENT)
            for topic, payload in ((state, messages.presence(True)), *said):
                await connection.publish(topic, payload, retain=True)

    def rosters(self) -> list[tuple[str, bytes]]:
        return [(self.town.topic("roster", group), self.town.roster(group)) for group in self.town.scopes]

    def result(self, number: int, sums: list[int]) -> tuple[str, bytes]:
        return self.town.topic("result"), self.town.result(number, sums, ["b4"])

    @property
    def options(self) -> list[str]:
        known = ["--deployment", DEPLOYMENT, "--authority", self.town.authority.public, "--key", "result.key"]
        return [*known, "--port", str(self.broker.port), "--credentials", "client.json"]

    def start(self, *command: object, **other: Any) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
        arguments = [sys.executable, "-W", "error", "-m", "broker", *map(str, command)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            arguments, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True, **other
        )

    async def hum(self, *arguments: object) -> tuple[int, str, str]:
        """Run `hum` in the reader's folder; return status, output and errors."""
        process = self.start(*arguments)
        output, errors = await asyncio.to_thread(process.communicate, timeout=WAIT_S)
        return process.returncode, output, errors


def scene(tmp_path: Path, play: Callable[[Scene], Any]) -> None:
    @asynccontextmanager
    async def running() -> AsyncIterator[Scene]:
        found = Scene(tmp_path)
        await found.broker.start()
        try:
            async with asyncio.timeout(WAIT_S):
                yield found
        finally:
            await found.broker.stop()

    async def main() -> None:
        async with running() as found:
            await play(found)

    asyncio.run(main())


def test_the_last_results_are_there_at_once(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        lane = (scene.town.topic("result", "lane"), scene.town.outcome(9, [4, 1, 960]))
        await scene.say(scene.result(0, [5, -6]), *scene.rosters(), lane, scene.result(1, [7, -8]))
        loop = asyncio.get_running_loop()
        began = loop.time()
        first, second = await latest(scene.link(), Reader(scene.town.access), wait_s=30)
        assert loop.time() - began < 15  # it did not wait for more
        assert (first.group, first.round, second.group, second.round) == ("lane", 9, "street", 1)
        assert isinstance(second, RoundResult) and (second.sums, second.missing) == ([7, -8], ["b4"])
        assert [one.group for one in await latest(scene.link(), Reader(scene.town.access, "street"))] == ["street"]

    scene(tmp_path, play)


def test_where_there_is_no_coordinator_there_is_nothing_after_a_while(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        reader = Reader(scene.town.access)
        assert await latest(scene.link(), reader, wait_s=0.5) == []
        assert reader.refused == {}

    scene(tmp_path, play)


def test_results_are_followed_over_the_death_of_the_broker(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        await scene.say(*scene.rosters(), scene.result(0, [1, -1]))
        async with aclosing(follow(scene.link(), Reader(scene.town.access, "street"))) as results:
            assert (await anext(results)).round == 0
            await scene.say((scene.town.topic("round"), scene.town.opening(1)))
            await scene.say(scene.result(1, [2, -2]))
            found = await anext(results)
            assert isinstance(found, RoundResult) and found.sums == [2, -2]
            assert found.latency_ms is not None and 0 < found.latency_ms < WAIT_S * 1000
            scene.broker.kill()
            await scene.broker.start()
            await scene.say(*scene.rosters(), scene.result(1, [2, -2]), scene.result(3, [3, -3]))
            while (await anext(results)).round != 3:  # round 1, signed again, is refused
                pass

    scene(tmp_path, play)


def test_no_link_to_begin_with_is_an_error(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        stranger = Link(HOST, scene.broker.port, "client", "wrong", None)
        for link in (stranger, Link(HOST, 1, None, None, None)):
            with pytest.raises(LinkError):
                await latest(link, Reader(scene.town.access))
            with pytest.raises(LinkError):
                await anext(follow(link, Reader(scene.town.access)))

    scene(tmp_path, play)


def test_who_is_cancelled_ends_though_leaving_the_broker_fails(tmp_path: Path) -> None:
    """A broker that hangs takes no leave: aiomqtt's error about that does not take the
    cancellation's place."""

    async def play(scene: Scene) -> None:
        await scene.say(*scene.rosters(), scene.result(0, [1, -1]))

        async def watch() -> None:
            async with scene.link().connect(timeout_s=1) as connection:
                await connection.subscribe(scene.town.topic("result"))
                async for _ in connection.messages():
                    assert scene.broker._process
                    scene.broker._process.send_signal(signal.SIGSTOP)
                    said.append(asyncio.create_task(connection.publish(scene.town.topic("result"), bytes(1 << 25))))
                    await asyncio.sleep(0.1)
                    task.cancel()

        said: list[asyncio.Task[None]] = []
        task = asyncio.create_task(watch())
        await asyncio.wait([task], timeout=WAIT_S)
        scene.broker.kill()
        await asyncio.gather(*said, return_exceptions=True)
        assert task.cancelled()

    scene(tmp_path, play)


def test_the_command_in_a_folder_that_holds_the_result_key_only(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        lane = (scene.town.topic("result", "lane"), scene.town.outcome(9, [4, 1, 960]))
        await scene.say(*scene.rosters(), scene.result(1, [7, -8]), lane)
        status, output, errors = await scene.hum("result", *scene.options, "--json")
        assert (status, errors) == (0, "")
        first, second = (json.loads(line) for line in output.splitlines())
        assert (first["group"], first["answer"]) == ("lane", {"sum": 960, "count": 4, "left_out": 1})
        assert (second["slots"], second["sums"], second["missing"]) == (["load", "feed-in"], [7, -8], ["b4"])
        status, output, errors = await scene.hum("result", *scene.options, "--group", "street")
        assert (status, errors) == (0, "") and "load 7 Wh, feed-in -8" in output and "lane" not in output
        assert sorted(path.name for path in scene.folder.iterdir()) == ["client.json", "result.key"]

        process = scene.start("result", *scene.options, "--follow", "--group", "street")
        try:
            assert process.stdout
            line = await asyncio.to_thread(process.stdout.readline)
            assert line == "street 1/1 complete: load 7 Wh, feed-in -8, without b4\n"
            await scene.say((scene.town.topic("result"), scene.town.result(2)))
            line = await asyncio.to_thread(process.stdout.readline)
            assert line == "street 1/2 incomplete: no sum, without 5: b0, b1, b2 and 2 more\n"
        finally:
            process.kill()
            process.communicate(timeout=WAIT_S)

    scene(tmp_path, play)


def test_an_area_is_summed_from_any_machine_with_a_folder_of_keys(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        keys = scene.folder / "keys"
        keys.mkdir()
        (scene.folder / "result.key").rename(keys / "street.key")
        payload = scene.town.result(3, [7, -8], ["b4"], instant=1_800_000_000)
        await scene.say(*scene.rosters(), (scene.town.topic("result"), payload))
        options = [*scene.options, "--key", "keys"]
        status, output, errors = await scene.hum("result", *options, "--area", "hill=street", "--json")
        assert (status, errors) == (0, "")
        (row,) = map(json.loads, output.splitlines())
        assert (row["area"], row["instant"], row["sums"]) == ("hill", 1_800_000_000, [7, -8])
        assert (row["status"], row["missing"]) == ("complete", ["street/b4"])
        for area, said in (("hill=street,lane", "has no key of lane"), ("hill", "--area hill=GROUP,GROUP")):
            status, _, errors = await scene.hum("result", *options, "--area", area)
            assert status == 1 and said in errors and errors.count("\n") == 1
        (keys / "elsewhere.key").write_text((keys / "street.key").read_text())
        status, _, errors = await scene.hum("result", *options, "--area", "hill=street,elsewhere")
        assert status == 1 and "no group elsewhere at the broker; known: lane, street" in errors

    scene(tmp_path, play)


def test_what_goes_wrong_is_one_line(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        async def fails(*arguments: object, code: int = 1) -> str:
            status, output, errors = await scene.hum("result", *arguments)
            assert (status, output, errors.count("\n")) == (code, "", 1), errors
            assert errors.startswith("hum: ")
            return errors

        await scene.say(*scene.rosters())
        assert "no result of town is at the broker" in await fails(*scene.options)
        await scene.say(scene.result(0, [7, -8]))
        (scene.folder / "other.key").write_text("00" * 16)
        assert "no result; refused: other-key (1)" in await fails(*scene.options, "--key", "other.key")
        scene.town.sign("street")
        await scene.say(scene.result(0, [7, -8]))
        assert "no roster of the epoch of street" in await fails(*scene.options)
        assert f"the broker at 127.0.0.1:{scene.broker.port} does not let" in await fails(*scene.options[:-2], code=4)
        assert "no group nowhere at the broker; known: lane, street" in await fails(
            *scene.options, "--group", "nowhere"
        )
        assert "refused" in await fails(*scene.options, "--port", "1", code=3)
        (scene.folder / "client.json").write_text("{}")
        assert "holds no password of client" in await fails(*scene.options)

    scene(tmp_path, play)
