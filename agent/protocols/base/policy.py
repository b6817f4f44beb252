"""A board's signed policy. The authority signs it, a board reads it when it starts, and the
coordinator cannot change it."""

from agent.protocols.base.identity import CLOSE_WINDOW, Policy
from agent.wire import cbor
from agent.wire.envelope import Context, Envelope, EnvelopeError
from agent.wire.messages import MEMBERS_LEAST, MEMBERS_MOST, SLOTS_MOST, check, fields, is_integer, is_slot

POLICY_MOST = 4096  # bytes of a signed policy
EPSILON_TOTAL_MOST = 1 << 40  # millionths, as in agent/protocols/gossip/privacy/budget.py
EPSILON_PERIOD_MOST = 0xFFFFFFFF  # seconds
OFF_GRID_MOST = 86400  # rounds: one a second


def encode(policy: Policy) -> bytes:
    """Return the payload: of what allows no rounds off the grid as before there were such."""
    slots = None if policy.slots is None else [list(slot) for slot in policy.slots]
    fields = [policy.members_least, policy.contributors_least, slots, policy.close, policy.close_most, policy.epsilon]
    fields.append(policy.epsilon_period)
    if policy.off_grid:
        fields.append(policy.off_grid)
    return cbor.encode(dict(enumerate(fields, 1)))


def read_policy(payload: bytes) -> Policy:
    """Return the Policy in `payload`. Raises MessageError."""
    members_least, contributors_least, slots, close, close_most, epsilon, period, off_grid = fields(payload, 7, 1)
    check(is_integer(members_least, MEMBERS_LEAST, MEMBERS_MOST))
    check(is_integer(contributors_least, MEMBERS_LEAST, MEMBERS_MOST))
    check(is_integer(close, 1, MEMBERS_MOST) and is_integer(close_most, 0, CLOSE_WINDOW))
    check(epsilon is None or is_integer(epsilon, 0, EPSILON_TOTAL_MOST))
    check(is_integer(period, 1, EPSILON_PERIOD_MOST))
    check(off_grid is None or is_integer(off_grid, 1, OFF_GRID_MOST))
    if slots is not None:
        check(isinstance(slots, list) and 1 <= len(slots) <= SLOTS_MOST and all(is_slot(slot) for slot in slots))
        check(len({slot[0] for slot in slots}) == len(slots))
        slots = [tuple(slot) for slot in slots]
    return Policy(members_least, contributors_least, slots, close, close_most, epsilon, period, off_grid or 0)


def context(deployment: str, group: str, device: str, serial: int) -> Context:
    """Return what a policy is bound to: it is one device's, and its serial number stands in the
    place of the round."""
    return Context(deployment, "policy", group, 0, serial, "authority", device)


def verify(signed: bytes, authority: bytes, deployment: str, group: str, device: str) -> tuple[int, Policy]:
    """Return (serial, Policy) of a COSE_Sign1 by the `authority`, a 65-byte key, for this device;
    the serial is at least 1.

    Raises EnvelopeError or MessageError with the named reason.
    """
    if len(signed) > POLICY_MOST:
        raise EnvelopeError("malformed")
    envelope = Envelope(signed)
    serial = envelope.round
    if not serial:
        raise EnvelopeError("malformed")
    return serial, read_policy(envelope.verify(authority, context(deployment, group, device, serial)))
