"""What a coordinator knows of each member: how far it can go, who can stand in for its key, and
whether it seems to be alive."""

from agent.joye_libert import cohorts
from broker.coordinator.protocols.private_sum import roll_call
from broker.coordinator.protocols.private_sum.records import MasksUntil
from broker.coordinator.scope import Scope


class Members:
    """The members of one roster, in cohorts of `cohort` at most; bitmaps have bit i for the member
    i.

    Whether a member is alive is a hint: it decides how long a round waits, and never what is in a
    sum.
    """

    def __init__(self, scope: Scope, cohort: int, masks_until: dict[str, MasksUntil]) -> None:
        self.names: list[str] = scope.roster.names()
        self.index = {name: index for index, name in enumerate(self.names)}
        self.cohorts: list[list[int]] = cohorts.assign(self.names, scope.digest, cohort)
        self.everyone = (1 << len(self.names)) - 1
        self.records = dict(masks_until)
        self._scope = scope
        self._offline = 0
        self._silent = 0

    def masks_until(self, device: str) -> MasksUntil:
        """Return how far a member can go; round -1 as long as it has said nothing."""
        unknown = MasksUntil(self._scope.group, self._scope.epoch, device, -1, -1, 0)
        return self.records.get(device, unknown)

    def advance(self, device: str, last: int, announced: int, held: int) -> MasksUntil:
        """Know from now on how far a member can go, and return the record of it."""
        record = MasksUntil(self._scope.group, self._scope.epoch, device, last, announced, held)
        self.records[device] = record
        return record

    def ready(self, round_number: int) -> int:
        """Return the bitmap of those that can take part in a round."""
        return roll_call.bitmap(self.index[name] for name in self.names if self.masks_until(name).round >= round_number)

    def key_held(self) -> dict[int, int]:
        """Return for each member the bitmap of those that hold its key shares."""
        return {index: self.masks_until(name).held for index, name in enumerate(self.names)}

    # -- alive or not

    def heard(self, device: str) -> None:
        """A message of the member was accepted: it lives."""
        self._offline &= ~(1 << self.index[device])
        self._silent &= ~(1 << self.index[device])

    def presence(self, device: str, online: bool) -> None:
        """The member, or its last will, has said whether it is online."""
        if online:
            self.heard(device)
        else:
            self._offline |= 1 << self.index[device]

    def missed(self, bits: int) -> None:
        """A round is over that these members sent no contribution for: silent until they are heard
        again."""
        self._silent |= bits

    def absent(self) -> int:
        """Return the bitmap of the members that seem to be dead."""
        return self._offline | self._silent

    def waited_for(self, there: int) -> int:
        """Return the bitmap of those that a round waits for when `there` are there: not for the
        absent that can be done without."""
        return self.everyone & ~there & ~self._dispensable(self.absent() & ~there)

    def _dispensable(self, absent: int) -> int:
        """The absent of each cohort in which enough others hold the key shares of all of them."""
        held = self.key_held()
        bits = 0
        for cohort in self.cohorts:
            gone = absent & roll_call.bitmap(cohort)
            able = roll_call.bitmap(cohort) & ~gone
            for index in roll_call.members(gone):
                able &= held[index]
            if able.bit_count() >= cohorts.threshold(len(cohort)):
                bits |= gone
        return bits
