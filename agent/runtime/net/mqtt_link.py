"""One connection of the MQTT client, in four tasks that `tear_down` cancels:

    _hold        alone opens the socket, reads until the end, and closes the socket
    _write       alone writes, from a bounded queue: packets never interleave, and no caller waits
                 on the socket (cancelled there, MicroPython would drop the reader, too)
    _keep_alive  pings, and notices silence
    _deadline    gives up on a link that does not come up in time

A link ends once, for the first reason given to `Link.end`; mqtt.py lists the reasons.
"""

import asyncio

from agent.runtime.net import mqtt_packets as packets
from agent.runtime.net import mqtt_socket
from agent.runtime.net.mqtt_incoming import Incoming
from agent.runtime.net.mqtt_receipt import QueueFull, Receipt
from agent.runtime.system.ticks import ticks_diff, ticks_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter, Task
    from collections.abc import Callable, Coroutine
    from typing import Any

    from agent.runtime.net.mqtt import Client
    from agent.runtime.net.mqtt_packets import Filters, Octets, Packet

    Work = Callable[..., Coroutine[Any, Any, None]]  # a task's function

QUEUE_MOST = 16  # packets waiting for the socket
IN_FLIGHT_MOST = 8  # QoS 1 messages waiting for their PUBACK
FAREWELL_S = 1
ACKNOWLEDGE_S = 30  # for a PUBACK; looked at every 0.4 keepalive


