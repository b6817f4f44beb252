"""Readings as differences of a register that only rises: what a round misses, the next round that
counts has.

The register of a meter goes on while a board is off, has no link or sits a round out. So a reading
is not measured, it is what the register has gained since `base`, the value up to which energy is in
published sums; and `base` moves only when the coordinator says, authenticated, that a reading is in
one.

    base                 spent            seen
     |--- in a reading ---|--- not yet ----|            all in Wh of the register
     counted: base moves to spent.  Not counted: the next reading starts from base again.

Base, spent and seen go into the flash in the same atomic record as the spend (the bookmark). After
a reset the board therefore knows base and spent of exactly the reading that may have left it, and
`counted` is about that one. A reading that was taken and never spent leaves no trace.

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

_VERSION = 1
_HEAD = ">Bqqq4s"
_SIZE = 33
_CHECK = 4


class RegisterMeter:
    """A meter (see the package) over `source`: total() gives the register in Wh, 0 to 2^62, or None
    if it cannot be read now.

    What `source` may have besides: power(), W or None; identity(), bytes that tell one meter from
    another, b"" if unknown; resume(total), called with the highest total that was ever noted, for
    one that counts by itself.

    Slots: "load" is energy in Wh since the last reading in a published sum, at most the slot's
    high; "power" is source.power(); "count" is 1. With any other slot there is no reading, nor with
    a "load" below its slot's low. Without "load" no energy is owed to anyone: a roster that has it
    again starts from there. The first total ever is where counting begins.

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
        self._spent: int | None = None
        self._seen = 0
        self._identity = bytes(4)
        self._offered: int | None = None  # what spent becomes if the last reading is spent

    def restore(self, bookmark: bytes) -> None:
        """Go back to the last spend that did not fail; b"" is a board that has never spent,
        anything odd counts as damaged."""
        self._forget()
        if not bookmark:
            return
        body = bookmark[: _SIZE - _CHECK]
        if (
            len(bookmark) != _SIZE
            or body[0] != _VERSION
            or bookmark[_SIZE - _CHECK :] != sha256(body).digest()[:_CHECK]
        ):
            self._count("bookmark-damaged")
            return
        _, self._base, self._spent, self._seen, self._identity = struct.unpack(_HEAD, body)
        if hasattr(self._source, "resume"):
            self._source.resume(self._seen)

    def bookmark(self) -> bytes:
        """33 bytes: version, base, spent and seen (64-bit, signed), the identity's hash, the first
        bytes of SHA-256 of all that."""
        if self._base is None:
            return b""
        if self._offered is not None:
            self._spent = self._offered
        spent = self._base if self._spent is None else self._spent
        body = struct.pack(_HEAD, _VERSION, self._base, spent, self._seen, self._identity)
        return body + sha256(body).digest()[:_CHECK]

    def read(self, round: int, counted: bool, slots: "list[Slot]") -> list[int] | None:
        """Return the values of `slots`, or None. Nothing but `counted` is final: the rest waits for
        bookmark()."""
        self._offered = None
        if counted and self._spent is not None:
            self._base = self._spent
            self._spent = None
        total = self._source.total()
        if total is None:
            return None
        base = self._follow(total)
        offered = total
        values = []
        for name, low, high in slots:
            value = None
            if name == "load":
                value = min(total - base, high)
                if value < max(low, 0):
                    return None
                offered = base + value
            elif name == "count":
                value = 1
            elif name == "power" and hasattr(self._source, "power"):
                value = self._source.power()
            if value is None:
                return None
            values.append(value)
        self._offered = offered
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
                value = total - (self._base if self._spent is None else self._spent)
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
        """Return `base`, and move spent, so that as much is owed at `total` as was at `seen`."""
        self._count(event)
        shift = total - self._seen
        if self._spent is not None:
            self._spent += shift
        return base + shift

    def _hash(self) -> bytes:
        identity = self._source.identity() if hasattr(self._source, "identity") else b""
        return sha256(identity).digest()[:4] if identity else bytes(4)

    def _count(self, event: str) -> None:
        self.events[event] = self.events.get(event, 0) + 1
