"""Hostile input against the real thing: a Mosquitto, the `hum coordinator` process, three boards,
and one board's stolen password.

Each input is counted under its name, in the log and in `hum coordinator status --json`; it changes
nothing; and the round that comes next is exact.
"""

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from agent.crypto import accelerate
from agent.protocols.private_sum.answers import ANSWER_NONCE
from agent.protocols.private_sum.membership import CONTRIBUTION_NONCE, nonce
from agent.runtime.net.mqtt import Client, QueueFull
from agent.runtime.start import assemble
from agent.wire import cbor, coordination, messages
from agent.wire.envelope import Context, seal
from broker.authority.authority import Authority
from broker.coordinator.home import Home
from broker.coordinator.upload_filter import USUAL
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from host_sim.fleet.pace import pace

pytestmark = pytest.mark.alone

PROJECT = Path(__file__).parents[2]
NAMES = ["b0", "b1", "b2"]
ROOT = "hum/v1/test/g/main"
WAIT_S = 250.0


class Meter:
    """Reads 100 + the board's number, and remembers nothing."""

    def __init__(self, value: int) -> None:
        self.value = value

    def restore(self, bookmark: bytes) -> None:
        pass

    def read(self, round_number: int, counted: bool, resend: bool, slots: list[tuple[str, int, int]]) -> list[int]:
        return [self.value]

    def resent(self) -> bool:
        return False

    def counters(self) -> dict[str, int]:
        return {}

    def trouble(self) -> str:
        return ""

    def bookmark(self) -> bytes:
        return b""


LONG = ("--interval", 600, "--window", 450, "--patience", 600)  # a round is over when all is in


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition and return its value."""
    deadline = time.monotonic() + WAIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.05)
    return value


class Voice:
    """Says what a board does not, on its link."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        while True:
            try:
                await self._client.publish(topic, payload, qos)
                return
            except QueueFull:
                await asyncio.sleep(0.01)


class Site:
    """Everything that runs. `honest` boards run in this process; their names are NAMES but for
    those left out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = MosquittoBroker(folder / "broker", "test", {"main": NAMES})
        self.authority = Authority.init(folder / "authority", "test")
        home = Home.init(folder / "coordinator", "test", bytes.fromhex(self.authority.public))
        self.coordinator_public = home.public
        home.storage.close()
        self.boards: dict[str, Any] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self, interval: float, window: float) -> None:
        await self.broker.start()
        for index, name in enumerate(NAMES):
            self.make_board(name, 100 + index)
        _, signed = self.authority.sign_roster(
            "main", self.coordinator_public, [("load", 0, 1000)], "private-sum", "hum-2048"
        )
        (self.folder / "roster.cose").write_bytes(signed)
        self.start_coordinator("--interval", interval, "--window", window, "--patience", 60)

    def make_board(self, name: str, reading: int) -> None:
        def log(event: str, fields: dict[str, Any]) -> None:
            if event == "identity":
                self.authority.enrol("main", name, fields["public"])

        settings = {
            "deployment": "test", "group": "main", "device": name, "authority": self.authority.public, "host": HOST,
            "port": self.broker.port, "password": self.broker.credentials[name], "flash": str(self.folder / name),
            "masks_target": 6, "diagnostics_s": 60,
        }  # fmt: skip
        self.boards[name] = assemble(settings, Meter(reading), log)
        self.tasks[name] = asyncio.create_task(self.boards[name].run())

    async def stop_board(self, name: str) -> None:
        await self.boards[name].client.stop()
        await self.tasks.pop(name)

    def start_coordinator(self, *options: object) -> None:
        folder = self.folder
        arguments = ["--state", folder / "coordinator", "--roster", f"main={folder / 'roster.cose'}"]
        arguments += ["--credentials", folder / "broker" / "credentials.json", "--port", self.broker.port, "--at-once"]
        arguments += options
        with self.log_path.open("ab") as log:
            command = [sys.executable, "-W", "error", "-m", "broker", "coordinator", *map(str, arguments)]
            self.process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log)

    @property
    def log_path(self) -> Path:
        return self.folder / "coordinator.log"

    async def stop(self) -> None:
        for name in list(self.tasks):
            await self.stop_board(name)
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
        await self.broker.stop()

    # -- what can be seen of it

    def query(self, sql: str) -> list[Any]:
        database = sqlite3.connect(f"file:{self.folder / 'coordinator' / 'coordinator.db'}?mode=ro", uri=True)
        try:
            return database.execute(sql).fetchall()
        finally:
            database.close()

    def closed(self) -> list[tuple[int, str]]:
        """Return (round, sums as JSON) of the closed rounds."""
        return self.query("SELECT round, sums FROM rounds WHERE status IS NOT NULL ORDER BY round")

    def refused(self) -> dict[str, int]:
        return dict(self.query("SELECT reason, count FROM refusals"))

    async def status(self) -> dict[str, Any]:
        """Ask the command."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "broker", "coordinator", "status", "--state", str(self.folder / "coordinator"), "--json",
            cwd=PROJECT, stdout=subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(output)  # type: ignore[no-any-return]

    def logged(self) -> Counter[str]:
        """Add up the refusals in the log: all but those that any day has."""
        found: Counter[str] = Counter()
        for count, reason in re.findall(r"refused (\d+)(?: of \S+)?: (\S+)$", self.log_path.read_text(), re.M):
            found[reason] += int(count)
        return found

    @asynccontextmanager
    async def as_user(self, user: str, *filters: str) -> AsyncIterator[Any]:
        """Speak with a user's password: through the link of its board while that is there, for a
        user has one."""
        if user in self.tasks:
            assert not filters
            yield Voice(self.boards[user].client)
            return
        client = aiomqtt.Client(HOST, self.broker.port, username=user, password=self.broker.credentials[user])
        async with client:
            for topic_filter in filters:
                await client.subscribe(topic_filter, qos=1)
            yield client


