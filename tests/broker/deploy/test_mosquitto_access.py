"""A real Mosquitto with the generated configuration: who may say and hear what.

Mosquitto acknowledges what its access rules then drop, so nothing is believed but what arrives. To
know that a message does not arrive, an allowed one is sent behind it on the same link: Mosquitto
keeps the order, and the second one does arrive.
"""

import asyncio
import json
import socket
import stat
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest

from agent.runtime.net import mqtt_packets
from agent.wire.topics import valid_device
from broker.deploy.mosquitto import configuration
from broker.deploy.mosquitto.credentials import BrokerError, read_password, reader_in
from broker.transport.users import READER, TOOLS
from host_sim.fleet.broker_process import HOST, MosquittoBroker

pytestmark = pytest.mark.alone

GROUPS = {"main": ["b0", "b1", "b9"], "other": ["c0", "c9"]}
DEVICES = [device for members in GROUPS.values() for device in members]
ROOT = "hum/v1/test"
WAIT_S = 120.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoBroker]:
    broker = MosquittoBroker(tmp_path_factory.mktemp("broker"), "test", GROUPS, ["grafana"])
    asyncio.run(broker.start())
    yield broker
    asyncio.run(broker.stop())


@dataclass
class Ear:
    """A client that keeps what it hears."""

    client: aiomqtt.Client
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    async def until(self, topic: str, payload: bytes) -> None:
        """Listen until this message arrives."""
        async with asyncio.timeout(WAIT_S):
            async for message in self.client.messages:
                assert isinstance(message.payload, bytes)
                self.heard.append((str(message.topic), message.payload))
                if self.heard[-1] == (topic, payload):
                    return


async def enter(stack: AsyncExitStack, broker: MosquittoBroker, user: str, *filters: str) -> Ear:
    client = aiomqtt.Client(HOST, broker.port, username=user, password=broker.credentials[user], timeout=WAIT_S)
    await stack.enter_async_context(client)
    for topic_filter in filters:
        await client.subscribe(topic_filter, qos=1)
    return Ear(client)


def mark(reader: str) -> tuple[str, str]:
    """Return (user, topic) of a message that `reader` may hear; its user has no other part here,
    but for the coordinator's, which alone speaks to the gateway."""
    for group, members in GROUPS.items():
        if reader in members:
            return members[-1], f"{ROOT}/g/{group}/mail/{reader}/{members[-1]}"
    if reader == "tool.gateway":
        return "coordinator", f"{ROOT}/coord/state"
    return "b9", f"{ROOT}/dev/b9/state"


async def arrives(broker: MosquittoBroker, writer: str, topic: str, reader: str) -> bool:
    """Tell whether what `writer` publishes to `topic`, once plain and once retained, reaches
    `reader`, who subscribes to all."""
    async with AsyncExitStack() as stack:
        ear = await enter(stack, broker, reader, "#")
        mouth = ear if reader == writer else await enter(stack, broker, writer)
        user, end = mark(reader)
        signal = mouth if user == writer else await enter(stack, broker, user)
        for retain in (False, True):
            await mouth.client.publish(topic, b"said", qos=1, retain=retain)
        await mouth.client.publish(topic, b"", qos=1, retain=True)
        # The publications above are acknowledged, so they have been routed, or dropped, before this
        # one is.
        await signal.client.publish(end, b"end", qos=1)
        await ear.until(end, b"end")
    return (topic, b"said") in ear.heard


def connect(broker: MosquittoBroker, user: str | None, password: str | None, will: str | None = None) -> int:
    """Connect, note the return code of CONNACK, and break the link without a farewell, so that a
    last will is published."""
    last = (will, b"dead", 1, False) if will else None
    with socket.create_connection((HOST, broker.port), WAIT_S) as link:
        link.sendall(mqtt_packets.connect("raw", 60, True, user=user, password=password, will=last))
        answer = link.recv(4)
    assert answer[:3] == b"\x20\x02\x00"
    return answer[3]


