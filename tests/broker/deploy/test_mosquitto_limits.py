"""A real Mosquitto with the generated configuration: what one user can do to another's session, and
to the broker's memory."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from agent.runtime.net.mqtt import Client
from agent.wire import messages, topics
from broker.coordinator import clearing
from broker.deploy.mosquitto import access, configuration
from broker.transport.link import Link
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.support.witness import WITNESS, with_witness

pytestmark = pytest.mark.alone

GROUPS = {"main": ["b0", "b1", "evil"]}
WAIT_S = 120.0
INVENTED = 3000
MAILBOX = topics.mail("test", "main", "b0", "evil")


def connect(broker: MosquittoBroker, user: str, **other: Any) -> aiomqtt.Client:
    password = other.pop("password", broker.credentials[user])
    return aiomqtt.Client(HOST, broker.port, username=user, password=password, timeout=WAIT_S, **other)


def resident(broker: MosquittoBroker) -> int:
    """Return the broker's memory in kB."""
    assert broker._process
    status = Path(f"/proc/{broker._process._process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


async def kept(broker: MosquittoBroker) -> dict[str, int]:
    """Return the sizes of all that the broker has kept of the deployment, by topic."""
    found = {}
    async with connect(broker, WITNESS) as client, asyncio.timeout(WAIT_S):
        await client.subscribe("hum/#", qos=1)
        async with connect(broker, "b1") as end:
            await end.publish(topics.mail("test", "main", "b0", "b1"), b"end", qos=1)
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            if message.payload == b"end":
                return found
            found[str(message.topic)] = len(message.payload)
    raise AssertionError("no end")


def on(broker: MosquittoBroker, body: Any) -> Any:
    async def main() -> Any:
        await broker.start()
        try:
            return await body()
        finally:
            await broker.stop()

    return asyncio.run(main())


def board(broker: MosquittoBroker) -> Client:
    """b0's client, as a board makes it."""
    made = Client(HOST, broker.port, "b0", user="b0", password=broker.credentials["b0"])
    for kind in ("roster", "round", "roll"):
        made.subscribe(topics.group("test", "main", kind))
    made.subscribe(topics.mail("test", "main", "b0", "+"))
    made.letters = (topics.mail("test", "main", "b0", ""), 1024)
    return made


async def until(condition: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.02)


def test_nobody_ends_a_session_by_calling_itself_the_same(tmp_path: Path) -> None:
    broker = with_witness(tmp_path, "test", GROUPS)

    async def body() -> None:
        victims = ("coordinator", "b0")
        will = aiomqtt.Will("hum/v1/test/dev/b0/state", messages.presence(False), 1, True)
        async with connect(broker, victims[0], identifier="coordinator"), connect(broker, "b0", will=will) as b0:
            for name in (*victims, "hum-coordinator-test", ""):
                async with connect(broker, "evil", identifier=name or None):
                    pass
                with pytest.raises(aiomqtt.MqttError):
                    async with connect(broker, name if name in victims else "b0", password="guess"):
                        pass
            # Both are there: what b0 says is heard, and nobody has published its last will.
            await b0.publish("hum/v1/test/dev/b0/state", messages.presence(True), qos=1, retain=True)
            assert await kept(broker) == {"hum/v1/test/dev/b0/state": len(messages.presence(True))}
        # A user's own new connection takes the place of the old one, as after a lost link.
        async with connect(broker, "b1") as old, connect(broker, "b1", identifier="other"):
            with pytest.raises(aiomqtt.MqttError):
                await anext(aiter(old.messages))

    on(broker, body)


def test_what_is_kept_under_invented_names_is_nothing(tmp_path: Path) -> None:
    broker = with_witness(tmp_path, "test", GROUPS)

    async def body() -> None:
        before = resident(broker)
        async with connect(broker, "evil") as evil:
            for n in range(INVENTED):
                for topic in (f"g/g{n}/up/evil/ready", f"g/main/mail/x{n}/evil", f"dev/evil/k{n}"):
                    await evil.publish(f"hum/v1/test/{topic}", bytes(8000), qos=0, retain=True)
            await evil.publish("hum/v1/test/dev/evil/diag", b"last", qos=1, retain=True)
        assert await kept(broker) == {"hum/v1/test/dev/evil/diag": 4}
        assert resident(broker) - before < 4096, (before, resident(broker))

    on(broker, body)


def test_all_that_boards_can_have_kept_can_be_counted_and_fits(tmp_path: Path) -> None:
    broker = with_witness(tmp_path, "test", GROUPS)
    rules = (tmp_path / "access").read_text().partition("user b0")[2]
    assert "+" not in "".join(line for line in rules.splitlines() if line.startswith("topic write"))
    writable = [line.split()[2] for line in ("user b0" + rules).splitlines() if line.startswith("topic write")]
    assert len(writable) == access.retained_most(GROUPS)
    limits = dict(line.split(maxsplit=1) for line in (tmp_path / "mosquitto.conf").read_text().splitlines())
    for members in (3, 64):
        groups = {"main": [f"b{n}" for n in range(members)]}
        most = access.retained_most(groups) * (configuration.PAYLOAD_MOST + 512)
        assert most < members * configuration.MEMORY_A_USER
    assert int(limits["memory_limit"]) > 32 << 20

    async def body() -> None:
        for user in GROUPS["main"]:
            async with connect(broker, user) as client:
                for topic in writable:
                    await client.publish(topic, bytes(configuration.PAYLOAD_MOST), qos=1, retain=True)
        found = await kept(broker)
        assert set(found) == set(writable)
        link = Link(HOST, broker.port, "coordinator", broker.credentials["coordinator"], None)
        names = GROUPS["main"]
        mail = list(clearing.mailboxes("test", "main", names, names))
        assert await clearing.clear(link, mail) == len(mail) == 6
        assert set(await kept(broker)) == set(writable) - set(mail)

    on(broker, body)


def test_a_user_that_fills_the_memory_ends_its_own_link(tmp_path: Path) -> None:
    broker = with_witness(tmp_path, "test", GROUPS)
    path = tmp_path / "mosquitto.conf"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("memory_limit")]
    path.write_text("\n".join([*lines, "memory_limit 4194304"]) + "\n")  # as generated, and smaller

    async def body() -> None:
        before = resident(broker)
        async with connect(broker, "b0") as bystander:
            await bystander.subscribe(MAILBOX, qos=1)
            with pytest.raises(aiomqtt.MqttError):
                async with aiomqtt.Client(
                    HOST, broker.port, username="evil", password=broker.credentials["evil"], timeout=5
                ) as evil:
                    for n in range(0, 100_000, 50):
                        await evil.subscribe([(f"{n + i}/" + "y" * 100, 0) for i in range(50)])
            async with connect(broker, "evil") as evil:
                await evil.publish(MAILBOX, b"still here", qos=1)
            async with asyncio.timeout(WAIT_S):
                assert (await anext(aiter(bystander.messages))).payload == b"still here"
        assert resident(broker) - before < 8192

    on(broker, body)


