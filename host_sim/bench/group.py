"""One group for the benchmarks: fresh keys, a signed roster, and what the board under test is
given."""

import os
from typing import Any

from agent.crypto import p256
from agent.protocols.private_sum.roster_part import SumPart
from agent.wire import active_sets, rosters, topics
from agent.wire.envelope import Context, Envelope, sign
from broker.coordinator.scope import Scope

DEPLOYMENT, GROUP, EPOCH = "bench", "main", 1
SLOTS = [("load", 0, 1 << 14), ("shiftable", 0, 1 << 14)]
WIDE = [(f"bin-{number:02d}", 0, 1 << 40) for number in range(40)]  # near what one ciphertext holds


class Group:
    """`count` members in one cohort, of whom the first is the board under test; `values` are
    everybody's readings."""

    def __init__(self, count: int, slots: list[tuple[str, int, int]]) -> None:
        self.names = [f"b{index:03d}" for index in range(count)]
        self.privates = {name: p256.generate(os.urandom) for name in self.names}
        self.publics = {name: p256.public_key(private) for name, private in self.privates.items()}
        self.values = [high // 2 + number for number, (_, _, high) in enumerate(slots)]
        self.coordinator = p256.generate(os.urandom)
        authority = p256.generate(os.urandom)
        self.authority = p256.public_key(authority)
        members = list(self.publics.items())
        part = SumPart(max(4, count)).fields()
        roster = rosters.Roster("private-sum", "hum-2048", slots, p256.public_key(self.coordinator), members, part)
        context = Context(DEPLOYMENT, "roster", GROUP, EPOCH, 0, "authority", "")
        self.signed = sign(authority, context, roster.encode())
        digest = Envelope(self.signed).digest(context)
        self.scope = Scope(DEPLOYMENT, GROUP, EPOCH, digest, self.signed, roster)

    def active(self, number: int) -> bytes:
        """Return the coordinator's signed set of all members with this number."""
        context = Context(DEPLOYMENT, "active", GROUP, EPOCH, number, topics.COORDINATOR, "")
        payload = active_sets.active(self.scope.digest, 0, (1 << len(self.names)) - 1)
        return bytes(sign(self.coordinator, context, payload))

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return what the board under test is started with, for a JSON file."""
        device = self.names[0]
        return {
            "deployment": DEPLOYMENT,
            "group": GROUP,
            "device": device,
            "private": self.privates[device].hex(),
            "public": self.publics[device].hex(),
            "authority": self.authority.hex(),
            "roster": self.signed.hex(),
            "active": self.active(1).hex(),
            "values": self.values,
            **more,
        }
