"""What the telegrams of meters tell, by the roster's slots; what P1 and SML have in common.

In OBIS (IEC 62056-61) 1.8.e is energy taken, 2.8.e energy fed in; e is the tariff, and 0 the total
over all of them: a sum that also had it would count all energy twice. So a meter's register is its
own total if it has one, else the sum of its tariffs.
"""

TOTAL_MOST = 1 << 62
TARIFFS_MOST = 63

_CCITT_STEPS = (
    0x0000, 0x1081, 0x2102, 0x3183, 0x4204, 0x5285, 0x6306, 0x7387,
    0x8408, 0x9489, 0xA50A, 0xB58B, 0xC60C, 0xD68D, 0xE70E, 0xF78F,
)  # fmt: skip


class TelegramError(Exception):
    """A telegram is refused. The argument is one of

    of both: "size" (over 4096 bytes, or not even a frame), "frame" (not begun or not ended as it
    should be), "crc" (wrong), "no-energy" (no register at all); what is wrong with all registers
    that it has: "number", "unit", "line" (more than one value, or none that is whole), "twice" (and
    different);
    of P1 alone: "no-crc" (the version asks for one);
    of SML alone: "escape", "padding" (of the transport), "message" (its form), "message-crc".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Telegram:
    """One telegram.

    totals: registers by slot, ints: Wh for "load", "load-t1", "load-t2", "export", "heat", litres
    for "gas", "water". powers: W by slot, "power" (taken) and "export-power" (fed in), neither
    below 0. odd: why a slot that the telegram speaks of has no number, by slot. meter: what the
    meter calls itself, b"" if it does not. identities: the same of the meters behind other slots.
    shape: which registers of energy it has. checked: whether there was a checksum (and it was
    right).
    """

    __slots__ = ("checked", "identities", "meter", "odd", "powers", "shape", "totals")

    def __init__(self, meter: bytes, checked: bool) -> None:
        self.meter = meter
        self.checked = checked
        self.shape = b""
        self.totals: dict[str, int] = {}
        self.powers: dict[str, int] = {}
        self.odd: dict[str, str] = {}
        self.identities: dict[str, bytes] = {}

    def identity(self, slot: str) -> bytes:
        """Return what tells the meter behind `slot` from another, b"" if that is not known."""
        return self.identities.get(slot, self.meter)

    def energy(self, slot: str, tariffs: "dict[int, int | str]") -> None:
        """Take the registers of "load" or "export" by tariff: each is a number, or why it is none.

        A sum is another register than the same with one tariff more: so its tariffs belong to its
        identity. Otherwise a line that was missing at first would come as energy.
        """
        if not tariffs:
            return
        kept = [0] if 0 in tariffs else sorted(tariffs)
        total = 0
        for tariff in kept:
            value = tariffs[tariff]
            if isinstance(value, str):
                self.odd[slot] = value
                break
            total += value
        else:
            self.totals[slot] = total
        self.shape += slot[:1].encode() + bytes(kept)
        if kept != [0]:
            self.identities[slot] = self.meter + b"+" + bytes(kept)
        for tariff in (1, 2):
            if tariff in tariffs and slot == "load":
                self._put("load-t%d" % tariff, tariffs[tariff])

    def _put(self, slot: str, value: "int | str") -> None:
        if isinstance(value, str):
            self.odd[slot] = value
        else:
            self.totals[slot] = value

    def flow(self, taken: "int | str | None", fed: "int | str | None", signed: bool) -> None:
        """Take the powers in W: `taken`, `fed`, each a number, why it is none, or None if it is not
        there.

        `signed` says that there is one number for both directions. A meter that has an export
        register and no power of its own for it, or a `taken` below 0, has that, too.
        """
        if isinstance(taken, int):
            self.powers["power"] = max(0, taken)
            if fed is None and (signed or taken < 0 or "export" in self.totals):
                fed = max(0, -taken)
        elif taken:
            self.odd["power"] = taken
        if isinstance(fed, int):
            self.powers["export-power"] = max(0, fed)
        elif fed:
            self.odd["export-power"] = fed

    def finish(self) -> "Telegram":
        """Return the telegram. Raises TelegramError if it has no register."""
        for slot in sorted(self.totals):
            if self.totals[slot] > TOTAL_MOST:
                self.totals.pop(slot)
                self.odd[slot] = "number"
        if not self.totals:
            for slot in ("load", "export") + tuple(sorted(self.odd)):
                if slot in self.odd and slot not in ("power", "export-power"):
                    raise TelegramError(self.odd[slot])
            raise TelegramError("no-energy")
        return self


def note(values: "dict[int, int | str]", key: int, value: "int | str") -> None:
    """Put a register among others; one that is told twice, and not alike, is none."""
    values[key] = value if values.get(key, value) == value else "twice"


def ccitt(data: bytes, start: int, stop: int, crc: int) -> int:
    """Return the CRC of data[start:stop] with polynomial 0x1021, reflected, from `crc`: 0xFFFF for
    X-25 (ISO/IEC 13239), which is turned over at the end, 0 for Kermit."""
    for at in range(start, stop):
        crc ^= data[at]
        crc = crc >> 4 ^ _CCITT_STEPS[crc & 15]
        crc = crc >> 4 ^ _CCITT_STEPS[crc & 15]
    return crc


def x25(data: bytes, start: int, stop: int) -> int:
    """Return CRC-16/X-25 of data[start:stop]."""
    return ccitt(data, start, stop, 0xFFFF) ^ 0xFFFF


def odd_ones(octet: int) -> int:
    """Return 1 if an odd number of its bits is set, else 0."""
    octet ^= octet >> 4
    return 0x6996 >> (octet & 15) & 1
