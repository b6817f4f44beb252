"""Updates over the air from end to end: an authority, a real Mosquitto with its access rules, and a
real MicroPython board that runs version 1, gets 2 and keeps it, and gets a broken 3 and goes
back."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from agent.runtime.update import versions
from agent.wire import topics
from broker.authority import releases
from broker.authority.authority import Authority
from broker.transport.link import Link
from broker.transport.users import RELEASES
from firmware.build import compile as compiled
from firmware.build.compile import ROOT, tool
from host_sim.fleet.broker_process import HOST, MosquittoBroker

pytestmark = pytest.mark.alone

DEPLOYMENT, BOARD = "town", "unix"
WAIT_S = 200.0
RESET = 75
BROKEN = """
def main(root, folder):
    print('{"event": "broken", "folder": "%s"}' % folder)
    raise RuntimeError
"""
HEAP = "192k"  # of 64-bit words: about 100 kB of a board's


def without_progress(done: int, total: int) -> None:
    """Nobody looks."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application, compiled from sources with other times: two seconds of a link confirm it,
    and it waits for nothing."""
    folder = tmp_path_factory.mktemp("base")
    for part in ("agent", "firmware", "host_sim"):
        shutil.copytree(ROOT / part, folder / "source" / part, ignore=shutil.ignore_patterns("__pycache__", "data"))
    for name, old, new in (
        ("update/updater", "CONFIRM_S = 600", "CONFIRM_S = 2"),
        ("update/updater", "SPREAD_S = 600", "SPREAD_S = 1"),
        ("main", "PAUSE_S = 1 ", "PAUSE_S = 0 "),
    ):
        path = folder / "source/agent/runtime" / f"{name}.py"
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "ROOT", folder / "source")
        return compiled.compile_agent(folder / "built")


class Board:
    """A board whose flash is a folder: a process of MicroPython, started again whenever it asks for
    a reset."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._heard = asyncio.Condition()

    async def run(self) -> None:
        command = [
            tool("micropython"),
            "-X",
            f"heapsize={HEAP}",
            str(ROOT / "firmware/onboard/main.py"),
            str(self.root),
        ]
        while True:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=self.root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            try:
                assert process.stdout
                async for line in process.stdout:
                    await self._hear(line.decode(errors="replace").rstrip())
                assert await process.wait() == RESET, self.lines[-20:]
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def _hear(self, line: str) -> None:
        self.lines.append(line)
        async with self._heard:
            if line.startswith("{"):
                self.events.append(json.loads(line))
            self._heard.notify_all()

    async def until(self, since: int = 0, **fields: Any) -> int:
        """Wait for an event with these fields after the first `since`; return how many there are
        then."""

        def found() -> int:
            for number, event in enumerate(self.events[since:], since + 1):
                if all(event.get(name) == value for name, value in fields.items()):
                    return number
            return 0

        try:
            async with asyncio.timeout(WAIT_S), self._heard:
                return int(await self._heard.wait_for(found))
        except TimeoutError:
            raise AssertionError(f"no {fields} after {since} in {self.lines[-30:]}") from None


def provision(root: Path, authority: Authority, broker: MosquittoBroker, build: Path) -> None:
    """Put onto the board what the flashing tool does."""
    shutil.copytree(build / "agent", root / "a/agent")
    shutil.copyfile(build / versions.MANIFEST, root / "a" / versions.MANIFEST)
    versions.write(str(root), versions.Pointer("a", None, "", 2))
    settings = {
        "deployment": DEPLOYMENT,
        "group": "street",
        "device": "b0",
        "authority": authority.public,
        "host": HOST,
        "port": broker.port,
        "password": broker.credentials["b0"],
        "flash": str(root / "state"),
        "board": BOARD,
        "meter": {"kind": "simulated", "columns": [[1, 2, 3]]},
    }
    (root / "settings.json").write_text(json.dumps(settings))


async def retained(broker: MosquittoBroker) -> set[str]:
    """The topics of all that the broker keeps of releases."""
    found = set()
    async with aiomqtt.Client(HOST, broker.port, username=RELEASES, password=broker.credentials[RELEASES]) as client:
        await client.subscribe(topics.chunk(DEPLOYMENT, b"", 0).replace("//0", "/+/+"), qos=1)
        await client.subscribe(topics.release(DEPLOYMENT, "+"), qos=1)
        async with asyncio.timeout(WAIT_S):
            async for message in client.messages:
                found.add(str(message.topic))
                if str(message.topic) == topics.release(DEPLOYMENT, BOARD):
                    return found
    return found


def test_a_board_gets_a_version_keeps_it_and_goes_back_from_a_broken_one(tmp_path: Path, base: Path) -> None:
    authority = Authority.init(tmp_path / "authority", DEPLOYMENT)
    two, three = shutil.copytree(base, tmp_path / "two"), shutil.copytree(base, tmp_path / "three")
    (two / "agent/changes.txt").write_text("large\n" * 1000)
    (three / "agent/runtime/main.mpy").unlink()
    (three / "agent/runtime/main.py").write_text(BROKEN)

    async def publish(link: Link, build: Path) -> releases.Release:
        releases.sign(authority, build, BOARD)
        found = releases.read(build, authority.public, DEPLOYMENT, BOARD)
        await releases.publish(link, DEPLOYMENT, authority.public, build, found, without_progress)
        return found

    async def main() -> None:
        broker = MosquittoBroker(tmp_path / "broker", DEPLOYMENT, {"street": ["b0"]})
        await broker.start()
        link = Link(HOST, broker.port, RELEASES, broker.credentials[RELEASES], None)
        root = tmp_path / "board"
        root.mkdir()
        releases.sign(authority, base, BOARD)
        provision(root, authority, broker, base)
        board = Board(root)
        running = asyncio.create_task(board.run())
        try:
            at = await board.until(event="version", number=1, trial=False)
            at = await board.until(at, event="link", up=True)
            second = await publish(link, two)
            at = await board.until(at, event="installed", version=2)
            at = await board.until(at, event="version", number=2, folder="b", trial=True)
            at = await board.until(at, event="confirmed", version=2)
            assert {topic for topic in await retained(broker) if "/chunk/" in topic} == set(second.chunks(DEPLOYMENT))

            third = await publish(link, three)
            at = await board.until(at, event="installed", version=3)
            for _ in range(versions.TRIES):
                at = await board.until(at, event="broken", folder="a")
            at = await board.until(at, event="version", number=2, folder="b", trial=False)
            at = await board.until(at, event="link", up=True)
            assert set(third.chunks(DEPLOYMENT)) | {topics.release(DEPLOYMENT, BOARD)} == await retained(broker)
            assert len({event["public"] for event in board.events if event["event"] == "identity"}) == 1
            assert not [event for event in board.events if "refused" in event]

            fourth = await publish(link, shutil.copytree(two, tmp_path / "four"))
            at = await board.until(at, event="confirmed", version=4)
            assert releases.files_of(root / "a") == fourth.files
            assert await releases.retract(link, DEPLOYMENT, authority.public, BOARD) == 4
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await broker.stop()

    asyncio.run(main())
