"""Entering an active set: what a board checks before it takes up the set that the coordinator has
signed, and how it says that it is here. Needed once a set, like keying.py.

A set is a complete sub-roster: all keys, seeds and bases follow from its digest, so two boards that
were shown different sets share none, and the sum of a split set does not open
(docs/security/reasoning.md, "Active sets").
"""

import struct

from agent.protocols.base import Refused, check_tag
from agent.protocols.private_sum.membership import publish_up
from agent.wire import active_sets, topics
from agent.wire.envelope import Context, Envelope, seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.protocols.base.actions import Action
    from agent.protocols.private_sum.contributing import Contributing
    from agent.protocols.private_sum.membership import Membership

ACTIVE_MOST = 512  # bytes
HERE_NONCE = 9
_RECORD = ">32sIIQQQ"


def hear(member: "Membership", raw: bytes) -> int:
    """Check all of a signed set but its signature. Return its number, or 0 if it is the set in
    force. Raises Refused, EnvelopeError or MessageError with the named reason."""
    if len(raw) > ACTIVE_MOST:
        raise Refused("oversized")
    envelope = Envelope(raw)
    roster, unit, active = active_sets.read_active(envelope.unverified())
    if envelope.epoch != member.epoch or envelope.number:
        raise Refused("wrong-epoch")
    if roster != member.digest:
        raise Refused("other-roster")
    if unit != member.unit:
        raise Refused("wrong-unit")
    number = envelope.round
    if number <= member.number:
        if number and envelope.digest(_context(member, number)) == member.set_digest:
            return 0
        raise Refused("stale-active")
    _check_members(member, active)
    return number


def _check_members(member: "Membership", active: int) -> None:
    policy = member.identity.policy
    left = active & ~(1 << member.index)
    for index in member.peers():
        left &= ~(1 << index)
    if left:
        raise Refused("unknown-member")
    if not active >> member.index & 1:
        raise Refused("not-active")
    for cohort, threshold in zip(member.every, member.thresholds):
        there = sum([active >> index & 1 for index in cohort])
        own = member.index in cohort and (
            there < policy.members_least or there + member.elsewhere < policy.contributors_least
        )
        if own or there < threshold:
            raise Refused("too-few")


def _context(member: "Membership", number: int) -> Context:
    return member.context_of_all("active", number)


def verify_steps(member: "Membership", raw: bytes, own: "Contributing") -> "Generator[None, None, bytes]":
    """Generator: check the signature of a set that hear() has let pass, in short steps; return the
    record of it, with what `own`, the board's Contributing, has spent by then. Raises
    EnvelopeError."""
    envelope = Envelope(raw)
    context = _context(member, envelope.round)
    _, _, active = active_sets.read_active((yield from envelope.verify_steps(member.coordinator, context)))
    epoch, round = own.high_water
    return struct.pack(_RECORD, envelope.digest(context), member.epoch, envelope.round, active, epoch, round)


def restore(member: "Membership", record: bytes | None) -> bool:
    """Let `member` be in the set of a record() that is of its epoch; return whether there is
    one."""
    if not record or len(record) != struct.calcsize(_RECORD):
        return False
    digest, epoch, number, active, floor_epoch, floor_round = struct.unpack(_RECORD, record)
    if epoch != member.epoch:
        return False
    member.enter(number, digest, active, (floor_epoch, floor_round))
    return True


def here(member: "Membership") -> "Action":
    """Return the action that tells the coordinator that this board is here, and in which set."""
    own = member.identity
    context = Context(own.deployment, "here", own.group, member.epoch, 0, own.device, topics.COORDINATOR)
    nonce = bytes([HERE_NONCE]) + member.number.to_bytes(4, "big") + bytes(8)
    return publish_up(member, "here", seal(member.here_key, nonce, context, active_sets.here(member.number)), True)


def coming(member: "Membership", raw: bytes) -> int:
    """Return the round that comes next, as the coordinator says to this board. Raises Refused or
    MessageError."""
    epoch, round, tag = active_sets.read_coming(raw)
    if epoch != member.epoch:
        raise Refused("wrong-epoch")
    if not member.opening_key:
        raise Refused("not-ready")
    context = member.context("coming", round, topics.COORDINATOR, member.identity.device)
    check_tag(tag, 0, active_sets.coming_tag(member.opening_key, context))
    return round
