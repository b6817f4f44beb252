"""What the coordinator says of private sums to boards and clients."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.wire import active_sets, coordination, envelope, topics
from broker.coordinator.actions import Publish
from broker.coordinator.outgoing import Outgoing
from broker.coordinator.protocols.private_sum.records import Counted
from broker.coordinator.protocols.private_sum.sets.in_force import InForce, Sets

NO_TAG = bytes(16)  # of a member that is in no set


@dataclass(frozen=True)
class SumOutgoing(Outgoing):
    """`sets` are those in force: what is said to a member of one is bound to it."""

    sets: Sets

    def active(self, unit: int, number: int, members: int) -> bytes:
        """Make the signed active set of a unit."""
        return self.signed("active", number, "", active_sets.active(self.scope.digest, unit, members))

    def opening(
        self,
        round_number: int,
        units: set[int],
        absent: int,
        counted: Mapping[str, Counted],
        time: int,
        instant: int = 0,
    ) -> bytes:
        """Make the message that opens a round of these units at `time`, for what is read at
        `instant`, or at once if that is 0; Unix seconds."""
        members, tags = [], []
        for index, name in enumerate(self.scope.roster.names()):
            last = counted.get(name)
            members.append(coordination.counted(last.epoch, last.round) if last else bytes(8))
            tags.append(NO_TAG)
            if found := self._of(index, units):
                context = self.scope.down("round", round_number, name, found.number)
                key = found.keys.opening_keys[name]
                tags[-1] = envelope.opening_tag(key, context, found.digest, absent, members[-1], time, instant)
        sets = self.sets.digests(units)
        return bytes(coordination.opening(self.scope.epoch, round_number, sets, tags, absent, members, time, instant))

    def roll(self, round_number: int, units: set[int], present: int) -> bytes:
        """Make the signed roll call. Two of one round would be evidence against the coordinator."""
        tags = []
        for index, name in enumerate(self.scope.roster.names()):
            tags.append(NO_TAG)
            if found := self._of(index, units):
                context = self.scope.down("roll", round_number, name, found.number)
                tags[-1] = envelope.roll_tag(found.keys.opening_keys[name], context, found.digest, present)
        return self.signed("roll", round_number, "", coordination.roll(self.sets.digests(units), present, tags))

    def coming(self, round_number: int, device: str, found: InForce) -> Publish:
        """Say to a member of a set which round comes next."""
        context = self.scope.down("coming", round_number, device, found.number)
        tag = active_sets.coming_tag(found.keys.opening_keys[device], context)
        return self.mail(device, active_sets.coming(self.scope.epoch, round_number, tag))

    def receipt(self, round_number: int, device: str, digest: bytes, number: int) -> bytes:
        """Make the signed receipt for the contribution whose envelope has the SHA-256 `digest`,
        under the set `number`."""
        return self.signed("receipt", round_number, device, coordination.receipt(digest), number)

    def result(
        self,
        round_number: int,
        units: set[int],
        status: int,
        missing: list[str],
        sums: list[int] | None,
        instant: int = 0,
    ) -> bytes:
        """Make the signed result, of the round's instant if it has one. The sums are for the
        clients, who hold the result key; the broker relays them and learns nothing."""
        sealed = None if sums is None else self.for_clients("sums", round_number, "", coordination.sums(sums))
        sets = self.sets.digests(units)
        payload = coordination.result(self.scope.digest, status, missing, sealed, sets, instant)
        return self.signed("result", round_number, "", payload)

    def retained_active(self, unit: int, payload: bytes) -> Publish:
        """Say to the boards of a unit which set is in force, now and later; an empty payload takes
        it back."""
        return Publish(topics.active(self.scope.deployment, self.scope.group, unit), payload, retain=True)

    def _of(self, index: int, units: set[int]) -> InForce | None:
        return self.sets.of(index) if self.sets.unit_of(index) in units else None
