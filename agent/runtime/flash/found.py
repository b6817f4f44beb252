"""Where the shares of an active set are on the flash: it is read once a set, and once a start, and
shares of other sets are deleted. A part of shares.py that a board forgets in between
(agent/runtime/unload.py)."""

import struct

from agent.runtime.flash.slots import CHECK, FREE, HEAD, each, place, read_slot
from agent.runtime.flash.store import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.flash import Records
    from agent.runtime.flash.slots import Batch, Shelf, Shelves


def find(store: "Records", of: str) -> "Shelves":
    """Return the shelves of the set that goes by the name `of`. Raises StoreError."""
    shelves: "Shelves" = {}
    for name in store.names("share-") + store.names("blind-"):
        parts = name[6:].split("-")
        if parts[0] != of:
            store.delete(name)
            continue
        batch = int(parts[1], 16) if len(parts) == 3 else None
        start = int(parts[-1], 16) * each(batch)
        size, found = _read_members(store, of, name, batch, start)
        first, members = shelves.get(batch, (size, bytearray()))
        if first != size or found.count(bytes([FREE])) == len(found):
            _forget(store, name)
            continue
        while len(members) < start + len(found):
            members.append(FREE)
        members[start : start + len(found)] = found
        shelves[batch] = (size, members)
    return shelves


def _forget(store: "Records", name: str) -> None:
    """Delete a record that is of no use; one that the flash does not let go of stays."""
    try:
        store.delete(name)
    except StoreError:
        return


def _read_members(store: "Records", of: str, name: str, batch: "Batch", start: int) -> "Shelf":
    """Return (length of a share, the members in the slots from number `start` on) of one record."""
    head = store.read_part(name, 0, HEAD)
    size = struct.unpack(">H", head)[0] if head and len(head) == HEAD else 0
    members = bytearray()
    for slot in range(start, start + each(batch)):
        part = read_slot(store, name, place(of, batch, slot, size)[1], size)
        members.append(FREE if part is None else part[CHECK])
    return size, members
