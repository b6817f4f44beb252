"""The shares that a board holds for its cohort, and the one durable record that makes a second answer to a roll call impossible.

Records "share-<epoch>-<member>" are shares of keys, "blind-<epoch>-<batch>-<member>" of blinding, all numbers in hex. What is
acknowledged is here; a share that is lost nevertheless costs an answer, never a secret.

The record "answered" is epoch and round as 64-bit big-endian numbers, then what the roll call keeps with them: written before an
answer leaves, so no roll call of that round or an earlier one is ever answered otherwise.
"""

import struct

from agent.runtime.store import Corrupt, StoreError

_ANSWERED = "answered"


class ShareStock:
    """The shares in `store`. Numbers are ints of at most 64 bits; every method raises StoreError if the flash fails."""

    def __init__(self, store):
        self._store = store

    def keep(self, epoch, batch, member, share):
        """Keep the share (bytes) of the member with index `member`: of blinding in `batch`, or of its key if that is None."""
        self._store.put(_name(epoch, batch, member), share)

    def load(self, epoch, batch, member):
        """Return such a share, or None."""
        return self._store.get(_name(epoch, batch, member))

    def held(self, epoch):
        """Return (bitmap of the members whose key shares are here, {batch: bitmap for blinding}), for `epoch`."""
        keys = 0
        batches = {}  # type: ignore[var-annotated]
        for at, batch, member in self._records():
            if at == epoch and batch is None:
                keys |= 1 << member
            elif at == epoch:
                batches[batch] = batches.get(batch, 0) | 1 << member
        return keys, batches

    def discard(self, epoch, batch):
        """Delete the shares of earlier epochs, and of earlier batches of this one."""
        for at, old, member in self._records():
            if at < epoch or (at == epoch and old is not None and old < batch):
                self._store.delete(_name(at, old, member))

    def answer(self, epoch, round, data):
        """Keep the answer to a round's roll call. Only after this has returned may it leave the board."""
        self._store.put(_ANSWERED, struct.pack(">QQ", epoch, round) + data)

    def answered(self):
        """Return (epoch, round, data) of the last answer, or None.

        Raises StoreError("answered-corrupt") if the record is damaged: the board cannot know what it has answered, and needs a
        new epoch (a new roster, after the operator cleared the store).
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

    def _records(self):
        """List the records as (epoch, batch or None, member)."""
        names = self._store.names("share-") + self._store.names("blind-")
        found = []
        for name in names:
            parts = [int(part, 16) for part in name[6:].split("-")]
            found.append((parts[0], parts[1] if len(parts) == 3 else None, parts[-1]))
        return found


def _name(epoch, batch, member):
    return "share-%x-%x" % (epoch, member) if batch is None else "blind-%x-%x-%x" % (epoch, batch, member)
