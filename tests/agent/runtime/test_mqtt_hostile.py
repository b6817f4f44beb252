"""The MQTT client against brokers that misbehave, each a script on a real socket in the same
process."""

import asyncio
import os

from agent.runtime.net import mqtt, mqtt_link, mqtt_packets
from agent.runtime.net.mqtt_incoming import Incoming
from tests.support.expect import raises

CONNACK = b"\x20\x02\x00\x00"
PINGRESP = b"\xd0\x00"
PATIENCE_S = 30


class Connection:
    """The broker's side of one connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def packet(self):
        """One whole packet from the client; EOFError at the end."""
        head = await self.reader.readexactly(2)
        length, shift = head[1] & 127, 7
        while head[-1] & 128:
            head += await self.reader.readexactly(1)
            length |= (head[-1] & 127) << shift
            shift += 7
        return head + (await self.reader.readexactly(length) if length else b"")

    async def send(self, octets):
        self.writer.write(octets)
        await self.writer.drain()

    async def silence(self):
        while await self.reader.read(100):
            continue


class Broker:
    """The n-th connection goes to the n-th script, all further ones to the last."""

    def __init__(self, scripts):
        self.scripts = scripts
        self.connections = 0
        self.open = 0
        self.left = 0
        self.fault = None
        self.port = 0

    async def start(self):
        while not self.port:
            port = 20000 + int.from_bytes(os.urandom(2), "little") % 12000
            try:
                self.server = await asyncio.start_server(self.serve, "127.0.0.1", port)
                self.port = port
            except OSError:
                continue

    async def serve(self, reader, writer):
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        self.open += 1
        try:
            await script(Connection(reader, writer))
        except (EOFError, OSError):
            self.left += 1  # the client, as it should
        except Exception as error:
            self.fault = error  # of the script
        finally:
            if hasattr(writer, "transport"):
                writer.transport.abort()
            else:
                await writer.wait_closed()
            self.open -= 1

    async def stop(self):
        self.server.close()
        await self.server.wait_closed()


def play(scripts, scenario, **options):
    """Run `scenario(client, broker)` and check that the client ends clean: run() over, no socket
    left open."""

    async def main():
        broker = Broker(scripts)
        await broker.start()
        await asyncio.sleep(0.01)
        sockets = len(os.listdir("/proc/self/fd"))
        client = mqtt.Client("127.0.0.1", broker.port, "test", **options)
        client.backoff_first = client.backoff_cap = 0.02
        client.connect_timeout = 3
        client.states = []
        client.on_link = client.states.append
        running = asyncio.create_task(client.run())
        try:
            await scenario(client, broker)
        finally:
            await client.stop()
            await running
        await until(lambda: not broker.open and len(os.listdir("/proc/self/fd")) == sockets)
        await broker.stop()
        if broker.fault:
            raise broker.fault
        assert client.states == [True, False] * (len(client.states) // 2)

    asyncio.run(main())


async def until(condition):
    for _ in range(PATIENCE_S * 200):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


def counted(reason, times=1):
    """The scenario that waits until `reason` was counted, and checks that nothing else was."""

    async def scenario(client, broker):
        await until(lambda: client.counters.get(reason, 0) >= times)
        assert list(client.counters) == [reason], client.counters

    return scenario


def saying(octets):
    """The script that takes the CONNECT, says `octets` and then nothing."""

    async def script(link):
        await link.packet()
        await link.send(octets)
        await link.silence()

    return script


async def echo(link):
    """A small good broker: takes any SUBSCRIBE, acknowledges, and sends every message back at QoS
    0."""
    await link.packet()
    await link.send(CONNACK)
    while True:
        packet = await link.packet()
        kind = packet[0] >> 4
        if kind == 8:
            await link.send(b"\x90\x03" + packet[2:4] + b"\x01")
        elif kind == 12:
            await link.send(PINGRESP)
        elif kind == 3 and packet[0] & 2:
            place = 2 if packet[1] < 128 else 3
            name = place + 2
            identifier = name + packet[place + 1]
            await link.send(b"\x40\x02" + packet[identifier : identifier + 2])
            await link.send(mqtt_packets.publish(str(packet[name:identifier], "utf-8"), packet[identifier + 2 :]))


def test_end_of_file_after_connect_is_counted_and_retried():
    async def hang_up(link):
        await link.packet()

    play([hang_up], counted("connect-failed", 3))


def test_end_of_file_after_connack_is_link_lost():
    async def hang_up(link):
        await link.packet()
        await link.send(CONNACK)

    async def scenario(client, broker):
        await until(lambda: client.counters.get("link-lost", 0) >= 3)
        assert len(client.states) >= 6

    play([hang_up], scenario)


def test_garbage_in_place_of_connack_is_malformed():
    play([saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")], counted("malformed", 2))
    play([saying(b"\x00" * 100)], counted("malformed"))


def test_packets_out_of_place_are_malformed():
    play([saying(PINGRESP)], counted("malformed"))
    play([saying(CONNACK + CONNACK)], counted("malformed"))
    play([saying(b"\x20\x02\x01\x00")], counted("malformed"))  # a session that a clean start cannot have
    play([saying(CONNACK + b"\x34\x05\x00\x01a\x00\x01")], counted("malformed"))  # QoS 2


def test_an_old_session_is_welcome_without_clean_start():
    async def scenario(client, broker):
        await until(lambda: client.states)
        assert not client.counters

    play([saying(b"\x20\x02\x01\x00")], scenario, clean=False)


def surviving(hostile, reason, letters=None, **options):
    """`hostile`, packets with the identifiers 1, 2, ... at QoS 1, is counted under `reason` and
    acknowledged, and the link lives: what comes after it arrives."""

    async def script(link):
        await link.packet()
        await link.send(CONNACK)
        for octets in hostile:
            await link.send(octets)
        for number in range(len(hostile)):
            assert await link.packet() == b"\x40\x02\x00" + bytes([number + 1])
        await link.send(mqtt_packets.publish("good", b"still here"))
        await link.silence()

    async def scenario(client, broker):
        got = []
        client.letters = letters
        client.on_message = lambda *message: got.append(message)
        await until(lambda: got)
        assert got == [("good", b"still here", False)] and client.states == [True]
        assert client.counters == {reason: len(hostile)} and broker.connections == 1

    play([script], scenario, **options)


def test_an_oversized_message_is_counted_and_acknowledged_and_the_link_lives():
    packets = [mqtt_packets.publish("a", bytes(size), 1, True, n + 1) for n, size in enumerate((8448, 9000, 70000))]
    surviving(packets, "oversized")
    surviving([mqtt_packets.publish("a", bytes(64), 1, False, 1)], "oversized", max_packet=64)
    letter = mqtt_packets.publish("mail/me/evil", bytes(1025), 1, True, 1)
    surviving([letter], "oversized", letters=("mail/me/", 1024))
    topic = b"t" * 300
    surviving([b"\x32\xb3\x02\x01\x2c" + topic + b"\x00\x01abc"], "oversized")


def test_a_bad_topic_is_counted_and_acknowledged_and_the_link_lives():
    topics = (b"", b"a\x00b", b"a/+", b"\xff", b"\xed\xa0\x80", b"\xc0\x80")
    packets = [b"\x32" + bytes([len(t) + 7, 0, len(t)]) + t + bytes([0, n + 1]) + b"abc" for n, t in enumerate(topics)]
    surviving(packets, "bad-topic")


def test_a_letter_without_room_is_counted_and_acknowledged_and_the_link_lives():
    async def ends_for_memory(client, broker):
        client.backoff_first = client.backoff_cap = 30
        await until(lambda: client.counters)
        assert client.counters == {"memory": 1} and client.states == [True, False]

    class Short(Incoming):
        """A heap without a piece of 3000 bytes."""

        async def _take(self, size):
            if size != 3000:
                return await super()._take(size)
            self._missing = size
            if self._place == len(self._buffer):
                await self._refill()
            self._piece()
            raise MemoryError

    saved, mqtt_link.Incoming = mqtt_link.Incoming, Short
    try:
        letter = mqtt_packets.publish("mail/me/b", bytes(3000), 1, False, 1)
        surviving([letter], "no-room", letters=("mail/me/", 8192))
        roster = saying(CONNACK + mqtt_packets.publish("roster", bytes(3000)))
        play([roster], ends_for_memory)  # what is no letter comes again with another link
    finally:
        mqtt_link.Incoming = saved


def test_what_nobody_asked_for_is_counted_and_the_link_lives():
    unasked = b"\x90\x03\x00\x07\x01" + b"\x40\x02\x00\x07" + b"\xb0\x02\x00\x07" + PINGRESP

    async def scenario(client, broker):
        await until(lambda: client.counters.get("unknown-ack") == 3)
        assert client.states == [True] and broker.connections == 1

    play([saying(CONNACK + unasked)], scenario)


def test_a_flood_of_what_was_kept_does_not_use_up_the_time_to_come_up():
    async def script(link):
        await link.packet()
        await link.send(CONNACK)
        request = await link.packet()
        for _ in range(12):  # longer together than the client waits
            await asyncio.sleep(0.1)
            await link.send(mqtt_packets.publish("mail/me/evil", bytes(500)))
        await link.send(b"\x90\x03" + request[2:4] + b"\x01")
        await link.silence()

    async def scenario(client, broker):
        client.connect_timeout = 0.6
        client.subscribe("mail/me/+")
        await until(lambda: client.states)
        assert not client.counters and broker.connections == 1

    play([script], scenario)


def test_refusals_are_counted_by_code():
    play([saying(b"\x20\x02\x00\x05")], counted("refused-5", 3))
    play([saying(b"\x20\x02\x00\x01")], counted("refused-1"))


def test_a_refused_client_waits_as_long_as_it_ever_does():
    async def scenario(client, broker):
        client.backoff_cap = 30
        await until(lambda: client.counters)
        await asyncio.sleep(0.2)
        assert client.counters == {"refused-4": 1} and broker.connections == 1

    play([saying(b"\x20\x02\x00\x04")], scenario)


def test_silence_in_place_of_connack_times_out():
    async def scenario(client, broker):
        client.connect_timeout = 0.05
        await until(lambda: client.counters.get("connect-timeout", 0) >= 2)

    play([saying(b"\x20\x02"), saying(b"")], scenario)


def test_a_missing_suback_times_out():
    async def scenario(client, broker):
        client.connect_timeout = 0.05
        client.subscribe("a")
        await until(lambda: client.counters.get("connect-timeout", 0) >= 2)
        assert not client.states

    play([saying(b"\x20\x02\x00\x00")], scenario)


def test_half_a_packet_and_then_silence_is_a_ping_timeout():
    async def scenario(client, broker):
        client.keepalive, client.ping_timeout = 0.1, 0.05
        await until(lambda: client.counters)
        assert client.counters == {"ping-timeout": 1} and client.states == [True, False]

    play([saying(CONNACK + b"\x30\x20\x00\x01a half")], scenario)


def test_an_idle_link_lives_on_pings():
    async def scenario(client, broker):
        client.keepalive, client.ping_timeout = 0.4, 0.2
        await until(lambda: client.bytes_received >= len(CONNACK) + 4 * len(PINGRESP))
        assert not client.counters and client.states == [True]

    play([echo], scenario)


def test_nobody_listening_is_counted_and_retried():
    async def main():
        broker = Broker([])
        await broker.start()
        await broker.stop()
        await asyncio.sleep(0.01)
        sockets = len(os.listdir("/proc/self/fd"))
        client = mqtt.Client("127.0.0.1", broker.port, "test")
        client.backoff_first = client.backoff_cap = 0.01
        running = asyncio.create_task(client.run())
        await until(lambda: client.counters.get("connect-failed", 0) >= 5)
        await client.stop()
        await running
        assert len(os.listdir("/proc/self/fd")) == sockets
        assert list(client.counters) == ["connect-failed"]

    asyncio.run(main())


def test_a_publish_delivered_byte_by_byte_arrives_whole():
    payload = bytes(range(256)) * 2

    async def script(link):
        await link.packet()
        for octet in CONNACK + mqtt_packets.publish("slow", payload, 1, False, 7):
            await link.send(bytes([octet]))
            await asyncio.sleep(0)
        link.acknowledged = await link.packet()
        await link.send(mqtt_packets.publish("acknowledged", link.acknowledged))
        await link.silence()

    async def scenario(client, broker):
        got = []
        client.on_message = lambda *message: got.append(message)
        await until(lambda: len(got) == 2)
        assert got == [("slow", payload, False), ("acknowledged", b"\x40\x02\x00\x07", False)]
        assert not client.counters

    play([script], scenario)


def test_a_fault_of_the_owner_is_counted_and_the_message_acknowledged():
    async def script(link):
        await link.packet()
        await link.send(CONNACK + mqtt_packets.publish("a", b"x", 1, False, 9))
        assert await link.packet() == b"\x40\x02\x00\x09"
        await link.send(mqtt_packets.publish("b", b"on it goes"))
        await link.silence()

    async def scenario(client, broker):
        got = []

        def on_message(topic, payload, retain):
            got.append(topic)
            if topic == "a":
                raise ValueError("the owner's own fault")

        client.on_message = on_message
        await until(lambda: got == ["a", "b"])
        assert client.counters == {"handler-error": 1}

    play([script], scenario)


def test_a_broker_that_never_acknowledges_fills_the_window_and_no_more():
    async def scenario(client, broker):
        await until(lambda: client.states)
        outcomes = []

        async def publish():
            try:
                await client.publish("a", b"x", 1)
            except mqtt.LinkLost:
                outcomes.append("lost")

        for _ in range(mqtt_link.IN_FLIGHT_MOST):
            asyncio.create_task(publish())  # noqa: RUF006
        await asyncio.sleep(0.05)
        try:
            await client.publish("a", b"x", 1)
        except mqtt.QueueFull:
            outcomes.append("full")
        assert outcomes == ["full"]
        client.drop()
        await until(lambda: len(outcomes) == 1 + mqtt_link.IN_FLIGHT_MOST)
        assert outcomes == ["full"] + ["lost"] * mqtt_link.IN_FLIGHT_MOST
        assert client.counters["dropped"] == 1

    play([saying(CONNACK)], scenario)


def test_publishing_without_a_link_raises_link_lost():
    async def scenario(client, broker):
        for qos in (0, 1):
            try:
                await client.publish("a", b"x", qos)
                raise AssertionError("published")
            except mqtt.LinkLost:
                continue

    play([saying(b"")], scenario)


def test_a_broker_that_does_not_read_bounds_the_queue():
    finished = asyncio.Event()

    async def deaf(link):
        await link.packet()
        await link.send(CONNACK)
        await finished.wait()

    async def scenario(client, broker):
        await until(lambda: client.states)
        outcomes = []
        payload = bytes(4000)

        async def publish():
            try:
                await client.publish("a", payload, 0)
            except (mqtt.LinkLost, mqtt.QueueFull) as error:
                outcomes.append(type(error))

        for _ in range(10000):  # 40 MB, more than the two sockets hold
            asyncio.create_task(publish())  # noqa: RUF006
            await asyncio.sleep(0)
            if outcomes:
                break
        assert outcomes == [mqtt.QueueFull]
        finished.set()
        await until(lambda: mqtt.LinkLost in outcomes)
        assert outcomes.count(mqtt.LinkLost) <= mqtt_link.QUEUE_MOST

    play([deaf], scenario)


def test_acknowledgements_nobody_waits_for_are_counted_and_ignored():
    async def scenario(client, broker):
        await until(lambda: client.counters.get("unknown-ack") == 2)
        assert client.states == [True] and len(client.counters) == 1

    play([saying(CONNACK + b"\x40\x02\x00\x05" + b"\x90\x03\x00\x05\x01")], scenario)


def test_a_suback_of_the_wrong_length_is_malformed():
    async def script(link):
        await link.packet()
        await link.send(CONNACK)
        packet = await link.packet()
        await link.send(b"\x90\x04" + packet[2:4] + b"\x01\x01")
        await link.silence()

    async def scenario(client, broker):
        client.subscribe("a")
        await until(lambda: client.counters)
        assert list(client.counters) == ["malformed"] and not client.states

    play([script], scenario)


def test_refused_filters_are_counted():
    async def script(link):
        await link.packet()
        await link.send(CONNACK)
        packet = await link.packet()
        await link.send(b"\x90\x04" + packet[2:4] + b"\x80\x00")
        await link.silence()

    async def scenario(client, broker):
        client.subscribe("a")
        client.subscribe("b", 0)
        await until(lambda: client.states)
        assert client.counters == {"subscribe-refused": 1}

    play([script], scenario)


def test_every_link_starts_with_all_filters():
    subscriptions = []

    async def script(link):
        await link.packet()
        await link.send(CONNACK)
        while True:
            packet = await link.packet()
            subscriptions.append(packet[4:])
            codes = b"\x01\x00" if len(packet) > 10 else b"\x01"
            await link.send(b"\x90" + bytes([2 + len(codes)]) + packet[2:4] + codes)

    async def scenario(client, broker):
        client.subscribe("a/+")
        await until(lambda: client.states == [True])
        client.subscribe("b", 0)
        client.subscribe("b", 0)
        raises(ValueError, client.subscribe, "", 0)
        await until(lambda: len(subscriptions) >= 2)
        client.drop()
        await until(lambda: client.states == [True, False, True])
        assert subscriptions[0] == b"\x00\x03a/+\x01"
        assert subscriptions[1] == b"\x00\x01b\x00"
        assert subscriptions[-1] == b"\x00\x03a/+\x01\x00\x01b\x00"
        assert client.counters == {"dropped": 1}

    play([script], scenario)


def test_a_client_finds_its_broker_again_after_bad_ones():
    async def hang_up(link):
        await link.packet()

    async def scenario(client, broker):
        got = []
        client.on_message = lambda *message: got.append(message)
        await until(lambda: client.states)
        await client.publish("a", b"x", 1)
        await until(lambda: got == [("a", b"x", False)])
        assert client.counters == {"connect-failed": 1, "malformed": 1, "refused-3": 1}

    play([hang_up, saying(b"\xff\xff"), saying(b"\x20\x02\x00\x03"), echo], scenario)


def test_many_publishers_at_once_never_interleave_packets():
    async def scenario(client, broker):
        got = []
        client.on_message = lambda topic, payload, retain: got.append(payload)
        await until(lambda: client.states)
        sent = [bytes([n]) * (1 + 500 * n) for n in range(mqtt_link.IN_FLIGHT_MOST)]
        await asyncio.gather(*[client.publish("a", payload, 1) for payload in sent])
        await until(lambda: len(got) == len(sent))
        assert sorted(got) == sorted(sent) and not client.counters

    play([echo], scenario)


def test_an_abandoned_publish_gives_its_place_back():
    async def scenario(client, broker):
        await until(lambda: client.states)
        for _ in range(2 * mqtt_link.IN_FLIGHT_MOST):
            try:
                await asyncio.wait_for(client.publish("a", b"x", 1), 0.01)
                raise AssertionError("acknowledged")
            except asyncio.TimeoutError:  # MicroPython has it here only
                continue
        assert client.states == [True] and not client.counters

    play([saying(CONNACK)], scenario)


def test_stop_says_disconnect_and_cancelling_does_not():
    heard = []

    async def script(link):
        await link.packet()
        await link.send(CONNACK)
        try:
            while True:
                heard.append(await link.packet())
        except EOFError:
            heard.append(b"end")

    async def stop(client, broker):
        await until(lambda: client.states)
        await client.stop()

    play([script], stop)
    assert heard == [b"\xe0\x00", b"end"]

    async def cancel():
        broker = Broker([script])
        await broker.start()
        client = mqtt.Client("127.0.0.1", broker.port, "test")
        states = []
        client.on_link = states.append
        running = asyncio.create_task(client.run())
        await until(lambda: states)
        running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            states.append("cancelled")
        await until(lambda: heard[2:] == [b"end"] and not broker.open)
        await broker.stop()
        assert states == [True, False, "cancelled"]

    asyncio.run(cancel())


def test_the_back_off_doubles_up_to_its_cap_and_starts_over_after_a_lasting_link():
    waits = []

    async def script(link):
        await link.packet()
        await link.send(CONNACK)
        if len(waits) == 5:
            await asyncio.sleep(0.1)

    async def scenario(client, broker):
        async def pause(seconds):
            waits.append(seconds)
            await asyncio.sleep(0)

        client._pause = pause
        client.backoff_first, client.backoff_cap = 1, 10
        client.connect_timeout = 0.05
        await until(lambda: len(waits) >= 7)
        assert waits[:7] == [0.75, 1.5, 3, 6, 7.5, 0.75, 1.5], waits

    play([script], scenario, random=lambda: 0.5)
