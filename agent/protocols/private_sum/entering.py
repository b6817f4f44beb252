"""Entering an active set: what a board checks before it takes up the set that the coordinator has
signed, and how it says that it is here. Needed once a set, like keying.py.

A set is a complete sub-roster: all keys, seeds and bases follow from its digest, so two boards that
were shown different sets share none, and the sum of a split set does not open
(docs/security/reasoning.md, "Active sets").
"""

import struct

from agent.protocols.base import Refused, actions, check_tag
from agent.protocols.private_sum.membership import publish_up
from agent.wire import active_sets, topics
from agent.wire.envelope import Context, Envelope, EnvelopeError, seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.active_sets import ActiveSets
    from agent.protocols.private_sum.contributing import Contributing
    from agent.protocols.private_sum.membership import Membership
    from agent.protocols.private_sum.standing import Standing

ACTIVE_MOST = 512  # bytes
HERE_NONCE = 9
_RECORD = ">32sIIQQQ"


def hear(sets: "ActiveSets", member: "Membership | None", raw: bytes, busy: bool) -> None:
    """Take a signed set of the unit of `member`, None before there is a roster; with `busy` nothing
    can be taken up now. Raises Refused, EnvelopeError or MessageError with the named reason."""
    if not member:
        if len(raw) <= ACTIVE_MOST:
            sets.keep_early(raw)
        raise Refused("not-ready")
    number, active = check(member, raw)
    if not number or (number, raw) in sets.waiting:
        return
    try:
        _check_members(member, active)
    except Refused:
        # If it is genuine, those that wait are superseded, and are to cost neither work nor token.
        if sets.waiting:
            sets.wait(number, raw)
        raise
    sets.wait(number, raw)
    if busy or not sets.tokens:
        raise Refused("too-soon")


def check(member: "Membership", raw: bytes) -> tuple[int, int]:
    """Check all of a signed set but its members and its signature. Return its number, 0 if it is
    the set in force, and its members. Raises Refused, EnvelopeError or MessageError with the named
    reason."""
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
            return 0, active
        raise Refused("stale-active")
    return number, active


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


def enter_steps(sets: "ActiveSets", member: "Membership", signed: bytes, own: "Contributing") -> "Steps":
    """Generator: check the signature of a set that hear() has kept, in short steps, and yield the
    action that makes it durable, with what `own`, the board's Contributing, has spent by then; if
    the set is not for this board, forget those before it. Raises EnvelopeError."""
    try:
        record, active = yield from _verify_steps(member, signed, own)
    except EnvelopeError:
        sets.took(signed)
        raise
    number = Envelope(signed).round
    try:
        _check_members(member, active)
    except Refused:  # counted when it came
        sets.skip(signed, number)
        yield [actions.unload()]
        return
    sets.entering = record
    sets.took(signed, number)
    yield [actions.enter(record)]


def _verify_steps(member: "Membership", raw: bytes, own: "Contributing") -> "Generator[None, None, tuple[bytes, int]]":
    envelope = Envelope(raw)
    context = _context(member, envelope.round)
    _, _, active = active_sets.read_active((yield from envelope.verify_steps(member.coordinator, context)))
    epoch, round = own.high_water
    number = envelope.round
    return struct.pack(_RECORD, envelope.digest(context), member.epoch, number, active, epoch, round), active


def entered(standing: "Standing", own: "Contributing", record: bytes) -> "list[Action]":
    """The set of this record is durable: it is in force from now on, and what was made under the
    one before is of no more use."""
    member = standing.member
    standing.sets.entering = None
    if not member or not restore(member, record):
        return []
    standing.sharing = standing.unmasking = None
    standing.held, standing.acks = (0, {}), None
    opened = own.opened
    own.forget()
    own.opened, own.pending = opened, None
    if standing.roll_call:
        standing.roll_call.enter_set()
    return [actions.use(member.set_digest), here(member), actions.unload()]


def restore(member: "Membership", record: bytes | None) -> bool:
    """Let `member` be in the set of this record, if it is of its epoch; return whether it is."""
    if not record or len(record) != struct.calcsize(_RECORD):
        return False
    digest, epoch, number, active, floor_epoch, floor_round = struct.unpack(_RECORD, record)
    if epoch != member.epoch:
        return False
    member.enter(number, digest, active, (floor_epoch, floor_round))
    return True


def take_secrets(member: "Membership", record: bytes | None) -> bool:
    """Take up what the roster alone gives, if `record` is of it (keying.py): roster digest, key of
    "here", then 32 bytes for each of peers() and for the coordinator. The members' public keys are
    not needed again. Return whether it is."""
    if not record or record[:32] != member.digest or len(record) != 48 + 32 * (len(member.peers()) + 1):
        return False
    member.here_key = record[32:48]
    member.members = None
    return True


def take_keys(member: "Membership", record: bytes | None) -> None:
    """Take up the keys of the set, if `record` is of it (keying.py): its digest, round key, opening
    key, exponent, mail keys."""
    at = 64 + member.parameters.exponent_bytes
    if member.number and record and record[:32] == member.set_digest and len(record) == at + 32 * len(member.cohort):
        member.round_key, member.opening_key = record[32:48], record[48:64]
        member.exponent, member.mail_keys = record[64:at], record[at:]


def here(member: "Membership") -> "Action":
    """Return the action that tells the coordinator that this board is here, and in which set."""
    own = member.identity
    context = Context(own.deployment, "here", own.group, member.epoch, 0, own.device, topics.COORDINATOR)
    nonce = bytes([HERE_NONCE]) + member.number.to_bytes(4, "big") + bytes(8)
    return publish_up(member, "here", seal(member.here_key, nonce, context, active_sets.here(member.number)), True)


def coming(member: "Membership", raw: bytes, own: "Contributing") -> bool:
    """Take the coordinator's word to this board which round comes next: what is before it is over.
    Return whether that is news. Raises Refused or MessageError."""
    epoch, round, tag = active_sets.read_coming(raw)
    if epoch != member.epoch:
        raise Refused("wrong-epoch")
    if not member.opening_key:
        raise Refused("not-ready")
    context = member.context("coming", round, topics.COORDINATOR, member.identity.device)
    check_tag(tag, 0, active_sets.coming_tag(member.opening_key, context))
    if round <= own.opened + 1:
        return False
    own.saw(round - 1)
    own.spend_stock(round - 1)
    return True
