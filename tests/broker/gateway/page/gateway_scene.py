"""A gateway that runs: a real Mosquitto with its access rules, the gateway's own process in a thread,
and a coordinator's word by MQTT. No pytest in here."""

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from agent.crypto import p256
from agent.wire import messages, topics
from broker.client import identity
from broker.gateway import process
from broker.gateway.book import rounds, steps, tokens
from broker.gateway.book.book import Book
from broker.gateway.site import Site
from broker.transport import users
from broker.transport.link import Link
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.broker.gateway.page.quarter_street import QuarterStreet

DEPLOYMENT, GROUP = "test", "main"
WAIT_S = 60.0


class GatewayScene:
    """`with GatewayScene(folder, members, quarters) as scene:` starts broker and gateway, which
    serves no group until `serve()`. `street` has rounds for `say()`."""

    def __init__(self, folder: Path, members: int, quarters: int) -> None:
        self.street = QuarterStreet(folder / "street", members, quarters)
        self.site = Site(
            DEPLOYMENT, bytes.fromhex(self.street.authority), folder / "gateway", {GROUP: ("feeder=7", "street=hill")}
        )
        self.site.results.mkdir(parents=True)
        identity.make(self.site.folder)
        self.street.told_by(p256.public_key(identity.private_key(self.site.folder)))
        self.broker = MosquittoBroker(folder / "broker", DEPLOYMENT, {GROUP: self.street.names})
        self.book = Book(self.site.folder)
        self.token = self.book.write(tokens.make, tokens.OPERATOR, "the operator's", None)[1]
        self.reader = self.book.write(tokens.make, ("sums",), "a neighbour's", None)[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._running: Any = None
        self.address = ""

    def __enter__(self) -> "GatewayScene":
        self._thread.start()
        self.do(self.broker.start())
        self.say(
            (topics.coordinator_state(DEPLOYMENT), messages.presence(True)), (self._topic("roster"), self.street.roster)
        )
        sock = process.listening("127.0.0.1", 0)
        self.address = f"http://localhost:{sock.getsockname()[1]}"
        logging.getLogger("hum.gateway").setLevel(logging.WARNING)
        running = process.run(self.site, self._link(users.GATEWAY), self.book, sock, "0.1.0")
        self._running = asyncio.run_coroutine_threadsafe(running, self._loop)
        return self

    def __exit__(self, *error: object) -> None:
        self._running.cancel()
        self.do(asyncio.sleep(0))
        self.do(self.broker.stop())
        self.do(self._settled())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()
        self.street.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Have the scene's own thread do something, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def serve(self) -> None:
        """Give the gateway the group's result key."""
        key = self.street.home.result_keys.of(GROUP)
        (self.site.results / f"{GROUP}.key").write_text(key.hex() + "\n")

    def result(self, payload: bytes) -> None:
        """Have the coordinator publish a result."""
        self.say((self._topic("result"), payload))

    def until_kept(self, number: int) -> None:
        """Wait until the gateway has a round and its steps in its database."""
        deadline = time.monotonic() + WAIT_S
        while None in [self.book.read(find, GROUP, 1, number) for find in (rounds.one, steps.one)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def tell(self) -> None:
        """Have the coordinator tell the gateway of members and rounds."""
        self.say(*((one.topic, one.payload) for one in self.street.told()))

    def say(self, *said: tuple[str, bytes]) -> None:
        """Have the coordinator publish what is retained."""
        self.do(self._say(said))

    async def _say(self, said: tuple[tuple[str, bytes], ...]) -> None:
        async with self._link(topics.COORDINATOR).connect() as connection:
            for topic, payload in said:
                await connection.publish(topic, payload, retain=True)

    async def _settled(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait(others, timeout=WAIT_S) if others else None

    def _link(self, user: str) -> Link:
        return Link(HOST, self.broker.port, user, self.broker.credentials[user], None)

    def _topic(self, kind: str) -> str:
        return topics.group(DEPLOYMENT, GROUP, kind)
