"""Masks made in idle time, and the one durable record that makes a second ciphertext impossible.

A mask is the expensive half of an encryption and needs no reading (design, "one ciphertext per
round, ever"), so a board keeps some for the rounds to come: records "mask-<set>-<round>" in hex, of
one active set at a time, lost without harm. Those of any other set count as absent.

The record "spent" is another matter: epoch and round as 64-bit big-endian numbers, again those that
the meter's bookmark is of, a byte with the length of what comes next: 2, the counts (total in 32
bits, resends in 64), the meter's bookmark; then the envelope that was made, or nothing once a
receipt came. (epoch, round) is the high-water mark: no round at or below it is ever encrypted
again. One atomic put moves the mark and the counts, keeps the envelope and turns the meter's page,
so a cut leaves either the state before, in which nothing had left the board, or the state after, in
which the same bytes can be sent again and no others made.

Limits count here what this board did, whatever numbers others choose: `total` is how often it has
spent or burnt in its life; bit i of `resends` is set if the contribution i before the last carried
energy that an earlier one had carried. Records of before have no counts: their bookmark begins with
1 or is empty. To programs of before, a board may fall back to one, 2 is a damaged bookmark.
"""

import struct

from agent.protocols.base.identity import CLOSE_WINDOW
from agent.runtime.flash.store import VALUE_MAX, Corrupt, StoreError, unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.flash import Records

    Pending = tuple[int, int, bytes]  # epoch, round, envelope
    Round = tuple[int, int]  # epoch, round
    Counts = tuple[int, int]  # total, resends

MASK_MAX = 1024
BOOKMARK_MAX = 240  # its byte of length has the counts besides
ENVELOPE_MAX = VALUE_MAX - BOOKMARK_MAX - 46

_SPENT = "spent"
_HEAD = ">QQQQB"
_COUNTS = ">BIQ"
_WITH_COUNTS = 2
_RESENDS = (1 << CLOSE_WINDOW) - 1


class Spent(Exception):
    """This round, or a later one, has had its ciphertext. Arguments: the high-water mark's epoch
    and round."""


class MaskStock:
    """The masks and the spent record in `store`. Only one MaskStock for a store at a time: it keeps
    the mark in RAM.

    epoch and round: ints from 0 to 2^64-1; rounds are ordered by epoch, then by round. ValueError
    outside. Raises StoreError("spent-corrupt") if the spent record is damaged or cannot be read:
    the board cannot know what it has sent, and must get a new epoch (a new roster, after the
    operator cleared the store) rather than start from zero. `undeleted` counts masks whose deletion
    failed: harmless, and tried again by drop_before.
    """

    def __init__(self, store: "Records") -> None:
        self.undeleted = 0
        self._store = store
        self._set = ""
        self._mark, self._sent, self._counts, self._bookmark, self._pending = _read_spent(store)

    def use(self, set_digest: bytes) -> None:
        """Masks are those of this active set from now on; all others are deleted. Raises
        StoreError."""
        self._set = set_name(set_digest)
        for name in self._store.names("mask-"):
            if not name.startswith(_name(self._set, 0)[:-1]):
                self._store.delete(name)

    def save(self, epoch: int, round: int, mask: bytes) -> None:
        """Keep a mask (1 to 1024 bytes) for a later round. Raises Spent for a round that is burnt,
        Full, StoreError."""
        self._refuse_spent(epoch, round)
        if not isinstance(mask, bytes) or not 1 <= len(mask) <= MASK_MAX:
            raise ValueError("mask")
        self._store.reserve(len(mask))
        self._store.put(_name(self._set, round), mask)

    def load(self, epoch: int, round: int) -> bytes | None:
        """The mask, or None: none in stock, it was corrupt, or the round is burnt. Raises
        StoreError."""
        _check_range(epoch, round)
        return None if (epoch, round) <= self._mark else self._store.get(_name(self._set, round))

    def rounds(self, epoch: int) -> list[int]:
        """Sorted list of the rounds of `epoch` that there are masks for. Raises StoreError."""
        return sorted([r for r in self._stocked() if (epoch, r) > self._mark])

    def drop_before(self, round: int) -> None:
        """Delete the masks of earlier rounds, and what `spend` could not delete. Raises
        StoreError."""
        for stocked in self._stocked():
            if stocked < round:
                self._drop(stocked)

    def spend(self, epoch: int, round: int, envelope: bytes, bookmark: bytes = b"", resent: bool = False) -> None:
        """Burn the round. Only after this has returned may `envelope` (1 to 16098 bytes) leave the
        board.

        `bookmark`, at most 240 bytes, is what the meter must know if this reading is the last that
        was spent; `resent` tells whether it has energy that an earlier one had. Raises Spent if the
        round is at or below the high-water mark. Raises StoreError if the flash failed: the record
        may have reached it or not, so the round counts as burnt until a reboot, and the envelope
        must not leave.
        """
        self._refuse_spent(epoch, round)
        if not isinstance(envelope, bytes) or not 1 <= len(envelope) <= ENVELOPE_MAX:
            raise ValueError("envelope")
        if len(bookmark) > BOOKMARK_MAX:
            raise ValueError("bookmark")
        self._mark = (epoch, round)  # before the put, so that it holds whatever becomes of the put
        total, resends = self._counts
        counts = total + 1, (resends << 1 | resent) & _RESENDS
        self._store.put(_SPENT, _spent(self._mark, self._mark, counts, bookmark, envelope))
        self._sent = self._mark
        self._counts = counts
        self._bookmark = bookmark
        self._pending = (epoch, round, envelope)
        self._drop(round)

    def burn(self, epoch: int, round: int) -> None:
        """Burn a round, or the number of a query, that no reading is counted in: the bookmark and
        what it is of stay as they are.

        Raises Spent and StoreError as `spend`."""
        self._refuse_spent(epoch, round)
        self._mark = (epoch, round)
        counts = self._counts[0] + 1, self._counts[1]
        self._store.put(_SPENT, _spent(self._mark, self._sent, counts, self._bookmark, b""))
        self._counts = counts
        self._pending = None

    def pending(self) -> "Pending | None":
        """(epoch, round, envelope) of the contribution that has no receipt yet, for sending again;
        else None."""
        return self._pending

    def settle(self, epoch: int, round: int) -> bool:
        """A receipt came: erase the envelope from the flash, keep the mark. True if it was for the
        pending round.

        Raises StoreError if the flash failed: the contribution is still pending then.
        """
        if self._pending is None or self._pending[:2] != (epoch, round):
            return False
        # The mark in RAM, not the pending round: a later spend that failed may have written its own
        # mark. The bookmark stays that of the last spend that did not fail: no other reading has
        # left the board.
        self._store.put(_SPENT, _spent(self._mark, self._sent, self._counts, self._bookmark, b""))
        self._pending = None
        return True

    def bookmark(self) -> bytes:
        """The bookmark of the last spend that did not fail, b"" if there was none."""
        return self._bookmark

    def sent(self) -> "Round":
        """(epoch, round) of the last spend that did not fail, (0, 0) if there was none: its
        envelope may have left the board."""
        return self._sent

    def high_water(self) -> "Round":
        """(epoch, round) of the latest burnt round, (0, 0) if there was none."""
        return self._mark

    def total(self) -> int:
        """How often this board has spent or burnt, in all epochs."""
        return self._counts[0]

    def resends(self) -> int:
        """How many of the last CLOSE_WINDOW - 1 contributions had energy that an earlier one
        had."""
        return bin(self._counts[1] & _RESENDS >> 1).count("1")

    def _refuse_spent(self, epoch: int, round: int) -> None:
        _check_range(epoch, round)
        if (epoch, round) <= self._mark:
            raise Spent(self._mark[0], self._mark[1])

    def _stocked(self) -> list[int]:
        return [int(name.split("-")[-1], 16) for name in self._store.names(_name(self._set, 0)[:-1])]

    def _drop(self, round: int) -> None:
        try:
            self._store.delete(_name(self._set, round))
        except StoreError:
            self.undeleted += 1


