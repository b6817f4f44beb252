"""The payloads inside the envelopes that a board makes and reads (CDDL in
docs/protocol/sums.md; the other half in coordination.py).

Each reader takes bytes that were authenticated, and still trusts nothing: MessageError("malformed")
unless every field is there, of its type and in its range, and no other field is.
"""

from agent.wire import cbor, topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Slot = tuple[str, int, int]  # name, low, high
COUNTS_MOST = 96  # names in one map of counters; no protocol has as many reasons to refuse
MEMBERS_LEAST = 2
MEMBERS_MOST = 64
SLOTS_MOST = 48
UNITS_MOST = 16  # cohorts have four members or more
LEAD_MOST = 3600  # seconds from an opening to the instant that it names
# In the place of an instant: the round is off the grid, and readings are taken at once.
OFF_GRID = -1
# The greatest bitmap: bit i stands for the member i of the roster.
EVERYONE = (1 << MEMBERS_MOST) - 1


class MessageError(Exception):
    """A payload was refused. args[0] is the named reason: "malformed", or "oversized"."""


def check(condition: object) -> None:
    """Raise MessageError("malformed") unless `condition` holds."""
    if not condition:
        raise MessageError("malformed")


def fields(payload: bytes, count: int, optional: int = 0) -> "list[Any]":
    """Return the values of a CBOR map whose keys are just 1 to `count`, in that order: each is any
    object of cbor.py, until its reader has checked it. `optional` more may follow, which are not
    null: None for each that is not there."""
    try:
        found = cbor.decode(payload)
    except cbor.CborError:
        raise MessageError("malformed")
    check(isinstance(found, dict) and count <= len(found) <= count + optional)
    check(all(key in found and (key <= count or found[key] is not None) for key in range(1, len(found) + 1)))
    return [found.get(key) for key in range(1, count + optional + 1)]


