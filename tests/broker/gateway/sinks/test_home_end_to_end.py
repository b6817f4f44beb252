"""The gateway's process with two real brokers: what a coordinator publishes on the boards' reaches
Home Assistant and programs on the home's, and Prometheus, through whatever dies in between."""

import asyncio
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from agent.wire import messages, topics
from broker.client import identity
from broker.deploy.mosquitto import passwords
from broker.deployment import serving
from broker.deployment.folder import Deployment
from broker.transport.link import Connection, Link, LinkError
from broker.transport.users import GATEWAY
from broker.wire import channel, views
from broker.wire.views import Order, Standing
from tests.broker.gateway.sinks.home_assistant_rules import House
from tests.support.client_town import DEPLOYMENT, NAMES, Town
from tests.support.mosquitto_process import Mosquitto, free_port

pytestmark = pytest.mark.proof
ROOT = Path(__file__).parents[4]
WAIT_S = 60.0
PASSWORD = "a home's secret"
# `hum` knows the command once the package is installed with it.
COMMAND = [
    *(sys.executable, "-c"),
    "from broker.cli import ending; from broker.cli.deployment.gateway import gateway_app; "
    "ending.heed_signals(); gateway_app()",
]
TOTAL, POWER = "hum_town_street_load_total", "hum_town_street_load_power"
STATE, SUM = "hum-gateway/town/state", "hum-gateway/town/g/street/sum"
CONFIG = "homeassistant/device/hum_town_street/config"


class Gateway:
    """`hum gateway` of a deployment in `folder`, as a process that is started and killed."""

    def __init__(self, folder: Path, town: Town, boards: int, home: int) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        results = folder / "gateway/results"
        results.mkdir(parents=True)
        identity.make(folder / "gateway")
        (results / "street.key").write_text(town.result_key.hex())
        users = folder / "mosquitto/users"
        users.mkdir(parents=True)
        (users / f"{GATEWAY}.json").write_text(json.dumps({GATEWAY: "of the boards' broker"}))
        (folder / "home.password").write_text(PASSWORD + "\n")
        (folder / "hum.toml").write_text(f"""
            deployment = "{DEPLOYMENT}"
            [broker]
            host = "127.0.0.1"
            port = {boards}
            [authority]
            public = "{town.authority.public}"
            [gateway]
            port = {self.port}
            energy_metrics = true
            [home_assistant]
            host = "127.0.0.1"
            port = {home}
            user = "hum"
            password_file = "home.password"
            [groups.street]
            slots = ["load:0:1000", "feed-in:-500:0"]
            labels = ["feeder=7"]
        """)
        deployment = Deployment.find(folder)
        self.tokens = {
            scope: serving.new_token(deployment, (scope,), "a test's", None) for scope in ("sums", "members")
        }

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            arguments = [*COMMAND, "--dir", str(self.folder)]
            self.process = subprocess.Popen(arguments, cwd=ROOT, stdout=log, stderr=log)

    def end(self, how: signal.Signals) -> int:
        assert self.process
        self.process.send_signal(how)
        code = self.process.wait(WAIT_S)
        self.process = None
        return code

    def metrics(self, scope: str | None) -> tuple[int, str]:
        """Return status and text of a scrape with a token of this scope, or without one."""
        headers = {"Authorization": f"Bearer {self.tokens[scope]}"} if scope else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/metrics", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


class Hearer:
    """Hears all on the home's broker, as a Home Assistant that checks its rules does."""

    def __init__(self, link: Link) -> None:
        self.house = House()
        self.said: Counter[str] = Counter()
        self.responses: list[tuple[str, dict]] = []
        self._link = link

    async def run(self) -> None:
        while True:
            with suppress(LinkError):  # the broker is killed on purpose
                async with self._link.connect() as connection:
                    await connection.subscribe("#")
                    async for message in connection.messages():
                        self.hear(message.topic, message.payload)
            await asyncio.sleep(0.1)

    def hear(self, topic: str, payload: bytes) -> None:
        self.said[topic] += 1
        if "/response/" in topic:
            self.responses.append((topic, json.loads(payload)))
        elif "/request/" not in topic and not topic.endswith("/status"):
            self.house.hear(topic, payload)

    def value(self, name: str) -> object:
        return self.house.state(name) if name in self.house.entities and self.house.available(name) else None


@asynccontextmanager
async def hearing(link: Link) -> AsyncIterator[Hearer]:
    hearer = Hearer(link)
    task = asyncio.create_task(hearer.run())
    try:
        yield hearer
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=WAIT_S)
    assert task.cancelled() or task.result() is None  # else a rule was broken


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"in vain: {what}")


async def publish(town: Town, boards: Connection, kind: str, payload: bytes) -> None:
    await boards.publish(town.topic(kind), payload, retain=True)


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[tuple[Town, Gateway, Mosquitto, Connection, Hearer]]:
    town = Town(folder / "town")
    home = Mosquitto(f"allow_anonymous false\npassword_file {folder / 'passwords'}")
    (folder / "passwords").write_text(f"hum:{passwords.hashed(PASSWORD)}\n")
    with Mosquitto() as broker, home:
        gateway = Gateway(folder / "deployment", town, broker.port, home.port)
        link = Link("127.0.0.1", home.port, "hum", PASSWORD, None)
        async with Link("127.0.0.1", broker.port, None, None, None).connect() as boards, hearing(link) as hearer:
            try:
                yield town, gateway, home, boards, hearer
            finally:
                if gateway.process:
                    gateway.end(signal.SIGKILL)