def on_site(folder: Path, interval: float, window: float, body: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        site = Site(folder)
        try:
            await site.start(interval, window)
            await body(site)
        finally:
            await site.stop()

    accelerate.use_host_libraries()
    try:
        asyncio.run(main())
    finally:
        accelerate.install()


def sealed(
    site: Site, name: str, number: int, plain: bytes, kind: str = "contribution", nonce_of: bytes = b""
) -> bytes:
    """An upload of `name` in good form, made with its round key."""
    member = site.boards[name].machine.member
    key, context = member.round_key, Context("test", kind, "main", 1, number, name, "coordinator", member.number)
    number_of = CONTRIBUTION_NONCE if kind == "contribution" else ANSWER_NONCE
    return bytes(seal(key, nonce_of or nonce(number_of, number), context, plain))


async def reopen(site: Site, *options: object) -> int:
    """Stop b2, and start the coordinator again: it opens the next round at once. Returns the round
    when b0 and b1 are in it."""
    await until(lambda: rounds(site) and site.closed(), "the first round")
    await site.stop_board("b2")
    assert site.process
    site.process.kill()
    site.process.wait()
    number = len(site.closed())
    site.start_coordinator(*LONG, *options)
    await until(lambda: members_in(site, number) == ["b0", "b1"], f"round {number} with two contributions")
    return number


async def attack(site: Site, name: str, inputs: list[tuple[str, str, bytes]]) -> None:
    """Publish (topic, expected reason, payload) one by one with the password of `name`; each must
    be counted as expected."""
    expected = Counter(site.refused())
    async with site.as_user(name) as client:
        for topic, reason, payload in inputs:
            await client.publish(topic, payload, qos=1)
            expected[reason] += 1
            try:
                await until(lambda: as_expected(site.refused(), expected), reason)
            except AssertionError:
                assert site.refused() == expected, (topic, reason, payload[:40])


HONEST = ("duplicate", "replayed")


def as_expected(refused: dict[str, int], expected: dict[str, int]) -> bool:
    """Compare two counts. Honest boards may add to two: one that was stopped before it had checked
    a receipt sends its contribution again, and a coordinator that starts again hears the retained
    `ready` that it knows."""
    enough = all(refused.get(reason, 0) >= expected.get(reason, 0) for reason in HONEST)
    return enough and {**refused, **dict.fromkeys(HONEST, 0)} == {**expected, **dict.fromkeys(HONEST, 0)}


@pytest.mark.proof
def test_hostile_input_is_counted_and_changes_nothing_and_the_next_round_is_exact(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        # Round 1 is open without b2, whose password and key the attacker has.
        assert await reopen(site) == 1
        honest = site.boards["b0"].sent[0]
        before = site.query("SELECT * FROM contributions ORDER BY round, device"), site.query("SELECT * FROM rounds")
        up = f"{ROOT}/up/b2/contribution"
        good = sealed(site, "b2", 1, messages.contribution(bytes(511) + b"\x05", 5, 7, 7))
        flipped = bytearray(good)
        flipped[-1] ^= 1
        long_head = b"\xd0\x98" + good[1:]  # the tag's number is in a byte of its own, and the rest moved
        loose = b"\xd8\x10" + good[1:]  # tag 16 in two bytes, where one would do
        unknown = bytes([*good[:1], 0x84]) + good[2:]
        inputs = [
            (up, "cleared", b""),
            (up, "malformed", b"\x00"),
            (up, "malformed", os.urandom(200)),
            (up, "malformed", good[:-1]),
            (up, "malformed", good[:100]),
            (up, "malformed", good + b"\x00"),
            (up, "bad-tag", bytes(flipped)),
            (up, "malformed", loose),
            (up, "malformed", long_head),
            (up, "malformed", unknown),
            (up, "malformed", b"\x9f" * 100),
            (up, "malformed", b"\x81" * 2000),
            (up, "malformed", cbor.encode(cbor.Tag(16, [b"", {}, b""]))),
            (up, "oversized", bytes(2049)),
            (up, "oversized", bytes(8192)),
            (up, "bad-tag", site.boards["b1"].sent[1]),
            (up, "bad-tag", honest),
            (up, "late", sealed(site, "b2", 0, messages.contribution(b"\x01" * 512, 5, 7, 7))),
            (up, "malformed", sealed(site, "b2", 1, messages.contribution(b"\x01" * 512, 5, 8, 7))),
            (f"{ROOT}/up/b2/answer", "malformed", b"\x00"),
            (f"{ROOT}/up/b2/answer", "early", sealed(site, "b2", 1, messages.answer(bytes(16), None), "answer")),
            (up, "early", sealed(site, "b2", 2, messages.contribution(bytes(511) + b"\x05", 5, 7, 7))),
            (up, "malformed", sealed(site, "b2", 1, messages.contribution(bytes(512), 5, 7, 7))),
            (up, "malformed", sealed(site, "b2", 1, messages.contribution(b"\xff" * 512, 5, 7, 7))),
            (up, "malformed", sealed(site, "b2", 1, b"\xa0")),
            (up, "malformed", sealed(site, "b2", 1, messages.contribution(b"\x01" * 512, 5, 7, 7), nonce_of=bytes(13))),
            (f"{ROOT}/up/b2/ready", "malformed", good),
        ]
        await attack(site, "b2", inputs)
        assert (
            site.query("SELECT * FROM contributions ORDER BY round, device"),
            site.query("SELECT * FROM rounds"),
        ) == before

        # What the access rules drop is not even seen: another's topics, the coordinator's.
        async with site.as_user("b2") as client:
            for topic in (
                "hum/v1/test/g/other/up/b2/contribution",
                "hum/v1/test/g/OTHER/up/b2/contribution",
                f"{ROOT}/up/b0/contribution",
                f"{ROOT}/round",
                f"{ROOT}/result",
                f"{ROOT}/mail/b0/coordinator",
            ):
                await client.publish(topic, good, qos=1)
        await attack(site, "b2", [(up, "malformed", b"\x01")])

        # Mail to another member goes past the coordinator; that board counts it.
        counts = site.boards["b0"].machine.refused
        before_mail = counts.get("malformed", 0)
        async with site.as_user("b2") as client:
            # The one without a byte takes back what the broker kept: it is no garbage.
            for garbage in (b"", b"\x00", os.urandom(300), good[:-1]):
                await client.publish(f"{ROOT}/mail/b0/b2", garbage, qos=1)
        await until(lambda: counts.get("malformed", 0) == before_mail + 3, "three refusals of mail")

        # b2 itself comes back, and the round is complete and exact.
        site.make_board("b2", 102)
        await until(lambda: len(site.closed()) >= 2, "round 1")
        assert site.closed()[:2] == [(0, "[303]"), (1, "[303]")]
        assert site.process and site.process.poll() is None

        # A contribution again, after its receipt: answered, counted, recorded once.
        contributions = site.query(
            "SELECT round, device, digest FROM contributions WHERE round < 2 ORDER BY round, device"
        )
        await attack(site, "b0", [(f"{ROOT}/up/b0/contribution", "duplicate", site.boards["b0"].sent[1])])
        assert (
            site.query("SELECT round, device, digest FROM contributions WHERE round < 2 ORDER BY round, device")
            == contributions
        )
        counted = Counter(reason for _, reason, _ in inputs)
        counted.update(["malformed", "duplicate"])
        refused = (await site.status())["refused"]
        assert as_expected(refused, counted), refused
        assert as_expected(site.logged(), Counter({name: counted[name] for name in counted if name not in USUAL}))

    on_site(tmp_path, 60.0, 45.0, recording(body))


def rounds(site: Site) -> list[int]:
    try:
        return [number for (number,) in site.query("SELECT round FROM rounds ORDER BY round")]
    except sqlite3.OperationalError:  # not made yet
        return []


def members_in(site: Site, number: int) -> list[str]:
    sql = f"SELECT device FROM contributions WHERE round = {number} ORDER BY device"
    return [device for (device,) in site.query(sql)]


def recording(body: Callable[[Site], Awaitable[None]]) -> Callable[[Site], Awaitable[None]]:
    """Let each board's `sent` have the contributions that it sent, by round."""

    async def with_record(site: Site) -> None:
        for board in site.boards.values():
            record(board)
        await body(site)

    return with_record


def record(board: Any) -> None:
    spend, board.sent = board.effects.masks.spend, {}

    def spend_and_keep(epoch: int, number: int, envelope: bytes, bookmark: bytes, resent: bool) -> None:
        spend(epoch, number, envelope, bookmark, resent)
        board.sent[number] = envelope

    board.effects.masks.spend = spend_and_keep


@pytest.mark.proof
def test_a_flood_of_garbage_does_not_keep_a_round_from_being_exact(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        number = await reopen(site)
        async with site.as_user("b2") as client:  # in the midst of a round that waits for b2
            for _ in range(20):
                garbage = [client.publish(f"{ROOT}/up/b2/contribution", os.urandom(700), qos=1) for _ in range(50)]
                await asyncio.gather(*garbage)
        site.make_board("b2", 102)
        await until(lambda: len(site.closed()) > number, "the round of the flood")
        await until(lambda: site.refused().get("malformed") == 1000, "all counted")
        assert site.process
        site.process.kill()
        site.process.wait()
        site.start_coordinator(*LONG)
        await until(lambda: len(site.closed()) > number + 1, "one more round")
        assert {sums for _, sums in site.closed()} == {"[303]"}
        await until(lambda: site.logged()["malformed"] == 1000, "all logged")
        assert site.logged() == {name: count for name, count in site.refused().items() if name not in USUAL}

    on_site(tmp_path, 60.0, 45.0, body)


@pytest.mark.proof
def test_a_member_that_sends_garbage_in_good_form_spoils_the_sum_and_is_counted(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        number = await reopen(site, "--answers", 2.0 * pace())
        async with site.as_user("b2", f"{ROOT}/roll") as client:
            payload = sealed(site, "b2", number, messages.contribution(bytes(256) + os.urandom(256), 9, 7, 7))
            await client.publish(f"{ROOT}/up/b2/contribution", payload, qos=1)
            async with asyncio.timeout(WAIT_S):
                async for message in client.messages:
                    if message.payload:
                        break
            answer = sealed(site, "b2", number, messages.answer(os.urandom(16), None), "answer")
            await client.publish(f"{ROOT}/up/b2/answer", answer, qos=1)
            await until(lambda: len(site.closed()) > number, "the round's end")
        assert site.closed()[number] == (number, "null")
        await until(lambda: site.refused().get("wrong-sum") == 1, "wrong-sum counted")
        site.make_board("b2", 102)
        site.process.kill()  # type: ignore[union-attr]
        site.process.wait()  # type: ignore[union-attr]
        site.start_coordinator(*LONG)
        await until(lambda: len(site.closed()) > number + 1, "the next round")
        assert site.closed()[number + 1] == (number + 1, "[303]")

    on_site(tmp_path, 60.0, 45.0, body)


def test_a_database_that_fails_ends_the_process_with_one_line(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        await until(lambda: rounds(site) and site.closed(), "the first round")
        assert site.process
        database = sqlite3.connect(site.folder / "coordinator" / "coordinator.db")
        database.execute("DROP TABLE contributions")
        database.commit()
        database.close()
        await until(lambda: site.process and site.process.poll() is not None, "the end of the process")
        assert site.process.returncode == 1
        last = site.log_path.read_text().splitlines()[-1]
        assert last.startswith("hum: ")
        assert "no such table: contributions" in last
        assert "Traceback" not in site.log_path.read_text()

    on_site(tmp_path, 1.0, 20.0, body)


@pytest.mark.proof
def test_a_broker_that_is_killed_is_found_again_and_the_rounds_go_on(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        await until(lambda: rounds(site) and site.closed(), "the first round")
        site.broker.kill()
        await asyncio.sleep(0.5)
        await site.broker.start()
        closed = len(site.closed())
        # The round that the broker died in may have no sum: it is over when the next one is due.
        await until(lambda: [sums for _, sums in site.closed()][closed + 1 :].count("[303]") > 1, "two more sums")
        assert {sums for _, sums in site.closed()} <= {"[303]", "null"}
        assert site.process and site.process.poll() is None
        # What is said of a link that ends depends on how long there was one.
        assert re.search(r"no link|the link to \S+ is lost", site.log_path.read_text())

    on_site(tmp_path, 4.0 * pace(), 20.0 * pace(), body)


@pytest.mark.proof
def test_the_last_result_is_sent_though_the_link_breaks_when_the_last_round_closes(tmp_path: Path) -> None:
    """The end of the last round is recorded, the broker dies, and only then could the result be
    published."""

    async def body(site: Site) -> None:
        assert site.process
        site.process.kill()
        site.process.wait()
        site.start_coordinator("--interval", 1, "--window", 20, "--rounds", 1, "--patience", 60)
        await until(lambda: rounds(site) and site.closed(), "the first round")
        site.broker.kill()
        await asyncio.sleep(0.2)
        await site.broker.start()
        site.process.wait(WAIT_S)
        # If the process had ended before the broker died there is nothing retained: start it once
        # more.
        site.start_coordinator("--interval", 1, "--window", 20, "--rounds", 1, "--patience", 60)
        assert await asyncio.to_thread(site.process.wait, WAIT_S) == 0
        async with (
            site.as_user("client", f"{ROOT}/result", "hum/v1/test/coord/state") as client,
            asyncio.timeout(WAIT_S),
        ):
            heard = {}
            async for message in client.messages:
                heard[str(message.topic).rpartition("/")[2]] = message.payload
                if len(heard) == 2:
                    break
        (message,) = site.query("SELECT result FROM rounds")[0]
        assert heard["result"] == message
        assert coordination.read_presence(heard["state"]) is False

    on_site(tmp_path, 1.0, 20.0, body)
