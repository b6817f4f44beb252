"""What one register of a meter owes: what of its energy is settled, carried, owed and fresh, and
which of its readings are believed.

    owed + carried     base              seen
                        |---- fresh ------|             all in the slot's unit
     counted: `carried`, what the last reading had, is settled.
     Not counted: it has been sent once. It goes first, together with `owed`, in the next reading
     that may resend; until then it is owed.

So energy is in one place always: settled, carried, owed or fresh.

A register is believed at once if its meter is the same and it has gained no more than a reading may
be (the slot's high). Anything else is doubted, and nothing of it counts, until it has stayed for
STAYS readings in a row, each of another round, each no lower than the one before and no more than
the slot's high above it:

- it fell: a new register. It counts from where it was met first; what had been seen of the old one
  and is in no sum stays owed. How far above it the old one was is remembered (`gap`): if it comes
  back, it counts what it has gained and the other has not.
- it fell, but not below the reading before the last: the last was too high. Nothing counts until
  the register has passed it.
- it leapt: what it gained while nobody looked, unless that is more than JUMP_MOST, or LEAP_MOST if
  the round before was read, or a register that had fallen rises to less than it was. Then it counts
  from where it was met first.
- another meter: it counts from where it was met first.

What was doubted and does not stay changes nothing: the register goes on where it was. Of a register
that was met at one reading only nothing is known: if the next does not fit, it is met again there.
"""

STAYS = 4  # readings: three quarters of an hour, where a round is a quarter
KNOWN = 2  # readings
JUMP_MOST = 20000000  # Wh or litres: more than a large household uses in a year
LEAP_MOST = 1000000  # the same in a month


class Account:
    """One register. `base` is None before it was met. Fields, all ints of the slot's unit: `base`,
    up to where its energy has been in a spent reading; `seen`, the last total that was believed;
    `sure`, the one before that; `carried`, `owed`, `gap`. `age`: readings that were believed, up to
    KNOWN. `identity`: 4 bytes, zeros if unknown.

    `doubt` is None or what stands against `seen`: (first total, last total, readings, whether
    nobody looked before the first, identity).
    """

    def __init__(self) -> None:
        self.base: int | None = None
        self.seen = self.sure = self.carried = self.owed = self.gap = self.age = 0
        self.identity = bytes(4)
        self.doubt: tuple[int, int, int, bool, bytes] | None = None

    def fresh(self) -> int:
        """What was seen and never sent; never negative."""
        return max(0, self.seen - (self.base or 0))

    def latest(self) -> int:
        """The total that was met last, believed or not; never less than what was believed."""
        return max(self.seen, self.doubt[1]) if self.doubt else self.seen

    def origin(self, total: int, identity: bytes, high: int) -> int | None:
        """Return from where on a register at `total` counts if it is believed at once: from `seen`,
        or from where the old one would be. None if it is doubted."""
        if self._exchanged(identity):
            return None
        for start in (self.seen + self.gap, self.seen):
            if start <= total <= start + high:
                return start
        return None

    def follow(self, total: int, identity: bytes, high: int, again: bool, away: bool) -> str:
        """Take note of the register as it is; return the name of what happened, "" for nothing.

        `again`: the same round was read before. `away`: the round before it was not.
        """
        if self.base is None:
            self.base = self.seen = total
        start = self.origin(total, identity, high)
        event = ""
        if start is None and self.age < KNOWN:
            start, event, self.age, self.gap = total, "register-unsteady", 0, 0
        elif start is None:
            return self._doubt(total, identity, high, again, away)
        elif start != self.seen:
            event, self.gap = "register-back", 0
        self._go_on(start, total, identity)
        if not again:
            self.age = min(self.age + 1, KNOWN)
        return event

    def _exchanged(self, identity: bytes) -> bool:
        return identity != self.identity and any(identity) and any(self.identity)

    def _doubt(self, total: int, identity: bytes, high: int, again: bool, away: bool) -> str:
        if self.doubt:
            first, last, readings, absent, other = self.doubt
            if other == identity and last <= total <= last + high:
                self.doubt = first, total, readings + (not again), absent, identity
                return self._believe(first, total, absent, identity) if self.doubt[2] >= STAYS else ""
        self.doubt = total, total, 1, away, identity
        return "register-doubted"

    def _go_on(self, start: int, total: int, identity: bytes) -> None:
        """The register is at `total`, of which all above `start` is gained."""
        self.base = (self.base or 0) + start - self.seen
        self.sure, self.seen, self.doubt = start, total, None
        if any(identity):
            self.identity = identity

    def _believe(self, first: int, total: int, absent: bool, identity: bytes) -> str:
        """What was doubted has stayed."""
        old = self.seen + self.gap  # where the register would be that has fallen, if any has
        if self._exchanged(identity):
            event, self.gap = "meter-exchanged", 0
        elif first < self.sure:
            event, self.gap = "register-fell", old - first
        elif first < self.seen:
            if self.gap:
                self.gap = old - total
            self.seen = self.sure = total
            self.doubt = None
            return "register-too-high"
        elif first >= old and first - old <= (JUMP_MOST if absent else LEAP_MOST):
            event, self.gap = "register-leapt", 0
            first = old
        else:
            event, self.gap = "register-jumped", max(0, old - first) if self.gap else 0
        self._go_on(first, total, identity)
        return event
