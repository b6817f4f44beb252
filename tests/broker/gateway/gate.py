"""A gateway without a broker: rounds are put into its database as its feed puts them there. No
pytest in here."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from broker.gateway.boards import Boards
from broker.gateway.book import rounds, tokens
from broker.gateway.book.book import Book
from broker.gateway.book.rounds import Event, GroupRoster
from broker.gateway.feed import Feed
from broker.gateway.http.app import application
from broker.gateway.http.serving import Serving
from broker.gateway.hub import Hub
from broker.gateway.metrics import Metrics
from broker.gateway.process import _Server, listening
from broker.gateway.rounds import Round
from broker.gateway.site import Site
from broker.transport.link import Link

MEMBERS = ("attic", "cellar", "garage", "kitchen")
LABELS = {"street": ("north", "feeder=7"), "lane": ("north", "feeder=8")}
BEGIN = 1_800_000_000  # 2027-01-15, a whole multiple of 900 s
STEP = 900
WAIT_S = 60.0


def roster(group: str = "street", epoch: int = 1) -> GroupRoster:
    return GroupRoster(group, epoch, "private-sum", (("load", 0, 1000), ("power", 0, 9000)), MEMBERS)


def a_round(number: int, sums: tuple[int, int] | None = (600, 2400), group: str = "street", **other: Any) -> Round:
    """The `number`-th round of an epoch, of an instant of its own, as the feed makes it."""
    fields: dict[str, Any] = {"epoch": 1, "missing": (), "instant": BEGIN + STEP * number}
    fields |= {"closed": BEGIN + STEP * number + 5.5} | other
    status = "incomplete" if sums is None else "complete"
    return Round(
        group=group, round=number, status=status, slots=("load", "power"), sums=sums, members=MEMBERS, **fields
    )


@dataclass
class Gate:
    """The gateway in `folder`, and who asks it."""

    folder: Path
    authority: bytes = bytes(65)
    book: Book = field(init=False)
    hub: Hub = field(init=False)
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        self.book = Book(self.folder)
        self.hub = Hub(self.book.read(rounds.last_event))
        site = Site("town", self.authority, self.folder, LABELS)
        self.feed = Feed(site, Link("127.0.0.1", 1, None, None, None), self.book, self.hub, Boards(site.deployment))
        metrics = Metrics("0.1", Boards("town"))
        self.serving = Serving(site, "0.1", self.book, self.feed, self.hub, metrics)
        self.app = application(self.serving)
        self._streams: list[Stream] = []
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def put(self, *found: Round) -> list[Event | None]:
        """Have rounds come."""
        events = [self.book.write(rounds.record, roster(one.group, one.epoch), one) for one in found]
        for event in events:
            if event:
                self.hub.tell(event)
        return events

    def token(self, *scopes: str, expires: float | None = None) -> str:
        return self.book.write(tokens.make, scopes or tokens.OPERATOR, "a test's", expires)[1]

    def ask(self, path: str, token: str | None = None, method: str = "GET", **other: Any) -> Any:
        """Ask with a token, the operator's if there is none said; with "" for none."""
        token = self.token() if token is None else token
        headers = other.pop("headers", {}) | ({"Authorization": f"Bearer {token}".encode()} if token else {})
        return self.client.request(method, path, headers=headers, **other)

    async def listen(self, port: int, token: str, last: int | None = None) -> "Stream":
        """Listen to events; served() ends that."""
        self._streams.append(await Stream.open(port, token, last))
        return self._streams[-1]

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        """Serve on a port of this machine, and yield it."""
        self.hub.begin()
        sock = listening("127.0.0.1", 0)
        config = uvicorn.Config(
            self.app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve([sock]))
        try:
            yield sock.getsockname()[1]
        finally:
            self.hub.close()
            for stream in self._streams:
                await stream.close()
            server.should_exit = True
            await task


class Stream:
    """Who listens to events, by a plain connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, token: str, last: int | None = None) -> "Stream":
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = ["GET /api/v1/events HTTP/1.1", "Host: gateway", "Connection: close", f"Authorization: Bearer {token}"]
        lines += [] if last is None else [f"Last-Event-ID: {last}"]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        found = cls(reader, writer)
        async with asyncio.timeout(WAIT_S):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"retry: 2000\n\n")
        return found

    async def event(self) -> tuple[int, dict[str, Any]]:
        """Return the next event's number and data. Raises EOFError when the stream has ended."""
        number = -1
        async with asyncio.timeout(WAIT_S):
            while line := await self.reader.readline():
                if line.startswith(b"id: "):
                    number = int(line[4:])
                if line.startswith(b"data: "):
                    return number, json.loads(line[6:])
        raise EOFError

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
