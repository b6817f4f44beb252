"""What a board makes of a signed roster: whether it takes part, and with which keys."""

from agent.crypto import p256
from agent.joye_libert import parameters, zero_sum
from agent.joye_libert.packing import Packing, PackingError
from agent.wire import messages, topics
from agent.wire.envelope import Context, Envelope

ROSTER_MOST = 8192  # bytes


class Refused(Exception):
    """An input is against the protocol or the board's policy. args[0] is the named reason."""


class Accepted:
    """A roster that a board takes part under: its epoch, Roster, 32-byte digest, Parameters and Packing."""

    def __init__(self, epoch, roster, digest, chosen, packing):
        self.epoch = epoch
        self.roster = roster
        self.digest = digest
        self.parameters = chosen
        self.packing = packing


def accept(place, raw, least_epoch):
    """Return the Accepted roster in `raw`, a COSE_Sign1 by the authority that `place`, a Provision, pins.

    Raises Refused, EnvelopeError or MessageError with the named reason: it is of an epoch before `least_epoch`, not signed, not
    for this board, against its policy, or of no use.
    """
    if len(raw) > ROSTER_MOST:
        raise Refused("oversized")
    envelope = Envelope(raw)
    if envelope.epoch < least_epoch or envelope.round:
        raise Refused("stale-roster")
    context = Context(place.deployment, "roster", place.group, envelope.epoch, 0, "authority", "")
    roster = messages.read_roster(envelope.verify(place.authority, context))
    if (place.device, place.public) not in roster.members:
        raise Refused("not-a-member")
    if len(roster.members) < place.members_least:
        raise Refused("group-too-small")
    if roster.protocol != "private-sum":
        raise Refused("unknown-protocol")
    try:
        chosen = parameters.load(roster.parameters)
        packing = Packing(roster.slots, len(roster.members), chosen.bits)
    except parameters.ParameterError:
        raise Refused("unknown-parameters")
    except PackingError as error:
        raise Refused(error.args[0])
    return Accepted(envelope.epoch, roster, envelope.digest(context), chosen, packing)


def key_steps(place, roster, digest, chosen, count):
    """Generator: one yield a short step; returns (round key, opening key, exponent): 16, 16 and exponent_bytes() bytes.

    `count()` is called for each member done. Raises CryptoError if a member's key is no point of the curve.
    """
    own = place.device
    total = zero_sum.offset(len(roster.members), chosen)
    for name, public in roster.members:
        if name != own:
            secret = yield from p256.ecdh_steps(place.private, public)
            key = zero_sum.pair_key(secret, digest, min(own, name), max(own, name), chosen)
            total += key if own > name else -key
        count()
        yield
    secret = yield from p256.ecdh_steps(place.private, roster.coordinator)
    total += zero_sum.pair_key(secret, digest, own, topics.COORDINATOR, chosen)
    round_key, opening_key = zero_sum.round_keys(secret, digest, own)
    return round_key, opening_key, total.to_bytes(zero_sum.exponent_bytes(chosen), "big")