class Link:
    """One connection. Once ended, it is thrown away with all that hung on it."""

    def __init__(self, client: "Client") -> None:
        self.client = client
        self.ended = asyncio.Event()
        self.reason = ""  # why it ended
        self.greeted = False  # a CONNACK came
        self.up = False  # and the SUBACK for all remembered filters
        self.lasted = False
        # By packet identifier: the publisher's Receipt; the filters asked for, 0 to UNSUBSCRIBE.
        self.unacknowledged: dict[int, Receipt] = {}
        self._subscribing: dict[int, int] = {}
        self._first_subscribe = 0
        self._identifier = 0
        self._incoming: Incoming | None = None
        self._queue: list[tuple[bytes, Receipt | None]] = []  # packets, kept until written
        self._mail = asyncio.Event()
        self._begun = False
        self._closed = asyncio.Event()
        self._tasks: "list[Task[None]]" = []
        self._spawn(self._hold)
        self._spawn(self._deadline)

    # -- for the client

    def end(self, reason: str) -> None:
        """Ask for the end; the first reason stays."""
        if not self.reason:
            self.reason = reason
            self.ended.set()

    def leave(self) -> None:
        """End in good order if there is anything to say goodbye to, and in bounded time."""
        if not self.greeted:
            self.end("stopped")
            return
        self._send(packets.disconnect())
        self._spawn(later, FAREWELL_S, self.end, "stopped")

    def tear_down(self) -> None:
        """Cancel the tasks and wake whoever waits. `_hold` closes the socket at its next turn."""
        for task in self._tasks:
            task.cancel()
        for _, receipt in self._queue:
            if receipt is not None:
                receipt.settle(False)
        for receipt in self.unacknowledged.values():
            receipt.settle(False)

    async def closed(self) -> None:
        """Wait until the socket is closed, unless `_hold` was cancelled before its first step."""
        if self._begun:
            await self._closed.wait()

    def subscribe(self, filters: "Filters") -> int:
        """Send one SUBSCRIBE; returns its packet identifier."""
        identifier = self._new_identifier()
        self._subscribing[identifier] = len(filters)
        self._send(packets.subscribe(identifier, filters))
        return identifier

    def unsubscribe(self, topic_filter: str) -> None:
        """Send an UNSUBSCRIBE."""
        identifier = self._new_identifier()
        self._subscribing[identifier] = 0
        self._send(packets.unsubscribe(identifier, topic_filter))

    def publish(self, topic: str, payload: "Octets", qos: int, retain: bool) -> tuple[int, Receipt]:
        """Queue a PUBLISH: (packet identifier, Receipt). Raises QueueFull, ValueError."""
        if len(self._queue) >= QUEUE_MOST or (qos and len(self.unacknowledged) >= IN_FLIGHT_MOST):
            raise QueueFull("too many messages wait")
        receipt = Receipt()
        identifier = self._new_identifier() if qos else 0
        packet = packets.publish(topic, payload, qos, retain, identifier)
        if qos:
            self.unacknowledged[identifier] = receipt
        self._send(packet, None if qos else receipt)
        return identifier, receipt

    def _new_identifier(self) -> int:
        while True:
            self._identifier = self._identifier % 65535 + 1
            if self._identifier not in self.unacknowledged and self._identifier not in self._subscribing:
                return self._identifier

    def _send(self, packet: bytes, receipt: Receipt | None = None) -> None:
        self._queue.append((packet, receipt))
        self._mail.set()

    # -- the tasks

    def _spawn(self, function: "Work", *arguments: "Any") -> None:
        self._tasks.append(asyncio.create_task(self._guard(function, *arguments)))

    async def _guard(self, function: "Work", *arguments: "Any") -> None:
        try:
            await function(*arguments)
        except Exception as error:
            reason = mqtt_socket.why(error, self.greeted)
            self.client.signs += mqtt_socket.is_sign(error)
            self.end(reason)
            if reason in ("memory", "internal-error"):
                mqtt_socket.print_exception(error)

    async def _hold(self) -> None:
        self._begun = True
        writer = None
        try:
            reader, writer = await mqtt_socket.connect(self.client.address, self.client.hello)
            self.client.bytes_sent += len(self.client.hello)
            await self._converse(reader, writer)
        finally:
            try:
                if writer is not None:
                    await mqtt_socket.close(writer)
            finally:
                self._closed.set()

    async def _converse(self, reader: "StreamReader", writer: "StreamWriter") -> None:
        client = self.client
        incoming = self._incoming = Incoming(reader, client)
        packet = await incoming.packet()
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
            await self._handle(await incoming.packet())

    async def _handle(self, packet: "Packet") -> None:
        if packet[0] == packets.PUBLISH:
            self.client.call(self.client.on_message, packet[1], packet[2], packet[4])
            await self._acknowledge(packet[5])
        elif packet[0] == packets.SKIPPED:
            self.client.count(packet[1])
            await self._acknowledge(packet[2])  # or it would come again
        elif packet[0] == packets.PUBACK:
            receipt = self.unacknowledged.pop(packet[1], None)
            if receipt is None:
                self.client.count("unknown-ack")
            else:
                receipt.settle(True)
        elif packet[0] == packets.SUBACK:
            self._handle_suback(packet[1], packet[2])
        elif packet[0] == packets.UNSUBACK:
            if self._subscribing.pop(packet[1], None) != 0:
                self.client.count("unknown-ack")
        elif packet[0] == packets.CONNACK:
            raise packets.PacketError("malformed", "second connack")

    async def _acknowledge(self, identifier: int) -> None:
        """Send a PUBACK, unless `identifier` is 0."""
        if identifier:
            receipt = Receipt() if len(self._queue) >= QUEUE_MOST else None
            self._send(packets.puback(identifier), receipt)
            if receipt is not None:
                await receipt.wait()  # a broker that does not read is not read from either

    def _handle_suback(self, identifier: int, codes: bytes) -> None:
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

    def _come_up(self) -> None:
        self.up = True
        self.client.links += 1
        self.client.call(self.client.on_link, True)

    async def _write(self, writer: "StreamWriter") -> None:
        while True:
            await self._mail.wait()
            self._mail.clear()
            while self._queue:
                packet, receipt = self._queue[0]
                writer.write(packet)
                # One at a time: MicroPython concatenates whatever the socket does not take.
                await writer.drain()
                self._queue.pop(0)
                self.client.bytes_sent += len(packet)
                if receipt is not None:
                    receipt.settle(True)
                if packet == packets.disconnect():
                    self.end("stopped")

    async def _keep_alive(self) -> None:
        """Ping if nothing was sent, or nothing received, since the last look, 0.4 keepalive ago.

        A broker that answers nothing but pings is useless: it gets ACKNOWLEDGE_S for a PUBACK.
        """
        client = self.client
        while True:
            client.alive()
            sent, received = client.bytes_sent, client.bytes_received
            head = self._queue[0] if self._queue else None
            await asyncio.sleep(client.keepalive * 0.4)
            if head and self._queue and self._queue[0] is head:
                self.end("write-timeout")
            if self._overdue():
                self.end("ack-timeout")
            if client.bytes_sent != sent and client.bytes_received != received:
                continue
            received = client.bytes_received
            self._send(packets.pingreq())
            await asyncio.sleep(client.ping_timeout)
            if client.bytes_received == received:
                self.end("ping-timeout")

    def _overdue(self) -> bool:
        now = ticks_ms()
        return any(ticks_diff(now, r.since) > ACKNOWLEDGE_S * 1000 for r in self.unacknowledged.values())

    async def _deadline(self) -> None:
        """End a link that does not come up in time: the time begins again while messages come,
        for a broker hands out what it kept before it answers a SUBSCRIBE."""
        heard = -1
        while not self.up:
            messages = self._incoming.messages if self._incoming else 0
            if messages == heard:
                self.end("connect-timeout")
            heard = messages
            await asyncio.sleep(self.client.connect_timeout)
        self.lasted = True


async def later(seconds: float, function: "Callable[..., None]", *arguments: "Any") -> None:
    """Call `function` after `seconds`."""
    await asyncio.sleep(seconds)
    function(*arguments)
