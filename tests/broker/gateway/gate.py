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

from broker.client.members import GroupMembers, GroupProgress, GroupReports, Member, RoundProgress
from broker.gateway.book import rounds, tokens
from broker.gateway.book.book import Book
from broker.gateway.book.rounds import Event, GroupRoster
from broker.gateway.computations.service import Computations
from broker.gateway.feed import Feed
from broker.gateway.http.app import application
from broker.gateway.http.serving import Serving
from broker.gateway.hub import Hub
from broker.gateway.members import Members, recorder
from broker.gateway.members.news import Unsaid
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
NEVER = (None, None)


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


def standing(at: int = BEGIN, group: str = "street", **states: str) -> GroupMembers:
    """How members stand: `ready`, but for those that are named."""
    found = (states.get(name, "ready") for name in MEMBERS)
    whys = {"offline": "it is not there", "absent": "it has sent nothing"}
    told = [
        Member(n, s, s != "offline", whys.get(s), *((3, at) if s in whys else NEVER))
        for n, s in zip(MEMBERS, found, strict=True)
    ]
    return GroupMembers(group, 1, at, tuple(told))


def progress(number: int = 0, at: int = BEGIN, group: str = "street", **fields: Any) -> GroupProgress:
    """How the `number`-th round goes: all have sent, and nobody is listed yet."""
    every = {"status": "open", "opened_at": at, "instant": at + STEP, "closed_at": None, "sent": MEMBERS}
    every |= {"listed": None, "answered": (), "missing": None, "why": None, "needed": 3} | fields
    return GroupProgress(group, 1, at, (RoundProgress(number, **every),))


@dataclass
class Gate:
    """The gateway in `folder`, and who asks it."""

    folder: Path
    book: Book = field(init=False)
    hub: Hub = field(init=False)
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        self.book = Book(self.folder)
        self.hub = Hub(self.book.read(rounds.last_event))
        site = Site("town", bytes(65), self.folder, LABELS)
        self.members = Members()
        self._unsaid = Unsaid(self.members)
        self.feed = Feed(site, Link("127.0.0.1", 1, None, None, None), self.book, self.hub, self.members)
        metrics = Metrics("0.1", self.members)
        computations = Computations(self.book, self.hub, self.feed.watch, self.feed.say)
        self.serving = Serving(site, "0.1", self.book, self.feed, self.hub, metrics, self.members, computations)
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

    def tell(self, *told: GroupMembers | GroupProgress | GroupReports) -> None:
        """Have the coordinator tell of members; what has changed is an event."""
        for one in told:
            self.members.take(one)
        for event in self.book.write(recorder.keep, self._unsaid.take(LABELS)):
            self.hub.tell(event)
        self._unsaid.said()

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
        number, _, data = await self.named()
        return number, data

    async def named(self) -> tuple[int, str, dict[str, Any]]:
        """Return the next event's number, kind and data. Raises EOFError when the stream has
        ended."""
        number, kind = -1, ""
        async with asyncio.timeout(WAIT_S):
            while line := await self.reader.readline():
                if line.startswith(b"id: "):
                    number = int(line[4:])
                if line.startswith(b"event: "):
                    kind = line[7:].decode().strip()
                if line.startswith(b"data: "):
                    return number, kind, json.loads(line[6:])
        raise EOFError

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
