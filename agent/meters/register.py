"""Readings as differences of a register that only rises: what a round misses, the next round that
counts has.

The register of a meter goes on while a board is off, has no link or sits a round out. So a reading
is not measured, it is what the register has gained since `base`, the value up to which energy has
been in a reading that was spent; and what was in one is settled only when the coordinator says,
authenticated, that it is in a published sum.

    owed + carried     base              seen
                        |---- fresh ------|             all in Wh
     counted: `carried`, what the last reading had, is settled.
     Not counted: it has been sent once. It goes first, together with `owed`, in the next reading
     that may resend; until then it is owed.

So energy is in one place always: settled, carried, owed or fresh. Base, seen, carried and owed go
into the flash in the same atomic record as the spend (the bookmark). After a reset the board
therefore knows what exactly the reading had that may have left it, and `counted` is about that one.
A reading that was taken and never spent leaves no trace.

A reading is capped by its slot's range, and the rest stays for the next rounds. When the meter was
exchanged, or its register fell or leapt, what had been seen of the old one and is in no sum yet
stays owed; the new one's counts from where it was met first.
"""

import struct
from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.meters import Register
    from agent.wire.messages import Slot

JUMP_MOST = 20000000  # Wh between two readings: more than a large household uses in a year

_VERSION = 2
_HEAD = ">Bqqqq4s"
_BEFORE = 1, ">Bqqq4s"  # base was what is settled: base, spent, seen
_CHECK = 4


class RegisterMeter:
    """A meter (see the package) over `source`: total() gives the register in Wh, 0 to 2^62, or None
    if it cannot be read now.

    What `source` may have besides: power(), W or None; identity(), bytes that tell one meter from
    another, b"" if unknown; resume(total), called with the highest total that was ever noted, for
    one that counts by itself.

    Slots: "load" is energy in Wh that is in no published sum, at most the slot's high; "power" is
    source.power(); "count" is 1. With any other slot there is no reading, nor with a "load" below
    its slot's low. Without "load" no energy is owed to anyone: a roster that has it again starts
    from there. The first total ever is where counting begins.

    `events` counts by name: "bookmark-damaged" (counting begins anew), "register-fell",
    "register-jumped" (by more than `jump_most` Wh since the reading before), "meter-exchanged"
    (another identity).
    """

    def __init__(self, source: "Register", jump_most: int = JUMP_MOST) -> None:
        self.events: dict[str, int] = {}
        self._source = source
        self._jump_most = jump_most
        self._forget()

    def _forget(self) -> None:
        self._base: int | None = None
        self._seen = self._carried = self._owed = 0
        self._identity = bytes(4)
        # What base, carried and owed become if the last reading is spent.
        self._offered: tuple[int, int, int] | None = None
        self._resent = False

    def restore(self, bookmark: bytes) -> None:
        """Go back to the last spend that did not fail; b"" is a board that has never spent,
        anything odd counts as damaged."""
        self._forget()
        if not bookmark:
            return
        body = bookmark[:-_CHECK]
        head = _HEAD if body[:1] == bytes([_VERSION]) else _BEFORE[1]
        if (
            len(body) != struct.calcsize(head)
            or body[0] not in (_VERSION, _BEFORE[0])
            or bookmark[-_CHECK:] != sha256(body).digest()[:_CHECK]
        ):
            self._count("bookmark-damaged")
            return
        if body[0] == _VERSION:
            _, self._base, self._seen, self._carried, self._owed, self._identity = struct.unpack(head, body)
        else:
            _, settled, self._base, self._seen, self._identity = struct.unpack(head, body)
            self._carried = self._base - settled
        if hasattr(self._source, "resume"):
            self._source.resume(self._seen)

    def bookmark(self) -> bytes:
        """41 bytes: version, base, seen, carried and owed (64-bit, signed), the identity's hash,
        the first bytes of SHA-256 of all that."""
        if self._base is None:
            return b""
        if self._offered is not None:
            self._base, self._carried, self._owed = self._offered
        body = struct.pack(_HEAD, _VERSION, self._base, self._seen, self._carried, self._owed, self._identity)
        return body + sha256(body).digest()[:_CHECK]

    def resent(self) -> bool:
        """Whether the last reading had energy that one spent before it had."""
        return self._resent

    def read(self, round: int, counted: bool, resend: bool, slots: "list[Slot]") -> list[int] | None:
        """Return the values of `slots`, or None. Nothing but `counted` is final: the rest waits for
        bookmark()."""
        self._offered, self._resent = None, False
        if counted:
            self._carried = 0
        total = self._source.total()
        if total is None:
            return None
        base = self._follow(total)
        offered, again = (total, 0, 0), 0
        values = []
        for name, low, high in slots:
            value = None
            if name == "load":
                waiting = self._owed + self._carried
                again = min(waiting, high) if resend else 0
                fresh = min(total - base, high - again)
                value = again + fresh
                if value < max(low, 0):
                    return None
                offered = base + fresh, value, waiting - again
            elif name == "count":
                value = 1
            elif name == "power" and hasattr(self._source, "power"):
                value = self._source.power()
            if value is None:
                return None
            values.append(value)
        self._offered, self._resent = offered, again > 0
        return values

    def present(self, number: int, slots: "list[Slot]") -> list[int | None]:
        """Return the values of `slots` now, a list with None for what cannot be read: the meter's
        state stays as it is.

        "load" is what the register has gained since the energy that was spent last, or since it was
        seen first.
        """
        total = self._source.total()
        values = []
        for name, low, high in slots:
            value = None
            if name == "load" and total is not None and self._base is not None and total >= self._seen:
                value = total - self._base
                value = min(value, high) if value >= low else None
            elif name == "count":
                value = 1
            elif name == "power" and hasattr(self._source, "power"):
                value = self._source.power()
            values.append(value)
        return values

    def _follow(self, total: int) -> int:
        """Take note of the register as it is, and begin anew where it is not the one that was;
        return base."""
        identity = self._hash()
        base = self._base
        if base is None:
            base = total
        elif identity != self._identity and any(identity) and any(self._identity):
            base = self._begin_anew("meter-exchanged", base, total)
        elif total < self._seen:
            base = self._begin_anew("register-fell", base, total)
        elif total - self._seen > self._jump_most:
            base = self._begin_anew("register-jumped", base, total)
        self._base = base
        self._seen = total
        if any(identity):
            self._identity = identity
        return base

    def _begin_anew(self, event: str, base: int, total: int) -> int:
        """Return a base at which as much is fresh at `total` as was at `seen`."""
        self._count(event)
        return base + total - self._seen

    def _hash(self) -> bytes:
        identity = self._source.identity() if hasattr(self._source, "identity") else b""
        return sha256(identity).digest()[:4] if identity else bytes(4)

    def _count(self, event: str) -> None:
        self.events[event] = self.events.get(event, 0) + 1
