"""Records of shares on the flash: some shares each, one a slot, each with a check of its own and
its member's index, behind two bytes with the length of all of them."""

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.flash import Records

    Batch = int | None  # of blinding; None for the shares of keys
    Shelf = tuple[int, bytearray]  # length of a share, the members in the order of the slots
    Shelves = dict[Batch, Shelf]

# Shares a record: 6 of 641 bytes, or 7 of 512, the longest there are, and what is with them, fill a
# block.
KEYS_EACH = 6
BLINDINGS_EACH = 7

CHECK = 8
HEAD = 2
FREE = 255


def read_slot(store: "Records", name: str, at: int, size: int) -> bytes | None:
    """Return the bytes of the slot at `at` in a record, for a share of `size` bytes: a check, the
    member, the share; None if they do not fit."""
    part = store.read_part(name, at, CHECK + 1 + size)
    if not part or len(part) != CHECK + 1 + size or part[:CHECK] != check(name, part[CHECK:]):
        return None
    return part


def each(batch: "Batch") -> int:
    """Return how many shares are in a record."""
    return KEYS_EACH if batch is None else BLINDINGS_EACH


def place(of: str, batch: "Batch", slot: int, size: int) -> tuple[str, int]:
    """Return (record name, offset of the slot) for slot number `slot` of shares of `size` bytes."""
    number, index = divmod(slot, each(batch))
    name = "share-%s-%x" % (of, number) if batch is None else "blind-%s-%x-%x" % (of, batch, number)
    return name, HEAD + index * (CHECK + 1 + size)


def check(name: str, part: bytes) -> bytes:
    """Return the 8 bytes that tell whether a slot's member and share, `part`, have rotted."""
    digest = hashlib.sha256(name.encode())
    digest.update(part)
    return digest.digest()[:CHECK]
