"""A Reader at a broker: it yields the results that the broker holds, and those that come."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from agent.wire import topics
from broker.client.reader import Reader
from broker.client.results import Result
from broker.transport.link import Link

log = logging.getLogger("hum.client")

WAIT_S = 10.0
REFUSED_S = 10.0  # between two warnings of what was refused


async def follow(link: Link, reader: Reader) -> AsyncGenerator[Result, None]:
    """Yield each group's last result, and then each as it is published, without an end.

    Of what is published while the link is lost only each group's last is there when it is back.
    What the reader refuses is logged. Raises LinkError if there is no link to begin with.
    """
    said: Counter[str] = Counter()
    due = 0.0
    async with aclosing(link.follow(*reader.filters())) as messages:
        async for message in messages:
            now = time.monotonic()
            result = reader.take(message.topic, message.payload, now)
            if result:
                yield result
            if reader.refused != said and now >= due:
                for reason, count in (reader.refused - said).items():
                    log.warning("refused %d: %s", count, reason)
                said, due = Counter(reader.refused), now + REFUSED_S


async def latest(link: Link, reader: Reader, wait_s: float = WAIT_S) -> list[Result]:
    """Return the last result of each group that has one, by name.

    The presence of the coordinator, which is retained as well, ends what the broker has: it sends
    what is retained in the order of the subscriptions. Where it has none this takes `wait_s`.
    Raises LinkError.
    """
    found: dict[str, Result] = {}
    end = topics.coordinator_state(reader.deployment)
    async with link.connect(timeout_s=wait_s) as connection:
        for one in (*reader.filters(), end):
            await connection.subscribe(one)
        with suppress(TimeoutError):  # of a deployment without a coordinator
            async with asyncio.timeout(wait_s):
                async for message in connection.messages():
                    if message.topic == end:
                        break
                    result = reader.take(message.topic, message.payload, time.monotonic())
                    if result:
                        found[result.group] = result
    return [found[name] for name in sorted(found)]