@pytest.mark.parametrize("size", [8192, 8193, 9000, 16384, 100_000])
def test_what_the_broker_lets_through_is_what_a_board_takes(tmp_path: Path, size: int) -> None:
    broker = with_witness(tmp_path, "test", GROUPS)

    async def body() -> None:
        victim, got = board(broker), []
        victim.on_message = lambda topic, payload, retain: got.append((topic, len(payload)))
        running = asyncio.create_task(victim.run())
        await until(lambda: victim.links == 1)
        for user, topic in (("coordinator", topics.group("test", "main", "roster")), ("evil", MAILBOX)):
            with suppress(aiomqtt.MqttError):  # it ends the link of who sends much more
                async with aiomqtt.Client(
                    HOST, broker.port, username=user, password=broker.credentials[user], timeout=2
                ) as client:
                    await client.publish(topic, bytes(size), qos=1, retain=True)
        async with connect(broker, "coordinator") as client:
            await client.publish(topics.group("test", "main", "round"), b"end", qos=1)
        await until(lambda: got and got[-1][1] == 3)
        passes = size <= configuration.PAYLOAD_MOST
        assert [found[1] for found in got] == ([size, 3] if passes else [3])
        assert victim.links == 1 and victim.counters == ({"oversized": 1} if passes else {})
        await victim.stop()
        await running

    on(broker, body)