def test_only_who_has_a_password_may_enter(broker: MosquittoBroker) -> None:
    accepted, not_authorised = 0, 5  # MQTT 3.1.1 section 3.2.2.3
    for user, password in broker.credentials.items():
        assert connect(broker, user, password) == accepted
    strangers = [
        (None, None),
        ("b0", None),
        ("b0", ""),
        ("b0", broker.credentials["b0"] + "x"),
        ("b0", broker.credentials["b1"]),
        ("b2", broker.credentials["b1"]),
        ("coordinator", broker.credentials["client"]),
    ]
    for user, password in strangers:
        assert connect(broker, user, password) == not_authorised


@pytest.mark.parametrize(
    ("topic", "reader"),
    [
        (f"{ROOT}/g/main/up/b0/contribution", "coordinator"),
        (f"{ROOT}/g/main/up/b0/here", "coordinator"),
        (f"{ROOT}/g/main/up/b0/ready", "coordinator"),
        (f"{ROOT}/g/main/up/b0/answer", "coordinator"),
        (f"{ROOT}/dev/b0/state", "coordinator"),
        (f"{ROOT}/dev/b0/diag", "client"),
        (f"{ROOT}/g/main/mail/b1/b0", "b1"),
    ],
)
def test_a_board_writes_its_own_topics(broker: MosquittoBroker, topic: str, reader: str) -> None:
    assert asyncio.run(arrives(broker, "b0", topic, reader))


@pytest.mark.parametrize(
    ("topic", "reader"),
    [
        (f"{ROOT}/g/main/up/b1/contribution", "coordinator"),
        (f"{ROOT}/g/main/up/b1/ready", "coordinator"),
        (f"{ROOT}/g/main/up/b1/answer", "coordinator"),
        (f"{ROOT}/g/main/up/coordinator/ready", "coordinator"),
        (f"{ROOT}/dev/b1/state", "coordinator"),
        (f"{ROOT}/dev/b1/diag", "client"),
        (f"{ROOT}/g/main/mail/b1/coordinator", "b1"),
        (f"{ROOT}/g/main/mail/b1/b1", "b1"),
        (f"{ROOT}/g/main/mail/b0/b0", "b0"),
        (f"{ROOT}/g/other/mail/c0/b0", "c0"),
        (f"{ROOT}/g/other/up/b0/contribution", "coordinator"),
        (f"{ROOT}/g/invented/up/b0/contribution", "coordinator"),
        (f"{ROOT}/g/main/up/b0/invented", "coordinator"),
        (f"{ROOT}/dev/b0/invented", "coordinator"),
        (f"{ROOT}/g/main/round", "b1"),
        (f"{ROOT}/g/main/roll", "b1"),
        (f"{ROOT}/g/main/active/0", "b1"),
        (f"{ROOT}/g/main/result", "client"),
        (f"{ROOT}/g/main/roster", "b1"),
        (f"{ROOT}/coord/state", "b1"),
        (f"{ROOT}/release/pico-w", "b1"),
        (f"{ROOT}/release/b0", "b1"),
        (f"{ROOT}/chunk/00ff/0", "b1"),
        ("hum/v1/else/g/main/up/b0/contribution", "coordinator"),
        ("else", "coordinator"),
    ],
)
def test_a_board_writes_nothing_else(broker: MosquittoBroker, topic: str, reader: str) -> None:
    assert not asyncio.run(arrives(broker, "b0", topic, reader))


@pytest.mark.parametrize("kind", ["round", "roll", "result", "roster", "active/0", "active/15", "query"])
def test_the_coordinator_speaks_to_a_group(broker: MosquittoBroker, kind: str) -> None:
    assert asyncio.run(arrives(broker, "coordinator", f"{ROOT}/g/main/{kind}", "b0"))
    assert not asyncio.run(arrives(broker, "coordinator", f"{ROOT}/g/main/{kind}", "c0"))
    assert not asyncio.run(arrives(broker, "coordinator", f"{ROOT}/g/invented/{kind}", "client"))


