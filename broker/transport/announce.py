"""Tells the local network where the broker is, by multicast DNS, for boards that have no address of
it (agent/runtime/net/discovery)."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Sequence

import ifaddr
from zeroconf import InterfaceChoice, ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from broker.errors import HumError
from broker.names import ANNOUNCED_MOST, fits_label

log = logging.getLogger("hum.coordinator")

SERVICE = "_hum._tcp.local."
LEAVE_S = 5.0
ANNOUNCE_S = 60.0  # a name that others have is changed again and again, a second each


class LabelsError(HumError):
    """A broker cannot be announced with these labels. args[0] says which can be."""

    exit_code = 2


@contextlib.asynccontextmanager
async def announced(
    deployment: str,
    host: str,
    port: int,
    wanted: bool | None = None,
    interfaces: InterfaceChoice | list[str] = InterfaceChoice.All,
    labels: Sequence[str] = (),
) -> AsyncIterator[None]:
    """While inside, announce the broker of `deployment` at `host` and `port`, with `labels`, and
    take that back on leaving.

    `wanted` None announces a broker unless it is known by an address of this machine alone, such as
    127.0.0.1; True announces that one too, by this machine's addresses in the network; False
    announces nothing. `interfaces` are those to announce on, by address. The announcement is made
    beside what happens inside. Where it fails, one line in the log says so, no more. Raises
    LabelsError.
    """
    if len(labels) > ANNOUNCED_MOST or not all(map(fits_label, labels)):
        raise LabelsError(f"{', '.join(labels)}: at most {ANNOUNCED_MOST} labels are announced, NAME or NAME=VALUE")
    if wanted is False:
        yield
        return
    leaving = asyncio.Event()
    task = asyncio.create_task(_announce(deployment, host, port, bool(wanted), interfaces, labels, leaving))
    try:
        yield
    finally:
        leaving.set()
        done, _ = await asyncio.wait([task], timeout=LEAVE_S)
        if not done:
            task.cancel()
            await asyncio.wait([task], timeout=LEAVE_S)


async def _announce(
    deployment: str,
    host: str,
    port: int,
    forced: bool,
    interfaces: InterfaceChoice | list[str],
    labels: Sequence[str],
    leaving: asyncio.Event,
) -> None:
    # What fails is one line, and that is ours.
    logging.getLogger("zeroconf").setLevel(logging.CRITICAL)
    try:
        addresses = await _addresses(host, forced)
        if not addresses:
            if forced:
                log.warning("not announced: this machine has no address in a network")
            return
        async with AsyncZeroconf(interfaces=interfaces) as zeroconf:
            service = _service(deployment, port, addresses, labels)
            async with asyncio.timeout(ANNOUNCE_S):
                await (await zeroconf.async_register_service(service, allow_name_change=True))
            log.info("announced at %s, port %d", ", ".join(addresses), port)
            await leaving.wait()  # then, on closing, the library takes it back
    # Of the library or the network, whatever it is: rounds go on without.
    except Exception as error:
        log.warning("not announced: %s: %s", type(error).__name__, str(error))


async def _addresses(host: str, forced: bool) -> list[str]:
    """The broker's IPv4 addresses in the network; none if it is to be had on this machine only,
    unless `forced`."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(ANNOUNCE_S):
        found = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    addresses = sorted({str(entry[4][0]) for entry in found})
    abroad = [address for address in addresses if not ipaddress.IPv4Address(address).is_loopback]
    return abroad or (own_addresses() if forced else [])


def own_addresses() -> list[str]:
    """This machine's IPv4 addresses in its networks, without the loopback."""
    own = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4 and isinstance(ip.ip, str)]
    return [address for address in sorted(own) if not ipaddress.IPv4Address(address).is_loopback]


def _service(deployment: str, port: int, addresses: list[str], labels: Sequence[str]) -> ServiceInfo:
    """The text says the deployment, for in the name a number may be added when two announce the
    same."""
    text = {"d": deployment} | ({"l": ",".join(labels)} if labels else {})
    return ServiceInfo(
        SERVICE,
        f"{deployment}.{SERVICE}",
        port=port,
        properties=text,
        server=f"hum-{deployment}.local.",
        parsed_addresses=addresses,
    )
