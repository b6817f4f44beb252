"""A gateway's client library at a real Mosquitto, with MicroPython boards and the coordinator's own
process: members and their boards are seen as they are, one is killed and seen as such, a query is
asked and answered, also by a coordinator that is killed in the midst of it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from broker.cli.deployment.status import overview
from broker.client import Access, QueryResult, Reader
from broker.client.asking import Asking, Changed, Send, Wanted
from broker.client.gateway_link import GatewayLink, Linked
from broker.client.members import GroupMembers, GroupReports, RequestTold, Watch
from broker.client.past import Past
from broker.transport.link import Link
from broker.transport.users import GATEWAY
from host_sim.fleet.broker_process import HOST
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.pace import pace
from host_sim.fleet.plan import DEPLOYMENT, GROUP, Plan
from tests.support.processes import running

pytestmark = [pytest.mark.proof, pytest.mark.alone]

WAIT_S = 240.0
VALUES = {f"b00{number}": [[100 * number] * 50] for number in range(1, 6)}


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Desk:
    """What a gateway does of all that: it reads, and lets one request after the other go on."""

    def __init__(self, fleet: Fleet, key: bytes) -> None:
        access = Access(DEPLOYMENT, bytes.fromhex(fleet.enrolled.authority), None, fleet.enrolled.result_keys)
        self.watch = Watch(access, key)
        self.reader = Reader(access)
        link = Link(HOST, fleet.broker.port, GATEWAY, fleet.broker.credentials[GATEWAY], None)
        self.gateway = GatewayLink(link, self.reader, self.watch, Past(access, self.watch))
        self.members: GroupMembers | None = None
        self.reports: GroupReports | None = None
        self.results: dict[int, QueryResult] = {}
        self.asking: Asking | None = None
        self.told: list[tuple[str, str | None]] = []
        self._changed = asyncio.Event()

    async def run(self) -> None:
        async with aclosing(self.gateway.news()) as found:
            async for news in found:
                match news:
                    case GroupMembers():
                        self.members = news
                    case GroupReports():
                        self.reports = news
                    case QueryResult():
                        self.results[news.round] = news
                    case RequestTold() if self.asking:
                        self.do(self.asking.hear(news, time.monotonic()))
                    case Linked(True) if self.asking:
                        self.do(self.asking.link_up(time.monotonic()))
                self._changed.set()

    def do(self, actions: Any) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.gateway.say(action)
            elif isinstance(action, Changed):
                self.told.append((action.told.state, action.told.reason))

    def ask(self, number: int, wanted: Wanted) -> None:
        gate = self.watch.channel_of(GROUP)
        assert gate
        self.told = []
        self.asking = Asking(gate, GROUP, number, int(time.time() + WAIT_S), wanted)
        self.do(self.asking.link_up(time.monotonic()))

    async def until(self, comes: Callable[[], Any]) -> None:
        """Wait until something is so; a request that nobody answers is said again meanwhile."""
        async with asyncio.timeout(WAIT_S):
            while not comes():
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.2)
                if self.asking:
                    self.do(self.asking.tick(time.monotonic(), time.time()))

    def state(self, name: str) -> str | None:
        found = {one.name: one.state for one in self.members.members} if self.members else {}
        return found.get(name)


@asynccontextmanager
async def street(folder: Path) -> AsyncIterator[tuple[Fleet, Desk]]:
    key = p256.generate(os.urandom)
    plan = Plan(
        columns=VALUES,
        slots=[("load", 0, 1000)],
        rounds=1,
        interval=3600.0,
        window=30.0,
        runtime="micropython",
        heap="384k",
        masks_target=1,
        patience=600.0,
        protocol="gossip",
        parameters="t1",
        gateway=p256.public_key(key).hex(),
    )
    fleet = Fleet(folder, plan, lambda device, event, fields: None)
    try:
        await fleet.start(lambda done, total: None)
        desk = Desk(fleet, key)
        work = asyncio.create_task(desk.run())
        try:
            yield fleet, desk
        finally:
            work.cancel()
            await asyncio.wait([work])
    finally:
        await fleet.stop()


def test_a_killed_board_is_seen_and_queries_are_asked_through_a_killed_coordinator(tmp_path: Path) -> None:
    async def main() -> None:
        async with street(tmp_path) as (fleet, desk):
            await desk.until(lambda: all(desk.state(name) == "ready" for name in VALUES))
            await desk.until(lambda: desk.reports and all(one.heap_free for one in desk.reports.reports))
            wanted = Wanted("load", "sum", period_ms=int(1000 * pace()))
            desk.ask(1_000, wanted)
            await desk.until(lambda: desk.asking and desk.asking.over and desk.results)
            assert desk.told == [("accepted", None), ("open", None), ("complete", None)]
            answer = desk.results[1].answer
            assert answer and (answer["sum"], answer["count"]) == (1500, 5)

            fleet.kill_board("b004")
            await desk.until(lambda: desk.state("b004") == "offline")
            assert [desk.state(name) for name in ("b001", "b002", "b003", "b005")] == ["ready"] * 4

            desk.ask(1_001, wanted)
            await desk.until(lambda: ("open", None) in desk.told)
            assert fleet.coordinator
            fleet.coordinator.reap()
            await fleet.start_coordinator()
            await desk.until(lambda: desk.asking and desk.asking.over and 3 in desk.results)
            assert desk.told[:4] == [("accepted", None), ("open", None), ("again", "restarted"), ("open", None)]
            assert desk.told[-1] == ("complete", None)
            answer = desk.results[3].answer
            assert answer and answer["count"] in (4, 5) and answer["sum"] in (1100, 1500)
            assert not desk.watch.refused and not desk.reader.refused
            told = overview(tmp_path / "coordinator")["gateway"]
            assert told["public"] == fleet.plan.gateway and told["told_at"] and told["asked_at"]

    asyncio.run(main())
    assert running(tmp_path) == {}