@pytest.mark.parametrize("reader", ["client", "reader.grafana", "tool.gateway"])
def test_readers_hear_what_a_result_takes_and_no_more(broker: MosquittoBroker, reader: str) -> None:
    for kind in ("round", "result", "roster"):
        assert asyncio.run(arrives(broker, "coordinator", f"{ROOT}/g/main/{kind}", reader))
    for kind in ("roll", "active/0", "query"):
        assert not asyncio.run(arrives(broker, "coordinator", f"{ROOT}/g/main/{kind}", reader))
    # The gateway is told how boards are by the coordinator.
    hears = asyncio.run(arrives(broker, "b0", f"{ROOT}/dev/b0/diag", reader))
    assert hears == (reader != "tool.gateway")
    assert not asyncio.run(arrives(broker, "tool.releases", f"{ROOT}/release/pico-w", reader))


def test_a_group_hears_nothing_of_another(broker: MosquittoBroker) -> None:
    for topic in (f"{ROOT}/g/main/mail/b1/b0", f"{ROOT}/g/other/mail/c0/b0", f"{ROOT}/g/main/up/b0/ready"):
        assert not asyncio.run(arrives(broker, "b0", topic, "c0"))


def test_the_installer_sees_who_is_there_and_no_more(broker: MosquittoBroker) -> None:
    assert asyncio.run(arrives(broker, "b0", f"{ROOT}/dev/b0/state", "tool.installer"))
    for topic in (f"{ROOT}/dev/b0/diag", f"{ROOT}/g/main/up/b0/ready", f"{ROOT}/g/main/mail/b1/b0"):
        assert not asyncio.run(arrives(broker, "b0", topic, "tool.installer"))
    assert not asyncio.run(arrives(broker, "coordinator", f"{ROOT}/g/main/result", "tool.installer"))


def test_the_coordinator_answers_in_a_boards_mailbox_and_nobody_else_hears_it(broker: MosquittoBroker) -> None:
    topic = f"{ROOT}/g/main/mail/b0/coordinator"
    assert asyncio.run(arrives(broker, "coordinator", topic, "b0"))
    assert not asyncio.run(arrives(broker, "coordinator", topic, "b1"))
    assert not asyncio.run(arrives(broker, "coordinator", topic, "client"))


@pytest.mark.parametrize("topic", [f"{ROOT}/release/pico-w", f"{ROOT}/chunk/00ff/12"])
def test_releases_are_published_by_their_own_user_and_all_boards_hear_them(broker: MosquittoBroker, topic: str) -> None:
    for reader in ("b0", "c0"):
        assert asyncio.run(arrives(broker, "tool.releases", topic, reader))
        assert not asyncio.run(arrives(broker, "coordinator", topic, reader))


def test_who_publishes_releases_publishes_nothing_else(broker: MosquittoBroker) -> None:
    for kind in ("roster", "round", "result", "mail/b0/coordinator", "mail/b0/b1"):
        assert not asyncio.run(arrives(broker, "tool.releases", f"{ROOT}/g/main/{kind}", "b0"))
    assert not asyncio.run(arrives(broker, "tool.releases", f"{ROOT}/dev/b0/state", "coordinator"))


def test_the_coordinators_presence_is_heard(broker: MosquittoBroker) -> None:
    for reader in ("b0", "client"):
        assert asyncio.run(arrives(broker, "coordinator", f"{ROOT}/coord/state", reader))


@pytest.mark.parametrize("reader", ["b1", "client"])
@pytest.mark.parametrize("kind", ["contribution", "ready", "answer"])
def test_what_a_board_sends_up_only_the_coordinator_hears(broker: MosquittoBroker, kind: str, reader: str) -> None:
    assert not asyncio.run(arrives(broker, "b0", f"{ROOT}/g/main/up/b0/{kind}", reader))


def test_mail_between_boards_is_for_its_receiver_only(broker: MosquittoBroker) -> None:
    for reader in ("client", "coordinator", "b0", "c0", "tool.installer"):
        assert not asyncio.run(arrives(broker, "b0", f"{ROOT}/g/main/mail/b1/b0", reader))


def test_a_board_hears_no_other_boards_diagnostics(broker: MosquittoBroker) -> None:
    assert not asyncio.run(arrives(broker, "b0", f"{ROOT}/dev/b0/diag", "b1"))


