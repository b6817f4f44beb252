"""The gateway's process: it follows the broker, and answers."""

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import Iterator
from functools import partial

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from broker.errors import HumError
from broker.gateway.book import rounds, tokens
from broker.gateway.book.book import Book, beside
from broker.gateway.computations.asked import AskedByPrograms
from broker.gateway.computations.service import Computations
from broker.gateway.feed import Feed
from broker.gateway.http.app import application
from broker.gateway.http.serving import Serving
from broker.gateway.hub import Hub
from broker.gateway.members import Members
from broker.gateway.members.recorder import Recorder
from broker.gateway.metrics import Metrics
from broker.gateway.outlets import Kept, Outlets, count, home_of
from broker.gateway.page.app import install
from broker.gateway.site import NOBODY, Outward, Site
from broker.transport.link import Link

log = logging.getLogger("hum.gateway")

BACKLOG = 512
CONNECTIONS_MOST = 1024
LEAVE_S = 5
REVOKED_S = 2.0  # between two looks for tokens that another process has revoked
STALLED_MS = 60_000  # a peer that takes nothing for so long is gone


class GatewayError(HumError):
    """The gateway cannot run. args[0] says why and what to do."""


class _Server(uvicorn.Server):
    """uvicorn without signals of its own: whoever runs the gateway ends it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def opened(site: Site) -> Book:
    """Return the gateway's database. Raises GatewayError, BookError."""
    try:
        return Book(site.folder)
    except (SQLAlchemyError, OSError) as error:
        said = next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)
        raise GatewayError(f"{site.folder}: {said}; mend that (is there room on the disk?), and start again") from None


def listening(address: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises GatewayError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)
        made.bind((address, port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            why = f"port {port} of {address} is taken by another program; end that, or set another [gateway] port"
        else:
            why = f"cannot listen on {address}, port {port}: {error.strerror}; see [gateway] in hum.toml"
        raise GatewayError(why) from None
    return made


async def heed_revoked(book: Book, hub: Hub) -> None:
    """End the streams of tokens that another process has revoked, as `hum gateway password` does,
    without an end."""
    since = time.time()
    while True:
        await asyncio.sleep(REVOKED_S)
        try:
            found = await beside(book.read, tokens.revoked_since, since)
        except (SQLAlchemyError, TimeoutError):
            continue  # the feed says that the database cannot be had
        for token in found:
            hub.revoke(token)


async def run(site: Site, link: Link, book: Book, sock: socket.socket, version: str, outward: Outward = NOBODY) -> None:
    """Follow, answer on `sock`, and tell those of `outward`, until this is cancelled."""
    hub = Hub(book.read(rounds.last_event))
    hub.begin()
    members = Members()
    metrics = Metrics(version, members, outward.energy)
    feed = Feed(site, link, book, hub, members)
    computations = Computations(book, hub, feed.watch, feed.say)
    recorder = Recorder(book, hub, members, lambda: feed.served)
    feed.listeners += [partial(count, metrics), computations.hear, lambda heard: recorder.wake()]
    metrics.refusals.append(lambda: feed.refused)
    asked = AskedByPrograms(book, computations, lambda: feed.served)
    home = home_of(outward, site.deployment, version, Kept(book), metrics, asked)
    outlets = Outlets(site, book, feed, hub, metrics, home)
    app = application(Serving(site, version, book, feed, hub, metrics, members, computations))
    install(app)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_MOST,
        timeout_graceful_shutdown=LEAVE_S,
    )
    server = _Server(config)
    host, port = sock.getsockname()[:2]
    log.info("the gateway of %s answers at http://%s:%d", site.deployment, f"[{host}]" if ":" in host else host, port)
    answering = asyncio.create_task(server.serve([sock]))
    works = [feed.run(), outlets.run(), recorder.run(), computations.run(), heed_revoked(book, hub)]
    works += [home.run()] if home else []
    following = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait([answering, *following], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        hub.close()
        server.should_exit = True
        for one in following:
            one.cancel()
        await asyncio.wait([answering, *following], timeout=2 * LEAVE_S)
        book.close()