async def ask(home: int, name: str, fields: dict) -> None:
    async with Link("127.0.0.1", home, "hum", PASSWORD, None).connect() as connection:
        await connection.publish(f"hum-gateway/town/request/{name}", json.dumps(fields).encode())


def test_sums_reach_the_home_through_whatever_dies(tmp_path: Path):
    asyncio.run(play_deaths(tmp_path))


async def play_deaths(folder: Path) -> None:
    async with scene(folder) as (town, gateway, home, boards, hearer):
        await boards.publish(topics.coordinator_state(DEPLOYMENT), messages.presence(True), retain=True)
        await publish(town, boards, "roster", town.roster())
        await publish(town, boards, "result", town.result(0, [100, -5]))
        gateway.start()
        await until(lambda: hearer.value(TOTAL) == 100, "the first sum")
        assert hearer.house.devices[CONFIG]["via_device"] == "hum_town"
        assert hearer.house.state("hum_town_state") is True
        await publish(town, boards, "result", town.result(1, [30, -1], ["b3"]))
        await until(lambda: hearer.value(TOTAL) == 130, "the second sum")
        assert hearer.value("hum_town_street_summed") == 4
        assert hearer.value(POWER) is None  # somebody was missing
        await publish(town, boards, "result", town.result(2))
        await until(lambda: hearer.value("hum_town_street_summed") == 0, "a round without a sum")
        assert hearer.value(TOTAL) == 130

        # The gateway dies: the broker says so. It comes back with what it knew and what it missed.
        gateway.end(signal.SIGKILL)
        await until(lambda: not hearer.house.available(TOTAL), "the last will")
        await publish(town, boards, "result", town.result(3, [7, 0]))
        gateway.start()
        await until(lambda: hearer.value(TOTAL) == 137, "what came meanwhile")

        # A new epoch: the totals go on.
        await publish(town, boards, "roster", town.sign("street"))
        await publish(town, boards, "result", town.result(0, [1000, 0]))
        await until(lambda: hearer.value(TOTAL) == 1137, "the first sum of the next epoch")

        # The home's broker dies, and has kept nothing.
        home.kill()
        hearer.house = House()
        await publish(town, boards, "result", town.result(1, [3, 0]))
        home.start()
        await until(lambda: hearer.value(TOTAL) == 1140, "all of it again")

        # The coordinator says that it is gone, and is back.
        await boards.publish(topics.coordinator_state(DEPLOYMENT), messages.presence(False), retain=True)
        await until(lambda: not hearer.house.available(TOTAL), "a group whose coordinator is gone")
        assert hearer.house.state("hum_town_state") is True
        await boards.publish(topics.coordinator_state(DEPLOYMENT), messages.presence(True), retain=True)
        await until(lambda: hearer.value(TOTAL) == 1140, "a group whose coordinator is back")

        # It ends in good order, and says so.
        assert gateway.end(signal.SIGTERM) == 0
        await until(lambda: not hearer.house.available(TOTAL), "a farewell")
        # Its key was taken away meanwhile.
        (gateway.folder / "gateway/results/street.key").unlink()
        gateway.start()
        await until(lambda: CONFIG not in hearer.house.devices and not hearer.house.heard[SUM], "the group's end")
        assert set(hearer.house.entities) == {"hum_town_state"}


def test_requests_discovery_and_metrics_are_answered(tmp_path: Path):
    asyncio.run(play_answers(tmp_path))


async def play_answers(folder: Path) -> None:
    async with scene(folder) as (town, gateway, home, boards, hearer):
        public = bytes.fromhex((gateway.folder / "gateway" / identity.PUBLIC).read_text())
        members = views.members(Order(1, 1), 1_790_000_000, [Standing("ready", True)] * len(NAMES))
        await boards.publish(*town.told(public, channel.MEMBERS, members), retain=True)
        await publish(town, boards, "roster", town.roster())
        gateway.start()
        for number in range(3):
            await publish(town, boards, "result", town.result(number, [100, -5]))
            await until(lambda number=number: hearer.value(TOTAL) == 100 * number + 100, "a sum")
        await ask(home.port, "rounds", {"group": "street", "limit": 2, "transaction": "t1"})
        await ask(home.port, "groups", {"transaction": 2})
        await ask(home.port, "restart", {"transaction": 3})
        await until(lambda: len(hearer.responses) == 3, "three responses")
        (_, first), (topic, second), (_, third) = hearer.responses
        assert (first["status"], first["transaction"]) == ("ok", "t1")
        assert [one["id"] for one in first["data"]] == ["1.2", "1.1"]
        assert topic == "hum-gateway/town/response/groups"
        assert second["data"][0]["labels"] == ["feeder=7"]
        assert (third["status"], third["error"].partition(":")[0]) == ("error", "unknown-request")

        before = hearer.said[CONFIG]
        async with Link("127.0.0.1", home.port, "hum", PASSWORD, None).connect() as connection:
            await connection.publish("homeassistant/status", b"online")
        await until(lambda: hearer.said[CONFIG] > before, "the devices again")

        assert gateway.metrics(None)[0] == 401
        assert gateway.metrics("sums")[0] == 403
        status, text = gateway.metrics("members")
        assert status == 200
        lines = text.splitlines()
        for line in (
            "hum_broker_linked 1.0",
            'hum_rounds_total{group="street",status="complete"} 3.0',
            'hum_group_members{group="street"} 5.0',
            'hum_board_online{device="b0"} 1.0',
            'hum_energy_joules_total{group="street",slot="load"} 1.08e+06',
            'hum_inputs_refused_total{reason="unknown-request"} 1.0',
        ):
            assert line in lines, text
