"""The coordinator as a process: drives the machines with a broker, a database and a clock."""

import asyncio
import contextlib
import logging
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiomqtt
from sqlalchemy.exc import SQLAlchemyError

from agent.wire import coordination, messages, topics
from broker.coordinator.actions import Action, Publish, Record
from broker.coordinator.machine import Machine
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.base import Declaration, Requests
from broker.storage.storage import Storage

log = logging.getLogger("hum.coordinator")

TICK_S = 0.05
# Small packets follow each other here; Nagle's algorithm would hold each for the other side's
# delayed acknowledgement.
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
RECONNECT_S = 1.0
HEALTH_S = 10.0  # between two records of what boards said of their health


@dataclass(frozen=True)
class Link:
    """Where the broker is, and as whom to go there."""

    host: str
    port: int
    username: str | None
    password: str | None
    ca: str | None

    def client(self, identifier: str, **options: Any) -> aiomqtt.Client:
        """Return a client that is not connected yet; `options` are aiomqtt's own."""
        return aiomqtt.Client(
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            identifier=identifier,
            tls_params=aiomqtt.TLSParameters(ca_certs=self.ca) if self.ca else None,
            socket_options=NO_DELAY,
            **options,
        )


class Service:
    """Runs `machines`, one a group, until all are finished or it is cancelled."""

    def __init__(self, deployment: str, machines: Sequence[Machine], storage: Storage, link: Link) -> None:
        self._deployment = deployment
        self._machines = {machine.scope.group: machine for machine in machines}
        self._storage = storage
        self._link = link
        self._refused: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()
        self._outbox: asyncio.Queue[Publish] = asyncio.Queue()
        self._members = {name for machine in machines for name in machine.scope.roster.names()}
        self._health: dict[str, tuple[float, dict[str, object]]] = {}
        self._health_due = 0.0

    async def run(self) -> None:
        """Connect, serve, and connect again when the link is lost. Raises SQLAlchemyError or
        sqlite3.Error when a database fails."""
        failure: SQLAlchemyError | sqlite3.Error | None = None
        while failure is None:
            try:
                async with self._client() as client:
                    log.info("linked to %s:%d", self._link.host, self._link.port)
                    try:
                        await self._serve(client)
                        return
                    except (SQLAlchemyError, sqlite3.Error) as error:
                        # Kept, for leaving the client may raise too. What the machines hold is not
                        # what is recorded any more, so there is no going on: the next start
                        # restores what is.
                        failure = error
            except aiomqtt.MqttError as error:
                if failure is None:
                    log.warning(
                        "no link to %s:%d: %s; next try in %g s", self._link.host, self._link.port, error, RECONNECT_S
                    )
                    await asyncio.sleep(RECONNECT_S)
        raise failure

    def _client(self) -> aiomqtt.Client:
        topic = topics.coordinator_state(self._deployment)
        return self._link.client(
            f"hum-coordinator-{self._deployment}",
            will=aiomqtt.Will(topic, messages.presence(False), qos=1, retain=True),
            keepalive=15,
            timeout=5,
            max_queued_incoming_messages=10_000,
        )

    def _finished(self) -> bool:
        return all(machine.finished for machine in self._machines.values())

    async def _serve(self, client: aiomqtt.Client) -> None:
        kinds = {kind for declaration in registry.declarations() for kind in declaration.uploads}
        for levels in (*(f"g/+/up/+/{kind}" for kind in sorted(kinds)), "dev/+/state"):
            await client.subscribe(f"hum/v1/{self._deployment}/{levels}", qos=1)
        await client.subscribe(f"hum/v1/{self._deployment}/dev/+/diag", qos=0)
        await client.publish(topics.coordinator_state(self._deployment), messages.presence(True), qos=1, retain=True)
        self._outbox = asyncio.Queue()
        self._each(lambda machine: machine.link_up(time.monotonic()))
        tasks = [asyncio.create_task(work) for work in (self._read(client), self._write(client), self._tick())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(aiomqtt.MqttError):  # who leaves in good order leaves no last will
                state = topics.coordinator_state(self._deployment)
                await client.publish(state, messages.presence(False), qos=1, retain=True)
        errors = [error for task in done if (error := task.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, aiomqtt.MqttError)):
            raise error

    async def _tick(self) -> None:
        """Let time pass for the machines until all are finished and what they said is sent."""
        while not self._finished():
            self._hear_requests()
            self._each(lambda machine: machine.tick(time.monotonic()))
            self._commit([])
            self._note_health()
            for machine in self._machines.values():
                machine.prepare()
            await asyncio.sleep(TICK_S)
        self._commit([])
        self._health_due = 0.0
        self._note_health()
        await self._outbox.join()

    def _hear_requests(self) -> None:
        """Give what another process has asked, through the database, to the machines."""
        for declaration in registry.declarations():
            if declaration.requests:
                self._hand(declaration, declaration.requests)

    def _hand(self, declaration: Declaration, requests: Requests) -> None:
        waiting = self._storage.read(requests.waiting)
        machines = {
            group: machine
            for group, machine in self._machines.items()
            if machine.scope.roster.protocol in declaration.serves
        }
        for group, machine in machines.items():
            requests.give(machine, [request for request in waiting if request.group == group])
        unknown = [request for request in waiting if request.group not in machines]
        if unknown:
            self._commit([requests.refuse(request) for request in unknown])

    def _each(self, event: Callable[[Machine], list[Action]]) -> None:
        for machine in self._machines.values():
            self._perform(event(machine))

    async def _read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self._perform(self._route(str(message.topic), message.payload))

    async def _write(self, client: aiomqtt.Client) -> None:
        while True:
            batch = [await self._outbox.get()]
            while not self._outbox.empty():
                batch.append(self._outbox.get_nowait())
            await asyncio.gather(*(client.publish(p.topic, p.payload, qos=1, retain=p.retain) for p in batch))
            for _ in batch:
                self._outbox.task_done()

    def _route(self, topic: str, payload: object) -> list[Action]:
        """Give a message to the machine of its group; a board's presence to all, for it names no
        group."""
        now = time.monotonic()
        match topics.split(topic), payload:
            case [self._deployment, "dev", device, "state"], bytes():
                try:
                    online = coordination.read_presence(payload)
                except messages.MessageError as error:
                    self._refused[error.args[0]] += 1
                    return []
                return [
                    action for machine in self._machines.values() for action in machine.presence(device, online, now)
                ]
            case [self._deployment, "dev", device, "diag"], bytes():
                self._hear_of_health(device, payload)
            case [self._deployment, "g", group, "up", device, kind], bytes():
                if group in self._machines:
                    return self._machines[group].message(device, kind, payload, now)
                self._refused["unknown-group"] += 1
            case _:
                self._refused["wrong-topic"] += 1
        return []

    def _hear_of_health(self, device: str, payload: bytes) -> None:
        """Diagnostics are not authenticated: of members only, the last of each, and they steer
        nothing."""
        if device not in self._members:
            self._refused["not-a-member"] += 1
            return
        try:
            phase, done, total, masks, heap_free, refused, health = coordination.read_diagnostics(payload)
        except messages.MessageError as error:
            self._refused[error.args[0]] += 1
            return
        report = {"phase": phase, "done": done, "total": total, "masks": masks, "heap_free": heap_free}
        if "reset" in health:
            health["reset"] = coordination.RESETS[health["reset"]]
        self._health[device] = (time.time(), report | health | {"refused": refused})

    def _note_health(self) -> None:
        if self._health and time.monotonic() >= self._health_due:
            self._storage.note_health(self._health)
            self._health = {}
            self._health_due = time.monotonic() + HEALTH_S

    def _perform(self, actions: list[Action]) -> None:
        """Records first, in one durable transaction; then, and only then, what is published because
        of them.

        What a lost link keeps from being published is not lost: link_up() repeats what is retained,
        and a board that has no receipt repeats its contribution and is answered again.
        """
        records: list[Record] = [action for action in actions if not isinstance(action, Publish)]
        if records:
            self._commit(records)
        for record in records:
            if warning := record.warning():
                log.warning("%s", warning)
        for action in actions:
            if isinstance(action, Publish):
                self._outbox.put_nowait(action)

    def _commit(self, records: list[Record]) -> None:
        """Record, with the refusals since the last time. A refusal alone waits for the next tick: a
        flood of bad input costs one transaction a tick, not one a message."""
        refusals = self._new_refusals()
        if records or refusals:
            self._storage.commit(records, refusals)

    def _new_refusals(self) -> dict[str, int]:
        total = Counter(self._refused)
        for machine in self._machines.values():
            total.update(machine.refused)
        new = total - self._counted
        self._counted = total
        for reason, count in new.items():
            log.warning("refused %d: %s", count, reason)
        return dict(new)
