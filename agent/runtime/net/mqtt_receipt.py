"""What a publisher of the MQTT client waits on, and what it may be told in place of it."""

import asyncio

from agent.runtime.system.ticks import ticks_ms


class LinkLost(Exception):
    """The link is down, or went down before the message was through."""


class QueueFull(Exception):
    """Too many messages wait for the socket or for their PUBACK; nothing was sent."""


class Receipt:
    """What a publisher waits on."""

    def __init__(self) -> None:
        self.since = ticks_ms()
        self._settled = asyncio.Event()
        self._good = False

    def settle(self, good: bool) -> None:
        self._good = good
        self._settled.set()

    async def wait(self) -> None:
        await self._settled.wait()
        if not self._good:
            raise LinkLost("link went down")
