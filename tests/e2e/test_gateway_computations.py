"""A gateway's HTTP at a real Mosquitto, with MicroPython boards and the coordinator's own process:
a computation's cost is told before it is asked, then its answer; one whose boards vanish is asked
again twice and refused, each try told, though the gateway ends in the midst of it."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from agent.crypto import accelerate
from broker.client import identity
from broker.gateway.book import tokens
from broker.gateway.process import listening, opened, run
from broker.gateway.site import Site
from broker.transport.link import Link
from broker.transport.users import GATEWAY
from host_sim.fleet.broker_process import HOST
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.pace import pace
from host_sim.fleet.plan import DEPLOYMENT, GROUP, Plan
from tests.support.processes import running

pytestmark = [pytest.mark.proof, pytest.mark.alone]

WAIT_S = 240.0
VALUES = {f"b00{number}": [[100 * number] * 50] for number in range(1, 7)}
ASKED = f"/groups/{GROUP}/computations"


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Client:
    """A program that asks by HTTP, and listens to events; it comes again with the last number."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self.told: list[dict[str, Any]] = []
        self._last = 0
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def ask(self, path: str, body: Any = None, **headers: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers |= {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/api/v1{path}", data, headers)
        return urllib.request.urlopen(request, timeout=30)

    async def get(self, path: str, body: Any = None, **headers: str) -> Any:
        """Return what is answered, None if nothing is."""

        def got() -> Any:
            with contextlib.suppress(OSError, http.client.HTTPException), self.ask(path, body, **headers) as answer:
                return json.load(answer)

        return await asyncio.to_thread(got)

    def listen(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.over.set()
        self._thread.join(60)

    def _listen(self) -> None:
        while not self.over.is_set():
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                self.ask("/events", **{"Last-Event-ID": str(self._last)}) as answer,
            ):
                kind = b""
                for line in answer:
                    if line.startswith(b"id: "):
                        self._last = int(line[4:])
                    if line.startswith(b"event: "):
                        kind = line[7:].strip()
                    if line.startswith(b"data: ") and kind == b"computation":
                        self.told.append(json.loads(line[6:]))
            self.over.wait(0.2)

    def tries(self, found: dict[str, Any]) -> list[tuple[str, int]]:
        return [(one["state"], one["attempt"]) for one in self.told if one["id"] == found["id"]]

    async def until(self, comes: Callable[[], Any]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not comes():
                await asyncio.sleep(0.05)


@asynccontextmanager
async def gateway(fleet: Fleet, site: Site, port: int) -> AsyncIterator[None]:
    """The gateway's process, as a task of this one."""
    link = Link(HOST, fleet.broker.port, GATEWAY, fleet.broker.credentials[GATEWAY], None)
    with listening("127.0.0.1", port) as sock:
        task = asyncio.create_task(run(site, link, opened(site), sock, "1"))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def street(folder: Path) -> AsyncIterator[tuple[Fleet, Site]]:
    identity.make(folder / "gateway")
    public = (folder / "gateway" / identity.PUBLIC).read_text().strip()
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
        gateway=public,
    )
    fleet = Fleet(folder, plan, lambda device, event, fields: None)
    try:
        await fleet.start(lambda done, total: None)
        site = Site(DEPLOYMENT, bytes.fromhex(fleet.enrolled.authority), folder / "gateway", {})
        site.results.mkdir()
        (site.results / f"{GROUP}.key").write_text(fleet.enrolled.result_keys[GROUP].hex())
        yield fleet, site
    finally:
        await fleet.stop()


def test_a_computation_is_answered_and_one_whose_boards_vanish_is_refused_after_three_tries(tmp_path: Path) -> None:
    async def main() -> None:
        async with street(tmp_path) as (fleet, site):
            book = opened(site)
            token = book.write(tokens.make, tokens.OPERATOR, "a test's", None)[1]
            book.close()
            with listening("127.0.0.1", 0) as sock:
                port = sock.getsockname()[1]
            client = Client(port, token)
            client.listen()
            try:
                async with gateway(fleet, site, port):
                    await answered(client)
                    failing = await begun(client, fleet, tmp_path)
                async with gateway(fleet, site, port):
                    await refused(client, fleet, failing)
            finally:
                client.end()

    asyncio.run(main())
    assert running(tmp_path) == {}


async def answered(client: Client) -> None:
    """Ask for the sum, which all boards answer."""
    async with asyncio.timeout(WAIT_S):
        while (found := await client.get(f"/groups/{GROUP}/functions")) is None or found["why"]:
            await asyncio.sleep(0.1)
    wish = {"slot": "load", "function": "sum", "period_ms": int(1000 * pace())}
    quote = await client.get(f"/groups/{GROUP}/quote?{urlencode(wish)}")
    assert (quote["cost"], quote["members"]) == (None, 6)
    asked = await client.get(ASKED, wish, **{"Idempotency-Key": "1"})
    again = await client.get(ASKED, wish, **{"Idempotency-Key": "1"})
    assert asked == again
    await client.until(lambda: ("complete", 1) in client.tries(asked))
    assert client.tries(asked) == [("accepted", 1), ("open", 1), ("complete", 1)]
    found = await client.get(f"/computations/{asked['id']}")
    assert found == client.told[-1] and (found["result"]["sum"], found["result"]["count"]) == (2100, 6)
    assert (await client.get("/computations"))["items"] == [found]


async def begun(client: Client, fleet: Fleet, folder: Path) -> dict[str, Any]:
    """Ask, with noise, while three boards hang; the first one vanishes; return when it is asked
    again, with a coordinator that says nothing meanwhile."""
    for name in ("b004", "b005", "b006"):
        (process,) = (each for each, line in running(folder).items() if f"{name}.json" in line)
        os.kill(process, signal.SIGSTOP)
    wish = {"slot": "load", "function": "sum", "epsilon": 0.5, "period_ms": 200, "tries": 3}  # three groups of boards
    quote = await client.get(f"/groups/{GROUP}/quote?{urlencode(wish)}")
    asked = await client.get(ASKED, wish, **{"Idempotency-Key": "2"})
    assert quote["cost"] == asked["cost"] == 1.5 and quote["cost_most"] == 4.5 and quote["spent"] == 0
    await client.until(lambda: ("open", 1) in client.tries(asked))
    fleet.kill_board("b004")
    await client.until(lambda: ("open", 2) in client.tries(asked))
    assert fleet.coordinator
    fleet.coordinator.send_signal(signal.SIGSTOP)
    return asked


async def refused(client: Client, fleet: Fleet, asked: dict[str, Any]) -> None:
    """The other two vanish as well, while another process of the gateway waits."""
    fleet.kill_board("b005")
    fleet.kill_board("b006")
    async with asyncio.timeout(WAIT_S):
        while not ((found := await client.get("/deployment")) and found["broker_linked"]):
            await asyncio.sleep(0.1)
    assert fleet.coordinator
    fleet.coordinator.send_signal(signal.SIGCONT)
    await client.until(lambda: ("refused", 3) in client.tries(asked))
    told = [one for one in client.told if one["id"] == asked["id"]]
    assert [(one["state"], one["attempt"], one["reason"]) for one in told] == [
        ("accepted", 1, None),
        ("open", 1, None),
        ("again", 1, "no-result"),
        ("open", 2, None),
        ("again", 2, "no-result"),
        ("refused", 3, "too-few"),
    ]
    assert [one["absent_members"] for one in told if one["state"] == "open"] == [[], ["b004"]]
    last = await client.get(f"/computations/{asked['id']}")
    assert last == told[-1] and (last["spent"], last["result"]) == (3.0, None)
