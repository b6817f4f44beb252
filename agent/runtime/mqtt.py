"""An MQTT 3.1.1 client that keeps one link up: connects, subscribes, pings, and starts over when anything goes wrong.

    Client.run()   one _Link after the other, with back-off in between
    _Link          one connection, in four tasks that it starts and that `tear_down` cancels:
        _hold        opens the socket, reads until the end, closes the socket: no other code does any of the three
        _write       alone writes, from a bounded queue: packets never interleave, and no caller waits on the socket
                     (cancelled there on MicroPython, it would take the reader's place in the poller away as well)
        _keep_alive  pings, and notices silence
        _deadline    gives up on a link that does not come up in time

A link ends once, for the first reason given to `_Link.end`, which goes into `Client.counters`:
connect-failed, connect-timeout, refused-1 to refused-5, link-lost, ping-timeout, malformed, oversized, internal-error,
dropped.
Counted without ending the link: handler-error, subscribe-refused, unknown-ack.
"""

import asyncio
import sys

from agent.runtime import mqtt_packets as packets

QUEUE_MOST = 16  # packets waiting for the socket
IN_FLIGHT_MOST = 8  # QoS 1 messages waiting for their PUBACK
CHUNK = 1024  # bytes asked of the socket at a time
FAREWELL_S = 1


class LinkLost(Exception):
    """The link is down, or went down before the message was through."""


class QueueFull(Exception):
    """Too many messages wait for the socket or for their PUBACK; nothing was sent."""


