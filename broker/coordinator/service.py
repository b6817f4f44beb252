"""The coordinator as a process: drives the machines with a broker, a database and a clock."""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import aiomqtt

from agent.wire import messages, topics
from broker.coordinator.actions import Action, Publish, Record
from broker.coordinator.protocols import PrivateSum
from broker.coordinator.storage import Storage

log = logging.getLogger("hum.coordinator")

TICK_S = 0.05
# Small packets follow each other here; Nagle's algorithm would hold each for the other side's delayed acknowledgement.
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
RECONNECT_S = 1.0


@dataclass(frozen=True)
class Link:
    """Where the broker is, and as whom to go there."""

    host: str
    port: int
    username: str | None
    password: str | None
    ca: str | None


class Service:
    """Runs `machines`, one a group, until all are finished or it is cancelled."""

    def __init__(self, deployment: str, machines: list[PrivateSum], storage: Storage, link: Link) -> None:
        self._deployment = deployment
        self._machines = {machine.place.group: machine for machine in machines}
        self._storage = storage
        self._link = link
        self._refused: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()

    async def run(self) -> None:
        """Connect, serve, and connect again when the link is lost."""
        while not self._finished():
            try:
                async with self._client() as client:
                    log.info("linked to %s:%d", self._link.host, self._link.port)
                    await self._serve(client)
            except aiomqtt.MqttError as error:
                log.warning("no link to %s:%d: %s; next try in %g s", self._link.host, self._link.port, error, RECONNECT_S)
                await asyncio.sleep(RECONNECT_S)

    def _client(self) -> aiomqtt.Client:
        topic = topics.coordinator_state(self._deployment)
        return aiomqtt.Client(
            self._link.host,
            self._link.port,
            username=self._link.username,
            password=self._link.password,
            identifier=f"hum-coordinator-{self._deployment}",
            tls_params=aiomqtt.TLSParameters(ca_certs=self._link.ca) if self._link.ca else None,
            will=aiomqtt.Will(topic, messages.presence(False), qos=1, retain=True),
            keepalive=15,
            socket_options=NO_DELAY,
            timeout=5,
            max_queued_incoming_messages=10_000,
        )

    def _finished(self) -> bool:
        return all(machine.finished for machine in self._machines.values())

    async def _serve(self, client: aiomqtt.Client) -> None:
        for kind in ("up/+/ready", "up/+/contribution"):
            await client.subscribe(f"hum/v1/{self._deployment}/g/+/{kind}", qos=1)
        await client.publish(topics.coordinator_state(self._deployment), messages.presence(True), qos=1, retain=True)
        await self._each(client, lambda machine: machine.link_up(time.monotonic()))
        reader = asyncio.create_task(self._read(client))
        try:
            while not self._finished():
                if reader.done():
                    reader.result()
                await self._each(client, lambda machine: machine.tick(time.monotonic()))
                for machine in self._machines.values():
                    machine.prepare()
                await asyncio.sleep(TICK_S)
            await client.publish(topics.coordinator_state(self._deployment), messages.presence(False), qos=1, retain=True)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _each(self, client: aiomqtt.Client, event: Callable[[PrivateSum], list[Action]]) -> None:
        for machine in self._machines.values():
            await self._perform(client, event(machine))

    async def _read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            await self._perform(client, self._route(str(message.topic), message.payload))

    def _route(self, topic: str, payload: object) -> list[Action]:
        levels = topics.split(topic)
        # deployment, "g", group, "up", device, kind
        if levels is None or len(levels) != 6 or levels[0] != self._deployment or not isinstance(payload, bytes):
            self._refused["wrong-topic"] += 1
            return []
        machine = self._machines.get(levels[2])
        if machine is None:
            self._refused["unknown-group"] += 1
            return []
        return machine.message(levels[4], levels[5], payload, time.monotonic())

    async def _perform(self, client: aiomqtt.Client, actions: list[Action]) -> None:
        """Records first, in one durable transaction; then, and only then, what is published because of them."""
        records: list[Record] = [action for action in actions if not isinstance(action, Publish)]
        refusals = self._new_refusals()
        if records or refusals:
            self._storage.commit(records, refusals)
        for action in actions:
            if isinstance(action, Publish):
                await client.publish(action.topic, action.payload, qos=1, retain=action.retain)

    def _new_refusals(self) -> dict[str, int]:
        total = Counter(self._refused)
        for machine in self._machines.values():
            total.update(machine.refused)
        new = total - self._counted
        self._counted = total
        for reason, count in new.items():
            log.warning("refused %d: %s", count, reason)
        return dict(new)
