"""The link to the home's broker: what the machines have to say goes there, and what programs ask
and Home Assistant says comes from there. It holds up nobody: what waits is bounded."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable

from broker.gateway.home_assistant.machine import HomeAssistant
from broker.gateway.programs import topics
from broker.gateway.programs.machine import Programs
from broker.gateway.programs.payloads import Publish
from broker.gateway.programs.requests import Requests
from broker.transport.link import Connection, Link, LinkDenied, LinkError, Message, Will

log = logging.getLogger("hum.gateway.home")

RETRY_S = 5.0
DENIED_S = 60.0
LEAVE_S = 2.0
RESPONSES_MOST = 64  # that wait; of more the oldest are dropped


class Home:
    """Speaks for `programs` and `home_assistant` over `link`. `linked` tells whether the broker is
    there."""

    def __init__(self, link: Link, programs: Programs, home_assistant: HomeAssistant, requests: Requests) -> None:
        self.linked = False
        self.programs = programs
        self.home_assistant = home_assistant
        self._link = link
        self._requests = requests
        self._waiting: dict[str, Publish] = {}  # what is retained, by topic: the last counts
        self._responses: deque[Publish] = deque(maxlen=RESPONSES_MOST)
        self._more = asyncio.Event()
        self._is_failing = False

    def say(self, said: Iterable[Publish]) -> None:
        """Have this said. While there is no link what is retained waits, each topic's last."""
        for one in said:
            if one.retain:
                self._waiting.pop(one.topic, None)  # it is said after what it may depend on
                self._waiting[one.topic] = one
            else:
                self._responses.append(one)
        self._more.set()

    async def run(self) -> None:
        """Keep a link without an end."""
        while True:
            try:
                await self._linked()
            except LinkError as error:
                if not self._is_failing or self.linked:
                    log.warning("the home's broker: %s; the next tries are silent", self._link.unreached(error))
                self._is_failing = True
                self.linked = False
                await asyncio.sleep(DENIED_S if isinstance(error, LinkDenied) else RETRY_S)

    async def _linked(self) -> None:
        will = self.programs.will()
        async with self._link.connect(will=Will(will.topic, will.payload)) as connection:
            filters = (self.home_assistant.status_topic(), topics.requests(self.programs.deployment))
            await connection.subscribe(*filters)
            self.linked, self._is_failing = True, False
            log.info("linked to the home's broker at %s:%d", self._link.host, self._link.port)
            self._responses.clear()  # who asked over another link has given up
            self.say([*self.home_assistant.linked(), *self.programs.linked()])
            tasks = [asyncio.create_task(work(connection)) for work in (self._send, self._listen)]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            except asyncio.CancelledError:
                await self._leave(connection)
                raise
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=LEAVE_S)

    async def _send(self, connection: Connection) -> None:
        while True:
            self._more.clear()
            while self._waiting or self._responses:
                if self._responses:
                    await self._respond(connection)
                else:
                    await self._tell(connection)
            await self._more.wait()

    async def _respond(self, connection: Connection) -> None:
        one = self._responses.popleft()
        await connection.publish(one.topic, one.payload)

    async def _tell(self, connection: Connection) -> None:
        topic, one = next(iter(self._waiting.items()))
        await connection.publish(topic, one.payload, retain=True)
        if self._waiting.get(topic) is one:  # else there is something new to say
            del self._waiting[topic]

    async def _listen(self, connection: Connection) -> None:
        async for message in connection.messages():
            await self._hear(message)

    async def _hear(self, message: Message) -> None:
        if message.topic != self.home_assistant.status_topic():
            said = await self._requests.take(message.topic, message.payload, message.retained, time.monotonic())
            self.say(said)
        elif not message.retained:  # all was said on this link already
            self.say([*self.home_assistant.status(message.payload)])

    async def _leave(self, connection: Connection) -> None:
        """The broker says nothing for a client that leaves in good order."""
        # It is gone anyway; its will is said if the broker misses it.
        with contextlib.suppress(LinkError, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                for one in self.programs.leaving():
                    await connection.publish(one.topic, one.payload, one.retain)
