"""A member with its own valid password ends the sessions of others by taking their MQTT client
identifiers.

The generated configuration of the broker does not tie the identifier to the user, so the broker
ends the older session of the same identifier (MQTT 3.1.1, [MQTT-3.1.4-2]), again and again, and
publishes the other's last will.

What must hold: nobody's session ends because another user connects.
"""

import asyncio
import time
from pathlib import Path
from tempfile import mkdtemp

import aiomqtt

from agent.wire import messages, topics
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.faults.verdict import Verdict

ATTACK_S = 6
VICTIMS = {
    "coordinator": ("hum-coordinator-test", topics.coordinator_state("test")),
    "b0": ("b0", topics.device("test", "b0", "state")),
}


class Victim:
    """Stays connected as the coordinator and boards do: always the same identifier, a last will,
    and again after a second."""

    def __init__(self, user: str, broker: MosquittoBroker) -> None:
        self.losses = 0
        self.links = 0
        self._user = user
        self._broker = broker

    async def run(self) -> None:
        identifier, state = VICTIMS[self._user]
        will = aiomqtt.Will(state, messages.presence(False), 1, True)
        while True:
            try:
                async with client(self._broker, self._user, identifier, will=will, keepalive=15) as connected:
                    self.links += 1
                    async for _ in connected.messages:
                        pass
            except aiomqtt.MqttError:
                self.losses += 1
                await asyncio.sleep(1)


def client(broker: MosquittoBroker, user: str, identifier: str, **other: object) -> aiomqtt.Client:
    password = broker.credentials[user]
    return aiomqtt.Client(
        HOST, broker.port, username=user, password=password, identifier=identifier, timeout=10, **other
    )


async def attack(broker: MosquittoBroker) -> None:
    end = time.monotonic() + ATTACK_S
    while time.monotonic() < end:
        for identifier, _ in VICTIMS.values():
            try:
                async with client(broker, "evil", identifier):
                    await asyncio.sleep(0.05)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)  # refused: try on
        await asyncio.sleep(0.4)


async def fault() -> list[Verdict]:
    broker = MosquittoBroker(Path(mkdtemp()), "test", {"north": ["b0", "b1", "evil"]})
    await broker.start()
    victims = {user: Victim(user, broker) for user in VICTIMS}
    tasks = [asyncio.create_task(victim.run()) for victim in victims.values()]
    try:
        await asyncio.sleep(2)
        for user, victim in victims.items():
            assert (victim.links, victim.losses) == (1, 0), f"{user} has no lasting link before the attack"
        await attack(broker)
        return [
            Verdict(victim.losses > 0, f"{victim.losses} sessions ended in {ATTACK_S} s", user)
            for user, victim in victims.items()
        ]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await broker.stop()
