"""Clears the mailboxes of a group at the broker: whatever anybody had it keep there.

No board has a letter kept (docs/protocol/sums.md), so that nothing honest is lost.
"""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice

from agent.wire import topics
from broker.transport.link import Link

AT_ONCE = 100  # messages on their way to the broker


def mailboxes(deployment: str, group: str, receivers: Iterable[str], senders: Iterable[str]) -> Iterator[str]:
    """Yield the topics of mail to each of `receivers` from each of `senders`."""
    writers = list(senders)
    for receiver in receivers:
        for sender in writers:
            if sender != receiver:
                yield topics.mail(deployment, group, receiver, sender)


async def clear(link: Link, mail: Iterable[str]) -> int:
    """Clear what is kept under each topic of `mail`; return how many there are. Raises
    LinkError."""
    done = 0
    async with link.connect() as connection:
        rest = iter(mail)
        while some := list(islice(rest, AT_ONCE)):
            await asyncio.gather(*(connection.publish(topic, b"", retain=True) for topic in some))
            done += len(some)
    return done
