"""One retained letter of more than 8192 bytes, by any user of the broker, keeps a board off the
broker for good.

The board's MQTT client ends the link on such a packet, and the broker sends a retained letter
again with every subscription. The generated configuration of the broker lets 16384 bytes through,
in any group's mailboxes. Only its author can take the letter back.

What must hold: what is too large is skipped and the link stays, or it never gets to the board; and
the coordinator's user can clear a mailbox.
"""

import asyncio
from pathlib import Path
from tempfile import mkdtemp

import aiomqtt

from agent.runtime.net.mqtt import Client
from agent.wire import messages, topics
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.faults.verdict import Verdict

WATCHED_S = 6
SIZE = 9000  # of the letter; a board takes 8192 bytes


def board(broker: MosquittoBroker) -> Client:
    """A board's client, as agent.runtime makes it, but for its pauses between two tries."""
    will = (topics.device("test", "b0", "state"), messages.presence(False), 1, True)
    made = Client(HOST, broker.port, "b0", user="b0", password=broker.credentials["b0"], will=will)
    made.backoff_first, made.backoff_cap = 0.1, 0.2
    for kind in ("roster", "round", "roll"):
        made.subscribe(topics.group("test", "north", kind))
    made.subscribe(topics.mail("test", "north", "b0", "+"))
    return made


def connect(broker: MosquittoBroker, user: str) -> aiomqtt.Client:
    password = broker.credentials[user]
    return aiomqtt.Client(HOST, broker.port, username=user, password=password, identifier=user, timeout=10)


def letter(author: str) -> str:
    return topics.mail("test", "north", "b0", author)


async def publish(broker: MosquittoBroker, user: str, author: str, payload: bytes) -> None:
    """As `user`, put `payload` in the place of the letter of `author`; a broker may refuse that by
    ending the link."""
    try:
        async with connect(broker, user) as publisher:
            await publisher.publish(letter(author), payload, qos=1, retain=True)
    except aiomqtt.MqttError:
        return


async def size_retained(broker: MosquittoBroker, author: str) -> int:
    """Return the size of the letter of `author`, as the mailbox's owner sees it; 0 if there is
    none."""
    async with connect(broker, "b0") as owner:
        await owner.subscribe(letter(author), qos=1)
        try:
            async with asyncio.timeout(2):
                async for message in owner.messages:
                    return len(bytes(message.payload))
        except TimeoutError:
            return 0
    return 0


async def fault() -> list[Verdict]:
    broker = MosquittoBroker(Path(mkdtemp()), "test", {"north": ["b0", "b1", "evil"]})
    await broker.start()
    victim = board(broker)
    running = asyncio.create_task(victim.run())
    try:
        await asyncio.sleep(2)
        assert victim.links == 1 and not victim.counters, "the board has no lasting link before the attack"
        await publish(broker, "evil", "evil", bytes(SIZE))
        await asyncio.sleep(WATCHED_S)
        lost = victim.links - 1
        await victim.stop()
        await asyncio.gather(running, return_exceptions=True)
        await publish(broker, "b1", "b1", bytes(100))
        assert await size_retained(broker, "b1") == 100, "an ordinary letter is not kept"
        await publish(broker, "coordinator", "b1", b"")
        left = await size_retained(broker, "b1")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await broker.stop()
    return [
        Verdict(lost > 0, f"{lost} links lost in {WATCHED_S} s to one letter", "link"),
        Verdict(left > 0, f"{left} bytes of a letter left after the coordinator's user cleared it", "clearing"),
    ]
