"""The one place on the host that speaks MQTT: the broker's address, the user, and a connection's
messages."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from broker.errors import Denied, HumError, NoAnswer

log = logging.getLogger("hum.link")
# What the library has to say of a lost link is said here, as a LinkError.
_silent = logging.getLogger("hum.link.library")
_silent.setLevel(logging.CRITICAL)

# Small packets follow each other here; Nagle's algorithm would hold each for the other side's
# delayed acknowledgement.
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
QUEUED_MOST = 10_000  # messages that nobody has taken yet; what comes then is dropped
RECONNECT_S = 1.0
DENIED = (134, 135)  # CONNACK: the user or the password is wrong, or may not come in


class LinkError(Exception):
    """There is no link to the broker, or it was lost. args[0] is what the broker or the network
    said."""


class LinkDenied(LinkError):
    """The broker does not let the user in."""


@contextmanager
def _as_link_error() -> Iterator[None]:
    try:
        yield
    except aiomqtt.MqttError as error:
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        denied = isinstance(code, ReasonCode) and code.packetType == PacketTypes.CONNACK and code.value in DENIED
        raise (LinkDenied if denied else LinkError)(str(error)) from error


@dataclass(frozen=True)
class Message:
    """What was heard. `retained`: it was said before this connection asked for it."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True)
class Will:
    """What the broker says, retained, for a client that is gone without a word."""

    topic: str
    payload: bytes


class _Queue(asyncio.Queue[aiomqtt.Message]):
    """What waits to be taken; `dropped` counts what came when it was full."""

    dropped = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """As of every queue. Raises asyncio.QueueFull."""
        try:
            super().put_nowait(item)
        except asyncio.QueueFull:
            self.dropped += 1
            raise


class Connection:
    """A connection that is there. Every method raises LinkError when it is lost."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    def take_dropped(self) -> int:
        """Return how many messages were lost since this was asked last: QUEUED_MOST waited to be
        taken when they came."""
        queue = self._client._queue
        assert isinstance(queue, _Queue)  # as _connection() has it
        dropped, queue.dropped = queue.dropped, 0
        return dropped

    async def subscribe(self, *filters: str, qos: int = 1) -> None:
        """Hear what is said under these topic filters, what is retained first."""
        with _as_link_error():
            await self._client.subscribe([(one, qos) for one in filters])

    async def unsubscribe(self, *filters: str) -> None:
        """Hear it no more."""
        with _as_link_error():
            await self._client.unsubscribe(list(filters))

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Say it with QoS 1, and return once the broker has it."""
        with _as_link_error():
            await self._client.publish(topic, payload, qos=1, retain=retain)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what is heard, without an end."""
        heard = aiter(self._client.messages)
        while True:
            with _as_link_error():
                message = await anext(heard)
            yield Message(str(message.topic), bytes(message.payload), message.retain)


@dataclass(frozen=True)
class Link:
    """An address, and what the broker and its user are known by; `ca` turns TLS on."""

    host: str
    port: int
    username: str | None
    password: str | None
    ca: str | None

    def connect(
        self, identifier: str | None = None, will: Will | None = None, keepalive_s: int = 60, timeout_s: float = 10.0
    ) -> AbstractAsyncContextManager[Connection]:
        """Return a Connection to be entered. It is known to the broker as `identifier`, which ends
        another one of that name. `timeout_s` is how long each call waits for the broker."""
        return self._connection(identifier, will, keepalive_s, timeout_s)

    @asynccontextmanager
    async def _connection(
        self, identifier: str | None, will: Will | None, keepalive_s: int, timeout_s: float
    ) -> AsyncIterator[Connection]:
        with _as_link_error():
            client = aiomqtt.Client(
                self.host,
                self.port,
                username=self.username,
                password=self.password,
                identifier=identifier,
                tls_params=aiomqtt.TLSParameters(ca_certs=self.ca) if self.ca else None,
                socket_options=NO_DELAY,
                will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True) if will else None,
                keepalive=keepalive_s,
                timeout=timeout_s,
                queue_type=_Queue,
                max_queued_incoming_messages=QUEUED_MOST,
                logger=_silent,
            )
            # A coordinator says all that is retained at once: aiomqtt would warn of ten already.
            client.pending_calls_threshold = QUEUED_MOST
            _heed(client)
            ended: BaseException | None = None
            try:
                async with client:
                    try:
                        yield Connection(client)
                    except BaseException as error:
                        ended = error
                        raise
            except aiomqtt.MqttError:
                if ended is not None:
                    # It tells more than why leaving failed; and who is cancelled must end.
                    raise ended from None
                raise

    def unreached(self, error: LinkError) -> HumError:
        """Return what a command says of there being no link: Denied or NoAnswer."""
        where = f"the broker at {self.host}:{self.port}"
        if isinstance(error, LinkDenied):
            who = self.username or "anybody without --credentials"
            return Denied(f"{where} does not let {who} in ({error}); give credentials of this broker that are in force")
        return NoAnswer(f"{where}: {error}")

    async def follow(self, *filters: str) -> AsyncGenerator[Message, None]:
        """Yield what is heard under `filters`, in whose order what is retained comes, and connect
        again when the link is lost. Raises LinkError if there is none to begin with."""
        was_linked = False
        while True:
            try:
                async with self.connect() as connection:
                    for one in filters:
                        await connection.subscribe(one)
                    was_linked = True
                    async for message in connection.messages():
                        yield message
            except LinkError as error:
                if not was_linked:
                    raise
                log.warning("no link to %s:%d: %s; next try in %g s", self.host, self.port, error, RECONNECT_S)
                await asyncio.sleep(RECONNECT_S)


def _heed(client: aiomqtt.Client) -> None:
    """Why a link was lost is known, or nobody wants to know. aiomqtt keeps it in futures besides:
    asyncio would print a traceback for each that nobody has asked. And it asks the one for the
    connection, which may have been cancelled, when a link ends: then it must not get so far."""

    def heard(future: "asyncio.Future[None]") -> None:
        if not future.cancelled():
            future.exception()
        elif future is client._connected:
            client._disconnected.cancel()

    client._connected.add_done_callback(heard)
    client._disconnected.add_done_callback(heard)
