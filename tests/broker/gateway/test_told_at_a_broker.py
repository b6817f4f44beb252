"""The coordinator's service and a gateway's link at a real Mosquitto, each with its own password:
members are told, a request comes through without anybody polling, and other users' is not heard."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from agent.wire import messages, topics
from broker.client import Access, Reader
from broker.client.gateway_link import GatewayLink, Linked
from broker.client.members import GroupMembers, RequestTold
from broker.client.past import Past
from broker.coordinator.service import Service
from broker.transport.link import Link
from broker.transport.users import GATEWAY
from broker.wire import channel
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.broker.gateway.office import RESULT_KEY, Asker, Office
from tests.broker.gateway.test_requests import SUM
from tests.support.street_of_askers import DEPLOYMENT, GROUP

pytestmark = pytest.mark.alone

WAIT_S = 120.0


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


async def arrive(link: Link, name: str, office: Office, online: bool) -> None:
    """Let a board say that it is there, and ready."""
    async with link.connect() as connection:
        await connection.publish(topics.device(DEPLOYMENT, name, "state"), messages.presence(online), retain=True)
        for device, kind, payload in office._ready:
            if device == name:
                await connection.publish(topics.up(DEPLOYMENT, GROUP, name, kind), payload, retain=True)
        # Nobody else's request is heard, whoever has recorded one.
        await connection.publish(channel.topic(DEPLOYMENT, GROUP, channel.ASK), b"of a board")


async def play(office: Office, broker: MosquittoBroker) -> tuple[list[str], list[tuple[str, str | None]]]:
    """Return the states of members, when all are known, and what was told of a request."""

    def link(user: str) -> Link:
        return Link(HOST, broker.port, user, broker.credentials[user], None)

    service = Service(DEPLOYMENT, [office.machine], office.storage, link("coordinator"), None, office.gateway)
    access = Access(DEPLOYMENT, office.street.authority, RESULT_KEY)
    gateway = GatewayLink(link(GATEWAY), Reader(access), office.watch, Past(access, office.watch))
    running = asyncio.create_task(service.run())
    asker = Asker(office, SUM)
    states: list[str] = []
    told: list[tuple[str, str | None]] = []
    try:
        async with asyncio.timeout(WAIT_S), aclosing(gateway.news()) as found:
            async for news in found:
                match news:
                    case Linked(True):
                        for index, board in enumerate(office.street.boards):
                            await arrive(link(board.name), board.name, office, index < 2)
                    case GroupMembers() if not states:
                        known = [one.state for one in news.members]
                        if known.count("offline") == 3 and "unheard" not in known:
                            states = known
                            ask: Any = asker.machine.link_up(0.0)
                            gateway.say(*ask)
                    case RequestTold():
                        told.append((news.state, news.reason))
                        if news.state == "refused":
                            assert not running.done()
                            return states, told
    finally:
        running.cancel()
        await asyncio.wait([running], timeout=WAIT_S)
    raise AssertionError("the link has ended")


def test_members_are_told_and_a_request_is_answered_at_a_broker(tmp_path: Path) -> None:
    office = Office(tmp_path)
    broker = MosquittoBroker(tmp_path / "broker", DEPLOYMENT, {GROUP: office.scope.roster.names()})

    async def main() -> tuple[list[str], list[tuple[str, str | None]]]:
        await broker.start()
        try:
            return await play(office, broker)
        finally:
            await broker.stop()

    states, told = asyncio.run(main())
    assert states == ["ready", "ready", "offline", "offline", "offline"]
    assert told == [("accepted", None), ("refused", "too-few")]
    assert not office.watch.refused and "malformed" not in office.storage.refusals()
