"""The conditions of a link: Wi-Fi, a clock past the first day of the broker's certificate, and the
broker's address.

The address is what the settings say. Where they have a name, the network's name server is asked;
where they have none, or one that ends in .local, the local network is (discovery). Where they name
other gateways, those are tried when the own one has failed for good (gateways.py). Nobody is
trusted: the certificate must be the one for the provisioned name, by the provisioned authority.
"""

import asyncio

from agent.runtime.unload import unload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.net.gateways import Gateways
    from agent.runtime.net.mqtt import Client
    from agent.runtime.net.wifi import Wifi
    from agent.runtime.system.clock import Clock

LOOK_S = 1


def is_address(host: str) -> bool:
    """Tell whether `host` is an IPv4 address "a.b.c.d" and not a name."""
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts)


class NoAddress(OSError):
    """Neither the settings nor the network give the broker's address."""


class Reach:
    """Sets the address of `client` before each of its links: set client.prepare to `prepare`.

    `host` is an IPv4 address, a name, or None, and `port` goes with it; `deployment` is what to
    discover; `wifi` a Wifi or None; `clock` a Clock. `others`, a Gateways, may be set.
    """

    def __init__(
        self, client: "Client", host: str | None, port: int, deployment: str, wifi: "Wifi | None", clock: "Clock"
    ) -> None:
        self._client = client
        self._host = host
        self._port = port
        self._deployment = deployment
        self._wifi = wifi
        self._clock = clock
        self.others: "Gateways | None" = None
        self._candidates: list[tuple[str, int]] = []
        self._early = 0

    async def prepare(self) -> None:
        """Return when a link can be tried. Raises OSError: nobody knows where."""
        while self._wifi and not self._wifi.joined():
            self._client.alive()
            await asyncio.sleep(LOOK_S)
        early = self._client.counters.get("not-yet-valid", 0)
        if early > self._early:
            self._early = early
            self._clock.doubt()
        place = self.others and self.others.next(self._clock.uptime(), self._client.links, bool(self._candidates))
        if place:
            self._client.count("gateway-changed")
            self._candidates = []
            self._host, self._port = place
            if self._host:
                self._client.aim(self._host, self._port)
        if self._host and (is_address(self._host) or not self._wifi):
            # Without a Wi-Fi of its own this is no board: the host's getaddrinfo may take its time.
            return
        if not self._candidates:
            self._candidates = await self._search()
            unload()
        if not self._candidates:
            raise NoAddress()
        host, port = self._candidates.pop(0)  # the next one if this is of no use
        self._client.aim(host, port)

    async def _search(self) -> list[tuple[str, int]]:
        if not self._host:
            from agent.runtime.net import discovery

            labels = self.others.labels if self.others else []
            return await discovery.find(self._deployment, 6, labels, self._client.count)
        from agent.runtime.net import names as resolve
        from agent.wire.dns import DnsError

        server = self._wifi.name_server() if self._wifi else None
        try:
            # No name server has such a name (RFC 6762, section 3).
            if self._host.rstrip(".").lower().endswith(".local"):
                found = await resolve.find_local(self._host)
            else:
                found = await resolve.find(server, self._host) if server else []
        except DnsError:
            return []
        return [(host, self._port) for host in found]
