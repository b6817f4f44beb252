"""A broker's name that ends in .local is accepted by provisioning and never resolves on the board.

The board asks the network's name server, which does not know such names, and not the local network
(micropython #4912), though the same board does find brokers by multicast.

What must hold: provisioning refuses such a name, or the board asks for it by multicast DNS.
"""

import asyncio
import socket
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

from agent.runtime.net.reach import NoAddress, Reach
from broker.authority.authority import Authority
from firmware import boards
from firmware.device import settings
from firmware.errors import FirmwareError
from tests.faults import virtual
from tests.faults.verdict import Verdict

NAME = "raspberrypi.local"
MULTICAST = "224.0.0.251"
SERVER = "192.0.2.53"


def accepted(host: str) -> bool:
    """Tell whether provisioning takes `host` for the broker's name."""
    authority = Authority.init(Path(mkdtemp()) / "authority", "street")
    broker = settings.Broker(host, None, "password", True)
    wifi = settings.Wifi("net", "12345678")
    reading = settings.Reading(settings.Meter.P1)
    board = boards.load("pico-w")
    try:
        settings.compose(board, authority, "main", "kitchen-12", broker, wifi, None, reading, 8)
    except FirmwareError:
        return False
    return True


def asked(host: str) -> set[str]:
    """Return the addresses that a board sends to when it looks for `host`."""
    found = set()

    class Socket(socket.socket):
        """Notes where datagrams would go."""

        def connect(self, address: Any) -> None:
            found.add(address[0])

        def send(self, data: bytes, *_: int) -> int:
            return len(data)

        def sendto(self, data: bytes, *rest: Any) -> int:
            found.add(rest[-1][0])
            return len(data)

    client = mock.Mock(counters={}, address=(host, 8883, None, host))
    wifi = mock.Mock(**{"joined.return_value": True, "name_server.return_value": SERVER})

    async def scenario(loop: virtual.Loop) -> None:
        try:
            await asyncio.wait_for(Reach(client, host, 8883, "street", wifi, None).prepare(), 60)
        except (NoAddress, TimeoutError):
            return  # nobody answers here

    with mock.patch.object(socket, "socket", Socket):
        virtual.run(scenario)
    return found


def fault() -> Verdict:
    assert accepted("broker.example") and asked("broker.example") == {SERVER}, "an ordinary name is not looked up"
    if not accepted(NAME):
        return Verdict(False, "refused by provisioning")
    where = asked(NAME)
    return Verdict(MULTICAST not in where, f"accepted; the board asks {', '.join(sorted(where)) or 'nobody'}")
