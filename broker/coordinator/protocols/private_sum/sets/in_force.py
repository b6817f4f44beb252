"""The active sets in force: of each unit of a roster the last one that was proposed, with the keys
that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.joye_libert import cohorts
from agent.wire.envelope import Envelope
from broker.coordinator.protocols.private_sum import roll_call
from broker.coordinator.protocols.private_sum.arithmetic.aggregation import Keys, Secrets, Unit
from broker.coordinator.protocols.private_sum.records import ActiveSet
from broker.coordinator.scope import Scope

NONE = bytes(32)  # the digest of a unit without a set


@dataclass(frozen=True)
class InForce:
    """A unit's set: the record of it, its digest and its keys."""

    record: ActiveSet
    digest: bytes
    keys: Keys

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def members(self) -> int:
        """The bitmap."""
        return self.record.members

    @property
    def unit(self) -> Unit:
        return self.keys.unit


class Sets:
    """The sets in force of a roster's units, which are numbered from 0."""

    def __init__(self, scope: Scope, secrets: Secrets, saved: Mapping[int, ActiveSet]) -> None:
        self.cohorts = secrets.units
        self._scope = scope
        self._secrets = secrets
        self._unit_of = {index: at for at, unit in enumerate(secrets.units) for cohort in unit for index in cohort}
        self._in_force: dict[int, InForce] = {}
        for record in saved.values():
            self.put(record)

    def put(self, record: ActiveSet) -> InForce:
        """A set is in force from now on, in the place of an earlier one of its unit."""
        digest = Envelope(record.message).digest(self._scope.down("active", record.number))
        keys = Keys(self._secrets, record.unit, record.number, digest, record.members)
        self._in_force[record.unit] = InForce(record, digest, keys)
        return self._in_force[record.unit]

    def all(self) -> list[InForce]:
        """Return the sets in force."""
        return list(self._in_force.values())

    def get(self, at: int) -> InForce | None:
        """Return the set of a unit, if it has one."""
        return self._in_force.get(at)

    def unit_of(self, index: int) -> int:
        """Return the unit of a member."""
        return self._unit_of[index]

    def of(self, index: int) -> InForce | None:
        """Return the set of a member's unit, if the member is in it."""
        found = self._in_force.get(self._unit_of[index])
        return found if found and found.members >> index & 1 else None

    def thresholds(self, at: int) -> list[int]:
        """Return how many of each cohort of a unit a set must have."""
        return [cohorts.threshold(len(cohort)) for cohort in self.cohorts[at]]

    def everyone(self, at: int) -> int:
        """Return the bitmap of all members of a unit."""
        return roll_call.bitmap(index for cohort in self.cohorts[at] for index in cohort)

    def units(self, numbers: set[int]) -> dict[int, Unit]:
        """Return those of these units that have a set, as what opens under it."""
        return {at: found.unit for at, found in self._in_force.items() if at in numbers}

    def active(self, numbers: set[int] | None = None) -> int:
        """Return the bitmap of all that are in a set, or in that of one of these units."""
        bits = 0
        for at, found in self._in_force.items():
            bits |= found.members if numbers is None or at in numbers else 0
        return bits

    def digests(self, units: set[int]) -> bytes:
        """Return what an opening, a roll call or a result says of the sets: digests of these units'
        sets, zeros for the others."""
        found = (self._in_force.get(at) if at in units else None for at in range(len(self.cohorts)))
        return b"".join(one.digest if one else NONE for one in found)

    def named(self, digests: bytes) -> set[int] | None:
        """Return the units whose sets in force are among the digests() of a message; None if it
        names another set than that in force."""
        units = set()
        for at in range(len(self.cohorts)):
            digest = digests[32 * at : 32 * at + 32]
            found = self._in_force.get(at)
            if found and digest == found.digest:
                units.add(at)
            elif digest != NONE:
                return None
        return units
