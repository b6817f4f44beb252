"""The link to the home's broker, a real one: what is said, asked and answered there, and who hears
of it when either end is gone."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from broker.deploy.mosquitto import passwords
from broker.gateway.groups import Group
from broker.gateway.home_assistant import home
from broker.gateway.home_assistant.home import Home
from broker.gateway.home_assistant.machine import HomeAssistant
from broker.gateway.programs.machine import Programs
from broker.gateway.programs.requests import Requests
from broker.transport.link import Connection, Link
from tests.broker.gateway.sinks.test_programs import Kept
from tests.support.mosquitto_process import Mosquitto

NORTH = Group("north", 1, (("load", 0, 1000),), 3)
STATE, CONFIG = "hum-gateway/street/state", "homeassistant/device/hum_street_north/config"
WAIT_S = 30.0


def made(port: int, password: str | None = None) -> Home:
    programs, house = Programs("street", "0.1"), HomeAssistant("homeassistant", "street", "0.1")
    link = Link("127.0.0.1", port, "hum" if password else None, password, None)
    return Home(link, programs, house, Requests(programs, Kept(3)))


@asynccontextmanager
async def heard(port: int) -> AsyncIterator[tuple[dict[str, bytes], Connection]]:
    """Hear all that a broker says; yield each topic's last payload, and a connection to speak by."""
    last: dict[str, bytes] = {}

    async def hear(connection: Connection) -> None:
        async for message in connection.messages():
            last[message.topic] = message.payload

    async with Link("127.0.0.1", port, None, None, None).connect() as connection:
        await connection.subscribe("#")
        task = asyncio.create_task(hear(connection))
        yield last, connection
        task.cancel()
        await asyncio.wait([task], timeout=WAIT_S)


@asynccontextmanager
async def running(one: Home) -> AsyncIterator[None]:
    task = asyncio.create_task(one.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=WAIT_S)
    assert task.cancelled()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.01)


def state(last: dict[str, bytes]) -> str | None:
    return json.loads(last[STATE])["state"] if STATE in last else None


def test_all_is_said_asked_and_answered_and_a_farewell_said():
    async def play(port: int) -> None:
        one = made(port)
        one.say([*one.home_assistant.described(NORTH), *one.programs.described(NORTH)])
        async with heard(port) as (last, connection):
            async with running(one):
                await until(lambda: state(last) == "online")
                assert json.loads(last[CONFIG])["device"]["via_device"] == "hum_street"
                await connection.publish("hum-gateway/street/request/rounds", b'{"group": "north", "transaction": 5}')
                await until(lambda: "hum-gateway/street/response/rounds" in last)
                answer = json.loads(last["hum-gateway/street/response/rounds"])
                assert (answer["status"], answer["transaction"], answer["data"][0]["id"]) == ("ok", 5, "3.2")
                last.clear()
                await connection.publish("homeassistant/status", b"online")
                await until(lambda: CONFIG in last)
                one.say([*one.home_assistant.gone("north"), *one.programs.gone("north")])
                await until(lambda: last[CONFIG] == b"")
            await until(lambda: state(last) == "offline")

    with Mosquitto() as broker:
        asyncio.run(play(broker.port))


def test_after_a_broker_that_died_all_is_said_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(home, "RETRY_S", 0.05)

    async def play(broker: Mosquitto) -> None:
        one = made(broker.port)
        one.say([*one.home_assistant.described(NORTH), *one.programs.described(NORTH)])
        async with running(one):
            await until(lambda: one.linked)
            broker.kill()
            await until(lambda: not one.linked)
            one.say(one.programs.present("north", False))
            one.say([*one.home_assistant.gone("lane"), *one.programs.gone("lane")])
            broker.start()
            async with heard(broker.port) as (last, _):
                await until(lambda: state(last) == "online")
                assert json.loads(last["hum-gateway/street/g/north/state"]) == {"state": "offline"}
                assert last[CONFIG]

    with Mosquitto() as broker:
        asyncio.run(play(broker))


def test_a_password_that_is_wrong_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(home, "DENIED_S", 0.02)
    caplog.set_level(logging.WARNING, "hum.gateway.home")
    broker = Mosquitto("allow_anonymous false\n")
    (broker.folder / "passwords").write_text(f"hum:{passwords.hashed('right')}\n")
    broker._config += f"password_file {broker.folder / 'passwords'}"

    async def play() -> None:
        async with running(made(broker.port, "wrong")):
            await until(lambda: broker.log.read_text().count("not authorised") > 2)

    with broker:
        asyncio.run(play())
    (record,) = caplog.records
    assert "does not let hum in" in record.getMessage()
    assert "right" not in record.getMessage() and "wrong" not in record.getMessage()
