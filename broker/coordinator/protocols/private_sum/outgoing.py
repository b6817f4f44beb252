"""What the coordinator says of private sums to boards and clients."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.wire import coordination, envelope
from broker.coordinator.outgoing import Outgoing
from broker.coordinator.protocols.private_sum.records import Counted


@dataclass(frozen=True)
class SumOutgoing(Outgoing):
    """`opening_keys` by member are those of what opens a round."""

    opening_keys: dict[str, bytes]

    def opening(self, round_number: int, absent: int, counted: Mapping[str, Counted], time: int) -> bytes:
        """Make the message that opens a round at `time`, Unix seconds."""
        members, tags = [], []
        for name, key in self.opening_keys.items():
            last = counted.get(name)
            members.append(coordination.counted(last.epoch, last.round) if last else bytes(8))
            context = self.scope.down("round", round_number, name)
            tags.append(envelope.opening_tag(key, context, self.scope.digest, absent, members[-1], time))
        scope = self.scope
        return bytes(coordination.opening(scope.epoch, round_number, scope.digest, tags, absent, members, time))

    def roll(self, round_number: int, present: int) -> bytes:
        """Make the signed roll call. Two of one round would be evidence against the coordinator."""
        tags = [
            envelope.roll_tag(key, self.scope.down("roll", round_number, name), self.scope.digest, present)
            for name, key in self.opening_keys.items()
        ]
        return self.signed("roll", round_number, "", coordination.roll(self.scope.digest, present, tags))

    def receipt(self, round_number: int, device: str, digest: bytes) -> bytes:
        """Make the signed receipt for the contribution whose envelope has the SHA-256 `digest`."""
        return self.signed("receipt", round_number, device, coordination.receipt(digest))

    def result(self, round_number: int, status: int, missing: list[str], sums: list[int] | None) -> bytes:
        """Make the signed result. The sums are for the clients, who hold the result key; the broker
        relays them and learns nothing."""
        sealed = None if sums is None else self.for_clients("sums", round_number, "", coordination.sums(sums))
        payload = coordination.result(self.scope.digest, status, missing, sealed)
        return self.signed("result", round_number, "", payload)
