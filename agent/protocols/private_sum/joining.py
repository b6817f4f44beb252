"""Joining: a board checks a signed roster, decides whether it takes part, and becomes a member.

A board needs this module once an epoch: a small one forgets it in between
(agent/runtime/unload.py).
"""

from agent.joye_libert import blinding, cohorts, parameters
from agent.joye_libert.packing import Packing, PackingError
from agent.protocols.base import Refused
from agent.protocols.base.roster import read
from agent.protocols.private_sum.membership import Membership
from agent.protocols.private_sum.roster_part import read_part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.identity import Identity


def accept(identity: "Identity", raw: bytes, least_epoch: int) -> Membership:
    """Return the Membership under the roster in `raw`, a COSE_Sign1 by the authority that
    `identity`, an Identity, pins.

    Raises Refused, EnvelopeError or MessageError with the named reason: it is of an epoch before
    `least_epoch`, not signed, not for this board, against its policy, or of no use.
    """
    epoch, digest, roster = read(identity, raw, least_epoch)
    names = roster.names()
    own = names.index(identity.device)
    part = read_part(roster.part)
    every = cohorts.assign(names, digest, part.cohort)
    unit = next(number for number, members in enumerate(every) if own in members)
    cohort = every[unit]
    if len(cohort) < identity.policy.members_least:
        raise Refused("cohort-too-small")
    if not identity.policy.allows(roster.slots):
        raise Refused("slot-not-allowed")
    if roster.protocol != "private-sum":
        raise Refused("unknown-protocol")
    try:
        chosen = parameters.load(roster.parameters)
        packing = Packing(roster.slots, len(roster.members), chosen.bits)
        field = blinding.field(packing.bits)
    except parameters.ParameterError:
        raise Refused("unknown-parameters")
    except PackingError as error:
        raise Refused(error.args[0])
    if part.seal:
        unit = 0
    else:
        every = [cohort]
    thresholds = [cohorts.threshold(len(members)) for members in every]
    return Membership(identity, epoch, digest, roster, part, unit, every, thresholds, chosen, packing, field)
