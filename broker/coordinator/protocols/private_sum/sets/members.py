"""What a coordinator knows of each member: how far it can go under the active set in force, who can
stand in for its key, and whether it seems to be alive."""

from collections.abc import Iterable

from broker.coordinator.protocols.private_sum import roll_call
from broker.coordinator.protocols.private_sum.records import MasksUntil
from broker.coordinator.protocols.private_sum.sets import words
from broker.coordinator.protocols.private_sum.sets.in_force import InForce, Sets
from broker.coordinator.scope import Scope


class Members:
    """The members of one roster; bitmaps have bit i for the member i.

    Whether a member is alive is a hint: it decides how long a round waits and who is taken into a
    new set, and never what is in a sum.
    """

    def __init__(self, scope: Scope, sets: Sets, masks_until: dict[str, MasksUntil]) -> None:
        self.names: list[str] = scope.roster.names()
        self.index = {name: index for index, name in enumerate(self.names)}
        self.everyone = (1 << len(self.names)) - 1
        self.records = dict(masks_until)
        self._sets = sets
        self._scope = scope
        self._online = 0
        self._offline = 0
        self._silent = 0
        self._late = 0

    def bitmap(self, names: Iterable[str]) -> int:
        """Return the bitmap of the members with these names."""
        return roll_call.bitmap(self.index[name] for name in names)

    def masks_until(self, device: str) -> MasksUntil:
        """Return how far a member can go under the set in force; round -1 as long as it has said
        nothing under it."""
        found = self._sets.of(self.index[device])
        number = found.number if found else 0
        record = self.records.get(device)
        if record and record.number == number:
            return record
        return MasksUntil(self._scope.group, self._scope.epoch, device, number, -1, -1, 0, 0)

    def advance(self, record: MasksUntil) -> MasksUntil:
        """Know from now on how far a member can go, and return the record of it."""
        self.records[record.device] = record
        return record

    def ready(self, round_number: int) -> int:
        """Return the bitmap of those that can take part in a round."""
        return roll_call.bitmap(self.index[name] for name in self.names if self.masks_until(name).round >= round_number)

    def were_ready(self, found: InForce) -> int:
        """Return the bitmap of those of a set in force that have been ready in it."""
        announced = (index for index, name in enumerate(self.names) if self.masks_until(name).announced >= 0)
        return roll_call.bitmap(announced) & found.members

    def holds(self) -> dict[int, int]:
        """Return for each member the bitmap of those whose key shares it holds, by its own word."""
        return {index: self.masks_until(name).holds for index, name in enumerate(self.names)}

    def held(self) -> dict[int, int]:
        """Return for each member the bitmap of those that hold its key shares, as it says."""
        return {index: self.masks_until(name).held for index, name in enumerate(self.names)}

    def key_held(self) -> dict[int, int]:
        """Return for each member the bitmap of those that hold its key shares by their own word."""
        holds, active = self.holds(), self._sets.active()
        return {index: words.holders(index, active, holds) for index in range(len(self.names))}

    # -- alive or not

    def heard(self, device: str) -> None:
        """A message of the member was accepted: it lives."""
        self._offline &= ~(1 << self.index[device])
        self._silent &= ~(1 << self.index[device])

    def presence(self, device: str, online: bool) -> None:
        """The member, or its last will, has said whether it is online."""
        bit = 1 << self.index[device]
        if online:
            self.heard(device)
            self._online |= bit
        else:
            self._online &= ~bit
            self._offline |= bit

    def online(self) -> int:
        """Return the bitmap of those that have said that they are online, and have not left
        since."""
        return self._online

    def offline(self) -> int:
        """Return the bitmap of those of whom it is known that they have left."""
        return self._offline

    def closed(self, among: int, contributed: int) -> None:
        """A round of these members is over, and who sent no contribution is silent, until it is
        heard again, and late, until it contributes."""
        self._silent |= among & ~contributed
        self._late = self._late & ~among | among & ~contributed

    def absent(self) -> int:
        """Return the bitmap of the members of sets that seem to be dead."""
        return (self._offline | self._silent) & self._sets.active()

    def behind(self, round_number: int) -> int:
        """Return the bitmap of those that missed the last round and cannot take part in this one:
        nobody waits for them."""
        return self._late & ~self.ready(round_number)

    def waited_for(self, among: int, there: int, round_number: int) -> int:
        """Return the bitmap of those of `among` that a round waits for when `there` are there: not
        for who is behind, nor for the absent that can be done without."""
        waiting = among & ~there & ~self.behind(round_number)
        return waiting & ~self._dispensable(self.absent() & ~there)

    def _dispensable(self, absent: int) -> int:
        """The absent of each cohort in which enough others hold the key shares of all of them."""
        held = self.key_held()
        bits = 0
        for found in self._sets.all():
            for cohort, threshold in zip(found.unit.cohorts, found.unit.thresholds, strict=True):
                gone = absent & roll_call.bitmap(cohort)
                able = roll_call.bitmap(cohort) & ~gone
                for index in roll_call.members(gone):
                    able &= held[index]
                if able.bit_count() >= threshold:
                    bits |= gone
        return bits
