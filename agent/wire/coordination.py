"""The other half of messages.py: the payloads that only the coordinator makes, and those that only
it and its clients read.

A board never imports this module: it is a module of its own for the sake of the board's heap.
"""

from agent.wire import cbor, topics
from agent.wire.messages import (
    COUNTS_MOST,
    EVERYONE,
    MEMBERS_MOST,
    OFF_GRID,
    SLOTS_MOST,
    UNITS_MOST,
    MessageError,
    check,
    fields,
    is_bytes,
    is_integer,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any
COMPLETE = 0
INCOMPLETE = 1
INVALID = 2

# What a board may tell of its health beside what it must: bytes, seconds, dBm and counts; `reset`
# is an index into RESETS, `link_ends` maps reasons to counts, `time` is Unix seconds. Counts are
# since the last start. `counters` has those of a board's parts, by part and name; `trouble` is why
# its meter has no reading.
HEALTH = (
    "uptime_s",
    "time",
    "version",
    "reset",
    "rssi_dbm",
    "heap_low",
    "heap_block",
    "flash_puts",
    "flash_bytes",
    "links",
    "joins",
    "link_ends",
    "counters",
    "trouble",
)
PARTS_MOST = 8
DIAGNOSTICS_MOST = 8192  # bytes
RESETS = ("unknown", "power-on", "hard", "watchdog", "deep-sleep", "soft")


def counted(epoch: int, round: int) -> bytes:
    """Make one member's 8 bytes of an opening's `counted`: the last round whose published sum has
    its reading; (0, 0) for none."""
    return epoch.to_bytes(4, "big") + round.to_bytes(4, "big")


def opening(
    epoch: int,
    round: int,
    sets: bytes,
    tags: "Iterable[bytes]",
    absent: int,
    counted: "Iterable[bytes]",
    time: int,
    instant: int = 0,
) -> bytes:
    """Make the message that opens a round: `sets` are the digests of the units' active sets, 32
    bytes each, zeros for a unit without one; `tags` are the members' 16-byte tags in roster order,
    zeros for who is in no set; `absent` is the bitmap of those that are known dead, `counted` the
    members' 8 bytes each in roster order, `time` in Unix seconds, `instant` the Unix seconds at
    which readings are to be taken, 0 for at once, OFF_GRID for at once and off the grid."""
    found = {1: epoch, 2: round, 3: sets, 4: b"".join(tags), 5: absent, 6: b"".join(counted), 7: time}
    if instant:
        found[8] = instant
    return cbor.encode(found)


def roll(sets: bytes, present: int, tags: "Iterable[bytes]") -> bytes:
    """Make the roll call that closes a round: `sets` and `tags` as an opening's, `present` is the
    bitmap of the members whose contributions are in."""
    return cbor.encode({1: sets, 2: present, 3: b"".join(tags)})


def read_ready(payload: bytes) -> tuple[int, int]:
    """Return (bitmap of the members that hold the sender's key shares, bitmap of those whose key
    shares the sender holds)."""
    held, holds = fields(payload, 2)
    check(is_integer(held, 0, EVERYONE) and is_integer(holds, 0, EVERYONE))
    return held, holds


def read_contribution(payload: bytes, size: int) -> tuple[bytes, int, int, int]:
    """Return (ciphertext, masks_until, bitmap of the holders of the sender's blinding shares,
    bitmap of the members whose blinding shares the sender holds); `size` is 2|N|/8."""
    ciphertext, masks_until, held, holds = fields(payload, 4)
    check(is_bytes(ciphertext, size) and is_integer(masks_until, 0, 0xFFFFFFFF))
    check(is_integer(held, 0, EVERYONE) and is_integer(holds, 0, EVERYONE))
    return ciphertext, masks_until, held, holds


def read_answer(payload: bytes, blinding_size: int, recovery_size: int) -> tuple[bytes, bytes | None]:
    """Return (summed blinding shares, recovery share or None), as bytes of the sizes given."""
    blinding, recovery = fields(payload, 2)
    check(is_bytes(blinding, blinding_size) and (recovery is None or is_bytes(recovery, recovery_size)))
    return blinding, recovery


def receipt(contribution_digest: bytes) -> bytes:
    """Make the receipt of a contribution: the SHA-256 of its whole envelope."""
    return cbor.encode({1: contribution_digest})


def result(
    roster_digest: bytes, status: int, missing: list[str], sealed_sums: bytes | None, sets: bytes, instant: int = 0
) -> bytes:
    """Make a round's result: COMPLETE with the sums sealed for the coordinator's clients, else None
    in their place; `sets` and `instant` as an opening's."""
    found = {1: roster_digest, 2: status, 3: missing, 4: sealed_sums, 5: sets}
    if instant:
        found[6] = instant
    return cbor.encode(found)


def read_result(payload: bytes) -> tuple[bytes, int, list[str], bytes | None, bytes, int]:
    """Return (roster digest, status, names of the missing, sealed sums or None, digests of the
    units' active sets, instant, 0 or OFF_GRID)."""
    digest, status, missing, sealed, sets, instant = fields(payload, 5, 1)
    check(instant is None or instant == OFF_GRID or is_integer(instant, 1, 0xFFFFFFFF))
    check(is_bytes(digest, 32) and is_integer(status, COMPLETE, INVALID))
    check(isinstance(sets, bytes) and 32 <= len(sets) <= 32 * UNITS_MOST and len(sets) % 32 == 0)
    check(
        isinstance(missing, list)
        and len(missing) <= MEMBERS_MOST
        and all(topics.valid_device(name) for name in missing)
    )
    check(status != INCOMPLETE or missing != [])
    check(isinstance(sealed, bytes) if status == COMPLETE else sealed is None)
    return digest, status, missing, sealed, sets, instant or 0


def sums(values: list[int]) -> bytes:
    """Make the list of a round's sums, integers in slot order."""
    return cbor.encode({1: values})


def read_sums(payload: bytes) -> list[int]:
    """Return the list of sums."""
    values: list[int]
    (values,) = fields(payload, 1)
    check(isinstance(values, list) and 1 <= len(values) <= SLOTS_MOST)
    check(all(is_integer(v, -(1 << 63), (1 << 63) - 1) for v in values))
    return values


def read_diagnostics(payload: bytes) -> "tuple[str, int, int, int, int, dict[str, int], dict[str, Any]]":
    """Return (phase, done, total, masks, heap_free, refused, health); `health` is a dictionary of
    those of HEALTH that are known.

    Nobody has authenticated it: besides what the other readers raise, MessageError("oversized").
    """
    if len(payload) > DIAGNOSTICS_MOST:
        raise MessageError("oversized")
    try:
        found = cbor.decode(payload)
    except cbor.CborError:
        raise MessageError("malformed")
    check(isinstance(found, dict) and all(key in found for key in range(1, 7)))
    phase, done, total, masks, heap_free, refused = [found.pop(key) for key in range(1, 7)]
    check(topics.valid_name(phase) and all(is_integer(v, 0, 0xFFFFFFFF) for v in (done, total, masks, heap_free)))
    check(_are_counts(refused))
    check(all(is_integer(key, 7, 6 + len(HEALTH)) for key in found))
    health = {HEALTH[key - 7]: found[key] for key in found}
    for name, value in health.items():
        check(_is_health(name, value))
    return phase, done, total, masks, heap_free, refused, health


def _is_health(name: str, value: "Any") -> bool:
    """Tell whether that may be the value of one of HEALTH."""
    if name == "trouble":
        return topics.valid_name(value)
    if name == "link_ends":
        return _are_counts(value)
    if name == "counters":
        parts = isinstance(value, dict) and len(value) <= PARTS_MOST
        return parts and all(topics.valid_name(part) and _are_counts(value[part]) for part in value)
    if name == "rssi_dbm":
        return is_integer(value, -127, -1)
    return is_integer(value, 0, len(RESETS) - 1 if name == "reset" else 0xFFFFFFFF)


def _are_counts(counts: object) -> bool:
    return (
        isinstance(counts, dict)
        and len(counts) <= COUNTS_MOST
        and all(topics.valid_name(k) and is_integer(v, 0, 0xFFFFFFFF) for k, v in counts.items())
    )


def read_presence(payload: bytes) -> bool:
    """Return whether the sender is online."""
    online: bool
    (online,) = fields(payload, 1)
    check(isinstance(online, bool))
    return online
