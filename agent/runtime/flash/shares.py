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

import struct

from agent.runtime.flash.masks import read_vital, set_name
from agent.runtime.flash.slots import CHECK, FREE, HEAD, check, each, place, read_slot
from agent.runtime.flash.store import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.flash import Records
    from agent.runtime.flash.slots import Batch, Shelves

_ANSWERED = "answered"


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
        from agent.runtime.flash.found import find  # once a set

        self._shelves = find(self._store, self._set)

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
            slot = members.find(bytes([FREE]))
        if slot < 0:
            slot = len(members)
        name, at = place(self._set, batch, slot, size)
        part = bytes([member]) + share
        part = check(name, part) + part
        if at == HEAD:
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
        name, at = place(self._set, batch, slot, size)
        part = read_slot(self._store, name, at, size)
        if part is None:
            members[slot] = FREE
            return None
        return part[CHECK + 1 :]

    def held(self) -> tuple[int, dict[int, int]]:
        """Return (bitmap of the members whose key shares are here, {batch: bitmap for
        blinding})."""
        keys = 0
        batches: dict[int, int] = {}
        for batch in self._shelves:
            bitmap = 0
            for member in self._shelves[batch][1]:
                bitmap |= 1 << member if member != FREE else 0
            if bitmap and batch is not None:
                batches[batch] = bitmap
            keys |= bitmap if batch is None else 0
        return keys, batches

    def discard(self, batch: int) -> None:
        """Delete the shares of earlier batches."""
        for old in list(self._shelves):
            if old is not None and old < batch:
                for slot in range(0, len(self._shelves[old][1]), each(old)):
                    self._store.delete(place(self._set, old, slot, 0)[0])
                del self._shelves[old]

    def answer(self, epoch: int, round: int, data: bytes) -> None:
        """Keep the answer to a round's roll call. Only after this has returned may it leave the
        board."""
        self._store.put(_ANSWERED, struct.pack(">QQ", epoch, round) + data)

    def answered(self) -> tuple[int, int, bytes] | None:
        """Return (epoch, round, data) of the last answer, or None.

        Raises StoreError("answered-corrupt") if the record is damaged or cannot be read: the board
        cannot know what it has answered, and needs a new epoch (a new roster, after the operator
        cleared the store).
        """
        record = read_vital(self._store, _ANSWERED)
        if record is None or record[:16] == bytes(16):  # of the day when the key pair was made
            return None
        if len(record) < 16:
            raise StoreError("answered-corrupt")
        epoch, round = struct.unpack(">QQ", record[:16])
        return epoch, round, record[16:]
