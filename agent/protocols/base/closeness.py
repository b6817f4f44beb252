"""Lists that differ by few members: what a board remembers of those that it answered, for sums and
for queries alike. Loaded with the first of either.

Two answers over lists that differ by few tell about these few. A list is close if it is another one
than the last, and differs by fewer than the policy's `close` members from any of the last eight,
the last included; one that was among them before the last differs by none, and is close too. In any
CLOSE_WINDOW contributions of the board itself at most `close_most` close lists are answered: what
counts is what it has spent, and neither the numbers of rounds, epochs and sets nor a reboot.

Lists are compared by the members' names, four bytes of SHA-256 each, because an index means another
member under the next roster. The record: `at`, the board's count of contributions at its last
answer (32 bits); a register of 48 bits in 64, bit i for the answer i contributions before that, set
if its list was close; the numbers of lists (8 bits) and of names (16); the names; a bitmap over
them for each list, the last one first.
"""

import struct
from hashlib import sha256

from agent.protocols.base import Refused
from agent.protocols.base.identity import CLOSE_WINDOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.protocols.base.identity import Policy

LISTS_MOST = 8
_REGISTER = (1 << CLOSE_WINDOW) - 1
_NAME = 4
_HEAD = ">IQBH"
_STATE = ">QIBH"
_BY_NAME = 0xFFFFFFFF  # no window of 48 rounds has this number


def pack(present: int, record: bytes) -> bytes:
    """Return the state that is kept with an answer: `present`, the bitmap of the list in roster
    order, and the `record` of a Lists."""
    return struct.pack(_STATE, present, _BY_NAME, 0, len(record)) + record


def unpack(data: bytes) -> "tuple[int, bytes, bytes]":
    """Return (present, record, what follows) of `data`, which begins with a state.

    The form before this one counted in aligned windows of round numbers: bitmap, number of the
    window, close lists in it. Its count goes on, as if it had come about just now; the last list,
    which it has no names for, RollCall in private_sum/answers.py adds.
    """
    present, window, close, length = struct.unpack(_STATE, data[: struct.calcsize(_STATE)])
    start = struct.calcsize(_STATE)
    if window != _BY_NAME:
        start -= 2
        return present, struct.pack(_HEAD, 0, (1 << min(close, CLOSE_WINDOW)) - 1, 0, 0), data[start:]
    return present, data[start : start + length], data[start + length :]


def again(record: bytes, total: int) -> bytes:
    """Return the `record` of a Lists with at least one list after answer() of its last list once
    more, which is never close, by a board with `total` contributions. Most answers are of this
    kind: nothing is hashed or compared for them."""
    start = struct.calcsize(_HEAD)
    at, register, lists, names = struct.unpack(_HEAD, record[:start])
    return struct.pack(_HEAD, total, _moved(register, at, total), lists, names) + record[start:]


def has_lists(record: bytes) -> bool:
    """Tell whether there is a list in the `record` of a Lists."""
    return len(record) > struct.calcsize(_HEAD)


def _moved(register: int, at: int, total: int) -> int:
    """Return the register of a board that had `at` contributions, and now has `total`."""
    return register << min(max(total - at, 0), CLOSE_WINDOW) & _REGISTER


class Lists:
    """The lists in `record`, b"" for none; record() gives it back. `empty` tells that there is
    none."""

    def __init__(self, record: bytes) -> None:
        self._at = self._register = 0
        self._names = bytearray()
        self._lists: list[int] = []
        if not record:
            return
        start = struct.calcsize(_HEAD)
        self._at, self._register, lists, names = struct.unpack(_HEAD, record[:start])
        end = start + _NAME * names
        self._names += record[start:end]
        width = (names + 7) // 8
        for at in range(end, end + lists * width, width or 1):
            self._lists.append(int.from_bytes(record[at : at + width], "big"))

    @property
    def empty(self) -> bool:
        """Whether there is no list."""
        return not self._lists

    def add(self, listed: "Iterable[str]") -> None:
        """Make the names `listed` the last list."""
        now = self._bitmap(listed, True)
        self._lists = ([now] + [each for each in self._lists if each != now])[:LISTS_MOST]

    def answer(self, total: int, listed: "Iterable[str]", own: "Iterable[str] | None", policy: "Policy") -> None:
        """Take up that a list is answered, by a board with `total` contributions: the names
        `listed`, and under one seal `own`, those of the board's cohort, which are looked at besides
        all: the others may be shown another list.

        Raises Refused("differencing"): then the Lists is of no more use."""
        now = self._bitmap(listed, True)
        close = self._is_close(now, policy.close)
        if own is not None and not close:
            close = self._is_close(now, policy.close, self._bitmap(own, False))
        register = _moved(self._register, self._at, total)
        if close and bin(register).count("1") >= policy.close_most:
            raise Refused("differencing")
        self._at, self._register = total, register | close
        self.add(listed)

    def record(self) -> bytes:
        """Return the record: names that are in no list any more are left out."""
        union = 0
        for each in self._lists:
            union |= each
        kept = [index for index in range(len(self._names) // _NAME) if union >> index & 1]
        record = struct.pack(_HEAD, self._at, self._register, len(self._lists), len(kept))
        for index in kept:
            record += self._names[_NAME * index : _NAME * index + _NAME]
        for each in self._lists:
            bits = 0
            for place, index in enumerate(kept):
                bits |= (each >> index & 1) << place
            record += bits.to_bytes((len(kept) + 7) // 8, "big")
        return record

    def _is_close(self, now: int, close: int, among: int = -1) -> bool:
        """Tell whether the list is close as far as the names `among` go."""
        if close < 2 or not self._lists or not (self._lists[0] ^ now) & among:
            return False
        return min([bin((each ^ now) & among).count("1") for each in self._lists]) < close

    def _bitmap(self, names: "Iterable[str]", new: bool) -> int:
        """Return the bitmap of `names`; those that are in no list get a place if `new`."""
        bits = 0
        for name in names:
            digest = sha256(name.encode()).digest()[:_NAME]
            at = self._names.find(digest)
            while at % _NAME and at >= 0:
                at = self._names.find(digest, at + 1)
            if at < 0 and not new:
                continue
            if at < 0:
                at = len(self._names)
                self._names += digest
            bits |= 1 << at // _NAME
        return bits