class Client:
    """One client of the broker at `host`, a name or an IPv4 address, and `port`.

    `keepalive` in seconds, 1 to 65535. `will` is (topic, payload, qos, retain). `ssl` is an SSLContext: the certificate
    is checked against `host`. `max_packet` bounds an incoming packet's remaining length in bytes. `random()` returns a
    float in [0, 1) for the back-off. Raises ValueError for what no CONNECT can carry.
    `on_message(topic, payload, retain)` and `on_link(up)` are plain functions; what they raise is counted and printed.
    Messages that the broker kept can arrive before `on_link(True)`.
    """

    def __init__(
        self,
        host,
        port,
        client_id,
        *,
        user=None,
        password=None,
        keepalive=60,
        will=None,
        ssl=None,
        max_packet=8192,
        clean=True,
        random=None,
    ):
        if random is None:
            from random import random
        self.address = (host, port, ssl)
        self.hello = packets.connect(client_id, keepalive, clean, user=user, password=password, will=will)
        self.clean = clean
        self.max_packet = max_packet
        self.keepalive = keepalive
        self.ping_timeout = min(10, keepalive / 2)
        self.connect_timeout = 30  # until on_link(True); a link alive this long after its start resets the back-off
        self.backoff_first = 1
        self.backoff_cap = 60
        self.on_message = None
        self.on_link = None
        self.filters = []
        self.counters = {}
        self.bytes_sent = 0
        self.bytes_received = 0
        self._random = random
        self._link = None
        self._running = False
        self._stopping = False
        self._wake = asyncio.Event()
        self._finished = asyncio.Event()

    async def run(self):
        """Keep a link up until `stop`; a client runs once. Cancelling this closes the link without DISCONNECT."""
        if self._running:
            raise RuntimeError("already running")
        self._running = True
        delay = self.backoff_first
        try:
            while not self._stopping:
                link = await self._one_link()
                if self._stopping:
                    break
                self.count(link.reason)
                if link.reason.startswith("refused"):
                    delay = self.backoff_cap
                elif link.lasted:
                    delay = self.backoff_first
                await self._pause(delay * (1 + self._random()) / 2)
                delay = min(2 * delay, self.backoff_cap)
        finally:
            self._finished.set()

    async def _one_link(self):
        link = self._link = _Link(self)
        try:
            await link.ended.wait()
        finally:
            self._link = None
            link.tear_down()
            if link.up:
                self.call(self.on_link, False)
        await link.closed()
        return link

    async def _pause(self, seconds):
        timer = asyncio.create_task(_later(seconds, self._wake.set))
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()

    def subscribe(self, topic_filter, qos=1):
        """Remember `topic_filter` for every link to come, and ask for it now if there is one. `qos` is 0 or 1."""
        packets.subscribe(1, [(topic_filter, qos)])  # raises ValueError here, not at the next connection
        if (topic_filter, qos) not in self.filters:
            self.filters.append((topic_filter, qos))
        if self._link is not None and self._link.greeted:
            self._link.subscribe([(topic_filter, qos)])

    async def publish(self, topic, payload, qos=0, retain=False):
        """Return when the message is written (QoS 0) or acknowledged (QoS 1). Nothing is ever sent again.

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

    async def stop(self):
        """Say DISCONNECT, so that the broker drops the will, close, and wait until `run` is over."""
        self._stopping = True
        self._wake.set()
        if self._link is not None:
            self._link.leave()
        if self._running:
            await self._finished.wait()

    def drop(self):
        """End the link without DISCONNECT; `run` connects again."""
        if self._link is not None:
            self._link.end("dropped")

    def count(self, reason):
        """Add one to the counter named `reason`."""
        self.counters[reason] = self.counters.get(reason, 0) + 1

    def call(self, function, *arguments):
        """Call one of the owner's functions; its faults are not the link's."""
        if function is None:
            return
        try:
            function(*arguments)
        except Exception as error:
            self.count("handler-error")
            _print_exception(error)


class _Receipt:
    """What a publisher waits on."""

    def __init__(self):
        self._settled = asyncio.Event()
        self._good = False

    def settle(self, good):
        self._good = good
        self._settled.set()

    async def wait(self):
        await self._settled.wait()
        if not self._good:
            raise LinkLost("link went down")


class _Link:
    """One connection; see the top of this file. Once ended, it is thrown away with all that hung on it."""

    def __init__(self, client):
        self.client = client
        self.ended = asyncio.Event()
        self.reason = None
        self.greeted = False  # a CONNACK came
        self.up = False  # and the SUBACK for all remembered filters
        self.lasted = False
        self.unacknowledged = {}  # packet identifier -> the publisher's _Receipt
        self._subscribing = {}  # packet identifier -> number of filters asked for
        self._first_subscribe = 0
        self._identifier = 0
        self._queue = []  # (packet, _Receipt or None), kept until written
        self._mail = asyncio.Event()
        self._buffer = b""  # received, and used up to _place
        self._place = 0
        self._begun = False
        self._closed = asyncio.Event()
        self._tasks = []
        self._spawn(self._hold)
        self._spawn(self._deadline)

    # -- for the client

    def end(self, reason):
        """Ask for the end; the first reason stays."""
        if self.reason is None:
            self.reason = reason
            self.ended.set()

    def leave(self):
        """End in good order if there is anything to say goodbye to, and in bounded time."""
        if not self.greeted:
            self.end("stopped")
            return
        self._send(packets.disconnect())
        self._spawn(_later, FAREWELL_S, self.end, "stopped")

    def tear_down(self):
        """Cancel the tasks and wake whoever waits. `_hold` closes the socket at its next turn."""
        for task in self._tasks:
            task.cancel()
        for _, receipt in self._queue:
            if receipt is not None:
                receipt.settle(False)
        for receipt in self.unacknowledged.values():
            receipt.settle(False)

    async def closed(self):
        """Wait until the socket is closed. (A task cancelled before its first step never began, nor opened any.)"""
        if self._begun:
            await self._closed.wait()

    def subscribe(self, filters):
        """Send one SUBSCRIBE; returns its packet identifier."""
        identifier = self._new_identifier()
        self._subscribing[identifier] = len(filters)
        self._send(packets.subscribe(identifier, filters))
        return identifier

    def publish(self, topic, payload, qos, retain):
        """Queue a PUBLISH: (packet identifier, _Receipt). Raises QueueFull, ValueError."""
        if len(self._queue) >= QUEUE_MOST or (qos and len(self.unacknowledged) >= IN_FLIGHT_MOST):
            raise QueueFull("too many messages wait")
        receipt = _Receipt()
        identifier = self._new_identifier() if qos else 0
        packet = packets.publish(topic, payload, qos, retain, identifier)
        if qos:
            self.unacknowledged[identifier] = receipt
        self._send(packet, None if qos else receipt)
        return identifier, receipt

    def _new_identifier(self):
        while True:
            self._identifier = self._identifier % 65535 + 1
            if self._identifier not in self.unacknowledged and self._identifier not in self._subscribing:
                return self._identifier

    def _send(self, packet, receipt=None):
        self._queue.append((packet, receipt))
        self._mail.set()

    # -- the tasks

    def _spawn(self, function, *arguments):
        self._tasks.append(asyncio.create_task(self._guard(function, *arguments)))

    async def _guard(self, function, *arguments):
        try:
            await function(*arguments)
        except packets.PacketError as error:
            self.end(error.reason)
        except (OSError, EOFError):
            self.end("link-lost" if self.greeted else "connect-failed")
        except Exception as error:
            self.end("internal-error")
            _print_exception(error)

    async def _hold(self):
        self._begun = True
        writer = None
        try:
            reader, writer = await _open(self.client.address, self.client.hello)
            self.client.bytes_sent += len(self.client.hello)
            await self._converse(reader, writer)
        finally:
            try:
                if writer is not None:
                    await _close(writer)
            finally:
                self._closed.set()

    async def _converse(self, reader, writer):
        client = self.client
        packet = await self._receive(reader)
        if packet[0] != packets.CONNACK or (packet[1] and client.clean):
            raise packets.PacketError("malformed", "first packet")  # [MQTT-3.2.0-1], [MQTT-3.2.2-1]
        if packet[2]:
            self.end("refused-%d" % packet[2])
            return
        self.greeted = True
        self._spawn(self._write, writer)
        self._spawn(self._keep_alive)
        if client.filters:
            self._first_subscribe = self.subscribe(client.filters)
        else:
            self._come_up()
        while True:
            await self._handle(await self._receive(reader))

    async def _receive(self, reader):
        parser = packets.incoming(self.client.max_packet)
        wanted = next(parser)
        while True:
            octets = await self._take(reader, wanted)
            try:
                wanted = parser.send(octets)
            except StopIteration as done:
                return done.value

    async def _take(self, reader, size):
        """Exactly `size` bytes, at least 1. Each read costs a turn of the poller, so it takes all that is there."""
        if self._place == len(self._buffer):
            await self._refill(reader)
        octets = self._buffer[self._place : self._place + size]
        self._place += len(octets)
        if len(octets) == size:
            return octets
        whole = bytearray(size)
        have = 0
        while True:
            whole[have : have + len(octets)] = octets
            have += len(octets)
            if have == size:
                return bytes(whole)
            await self._refill(reader)
            octets = self._buffer[: size - have]
            self._place = len(octets)

    async def _refill(self, reader):
        self._buffer = b""
        self._place = 0
        self._buffer = await reader.read(CHUNK)
        if not self._buffer:
            raise EOFError
        self.client.bytes_received += len(self._buffer)

    async def _handle(self, packet):
        kind = packet[0]
        if kind == packets.PUBLISH:
            await self._handle_publish(packet)
        elif kind == packets.PUBACK:
            receipt = self.unacknowledged.pop(packet[1], None)
            if receipt is None:
                self.client.count("unknown-ack")
            else:
                receipt.settle(True)
        elif kind == packets.SUBACK:
            self._handle_suback(packet[1], packet[2])
        elif kind == packets.CONNACK:
            raise packets.PacketError("malformed", "second connack")

    async def _handle_publish(self, packet):
        _, topic, payload, qos, retain, identifier = packet
        self.client.call(self.client.on_message, topic, payload, retain)
        if qos:
            receipt = _Receipt() if len(self._queue) >= QUEUE_MOST else None
            self._send(packets.puback(identifier), receipt)
            if receipt is not None:
                await receipt.wait()  # a broker that does not read is not read from either

    def _handle_suback(self, identifier, codes):
        count = self._subscribing.pop(identifier, None)
        if count is None:
            self.client.count("unknown-ack")
            return
        if len(codes) != count:
            raise packets.PacketError("malformed", "suback length")
        for code in codes:
            if code == packets.FAILURE:
                self.client.count("subscribe-refused")
        if identifier == self._first_subscribe:
            self._come_up()

    def _come_up(self):
        self.up = True
        self.client.call(self.client.on_link, True)

    async def _write(self, writer):
        while True:
            await self._mail.wait()
            self._mail.clear()
            while self._queue:
                packet, receipt = self._queue[0]
                writer.write(packet)
                await (
                    writer.drain()
                )  # one at a time: MicroPython gathers what the socket does not take by concatenation
                self._queue.pop(0)
                self.client.bytes_sent += len(packet)
                if receipt is not None:
                    receipt.settle(True)
                if packet == packets.disconnect():
                    self.end("stopped")

    async def _keep_alive(self):
        """Ping if nothing was sent, or nothing received, since the last look: silent for 0.9 keepalive at most."""
        client = self.client
        while True:
            sent, received = client.bytes_sent, client.bytes_received
            await asyncio.sleep(client.keepalive * 0.4)
            if client.bytes_sent != sent and client.bytes_received != received:
                continue
            received = client.bytes_received
            self._send(packets.pingreq())
            await asyncio.sleep(client.ping_timeout)
            if client.bytes_received == received:
                self.end("ping-timeout")

    async def _deadline(self):
        await asyncio.sleep(self.client.connect_timeout)
        if self.up:
            self.lasted = True
        else:
            self.end("connect-timeout")


async def _later(seconds, function, *arguments):
    await asyncio.sleep(seconds)
    function(*arguments)


async def _open(address, hello):
    """(reader, writer) of a connection on which `hello` is written; failing or cancelled, it closes what it opened."""
    host, port, ssl = address
    if sys.implementation.name == "micropython":
        return await _open_on_micropython(host, port, ssl, hello)
    reader, writer = await asyncio.open_connection(host, port, ssl=ssl)
    try:
        writer.transport.set_write_buffer_limits(high=0)  # drain() then waits until the kernel has it all
        writer.write(hello)
        await writer.drain()
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def _open_on_micropython(host, port, ssl, hello):
    """As asyncio.open_connection, which leaks the socket of a failed or cancelled attempt, and leaves Nagle on."""
    import socket
    from errno import EINPROGRESS

    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][-1]  # blocks on a name
        connection.setblocking(False)
        connection.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: not every port names them
        try:
            connection.connect(address)
        except OSError as error:
            if error.errno != EINPROGRESS:
                raise
        if ssl is not None:
            connection = ssl.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
        stream = asyncio.StreamWriter(connection, {})  # type: ignore[call-arg, arg-type]
        stream.out_buf = hello  # type: ignore[attr-defined]  # so that drain() waits for the connection, then writes
        await stream.drain()
    except ValueError as error:
        connection.close()
        raise OSError(str(error)) from None  # how mbedTLS tells of a certificate that it does not trust
    except BaseException:
        connection.close()
        raise
    return stream, stream


async def _close(writer):
    if hasattr(writer, "transport"):
        writer.transport.abort()  # CPython: all is written already, and a dead peer answers no TLS farewell
    try:
        await writer.wait_closed()  # MicroPython closes here
    except OSError:
        return  # what ended the link, told a second time


def _print_exception(error):
    if hasattr(sys, "print_exception"):
        sys.print_exception(error)
    else:
        import traceback

        traceback.print_exception(error)