def _spent(mark: "Round", sent: "Round", counts: "Counts", bookmark: bytes, envelope: bytes) -> bytes:
    kept = struct.pack(_COUNTS, _WITH_COUNTS, counts[0], counts[1]) + bookmark
    return struct.pack(_HEAD, mark[0], mark[1], sent[0], sent[1], len(kept)) + kept + envelope


def _read_spent(store: "Records") -> "tuple[Round, Round, Counts, bytes, Pending | None]":
    """(mark, sent, counts, bookmark, pending) as the flash has them."""
    record = read_vital(store, _SPENT)
    if record is None:
        return (0, 0), (0, 0), (0, 0), b"", None
    start = struct.calcsize(_HEAD)
    if len(record) < start or len(record) < start + record[start - 1]:
        raise StoreError("spent-corrupt")
    epoch, round, sent_epoch, sent_round, size = struct.unpack(_HEAD, record[:start])
    envelope = record[start + size :]
    pending = (epoch, round, envelope) if envelope else None
    bookmark, counts, begin = record[start : start + size], (0, 0), struct.calcsize(_COUNTS)
    if len(bookmark) >= begin and bookmark[0] == _WITH_COUNTS:
        counts, bookmark = struct.unpack(_COUNTS, bookmark[:begin])[1:], bookmark[begin:]
    return (epoch, round), (sent_epoch, sent_round), counts, bookmark, pending


def read_vital(store: "Records", name: str) -> bytes | None:
    """The value of a record whose loss must be told from its absence: b"" if it is damaged or
    cannot be read, None if there is none. Raises StoreError."""
    try:
        return store.read(name)
    except Corrupt:
        return b""
    except StoreError as error:
        if not unreadable(error):
            raise
        return b""


def _check_range(epoch: int, round: int) -> None:
    # struct.pack would keep the low bits of a larger number and say nothing, on MicroPython.
    for number in (epoch, round):
        if not isinstance(number, int) or not 0 <= number < 1 << 64:
            raise ValueError("epoch or round")


def set_name(set_digest: bytes) -> str:
    """Return the name that a set's masks and shares go by in the names of records."""
    return set_digest[:8].hex()


def _name(of: str, round: int) -> str:
    return "mask-%s-%x" % (of, round)
