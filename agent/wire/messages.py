"""The payloads inside the envelopes that a board makes and reads (CDDL in docs/protocol.md; the other half in coordination.py).

Each reader takes bytes that were authenticated, and still trusts nothing: MessageError("malformed") unless every field is there,
of its type and in its range, and no other field is.
"""

from agent.wire import cbor, topics

MEMBERS_LEAST = 2
MEMBERS_MOST = 64
SLOTS_MOST = 48


class MessageError(Exception):
    """A payload was refused. args[0] is the named reason "malformed"."""


def check(condition):
    """Raise MessageError("malformed") unless `condition` holds."""
    if not condition:
        raise MessageError("malformed")


def fields(payload, count):
    """Return the values of a CBOR map whose keys are just 1 to `count`, in that order."""
    try:
        found = cbor.decode(payload)
    except cbor.CborError:
        raise MessageError("malformed")
    check(isinstance(found, dict) and len(found) == count and all(key in found for key in range(1, count + 1)))
    return [found[key] for key in range(1, count + 1)]


def is_integer(value, low, high):
    """Tell whether `value` is an integer, and no boolean, from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_bytes(value, size):
    """Tell whether `value` is a byte string of `size` bytes."""
    return isinstance(value, bytes) and len(value) == size


def _is_slot(slot):
    if not isinstance(slot, list) or len(slot) != 3 or not topics.valid_name(slot[0]):
        return False
    low, high = slot[1], slot[2]
    return is_integer(low, -(1 << 48), 1 << 48) and is_integer(high, -(1 << 48), 1 << 48) and low <= high


class Roster:
    """Who is a member, with which key, under which parameters.

    `protocol` and `parameters` are names, `slots` a list of (name, low, high), `coordinator` a 65-byte key, `members` a list of
    (device, 65-byte key) in strictly growing order of device.
    """

    def __init__(self, protocol, parameters, slots, coordinator, members):
        self.protocol = protocol
        self.parameters = parameters
        self.slots = slots
        self.coordinator = coordinator
        self.members = members

    def names(self):
        """Return the members' names in roster order."""
        return [name for name, _ in self.members]

    def encode(self):
        """Return the payload."""
        slots = [list(slot) for slot in self.slots]
        members = [list(member) for member in self.members]
        return cbor.encode({1: self.protocol, 2: self.parameters, 3: slots, 4: self.coordinator, 5: members})


def read_roster(payload):
    """Return the Roster in `payload`."""
    protocol, parameters, slots, coordinator, members = fields(payload, 5)
    check(topics.valid_name(protocol) and topics.valid_name(parameters) and is_bytes(coordinator, 65))
    check(isinstance(slots, list) and 1 <= len(slots) <= SLOTS_MOST and all(_is_slot(slot) for slot in slots))
    check(len({slot[0] for slot in slots}) == len(slots))
    check(isinstance(members, list) and MEMBERS_LEAST <= len(members) <= MEMBERS_MOST)
    previous = ""
    for member in members:
        check(
            isinstance(member, list) and len(member) == 2 and topics.valid_device(member[0]) and is_bytes(member[1], 65)
        )
        check(member[0] > previous)
        previous = member[0]
    return Roster(protocol, parameters, [tuple(slot) for slot in slots], coordinator, [tuple(m) for m in members])


def read_opening(payload):
    """Return (epoch, round, roster digest, tags one after the other). Not authentic before a tag is checked."""
    epoch, round, digest, tags = fields(payload, 4)
    check(is_integer(epoch, 1, 0xFFFFFFFF) and is_integer(round, 0, 0xFFFFFFFF) and is_bytes(digest, 32))
    check(isinstance(tags, bytes) and len(tags) % 16 == 0 and len(tags) <= 16 * MEMBERS_MOST)
    return epoch, round, digest, tags


def contribution(ciphertext, horizon):
    """Make a board's contribution: the ciphertext (2|N|/8 bytes), and the last round that it has a mask for."""
    return cbor.encode({1: ciphertext, 2: horizon})


def read_receipt(payload):
    """Return the contribution's digest."""
    (digest,) = fields(payload, 1)
    check(is_bytes(digest, 32))
    return digest


def nothing():
    """Make the payload of a message that says all in its binding."""
    return cbor.encode({})


def diagnostics(phase, done, total, masks, heap_free, refused):
    """Make a board's diagnostics: no readings. `refused` maps a named reason to a count; only the first 24 are sent."""
    return cbor.encode(
        {1: phase, 2: done, 3: total, 4: masks, 5: heap_free, 6: {k: refused[k] for k in sorted(refused)[:24]}}
    )


def presence(online):
    """Make a birth or last-will message."""
    return cbor.encode({1: bool(online)})
