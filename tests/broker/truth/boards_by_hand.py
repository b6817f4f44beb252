"""A member made by hand (hand_made.py) at a real broker: a board's part of one round."""

import aiomqtt

from agent.wire import messages
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.support.hand_made import ACTIVE, ROLL, ROUND, Member

WAIT_S = 200.0


def client(broker: MosquittoBroker, user: str) -> aiomqtt.Client:
    """A connection of one of the broker's users."""
    return aiomqtt.Client(HOST, broker.port, username=user, password=broker.credentials[user], timeout=WAIT_S)


async def arrive(link: aiomqtt.Client, member: Member) -> None:
    """Come online, say so, and listen to what the coordinator says."""
    for topic in (ACTIVE, ROUND, ROLL):
        await link.subscribe(topic, qos=1)
    state = f"hum/v1/test/dev/{member.name}/state"
    await link.publish(state, messages.presence(True), qos=1, retain=True)
    await link.publish(f"hum/v1/test/g/main/up/{member.name}/here", member.here(), qos=1, retain=True)


async def board(broker: MosquittoBroker, member: Member, reading: int) -> None:
    """Do a board's part of one round."""
    up = f"hum/v1/test/g/main/up/{member.name}"
    async with client(broker, member.name) as link:
        await arrive(link, member)
        async for message in link.messages:
            assert isinstance(message.payload, bytes)
            if message.payload and message.topic.matches(ACTIVE):
                member.enter(message.payload)
                await link.publish(f"{up}/ready", member.ready(), qos=1, retain=True)
            elif message.payload and message.topic.matches(ROUND):
                await link.publish(f"{up}/contribution", member.contribution(message.payload, reading), qos=1)
            elif message.payload:
                await link.publish(f"{up}/answer", member.answer(message.payload), qos=1)
                return
