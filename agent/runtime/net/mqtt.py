"""An MQTT 3.1.1 client that keeps one link up: connects, subscribes, pings, and starts over when
anything goes wrong.

`Client.run` holds one `mqtt_link.Link` after the other, with back-off in between. Why each of them
ended goes into `Client.counters`: connect-failed, connect-timeout, untrusted, not-yet-valid (the
broker's certificate), refused-1 to refused-5, link-lost, ping-timeout, ack-timeout, write-timeout,
malformed, memory, internal-error, dropped; no-address where none could be begun. `reach` counts
here, too: gateway-changed, and announced-other and its like (discovery.py). Counted without
ending the link: handler-error, subscribe-refused, unknown-ack, and, of messages that were received
and thrown away, oversized, bad-topic and no-room. So nobody but the broker itself ends a link.
"""

import asyncio

from agent.runtime.net import mqtt_packets as packets
from agent.runtime.net.mqtt_link import Link, later
from agent.runtime.net.mqtt_receipt import LinkLost, QueueFull
from agent.runtime.net.mqtt_socket import is_shortage, print_exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from ssl import SSLContext
    from typing import Any

    from agent.runtime.net.mqtt_decoder import Letters
    from agent.runtime.net.mqtt_packets import Filters, Octets, Will
    from agent.runtime.net.mqtt_socket import Address

    __all__ = ("Client", "LinkLost", "QueueFull")  # the last for callers alone

SHORTAGES_MOST = 2  # links in a row that ended for want of memory