def is_integer(value: object, low: int, high: int) -> bool:
    """Tell whether `value` is an integer, and no boolean, from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_bytes(value: object, size: int) -> bool:
    """Tell whether `value` is a byte string of `size` bytes."""
    return isinstance(value, bytes) and len(value) == size


def is_slot(slot: object) -> bool:
    """Tell whether `slot` is [name, low, high], as it stands in a roster or a policy."""
    if not isinstance(slot, list) or len(slot) != 3 or not topics.valid_name(slot[0]):
        return False
    low, high = slot[1], slot[2]
    return is_integer(low, -(1 << 48), 1 << 48) and is_integer(high, -(1 << 48), 1 << 48) and low <= high


def _is_tags(tags: object) -> bool:
    return isinstance(tags, bytes) and len(tags) % 16 == 0 and len(tags) <= 16 * MEMBERS_MOST


def _is_sets(sets: object) -> bool:
    return isinstance(sets, bytes) and 32 <= len(sets) <= 32 * UNITS_MOST and len(sets) % 32 == 0


def digest_of(sets: bytes, unit: int) -> bytes:
    """Return the digest of a unit's active set, of those in an opening, a roll call or a result:
    32 bytes, zeros for a unit without one; fewer where there is no such unit."""
    return sets[32 * unit : 32 * unit + 32]


def read_opening(payload: bytes) -> tuple[int, int, bytes, bytes, int, bytes, int, int]:
    """Return (epoch, round, digests of the units' active sets, tags, bitmap of the members that are
    known dead, 8 bytes a member, time, instant), each one after the other: the last epoch and round
    whose published sum has the member's reading, or zeros; Unix seconds; the instant at which
    readings are to be taken, Unix seconds, at most LEAD_MOST after that time; 0 or OFF_GRID: at
    once.

    Not authentic before a tag is checked.
    """
    epoch, round, sets, tags, absent, counted, time, instant = fields(payload, 7, 1)
    check(is_integer(epoch, 1, 0xFFFFFFFF) and is_integer(round, 0, 0xFFFFFFFF) and _is_sets(sets))
    check(_is_tags(tags) and is_integer(absent, 0, EVERYONE) and is_bytes(counted, len(tags) // 2))
    check(is_integer(time, 0, 0xFFFFFFFF))
    most = min(time + LEAD_MOST, 0xFFFFFFFF)
    check(instant is None or instant == OFF_GRID or is_integer(instant, max(time, 1), most))
    return epoch, round, sets, tags, absent, counted, time, instant or 0


def read_roll(payload: bytes) -> tuple[bytes, int, bytes]:
    """Return (digests of the units' active sets, bitmap of the members present, tags), the digests
    and the tags one after the other."""
    sets, present, tags = fields(payload, 3)
    check(_is_sets(sets) and is_integer(present, 0, EVERYONE) and _is_tags(tags))
    return sets, present, tags


def contribution(ciphertext: bytes, masks_until: int, held: int, holds: int) -> bytes:
    """Make a board's contribution: the ciphertext (2|N|/8 bytes), the last round that the board can
    take part in, the bitmap of the members that hold its blinding shares of this round, as they
    have told it, and that of the members whose blinding shares of this round it holds."""
    return cbor.encode({1: ciphertext, 2: masks_until, 3: held, 4: holds})


def ready(held: int, holds: int) -> bytes:
    """Make the message that says from which members on a board can be recovered: the bitmap of
    those that hold its key shares, and that of those whose key shares it holds."""
    return cbor.encode({1: held, 2: holds})


def answer(blinding: bytes, recovery: bytes | None) -> bytes:
    """Make the answer to a roll call: the summed blinding shares (bytes), and the recovery share
    (2|N|/8 bytes) or None."""
    return cbor.encode({1: blinding, 2: recovery})


def share(data: bytes) -> bytes:
    """Make the message from member to member that carries a key share, or the blinding shares of a
    batch (bytes)."""
    return cbor.encode({1: data})


def read_share(payload: bytes, size: int) -> bytes:
    """Return the `size` bytes of a share()."""
    data: bytes
    (data,) = fields(payload, 1)
    check(is_bytes(data, size))
    return data


def read_receipt(payload: bytes) -> bytes:
    """Return the contribution's digest."""
    digest: bytes
    (digest,) = fields(payload, 1)
    check(is_bytes(digest, 32))
    return digest


def nothing() -> bytes:
    """Make the payload of a message that says all in its binding."""
    return cbor.encode({})


def read_nothing(payload: bytes) -> None:
    """Check that `payload` is that of nothing()."""
    fields(payload, 0)


def diagnostics(
    phase: str,
    done: int,
    total: int,
    masks: int,
    heap_free: int,
    refused: dict[str, int],
    health: "Sequence[object]" = (),
) -> bytes:
    """Make a board's diagnostics: no readings. `refused` maps a named reason to a count.

    `health` are the values of coordination.HEALTH in order, None for what the board does not know.
    """
    found: dict[int, object] = {1: phase, 2: done, 3: total, 4: masks, 5: heap_free, 6: _counts(refused)}
    for key, value in enumerate(health, 7):
        if value is not None:
            found[key] = _counts(value) if isinstance(value, dict) else value
    return cbor.encode(found)


def _counts(counts: "dict[str, Any]") -> "dict[str, Any]":
    """Bound counters, and maps of such: of too many, the last by name are told as one, "other"."""
    names = sorted(counts)
    told = {}
    for name in names if len(names) <= COUNTS_MOST else names[: COUNTS_MOST - 1]:
        value = counts[name]
        told[name] = _counts(value) if isinstance(value, dict) else min(value, 0xFFFFFFFF)
    if len(told) < len(names):
        told["other"] = min(sum([counts[name] for name in names[COUNTS_MOST - 1 :]]), 0xFFFFFFFF)
    return told


def presence(online: bool) -> bytes:
    """Make a birth or last-will message."""
    return cbor.encode({1: bool(online)})