@pytest.mark.parametrize(
    ("topic", "reader"),
    [
        (f"{ROOT}/g/main/round", "b0"),
        (f"{ROOT}/g/main/roll", "b0"),
        (f"{ROOT}/g/main/active/0", "b0"),
        (f"{ROOT}/g/main/result", "b0"),
        (f"{ROOT}/g/main/roster", "b0"),
        (f"{ROOT}/coord/state", "b0"),
        (f"{ROOT}/dev/client/state", "coordinator"),
        (f"{ROOT}/dev/b0/state", "coordinator"),
        (f"{ROOT}/g/main/up/client/contribution", "coordinator"),
        (f"{ROOT}/g/main/up/b0/contribution", "coordinator"),
        (f"{ROOT}/g/main/up/b0/answer", "coordinator"),
        (f"{ROOT}/g/main/mail/b0/client", "b0"),
        (f"{ROOT}/g/main/mail/b0/coordinator", "b0"),
        (f"{ROOT}/release/pico-w", "b0"),
        (f"{ROOT}/chunk/00ff/0", "b0"),
    ],
)
def test_readers_and_the_installer_write_nothing(broker: MosquittoBroker, topic: str, reader: str) -> None:
    for writer in ("client", "reader.grafana", "tool.installer"):
        assert not asyncio.run(arrives(broker, writer, topic, reader))


VIEWS = [f"{ROOT}/g/main/view/{kind}" for kind in ("members", "reports", "progress")]


def test_the_gateway_is_told_and_asks_and_nobody_else(broker: MosquittoBroker) -> None:
    for topic in (*VIEWS, f"{ROOT}/g/main/told", f"{ROOT}/g/other/view/members", f"{ROOT}/g/main/result"):
        assert asyncio.run(arrives(broker, "coordinator", topic, "tool.gateway"))
    assert asyncio.run(arrives(broker, "tool.gateway", f"{ROOT}/g/main/ask", "coordinator"))
    for reader in ("b0", "client", "reader.grafana", "tool.installer"):
        for topic in (VIEWS[0], f"{ROOT}/g/main/told"):
            assert not asyncio.run(arrives(broker, "coordinator", topic, reader))
        assert not asyncio.run(arrives(broker, "tool.gateway", f"{ROOT}/g/main/ask", reader))
    for writer in ("b0", "client", "tool.members", "tool.releases"):
        assert not asyncio.run(arrives(broker, writer, f"{ROOT}/g/main/ask", "coordinator"))
        assert not asyncio.run(arrives(broker, writer, VIEWS[0], "tool.gateway"))
    for topic in (VIEWS[0], f"{ROOT}/g/main/told", f"{ROOT}/g/main/result", f"{ROOT}/dev/b0/state"):
        assert not asyncio.run(arrives(broker, "tool.gateway", topic, "client"))


def test_a_retained_message_is_kept_from_who_may_not_read_it(broker: MosquittoBroker) -> None:
    async def main() -> list[tuple[str, bytes]]:
        topic = f"{ROOT}/g/main/up/b0/ready"
        async with AsyncExitStack() as stack:
            board = await enter(stack, broker, "b0")
            await board.client.publish(topic, b"kept", qos=1, retain=True)
            spy = await enter(stack, broker, "b1", "#", topic, f"{ROOT}/g/+/up/+/ready", f"{ROOT}/g/main/round")
            coordinator = await enter(stack, broker, "coordinator", topic)
            await coordinator.until(topic, b"kept")
            await coordinator.client.publish(f"{ROOT}/g/main/round", b"end", qos=1)
            await spy.until(f"{ROOT}/g/main/round", b"end")
            await board.client.publish(topic, b"", qos=1, retain=True)
        return spy.heard

    assert ("hum/v1/test/g/main/up/b0/ready", b"kept") not in asyncio.run(main())


