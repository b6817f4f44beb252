"""A query's part of a roster, as the authority makes it."""

import re
from collections.abc import Mapping
from typing import Any

from agent.protocols.gossip.group import tolerated
from agent.protocols.gossip.roster_part import query_part, read_part
from agent.wire.messages import MEMBERS_LEAST as HONEST
from agent.wire.rosters import Roster
from broker.coordinator.protocols.base import RosterError, RosterRules
from broker.coordinator.protocols.gossip.leaders import BYZANTINE


def make(_protocol: str, _members: int, options: Mapping[str, Any]) -> dict[int, object]:
    """Return the part: `signer` is the 256-byte modulus of the coordinator's blind signatures."""
    return query_part(options.get("signer", b""))


def check(roster: Roster) -> None:
    """Raise RosterError or MessageError unless queries can be answered under a roster."""
    signer = read_part(roster.part)
    if not re.fullmatch("t[1-9]", roster.parameters) or tolerated(roster.parameters) + HONEST > len(roster.members):
        raise RosterError(
            f"parameters {roster.parameters!r}: t1 to t9 are wanted, how many members may fail or collude,"
            f" at least {HONEST} fewer than there are"
        )
    if bool(signer) != (roster.protocol == BYZANTINE):
        raise RosterError(f"{BYZANTINE} needs the modulus of the coordinator's blind signatures, and nothing else does")


RULES = RosterRules(("signer",), make, check)
