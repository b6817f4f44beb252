"""A host's address, asked of a name server without blocking: the boards' own getaddrinfo holds up
everything for 7 to 14 s when no server answers, which is longer than the watchdog of an RP2040
waits.

A name server can lie, and so can who answers in its place. An address is a hint where to try: the
broker's certificate decides.
"""

import asyncio
import os
import select
import socket

from agent.runtime.system.ticks import ticks_diff, ticks_ms
from agent.wire import dns

PORT = 53
TRIES = 3
WAIT_MS = 1500  # after the first question, twice that after the second, and so on
POLL_S = 0.02
CANDIDATES_MOST = 4


async def find_local(name: str) -> list[str]:
    """Return at most four IPv4 addresses of the host `name`, which ends in ".local", as whoever has
    that name on the local network says: by the multicast question that discovery.py asks.

    An empty list: nobody does. Raises OSError and DnsError as `find`."""
    from agent.runtime.net import discovery

    question = dns.lookup(os.urandom(2), name)
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found: list[str] = []

    def take(octets: bytes, sender: str) -> bool:
        found.extend([one for one in dns.addresses(octets, question) if one not in found])
        return bool(found)

    try:
        await discovery.exchange(connection, discovery.GROUP, question, take, 6)
    finally:
        connection.close()
    return found[:CANDIDATES_MOST]


async def find(server: str, name: str, port: int = PORT) -> list[str]:
    """Return at most four IPv4 addresses of the host `name`, as the name server at the address
    `server` has them.

    An empty list: it knows none, or does not answer. Raises OSError (no network, no socket left)
    and DnsError ("label").
    """
    question = dns.lookup(os.urandom(2), name)
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        connection.setblocking(False)
        # From now on nobody else's datagrams come in.
        connection.connect(socket.getaddrinfo(server, port)[0][-1])
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        for number in range(TRIES):
            _send(connection, question)
            found = await _answer(connection, poller, question, WAIT_MS << number)
            if found is not None:
                return found[:CANDIDATES_MOST]
    finally:
        connection.close()
    return []


def _send(connection: socket.socket, question: bytes) -> None:
    try:
        connection.send(question)
    except OSError:
        return  # refused a moment ago, or no way there as yet: the next try will tell


async def _answer(connection: socket.socket, poller: "select.poll", question: bytes, wait_ms: int) -> list[str] | None:
    """Return the addresses in the first message that is an answer, or None if none comes."""
    begun = ticks_ms()
    while ticks_diff(ticks_ms(), begun) < wait_ms:
        if not poller.poll(0):
            await asyncio.sleep(POLL_S)
            continue
        try:
            return dns.addresses(connection.recv(dns.SIZE_LIMIT + 1), question)
        except (OSError, dns.DnsError) as error:
            if isinstance(error, dns.DnsError) and error.args[0] == "not-an-answer":
                return []  # it says that there is no such name, or that it will not look for it
        await asyncio.sleep(POLL_S)
    return None