def test_a_boards_last_will_cannot_speak_for_another(broker: MosquittoBroker) -> None:
    async def main() -> list[tuple[str, bytes]]:
        async with AsyncExitStack() as stack:
            ear = await enter(stack, broker, "coordinator", f"{ROOT}/dev/+/+", f"{ROOT}/g/+/up/+/+")
            for topic in (f"{ROOT}/dev/b1/state", f"{ROOT}/g/main/up/b1/contribution", f"{ROOT}/dev/b0/state"):
                assert connect(broker, "b0", broker.credentials["b0"], topic) == 0
            await ear.until(f"{ROOT}/dev/b0/state", b"dead")
        return ear.heard

    assert asyncio.run(main()) == [(f"{ROOT}/dev/b0/state", b"dead")]


# -- the files


def test_the_files_with_secrets_are_their_owners_alone_and_hold_no_plain_password(tmp_path: Path) -> None:
    credentials = configuration.write(tmp_path, "test", GROUPS, HOST, 18883, None)
    for name in ("credentials.json", "passwords", "access"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    hashed = (tmp_path / "passwords").read_text()
    assert sorted(line.partition(":")[0] for line in hashed.splitlines()) == sorted(credentials)
    assert not any(password in hashed for password in credentials.values())
    assert len(set(credentials.values())) == len(credentials) == len(DEVICES) + len(TOOLS)


def test_another_call_keeps_the_passwords_and_drops_who_is_gone(tmp_path: Path) -> None:
    tools = sorted(TOOLS)
    first = configuration.write(tmp_path, "test", {"g": ["b0", "b1"]}, HOST, 18883, None)
    second = configuration.write(tmp_path, "test", {"g": ["b0", "b2"]}, HOST, 18883, None)
    assert {user: second[user] for user in ("b0", *tools)} == {user: first[user] for user in ("b0", *tools)}
    assert sorted(second) == ["b0", "b2", *tools]
    assert json.loads((tmp_path / "credentials.json").read_text()) == second


def test_readers_stay_until_they_are_removed_and_each_tool_has_a_file_of_its_own(tmp_path: Path) -> None:
    groups = {"g": ["b0", "b1"]}
    first = configuration.write(tmp_path, "test", groups, HOST, 18883, None, add=["reader.x", "reader.y"])
    second = configuration.write(tmp_path, "test", groups, HOST, 18883, None)
    assert second == first and {"reader.x", "reader.y"} < set(second)
    folder = tmp_path / "users"
    kept = {path.stem: json.loads(path.read_text()) for path in folder.iterdir()}
    assert kept == {user: {user: first[user]} for user in first if user not in groups["g"]}
    third = configuration.write(tmp_path, "test", groups, HOST, 18883, None, remove=["reader.x"])
    assert "reader.x" not in third and third["reader.y"] == first["reader.y"]
    assert not (folder / "reader.x.json").exists() and "reader.x" not in (tmp_path / "access").read_text()


@pytest.mark.parametrize(
    ("known", "reader"),
    [
        ({"client": "p"}, "client"),
        ({"reader.x": "p", "b0": "q"}, "reader.x"),
        ({"reader.x": "p", "client": "q"}, "client"),
        ({}, "client"),
    ],
)
def test_a_file_with_one_reader_says_who_reads(tmp_path: Path, known: dict[str, str], reader: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(known))
    assert reader_in(path) == reader


@pytest.mark.parametrize("device", ["client", "coordinator", "b0"])
def test_a_device_cannot_have_the_name_of_another_user(tmp_path: Path, device: str) -> None:
    with pytest.raises(BrokerError, match="one name"):
        configuration.write(tmp_path, "test", {"main": ["b0"], "other": [device]}, HOST, 18883, None)


@pytest.mark.parametrize("user", [*TOOLS[2:], READER + "x"])
def test_no_device_can_be_called_as_a_tool_or_a_reader(user: str) -> None:
    assert not valid_device(user)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"b0": 1}'])
def test_damaged_credentials_are_an_error_and_stay_as_they_are(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text)
    with pytest.raises(BrokerError, match="damaged"):
        configuration.write(tmp_path, "test", GROUPS, HOST, 18883, None)
    with pytest.raises(BrokerError, match="no password"):
        read_password(path, "b0")
    assert path.read_text() == text


def test_tls_without_its_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"server\.crt"):
        configuration.write(tmp_path / "broker", "test", GROUPS, "0.0.0.0", 18883, tmp_path)
