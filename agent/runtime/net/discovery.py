"""Discovery: a board asks the local network for its broker, by one multicast DNS question from a
port of its own (RFC 6762, sections 5.1 and 6.7), which takes no membership in the multicast group.

Anybody on the network can answer. So an answer is a hint where to try, no more: whether the broker
is there, the certificate decides, checked against the pinned authority *and* the name in the
board's settings, never against the address that was found.
"""

import asyncio
import os
import select
import socket

from agent.runtime.system.ticks import ticks_diff, ticks_ms
from agent.wire import dns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Offer = tuple[int, str, int]  # (priority, IPv4 address, port)
    Senders = dict[str, list[Offer]]  # by the address of who answered
    Address = tuple[str, int]
    Take = Callable[[bytes, str], bool]
    Labels = list[str] | tuple[()]
    Refuse = Callable[[str], object]

GROUP = ("224.0.0.251", 5353)
CANDIDATES_MOST = 4
PER_SENDER_MOST = 2
SENDERS_MOST = 8
POLL_S = 0.02
FIRST_PAUSE_MS = 1000  # to the second question; twice that to the third (RFC 6762, section 5.2)
# In vain, after the first answer of use; others come up to 120 ms after it (RFC 6762, section 6).
SETTLE_POLLS = 20


def _unheard(reason: str) -> None:
    """Nobody counts."""


async def find(
    deployment: str, timeout_s: float = 6, labels: "Labels" = (), refuse: "Refuse" = _unheard
) -> "list[Address]":
    """Return where brokers of `deployment` that have all `labels` may be: a list of at most four
    (IPv4 address, port), best first.

    refuse(reason) is called for each announcement that is none of those: "announced-malformed",
    "announced-other" (another deployment), "announced-labels" (it has not all of them),
    "announced-address" (nobody's).

    Nobody answers within `timeout_s` seconds, or there is no network: an empty list. Never blocks
    the event loop. Those who answered the same way are listed the same way. Try them in turn, and
    take each for a hint only (see above).
    """
    try:
        connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError:
        return []
    try:
        return await ask(connection, GROUP, deployment, timeout_s, labels, refuse)
    finally:
        connection.close()


async def ask(
    connection: socket.socket,
    destination: "Address",
    deployment: str,
    timeout_s: float,
    labels: "Labels" = (),
    refuse: "Refuse" = _unheard,
) -> "list[Address]":
    """As `find`, of who listens at `destination`, (IPv4 address, port), with the UDP socket
    `connection`."""
    identifier = os.urandom(2)
    wanted = deployment.encode()
    senders: "Senders" = {}

    def take(octets: bytes, host: str) -> bool:
        if host in senders or len(senders) < SENDERS_MOST:
            offers = _offers(octets, identifier, wanted, host, labels, refuse)
            if offers:
                senders[host] = _best(senders.get(host, []) + offers, host)
        return bool(senders)

    await exchange(connection, destination, dns.query(identifier), take, timeout_s)
    return _ranked(senders)


async def exchange(
    connection: socket.socket, destination: "Address", question: bytes, take: "Take", timeout_s: float
) -> None:
    """Ask `question` by multicast, again and again, until answers have come or `timeout_s` seconds
    are over. take(octets, IPv4 address of the sender) takes an answer and tells whether there has
    been one of use; it may raise DnsError."""
    connection.setblocking(False)
    # MicroPython's unix port takes no pair.
    address = socket.getaddrinfo(destination[0], destination[1])[0][-1]
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    begun = ticks_ms()
    end = int(timeout_s * 1000)
    # Boards that get their power back together do not ask together.
    due = 20 + os.urandom(1)[0] % 100
    pause = FIRST_PAUSE_MS
    quiet = now = 0
    useful = False
    while now < end and quiet < SETTLE_POLLS:
        if now >= due:
            _send(connection, question, address)
            due = now + pause
            pause *= 2
        if poller.poll(0):
            useful = _listen(connection, destination[1], take) or useful
            await asyncio.sleep(0)  # a flood of answers does not keep others from their work
        else:
            quiet += useful
            await asyncio.sleep(POLL_S)
        now = ticks_diff(ticks_ms(), begun)


def _send(connection: socket.socket, octets: bytes, address: "Any") -> None:
    try:
        connection.sendto(octets, address)
    except OSError:
        return  # no network as yet: the next question may find one


def _listen(connection: socket.socket, port: int, take: "Take") -> bool:
    """Take one datagram; tell what take() does. An answer comes from `port` (RFC 6762, section
    11)."""
    try:
        octets, sender = connection.recvfrom(dns.SIZE_LIMIT + 1)
    except OSError:
        return False
    host, sender_port = _pair(sender)
    if sender_port != port:
        return False
    try:
        return take(octets, host)
    except dns.DnsError:
        return False


def _pair(sender: "Any") -> "Address":
    """(IPv4 address, port) of a socket address; MicroPython's unix port has them packed."""
    if not isinstance(sender, tuple):
        _, octets, port = socket.sockaddr(sender)  # type: ignore[attr-defined]  # MicroPython's alone
        return "%d.%d.%d.%d" % tuple(octets), port
    return sender[0], sender[1]


def _offers(
    octets: bytes,
    identifier: bytes,
    wanted: bytes,
    sender: str,
    labels: "Labels" = (),
    refuse: "Refuse" = _unheard,
) -> "list[Offer]":
    """[(priority, host, port)] of the deployment `wanted` in a message; none if it is no answer."""
    offers: "list[Offer]" = []
    try:
        services = dns.services(octets, identifier)
    except dns.DnsError:
        refuse("announced-malformed")
        return offers
    for priority, port, hosts, deployment, told in services:
        usable = [(priority, host, port) for host in hosts if _usable(host, sender)]
        if deployment != wanted:
            refuse("announced-other")
        elif [label for label in labels if label.encode() not in (told or b"").split(b",")]:
            refuse("announced-labels")
        elif not usable:
            refuse("announced-address")
        else:
            offers += usable
    return offers


def _best(offers: "list[Offer]", sender: str) -> "list[Offer]":
    """The best of one sender's offers: by priority, its own address before its others."""
    return sorted(set(offers), key=lambda offer: (offer[0], offer[1] != sender, offer[1:]))[:PER_SENDER_MOST]


def _usable(host: str, sender: str) -> bool:
    """Tell whether a host can have this address: no group, no broadcast, and one's own machine only
    if it says so itself."""
    first = int(host.split(".", 1)[0])
    return 1 <= first <= 223 and (first != 127 or sender.startswith("127."))


def _ranked(senders: "Senders") -> "list[Address]":
    """The best (host, port) of each sender, then the second best: who sends alone cannot take all
    the places."""
    ranked: "list[Address]" = []
    for place in range(PER_SENDER_MOST):
        for _, host, port in sorted([offers[place] for offers in senders.values() if len(offers) > place]):
            if (host, port) not in ranked:
                ranked.append((host, port))
    return ranked[:CANDIDATES_MOST]
