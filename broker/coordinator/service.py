"""The coordinator as a process: drives the machines with a broker, a database and a clock."""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from agent.wire import coordination, messages, topics
from broker.coordinator.actions import Action, Compute, Publish, Record
from broker.coordinator.commits import COMMIT_S, Commits
from broker.coordinator.gateway.gateway import Gateway, enters
from broker.coordinator.linking import Linking
from broker.coordinator.machine import Machine
from broker.coordinator.members.renewing import Renewing
from broker.coordinator.members.reports import Reports
from broker.coordinator.powers import Jobs, Powers
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.handing import Handing
from broker.coordinator.upload_filter import Refusals
from broker.storage.storage import Storage
from broker.transport.link import Connection, Link, LinkError, Will
from broker.wire.channel import ASKED

log = logging.getLogger("hum.coordinator")

TICK_S = 0.05
STOP_S = 10.0  # for what is cancelled: the link to leave, in good order if it is there
LAST_S = 30.0  # for what is said last to leave


class Service:
    """Runs `machines`, one a group, until all are finished or it is cancelled.

    Nothing long is done on the event loop: `powers` compute, and one thread writes to the database.
    """

    def __init__(
        self,
        deployment: str,
        machines: Sequence[Machine],
        storage: Storage,
        link: Link,
        renewing: Renewing | None = None,
        gateway: Gateway | None = None,
    ) -> None:
        self._deployment = deployment
        self._machines = {machine.scope.group: machine for machine in machines}
        self._link = link
        self._linking = Linking(link)
        self._powers = Powers()
        self._commits = Commits(storage, self._say)
        self._refused: Counter[str] = Counter()
        self._refusals = Refusals()
        self._outbox: asyncio.Queue[Publish] = asyncio.Queue()
        self._members = self._names()
        self._renewing = renewing
        self._gateway = gateway
        self._handing = Handing(storage, self._record, gateway.given_up if gateway else ())
        self._reports = Reports(self._commits)
        self._jobs = Jobs()
        self._clock = time.monotonic

    async def run(self) -> None:
        """Connect, serve, and connect again when the link is lost. Raises SQLAlchemyError or
        sqlite3.Error when a database fails, and what a job raises. What machines have recorded is
        durable on return, also if this is cancelled."""
        commits = asyncio.create_task(self._commits.run())
        others = [asyncio.create_task(work) for work in (self._keep_linked(), self._jobs.watch())]
        done: set[asyncio.Task[None]] = set()
        try:
            done, _ = await asyncio.wait([commits, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending = [*others, *self._jobs.under_way]
            for task in ending:
                task.cancel()
            ended, _ = await asyncio.wait(ending, timeout=STOP_S)
            log.debug("ended with %s", [task.exception() for task in ended if not task.cancelled()])
            self._powers.close()
            self._commits.end()
            await asyncio.wait([commits], timeout=2 * COMMIT_S)  # one transaction, and what waits
            failed = commits.exception() if commits.done() else None
            if failed and not done:  # it was cancelled, and that is not all there is to say
                log.error("not recorded: %s", failed)
        if not commits.done():
            raise TimeoutError("the database has not taken what was recorded in time")
        for task in (commits, *done):
            task.result()

    async def _keep_linked(self) -> None:
        failure: SQLAlchemyError | sqlite3.Error | None = None
        while failure is None:
            try:
                async with self._connect() as connection:
                    self._linking.linked(self._clock())
                    try:
                        await asyncio.sleep(self._linking.trial_s)
                        await self._serve(connection)
                        return
                    except (SQLAlchemyError, sqlite3.Error) as error:
                        # Kept, for leaving the link may raise too. What the machines hold is not
                        # what is recorded any more, so there is no going on: the next start
                        # restores what is.
                        failure = error
            except LinkError as error:
                if failure is None:
                    await asyncio.sleep(self._linking.lost(error, self._clock()))
        raise failure

    def _connect(self) -> AbstractAsyncContextManager[Connection]:
        will = Will(topics.coordinator_state(self._deployment), messages.presence(False))
        return self._link.connect(f"hum-coordinator-{self._deployment}", will, keepalive_s=15, timeout_s=5)

    def _finished(self) -> bool:
        waits = self._renewing and self._renewing.waits and not self._machines
        return not waits and all(machine.finished for machine in self._machines.values())

    async def _serve(self, connection: Connection) -> None:
        kinds = {kind for declaration in registry.declarations() for kind in declaration.uploads}
        for levels in (*(f"g/+/up/+/{kind}" for kind in sorted(kinds)), "dev/+/state"):
            await connection.subscribe(f"hum/v1/{self._deployment}/{levels}")
        await connection.subscribe(f"hum/v1/{self._deployment}/dev/+/diag", qos=0)
        if self._gateway:
            await connection.subscribe(*self._gateway.filters())
        await connection.publish(topics.coordinator_state(self._deployment), messages.presence(True), retain=True)
        log.info("linked to %s:%d", self._link.host, self._link.port)
        self._outbox = asyncio.Queue()
        for machine in self._machines.values():
            self._perform(machine, machine.link_up(self._clock()))
        if self._gateway:
            self._record(self._gateway.link_up())
        tasks = [
            asyncio.create_task(work)
            for work in (self._read(connection), self._write(connection), self._tick(connection))
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(LinkError):  # who leaves in good order leaves no last will
                state = topics.coordinator_state(self._deployment)
                await connection.publish(state, messages.presence(False), retain=True)
        errors = [error for task in done if (error := task.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, LinkError)):
            raise error

    async def _tick(self, connection: Connection) -> None:
        """Let time pass for the machines until all are finished and what they said is sent."""
        while not self._finished():
            await self._renew(connection)
            self._handing.turn(self._machines)
            for machine in self._machines.values():
                self._perform(machine, machine.tick(self._clock()))
                self._perform(machine, machine.prepare())
                # What boards sent meanwhile is not kept waiting by all groups at once.
                await asyncio.sleep(0)
            if self._gateway:
                self._record(self._gateway.turn(self._machines, self._clock()))
            self._refused["dropped"] += connection.take_dropped()
            self._count_refusals()
            self._reports.note(self._clock())
            await asyncio.sleep(TICK_S)
        self._count_refusals()
        self._reports.note_last()
        await self._commits.idle()  # or run() ends because a commit failed
        try:
            await asyncio.wait_for(self._outbox.join(), LAST_S)
        except TimeoutError:
            raise LinkError(f"what was said last has not left within {LAST_S:g} s") from None

    async def _renew(self, connection: Connection) -> None:
        """Go on with the rosters that were adopted meanwhile."""
        changed = await self._renewing.turn(self._machines, self._commits, self._clock()) if self._renewing else []
        self._members = self._names() if changed else self._members
        for group in changed:
            self._refusals.forget(group)
            if group in self._machines:
                self._perform(self._machines[group], self._machines[group].link_up(self._clock()))
        if changed:  # the broker tells once more who is online
            await connection.subscribe(f"hum/v1/{self._deployment}/dev/+/state")

    def _names(self) -> set[str]:
        return {name for machine in self._machines.values() for name in machine.scope.roster.names()}

    async def _read(self, connection: Connection) -> None:
        async for message in connection.messages():
            self._route(message.topic, message.payload)
            await self._commits.room()
            await asyncio.sleep(0)  # a queue that is not empty lets nobody else run

    async def _write(self, connection: Connection) -> None:
        while True:
            batch = [await self._outbox.get()]
            while not self._outbox.empty():
                batch.append(self._outbox.get_nowait())
            await asyncio.gather(*(connection.publish(p.topic, p.payload, p.retain) for p in batch))
            for _ in batch:
                self._outbox.task_done()

    def _route(self, topic: str, payload: bytes) -> None:
        """Give a message to the machine of its group; presence, which names no group, to all."""
        now = self._clock()
        match topics.split(topic):
            case _ if not payload:  # a message that the broker kept is taken back
                self._refused["cleared"] += 1
            case [self._deployment, "dev", device, "state"]:
                self._hear_presence(device, payload, now)
            case [self._deployment, "dev", device, "diag"]:
                refused = self._reports.hear(device, payload, self._members)
                self._refused.update(refused)
                if self._gateway and not refused:
                    self._gateway.view.report(device, self._reports.of(device))
            case [self._deployment, "g", group, kind] if self._gateway and kind in ASKED:
                actions, refused = self._gateway.hear(group, kind, payload, self._machines)
                self._refused.update(refused)
                self._record(actions)
            case [self._deployment, "g", group, "up", device, kind]:
                if group in self._machines:
                    machine = self._machines[group]
                    self._perform(machine, machine.message(device, kind, payload, now))
                    if self._gateway and device in self._members:
                        self._gateway.view.heard(device)
                else:
                    self._refused["unknown-group"] += 1
            case _:
                self._refused["wrong-topic"] += 1

    def _hear_presence(self, device: str, payload: bytes, now: float) -> None:
        try:
            online = coordination.read_presence(payload)
        except messages.MessageError as error:
            self._refused[error.args[0]] += 1
            return
        for machine in self._machines.values():
            self._perform(machine, machine.presence(device, online, now))
        if self._gateway and device in self._members:
            self._gateway.view.presence(device, online)

    def _perform(self, machine: Machine, actions: list[Action]) -> None:
        """Records first, in one durable transaction; then, and only then, what is published because
        of them (commits.py). What is to be computed begins at once.

        What a lost link keeps from being published is not lost: link_up() repeats what is retained,
        and a board that has no receipt repeats its contribution and is answered again.
        """
        group = machine.scope.group
        if self._machines.get(group) is not machine:
            return  # what was computed for an epoch that is over
        if self._renewing:
            self._renewing.heed(group, actions)
        said = [action for action in actions if not isinstance(action, Compute)]
        if said:
            self._record(said, group, self._refusals.new(group, machine.refused))
        for action in actions:
            if isinstance(action, Compute):
                self._jobs.begin(self._compute(machine, action))

    def _record(
        self, actions: Sequence[Record | Publish], group: str = "", refusals: Mapping[str, int] | None = None
    ) -> None:
        """Make durable what is to be recorded, of this group or of any, then publish; and tell the
        gateway. What lets a request wait has it handed on as soon as it is durable."""
        if not self._gateway:
            self._commits.put(actions, refusals)
        elif actions:
            more = self._gateway.heed([action for action in actions if isinstance(action, Record)])
            then = partial(self._recorded, group, enters([*actions, *more]))
            self._commits.put([*actions, *more], refusals, then)

    def _recorded(self, group: str, waits: bool) -> None:
        if self._gateway:
            self._gateway.view.changed(group)
        if waits:
            self._handing.turn(self._machines)
            for machine in self._machines.values():
                self._perform(machine, machine.tick(self._clock()))

    async def _compute(self, machine: Machine, wanted: Compute) -> None:
        outcome = await self._powers.run(wanted.job, wanted.seconds, wanted.long)
        self._perform(machine, machine.computed(wanted.key, outcome, self._clock()))

    def _say(self, action: Publish) -> None:
        self._outbox.put_nowait(action)

    def _count_refusals(self) -> None:
        """Record the refusals since the last time. A refusal alone waits for the next tick: a flood
        of bad input costs one transaction a tick, not one a message."""
        new = Counter(self._refusals.new("", self._refused))
        for group, machine in self._machines.items():
            new.update(self._refusals.new(group, machine.refused))
        if new:
            self._commits.put([], new)
