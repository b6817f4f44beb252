"""Pulses of a meter's S0 output, counted; nothing here touches a pin.

S0 (EN 62053-31, before it DIN 43864) is a contact that closes for at least 30 ms for each portion
of energy and is open for at least 30 ms in between; so many of them are a kWh.
"""

import struct

ON_MS = 30
OFF_MS = 10  # most contacts bounce for less, and few pulses are as near to the next

IMPULSES_MOST = 100000  # a kWh
_RECORD = ">BIQI"
# ticks_ms() turns at 2^30 on boards; and what stays below is a small integer: no memory is taken in
# an interrupt.
_MASK = 0x3FFFFFFF


class Pulses:
    """The state of one input: a pulse is an `on` of at least `on_ms` after an `off` of at least
    `off_ms`.

    Times are ticks_ms() values. edge() may be called in an interrupt: it allocates nothing. It must
    be called once in a few days at least, or the ticks' turn would hide how long a level has
    lasted. All counts turn at 2^30: `count`; `glitches`, what was closed for too short a time;
    `missed`, when an interrupt came so late that a pulse, or what separates two, was over. Such a
    pulse is not in `count`.
    """

    def __init__(self, now: int, on: bool, on_ms: int = ON_MS, off_ms: int = OFF_MS) -> None:
        self.count = 0
        self.glitches = 0
        self.missed = 0
        self._on_ms = on_ms
        self._off_ms = off_ms
        self._on = on
        self._since = now
        self._at = now  # of the last call
        self._armed = not on  # a pulse under way at the start may have been counted before it

    def edge(self, now: int, on: bool, called: bool = False) -> None:
        """The level is `on` at `now`: after a change, of which an interrupt `called`, or at any
        other time."""
        lasted = (now - self._since) & _MASK
        if called and on == self._on and (now - self._at) & _MASK >= (self._off_ms if on else self._on_ms):
            self.missed = (self.missed + 1) & _MASK  # less than that is a bounce
        self._at = now
        if self._on:
            if self._armed and lasted >= self._on_ms:
                self._armed = False
                self.count = (self.count + 1) & _MASK
            elif self._armed and not on:
                self.glitches = (self.glitches + 1) & _MASK
        elif lasted >= self._off_ms:
            self._armed = True
        if on != self._on:
            self._on = on
            self._since = now


def pulses_since(count: int, before: int) -> int:
    """How many pulses were counted since `count` was `before`."""
    return (count - before) & _MASK


class PulseRegister:
    """Energy from pulses at `impulses` a kWh, 1 to 100,000: `wh` in whole Wh, the rest kept, so
    that nothing is rounded away.

    `record` is what pack() gave, or None. The rest, less than 1 Wh, is dropped if `impulses` has
    changed since, and the whole record if it is none.
    """

    def __init__(self, impulses: int, record: bytes | None = None) -> None:
        if not isinstance(impulses, int) or not 1 <= impulses <= IMPULSES_MOST:
            raise ValueError("impulses")
        self._impulses = impulses
        self.wh = 0
        self._rest = 0  # in parts of 1 Wh, `impulses` of which make one; a pulse is 1000 of them
        if record and len(record) == struct.calcsize(_RECORD) and record[0] == 1:
            _, before, wh, rest = struct.unpack(_RECORD, record)
            if wh >> 62 == 0:
                self.wh = wh
                self._rest = rest if before == impulses and rest < impulses else 0

    def add(self, pulses: int) -> None:
        """Count `pulses` more."""
        self._rest += 1000 * pulses
        self.wh += self._rest // self._impulses
        self._rest %= self._impulses

    def resume(self, total: int) -> None:
        """Never be below `total` Wh again: the last reading that left the board knew more than the
        last record."""
        if total > self.wh:
            self.wh = total
            self._rest = 0

    def pack(self) -> bytes:
        """17 bytes: version 1, impulses a kWh, Wh, rest."""
        return struct.pack(_RECORD, 1, self._impulses, self.wh, self._rest)
