"""The MQTT client over the years: brokers that only half work, filters that go, addresses that are
not there."""

import asyncio

from agent.runtime.net import mqtt, mqtt_link
from tests.agent.runtime.test_mqtt_hostile import CONNACK, PINGRESP, play, until


async def pinging(link):
    """A broker that accepts, answers pings, and nothing else."""
    await link.packet()
    await link.send(CONNACK)
    while True:
        if await link.packet() == b"\xc0\x00":
            await link.send(PINGRESP)


def test_a_broker_that_answers_pings_and_nothing_else_is_left():
    async def scenario(client, broker):
        await until(lambda: client.states)
        try:
            await client.publish("a", b"x", 1)
            raise AssertionError("published")
        except mqtt.LinkLost:
            assert client.counters == {}
        await until(lambda: client.counters == {"ack-timeout": 1} and broker.connections == 2)

    saved, mqtt_link.ACKNOWLEDGE_S = mqtt_link.ACKNOWLEDGE_S, 0.5
    try:
        play([pinging], scenario, keepalive=1)
    finally:
        mqtt_link.ACKNOWLEDGE_S = saved


def test_a_broker_that_talks_and_does_not_read_is_left():
    async def talking(link):
        await link.packet()
        await link.send(CONNACK)
        while True:
            await link.send(PINGRESP)
            await asyncio.sleep(0.1)

    async def scenario(client, broker):
        await until(lambda: client.states)
        payload = bytes(8000)

        async def publish():
            try:
                while True:
                    await client.publish("a", payload, 0)
            except mqtt.LinkLost:
                return

        publishing = asyncio.create_task(publish())
        await until(lambda: client.counters.get("write-timeout") == 1)
        await publishing

    play([talking], scenario, keepalive=1)


def test_a_filter_that_is_taken_back_is_not_asked_for_again():
    packets = []

    async def script(link):
        await link.packet()
        await link.send(CONNACK)
        while True:
            packet = await link.packet()
            packets.append(packet)
            if packet[0] == 0x82:
                await link.send(b"\x90\x03" + packet[2:4] + b"\x01")
            if packet[0] == 0xA2:
                await link.send(b"\xb0\x02" + packet[2:4])

    async def scenario(client, broker):
        client.unsubscribe("a")
        client.subscribe("a")
        await until(lambda: client.states == [True])
        client.unsubscribe("a")
        await until(lambda: len(packets) == 2)
        assert packets[0][4:] == b"\0\1a\1" and packets[1][:2] == b"\xa2\x05" and packets[1][4:] == b"\0\1a"
        await client.publish("b", b"on it goes")
        await until(lambda: len(packets) == 3)
        assert client.counters == {}
        client.drop()
        await until(lambda: client.states.count(True) == 2)
        assert client.filters == [] and len(packets) == 3

    play([script], scenario)


def test_an_unsuback_nobody_waits_for_is_counted():
    async def script(link):
        await link.packet()
        await link.send(CONNACK + b"\xb0\x02\x00\x05")
        packet = await link.packet()
        await link.send(b"\xb0\x02" + packet[2:4])
        await link.silence()

    async def scenario(client, broker):
        await until(lambda: client.counters.get("unknown-ack") == 1)
        client.subscribe("a")  # answered by an UNSUBACK
        await until(lambda: client.counters.get("unknown-ack") == 2)

    play([script], scenario)


def test_nothing_is_tried_before_it_is_prepared():
    async def scenario(client, broker):
        outcomes = []
        good = client.address

        async def prepare():
            outcomes.append(broker.connections)
            client.address = good
            if len(outcomes) < 4:
                client.address = None
                raise OSError("no network")
            if len(outcomes) < 6:
                client.address = None
                raise ValueError("a fault of the owner")

        client.prepare = prepare
        await until(lambda: client.states == [True])
        assert outcomes == [0] * 6 and client.counters == {"no-address": 5}

    play([pinging], scenario)


def test_a_client_that_waits_for_its_preparation_can_be_stopped():
    async def scenario(client, broker):
        waiting = []

        async def prepare():
            waiting.append(True)
            try:
                await asyncio.Event().wait()
            finally:
                waiting.append(False)

        client.prepare = prepare
        await until(lambda: waiting)
        await client.stop()
        await until(lambda: waiting == [True, False])

    play([pinging], scenario)


def test_a_client_shows_that_it_is_alive_whatever_happens():
    async def scenario(client, broker):
        signs = []
        client.alive = lambda: signs.append(len(client.states))
        await until(lambda: signs.count(1) >= 3)  # while the link is up
        client.address = ("127.0.0.1", 1, None, None)
        client.drop()
        await until(lambda: signs.count(2) >= 3)  # while nobody listens

    play([pinging], scenario, keepalive=1)


def test_links_are_counted():
    async def scenario(client, broker):
        for times in range(1, 4):
            await until(lambda times=times: client.states.count(True) == times)
            assert client.links == times
            client.drop()

    play([pinging], scenario)
