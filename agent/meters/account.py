"""What one register of a meter owes: what of its energy is settled, carried, owed and fresh, and
which of its readings are believed.

    owed + carried     base              seen
                        |---- fresh ------|             all in the slot's unit
     counted: `carried`, what the last reading had, is settled.
     Not counted: it has been sent once. It goes first, together with `owed`, in the next reading
     that may resend; until then it is owed.

So energy is in one place always: settled, carried, owed or fresh.

A register is believed at once if its meter is the same and it has gained no more than a reading may
be (the slot's high), for each of up to STAYS rounds since it was read last. Anything else is
doubted, and nothing of it counts, until it has stayed for STAYS readings in a row, each of another
round, each no lower than the one before and no more than the slot's high a round above it:

- it fell: a new register. It counts from where it was met first; what had been seen of the old one
  and is in no sum stays owed. Where the old one would be by now (`gap` above the new one) is
  remembered for a month, or for as long as the new one stands still: if the old one comes back,
  only what it has gained and the new one has not counts.
- it fell, but not below the reading before the last, or by no more than could be back at once: what
  was read before was too high, or is missing. Nothing counts until the register has passed it.
- it leapt: what it gained while nobody looked counts, as far as that can be: no more than the
  slot's high for each round since the last that was believed, or LEAP_MOST of a register that is
  known for AGED readings, for rounds may pause; and no more than JUMP_MOST. Of more, and of a
  register that had fallen, nothing counts but what is above where it was met first.
- another meter: it counts from where it was met first.

What was doubted and does not stay changes nothing: the register goes on where it was. Of a register
that was met at one reading only nothing is known: if the next does not fit, it is met again there.
"""

STAYS = 4  # readings: three quarters of an hour, where a round is a quarter
KNOWN = 2  # readings
AGED = 24  # readings: six hours
GONE = 2880  # readings: a month
JUMP_MOST = 20000000  # Wh or litres: more than a large household uses in a year
LEAP_MOST = 1000000  # the same in a month


class Account:
    """One register. `base` is None before it was met. Fields, all ints of the slot's unit: `base`,
    up to where its energy has been in a spent reading; `seen`, the last total that was believed;
    `sure`, the one before that; `carried`, `owed`; `gap`, how far above `seen` the one would be
    that has fallen, 0 if none has; `risen`, what was gained since then. `age`: readings that were
    believed, up to GONE. `identity`: 4 bytes, zeros if unknown.

    `doubt` is None or what stands against `seen`: (first total, last total, readings, rounds since
    the last that was believed, identity).
    """

    def __init__(self) -> None:
        self.base: int | None = None
        self.seen = self.sure = self.carried = self.owed = self.gap = self.risen = self.age = 0
        self.identity = bytes(4)
        self.doubt: tuple[int, int, int, int, bytes] | None = None

    def fresh(self) -> int:
        """What was seen and never sent; never negative."""
        return max(0, self.seen - (self.base or 0))

    def offer(self, high: int, resend: bool) -> tuple[int, int, int]:
        """Return base, carried and owed as they become if a reading of at most `high` is spent now.
        What is carried then is the reading; with `resend` it has what was sent before."""
        waiting = self.owed + self.carried
        again = min(waiting, high) if resend else 0
        fresh = min(self.fresh(), high - again)
        return (self.base or 0) + fresh, again + fresh, waiting - again

    def latest(self) -> int:
        """The total that was met last, believed or not; never less than what was believed."""
        return max(self.seen, self.doubt[1]) if self.doubt else self.seen

    def origin(self, total: int, identity: bytes, high: int, rounds: int) -> int | None:
        """Return from where on a register at `total` counts if it is believed at once: from `seen`,
        or from where the old one would be, which may be more than `total`. None if it is doubted.
        """
        if self._exchanged(identity):
            return None
        high *= max(1, min(rounds, STAYS))
        old, rises = self.seen + self.gap, self.seen <= total <= self.seen + high
        if self.gap and old - self.risen <= total <= old + high and not rises:
            return old
        return self.seen if rises else None

    def follow(self, total: int, identity: bytes, high: int, rounds: int) -> str:
        """Take note of the register as it is, `rounds` after it was read last, 0 in the same one;
        return the name of what happened, "" for nothing."""
        if self.base is None:
            self.base = self.seen = total
        start = self.origin(total, identity, high, rounds)
        event = ""
        if start is None and self.age < KNOWN:
            start, event, self.age = total, "register-unsteady", 0
            self.gap = self.risen = 0
        elif start is None:
            return self._doubt(total, identity, high, rounds)
        elif start != self.seen:
            event = "register-back"
        if start != self.seen or self.seen < self.seen + self.gap - self.risen <= total:
            self.gap = self.risen = 0  # back, or passed
        self._go_on(start, total, identity)
        if rounds:
            self.age = min(self.age + 1, GONE)
            if self.age == GONE and self.risen:
                self.gap = self.risen = 0
        return event

    def _exchanged(self, identity: bytes) -> bool:
        return identity != self.identity and any(identity) and any(self.identity)

    def _doubt(self, total: int, identity: bytes, high: int, rounds: int) -> str:
        if self.doubt:
            first, last, readings, since, other = self.doubt
            follows = other == identity and last <= total <= last + high * max(1, min(rounds, STAYS))
            rounds += since
            if follows:
                readings += rounds > since
                self.doubt = first, total, readings, rounds, identity
                return self._believe(first, total, high, identity) if readings >= STAYS else ""
        self.doubt = total, total, 1, rounds, identity
        return "register-doubted"

    def _go_on(self, start: int, total: int, identity: bytes) -> None:
        """The register is at `total`, of which all above `start` is gained."""
        self.base = (self.base or 0) + start - self.seen
        self.sure, self.seen, self.doubt = min(start, total), total, None
        if self.gap:
            self.risen += total - start
        if any(identity):
            self.identity = identity

    def _believe(self, first: int, total: int, high: int, identity: bytes) -> str:
        """What was doubted has stayed."""
        old, most = self.seen + self.gap, high * (self.doubt[3] if self.doubt else 1)
        if self.age >= AGED:  # rounds may pause
            most = max(most, LEAP_MOST)
        if self._exchanged(identity):
            event, gap = "meter-exchanged", 0
        elif min(self.sure, self.seen - STAYS * high) <= first < self.seen:
            self.gap = old - total if self.gap else 0
            self.seen = self.sure = total
            self.doubt = None
            return "register-too-high"
        elif first < self.seen:
            event, gap = "register-fell", old - first
        elif not self.gap and total - old <= min(most, JUMP_MOST):
            event, gap, first = "register-leapt", 0, old
        else:
            event, gap = "register-jumped", max(0, old - first) if self.gap else 0
        self.gap = gap
        if not gap:
            self.risen = 0
        if event != "register-leapt":
            self.age = STAYS
        self._go_on(first, total, identity)
        return event
