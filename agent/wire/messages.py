"""The payloads inside the envelopes: one function to make each, one to read it (CDDL in docs/protocol.md).

Each reader takes bytes that were authenticated, and still trusts nothing: MessageError("malformed") unless every field is there,
of its type and in its range, and no other field is.
"""

from agent.wire import cbor, topics

MEMBERS_LEAST = 2
MEMBERS_MOST = 64
SLOTS_MOST = 48
COMPLETE = 0
INCOMPLETE = 1
INVALID = 2


class MessageError(Exception):
    """A payload was refused. args[0] is the named reason "malformed"."""


def _check(condition):
    if not condition:
        raise MessageError("malformed")


def _fields(payload, count):
    try:
        fields = cbor.decode(payload)
    except cbor.CborError:
        raise MessageError("malformed")
    _check(isinstance(fields, dict) and len(fields) == count and all(key in fields for key in range(1, count + 1)))
    return [fields[key] for key in range(1, count + 1)]


def _is_integer(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_bytes(value, size):
    return isinstance(value, bytes) and len(value) == size


def _is_slot(slot):
    if not isinstance(slot, list) or len(slot) != 3 or not topics.valid_name(slot[0]):
        return False
    low, high = slot[1], slot[2]
    return _is_integer(low, -(1 << 48), 1 << 48) and _is_integer(high, -(1 << 48), 1 << 48) and low <= high


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
    protocol, parameters, slots, coordinator, members = _fields(payload, 5)
    _check(topics.valid_name(protocol) and topics.valid_name(parameters) and _is_bytes(coordinator, 65))
    _check(isinstance(slots, list) and 1 <= len(slots) <= SLOTS_MOST and all(_is_slot(slot) for slot in slots))
    _check(len({slot[0] for slot in slots}) == len(slots))
    _check(isinstance(members, list) and MEMBERS_LEAST <= len(members) <= MEMBERS_MOST)
    previous = ""
    for member in members:
        _check(
            isinstance(member, list)
            and len(member) == 2
            and topics.valid_device(member[0])
            and _is_bytes(member[1], 65)
        )
        _check(member[0] > previous)
        previous = member[0]
    return Roster(protocol, parameters, [tuple(slot) for slot in slots], coordinator, [tuple(m) for m in members])


def opening(epoch, round, roster_digest, tags):
    """Make the message that opens a round: `tags` are the members' 16-byte tags in roster order."""
    return cbor.encode({1: epoch, 2: round, 3: roster_digest, 4: b"".join(tags)})


def read_opening(payload):
    """Return (epoch, round, roster digest, tags one after the other). Not authentic before a tag is checked."""
    epoch, round, digest, tags = _fields(payload, 4)
    _check(_is_integer(epoch, 1, 0xFFFFFFFF) and _is_integer(round, 0, 0xFFFFFFFF) and _is_bytes(digest, 32))
    _check(isinstance(tags, bytes) and len(tags) % 16 == 0 and len(tags) <= 16 * MEMBERS_MOST)
    return epoch, round, digest, tags


def contribution(ciphertext, horizon):
    """Make a board's contribution: the ciphertext (2|N|/8 bytes), and the last round that it has a mask for."""
    return cbor.encode({1: ciphertext, 2: horizon})


def read_contribution(payload, size):
    """Return (ciphertext, horizon); `size` is 2|N|/8."""
    ciphertext, horizon = _fields(payload, 2)
    _check(_is_bytes(ciphertext, size) and _is_integer(horizon, 0, 0xFFFFFFFF))
    return ciphertext, horizon


def receipt(contribution_digest):
    """Make the receipt of a contribution: the SHA-256 of its whole envelope."""
    return cbor.encode({1: contribution_digest})


def read_receipt(payload):
    """Return the contribution's digest."""
    (digest,) = _fields(payload, 1)
    _check(_is_bytes(digest, 32))
    return digest


def result(roster_digest, status, missing, sealed_sums):
    """Make a round's result: COMPLETE with the sums sealed for the coordinator's clients, else None in their place."""
    return cbor.encode({1: roster_digest, 2: status, 3: missing, 4: sealed_sums})


def read_result(payload):
    """Return (roster digest, status, names of the missing, sealed sums or None)."""
    digest, status, missing, sealed = _fields(payload, 4)
    _check(_is_bytes(digest, 32) and _is_integer(status, COMPLETE, INVALID))
    _check(
        isinstance(missing, list)
        and len(missing) <= MEMBERS_MOST
        and all(topics.valid_device(name) for name in missing)
    )
    _check((status == INCOMPLETE) == (missing != []))
    _check(isinstance(sealed, bytes) if status == COMPLETE else sealed is None)
    return digest, status, missing, sealed


def sums(values):
    """Make the list of a round's sums, integers in slot order."""
    return cbor.encode({1: values})


def read_sums(payload):
    """Return the list of sums."""
    (values,) = _fields(payload, 1)
    _check(isinstance(values, list) and 1 <= len(values) <= SLOTS_MOST)
    _check(all(_is_integer(v, -(1 << 63), (1 << 63) - 1) for v in values))
    return values


def nothing():
    """Make the payload of a message that says all in its binding."""
    return cbor.encode({})


def read_nothing(payload):
    """Check that `payload` is that of nothing()."""
    _fields(payload, 0)


def diagnostics(phase, done, total, masks, heap_free, refused):
    """Make a board's diagnostics: no readings. `refused` maps a named reason to a count; only the first 24 are sent."""
    return cbor.encode(
        {1: phase, 2: done, 3: total, 4: masks, 5: heap_free, 6: {k: refused[k] for k in sorted(refused)[:24]}}
    )


def read_diagnostics(payload):
    """Return (phase, done, total, masks, heap_free, refused)."""
    phase, done, total, masks, heap_free, refused = _fields(payload, 6)
    _check(topics.valid_name(phase) and all(_is_integer(v, 0, 0xFFFFFFFF) for v in (done, total, masks, heap_free)))
    _check(isinstance(refused, dict) and len(refused) <= 24)
    _check(all(topics.valid_name(k) and _is_integer(v, 0, 0xFFFFFFFF) for k, v in refused.items()))
    return phase, done, total, masks, heap_free, refused


def presence(online):
    """Make a birth or last-will message."""
    return cbor.encode({1: bool(online)})


def read_presence(payload):
    """Return whether the sender is online."""
    (online,) = _fields(payload, 1)
    _check(isinstance(online, bool))
    return online
