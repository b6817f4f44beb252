"""Reading a roster as the authority signed it, whatever its protocol: the first step of joining,
once an epoch."""

from agent.protocols.base import Refused
from agent.wire import rosters
from agent.wire.envelope import Context, Envelope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.identity import Identity

ROSTER_MOST = 8192  # bytes


def read(identity: "Identity", raw: bytes, least_epoch: int) -> tuple[int, bytes, rosters.Roster]:
    """Return (epoch, digest, Roster) of the roster in `raw`, a COSE_Sign1 by the authority that
    `identity`, an Identity, pins.

    Raises Refused, EnvelopeError or MessageError with the named reason: it is of an epoch before
    `least_epoch`, not signed, or not for this board.
    """
    if len(raw) > ROSTER_MOST:
        raise Refused("oversized")
    envelope = Envelope(raw)
    if envelope.epoch < least_epoch or envelope.round:
        raise Refused("stale-roster")
    context = Context(identity.deployment, "roster", identity.group, envelope.epoch, 0, "authority", "")
    roster = rosters.read_roster(envelope.verify(identity.authority, context))
    if (identity.device, identity.public) not in roster.members:
        raise Refused("not-a-member")
    return envelope.epoch, envelope.digest(context), roster