class Client:
    """One client of the broker at `host`, a name or an IPv4 address, and `port`; None where
    `prepare()` finds it.

    `keepalive` in seconds, 1 to 65535. `will` is (topic, payload, qos, retain). `ssl` is an
    SSLContext: the certificate is checked against `server_name`, or `host` if there is none.
    `max_packet` bounds an incoming packet's remaining length in bytes: what is longer is skipped,
    and so is a message below `letters[0]` with more than `letters[1]` bytes, or one that there is
    no room for: other users write those. `random()` returns a float
    in [0, 1) for the back-off. Raises ValueError for what no CONNECT can carry. `on_message(topic,
    payload, retain)` and `on_link(up)` are plain functions; what they raise is counted and printed.
    Messages that the broker kept can arrive before `on_link(True)`. `prepare()`, if set, is awaited
    before each link: it may aim(), and raise OSError if there is no use in trying.
    `alive()` is called again and again: at least every 0.4 keepalive and ping_timeout,
    connect_timeout, or backoff_cap seconds, but for the time that `prepare` takes.
    """

    def __init__(
        self,
        host: str | None,
        port: int,
        client_id: str,
        *,
        user: str | None = None,
        password: "Octets | None" = None,
        keepalive: int = 60,
        will: "Will | None" = None,
        ssl: "SSLContext | None" = None,
        max_packet: int | None = None,
        clean: bool = True,
        random: "Callable[[], float] | None" = None,
        server_name: str | None = None,
    ) -> None:
        if random is None:
            from random import random as chance

            random = chance
        self.address: "Address" = (host, port, ssl, server_name or host)
        self.hello = packets.connect(client_id, keepalive, clean, user=user, password=password, will=will)
        self.clean = clean
        self.max_packet = max_packet or packets.PACKET_LIMIT
        self.letters: "Letters" = None
        self.keepalive = keepalive
        self.ping_timeout = min(10, keepalive / 2)
        # Until on_link(True), or between two messages before it; a link alive this long after its
        # start resets the back-off.
        self.connect_timeout = 30
        self.backoff_first = 1
        self.backoff_cap = 60
        self.on_message: "Callable[[str, bytes, bool], None] | None" = None
        self.on_link: "Callable[[bool], None] | None" = None
        self.prepare: "Callable[[], Awaitable[None]] | None" = None
        self.alive: "Callable[[], None]" = lambda: None
        self.links = 0  # that came up
        self.filters: "Filters" = []
        self.counters: dict[str, int] = {}
        self.bytes_sent = 0
        self.bytes_received = 0
        self.signs = 0  # errors that were the doing of the other end: the network carries
        self._random = random
        self._link: Link | None = None
        self._running = False
        self._stopping = False
        self._shortages = 0  # in a row
        self._wake = asyncio.Event()
        self._finished = asyncio.Event()

    async def run(self) -> None:
        """Keep a link up until `stop`; a client runs once. Cancelling this closes the link without
        DISCONNECT.

        Raises MemoryError when several links in a row have ended for want of memory: no other will
        do better on this heap.
        """
        if self._running:
            raise RuntimeError("already running")
        self._running = True
        delay: float = self.backoff_first
        try:
            while not self._stopping:
                self.alive()
                if self._shortages > SHORTAGES_MOST:
                    raise MemoryError("for a link")
                if self.prepare and not await self._prepared(self.prepare):
                    await self._pause(delay * (1 + self._random()) / 2)
                    delay = min(2 * delay, self.backoff_cap)
                    continue
                link = await self._one_link()
                if self._stopping:
                    break
                self.count(link.reason)
                self._shortages = self._shortages + 1 if link.reason == "memory" else 0
                if link.reason.startswith("refused"):
                    delay = self.backoff_cap
                elif link.lasted:
                    delay = self.backoff_first
                await self._pause(delay * (1 + self._random()) / 2)
                delay = min(2 * delay, self.backoff_cap)
        finally:
            self._finished.set()

    async def _one_link(self) -> Link:
        link = self._link = Link(self)
        try:
            await link.ended.wait()
        finally:
            self._link = None
            link.tear_down()
            if link.up:
                self.call(self.on_link, False)
        await link.closed()
        return link

    async def _prepared(self, prepare: "Callable[[], Awaitable[None]]") -> bool:
        """Wait for `prepare`, or for stop(); tell whether a link may be tried."""
        outcome: list[bool] = []
        task = asyncio.create_task(self._preparing(prepare, outcome))
        try:
            await self._wake.wait()
        finally:
            task.cancel()
        self._wake.clear()
        return bool(outcome) and not self._stopping

    async def _preparing(self, prepare: "Callable[[], Awaitable[None]]", outcome: list[bool]) -> None:
        try:
            await prepare()
            outcome.append(True)
        except Exception as error:
            short = is_shortage(error)
            self._shortages = self._shortages + 1 if short else 0
            self.count("memory" if short else "no-address")
            if not isinstance(error, OSError):
                print_exception(error)
        self._wake.set()

    async def _pause(self, seconds: float) -> None:
        timer = asyncio.create_task(later(seconds, self._wake.set))
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()

    def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Remember `topic_filter` for every link to come, and ask for it now if there is one. `qos`
        is 0 or 1."""
        # Raises ValueError here, not at the next connection.
        packets.subscribe(1, [(topic_filter, qos)])
        if (topic_filter, qos) not in self.filters:
            self.filters.append((topic_filter, qos))
        if self._link is not None and self._link.greeted:
            self._link.subscribe([(topic_filter, qos)])

    def unsubscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Forget a filter; messages that are under way can still arrive."""
        if (topic_filter, qos) in self.filters:
            self.filters.remove((topic_filter, qos))
            if self._link is not None and self._link.greeted:
                self._link.unsubscribe(topic_filter)

    async def publish(self, topic: str, payload: "Octets", qos: int = 0, retain: bool = False) -> None:
        """Return when the message is written (QoS 0) or acknowledged (QoS 1). Nothing is ever sent
        again.

        Raises LinkLost, QueueFull, or ValueError for a topic that may not be published to.
        """
        link = self._link
        if link is None or not link.up:
            raise LinkLost("link is down")
        identifier, receipt = link.publish(topic, payload, qos, retain)
        try:
            await receipt.wait()
        finally:
            link.unacknowledged.pop(identifier, None)

    async def stop(self) -> None:
        """Say DISCONNECT, so that the broker drops the will, close, and wait until `run` is
        over."""
        self._stopping = True
        self._wake.set()
        if self._link is not None:
            self._link.leave()
        if self._running:
            await self._finished.wait()

    def aim(self, host: str, port: int) -> None:
        """The links to come go to that host and port; the name in the certificate stays."""
        self.address = (host, port) + self.address[2:]

    def drop(self) -> None:
        """End the link without DISCONNECT; `run` connects again."""
        if self._link is not None:
            self._link.end("dropped")

    def count(self, reason: str) -> None:
        """Add one to the counter named `reason`."""
        self.counters[reason] = self.counters.get(reason, 0) + 1

    def call(self, function: "Callable[..., None] | None", *arguments: "Any") -> None:
        """Call one of the owner's functions; its faults are not the link's."""
        if function is None:
            return
        try:
            function(*arguments)
        except Exception as error:
            self.count("handler-error")
            print_exception(error)
