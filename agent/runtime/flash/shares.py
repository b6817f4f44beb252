"""The shares that a board holds for its cohort, and the one durable record that makes a second
answer to a roll call impossible.

Records "share-<set>-<number>" hold shares of keys, "blind-<set>-<batch>-<number>" of blinding, all
numbers in hex, of one active set at a time: those of any other count as absent. There are as many
shares in each as fill a block of flash, for a file of its own would take a whole one. A record is
the length of a share (2 bytes), then slots: the first 8 bytes of SHA-256(name || rest of the slot),
the member's index (1 byte), the share. So one share is read and checked without the others beside
it. A record without a share that fits is forgotten.

What is acknowledged is here; a share that is lost nevertheless costs an answer, never a secret.

The record "answered" is epoch and round as 64-bit big-endian numbers, then what the roll call keeps
with them: written before an answer leaves, so no roll call of that round or an earlier one is ever
answered otherwise.
"""

import hashlib
import struct

from agent.runtime.flash.masks import set_name
from agent.runtime.flash.store import Corrupt, StoreError

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

_ANSWERED = "answered"
_CHECK = 8
_HEAD = 2
_FREE = 255


class ShareStock:
    """The shares in `store`. Numbers are ints of at most 64 bits, a member's index is 0 to 63;
    every method raises StoreError if the flash fails. One ShareStock for a store at a time: it
    keeps in RAM where each share is, a byte a share.
    """

    def __init__(self, store: "Records") -> None:
        self._store = store
        self._set = ""
        self._shelves: "Shelves" = {}

    def use(self, set_digest: bytes) -> None:
        """Shares are those of this active set from now on; all others are deleted. The flash is
        read once."""
        self._set = set_name(set_digest)
        self._shelves = {}
        for kind in ("share-", "blind-"):
            for name in self._store.names(kind):
                if name[6:].split("-")[0] != self._set:
                    self._store.delete(name)
        self._look()

    def keep(self, batch: "Batch", member: int, share: bytes) -> None:
        """Keep the share (bytes) of the member with index `member`: of blinding in `batch`, or of
        its key if that is None.

        All shares of a batch, and of the keys, are equally long: ValueError. Raises Full where only
        vital records have room.
        """
        self._store.reserve(len(share))
        size, members = self._shelves.get(batch) or (len(share), bytearray())
        if len(share) != size:
            raise ValueError("share")
        slot = members.find(bytes([member]))
        if slot < 0:
            slot = members.find(bytes([_FREE]))
        if slot < 0:
            slot = len(members)
        name, at = _place(self._set, batch, slot, size)
        part = bytes([member]) + share
        part = _check(name, part) + part
        if at == _HEAD:
            at, part = 0, struct.pack(">H", size) + part
        self._store.patch(name, at, part)
        if slot == len(members):
            members.append(member)
        members[slot] = member
        self._shelves[batch] = (size, members)

    def load(self, batch: "Batch", member: int) -> bytes | None:
        """Return such a share, or None. One that rotted is None, and no longer held."""
        size, members = self._shelves.get(batch) or (0, bytearray())
        slot = members.find(bytes([member]))
        if slot < 0:
            return None
        name, at = _place(self._set, batch, slot, size)
        part = self._read_slot(name, at, size)
        if part is None:
            members[slot] = _FREE
            return None
        return part[_CHECK + 1 :]

    def held(self) -> tuple[int, dict[int, int]]:
        """Return (bitmap of the members whose key shares are here, {batch: bitmap for
        blinding})."""
        keys = 0
        batches: dict[int, int] = {}
        for batch in self._shelves:
            bitmap = 0
            for member in self._shelves[batch][1]:
                bitmap |= 1 << member if member != _FREE else 0
            if bitmap and batch is not None:
                batches[batch] = bitmap
            keys |= bitmap if batch is None else 0
        return keys, batches

    def discard(self, batch: int) -> None:
        """Delete the shares of earlier batches."""
        for old in list(self._shelves):
            if old is not None and old < batch:
                for slot in range(0, len(self._shelves[old][1]), _each(old)):
                    self._store.delete(_place(self._set, old, slot, 0)[0])
                del self._shelves[old]

    def answer(self, epoch: int, round: int, data: bytes) -> None:
        """Keep the answer to a round's roll call. Only after this has returned may it leave the
        board."""
        self._store.put(_ANSWERED, struct.pack(">QQ", epoch, round) + data)

    def answered(self) -> tuple[int, int, bytes] | None:
        """Return (epoch, round, data) of the last answer, or None.

        Raises StoreError("answered-corrupt") if the record is damaged: the board cannot know what
        it has answered, and needs a new epoch (a new roster, after the operator cleared the store).
        """
        try:
            record = self._store.read(_ANSWERED)
        except Corrupt:
            record = b""
        if record is None:
            return None
        if len(record) < 16:
            raise StoreError("answered-corrupt")
        epoch, round = struct.unpack(">QQ", record[:16])
        return epoch, round, record[16:]

    # -- where the shares are

    def _look(self) -> None:
        shelves = self._shelves
        for name in self._store.names("share-%s-" % self._set) + self._store.names("blind-%s-" % self._set):
            parts = [int(part, 16) for part in name[6:].split("-")[1:]]
            batch = parts[0] if len(parts) == 2 else None
            size, found = self._read_members(name, batch, parts[-1] * _each(batch))
            first, members = shelves.get(batch, (size, bytearray()))
            if first != size or found.count(bytes([_FREE])) == len(found):
                self._store.delete(name)
                continue
            start = parts[-1] * _each(batch)
            while len(members) < start + len(found):
                members.append(_FREE)
            members[start : start + len(found)] = found
            shelves[batch] = (size, members)

    def _read_members(self, name: str, batch: "Batch", start: int) -> "Shelf":
        """Return (length of a share, the members in the slots from number `start` on) of one
        record."""
        head = self._store.read_part(name, 0, _HEAD)
        size = struct.unpack(">H", head)[0] if head and len(head) == _HEAD else 0
        members = bytearray()
        for slot in range(start, start + _each(batch)):
            part = self._read_slot(name, _place(self._set, batch, slot, size)[1], size)
            members.append(_FREE if part is None else part[_CHECK])
        return size, members

    def _read_slot(self, name: str, at: int, size: int) -> bytes | None:
        """Return a slot's bytes, or None if they do not fit."""
        part = self._store.read_part(name, at, _CHECK + 1 + size)
        if not part or len(part) != _CHECK + 1 + size or part[:_CHECK] != _check(name, part[_CHECK:]):
            return None
        return part


def _each(batch: "Batch") -> int:
    return KEYS_EACH if batch is None else BLINDINGS_EACH


def _place(of: str, batch: "Batch", slot: int, size: int) -> tuple[str, int]:
    """Return (record name, offset of the slot) for slot number `slot` of shares of `size` bytes."""
    number, index = divmod(slot, _each(batch))
    name = "share-%s-%x" % (of, number) if batch is None else "blind-%s-%x-%x" % (of, batch, number)
    return name, _HEAD + index * (_CHECK + 1 + size)


def _check(name: str, part: bytes) -> bytes:
    digest = hashlib.sha256(name.encode())
    digest.update(part)
    return digest.digest()[:_CHECK]
