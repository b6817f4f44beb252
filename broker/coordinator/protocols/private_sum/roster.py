"""A private sum's part of a roster, as the authority makes it."""

from collections.abc import Mapping
from typing import Any

from agent.joye_libert import blinding, parameters
from agent.joye_libert.packing import Packing, PackingError
from agent.protocols.private_sum.roster_part import SumPart, read_part
from agent.wire.rosters import Roster
from broker.coordinator.protocols.base import RosterError, RosterRules

# Members from which on cohorts compare their roll calls, unless told otherwise.
CONSISTENCY_CHECK_FROM = 8
COHORT = 32


def make(_protocol: str, members: int, options: Mapping[str, Any]) -> dict[int, object]:
    """Return the part: `cohort` is the most members of a cohort, 4 to 64; `seal` is 0 to open each
    cohort's sum, 1 to open the whole group's only; `audit` tells whether a cohort compares the roll
    calls it was shown before it answers; `spread` is in how many seconds after an instant they
    send."""
    audit = options.get("audit", members >= CONSISTENCY_CHECK_FROM)
    return SumPart(options.get("cohort", COHORT), options.get("seal", 0), int(audit), options.get("spread", 0)).fields()


def check(roster: Roster) -> None:
    """Raise RosterError or MessageError unless sums can be made under a roster."""
    read_part(roster.part)
    try:
        packing = Packing(roster.slots, len(roster.members), parameters.load(roster.parameters).bits)
        blinding.field(packing.bits)
    except (parameters.ParameterError, PackingError) as error:
        raise RosterError(f"these slots or parameters make no roster: {error}") from None


RULES = RosterRules(("cohort", "seal", "audit", "spread"), make, check)
