"""Telegrams of smart meters' P1 ports: DSMR 2.2 to 5, eSMR, Fluvius' e-MUCS, and others of the same
grammar.

Sources: Netbeheer Nederland, "P1 Companion Standard" 2.2 to 5.0.2; IEC 62056-21, mode D (the
frame); IEC 62056-61 (OBIS codes); EN 13757-3 (kinds of M-Bus meters); Fluvius, "e-MUCS P1". A
telegram is

    "/" identification CRLF [ CRLF ]  { code "(" value ")" ... CRLF }  "!" [ CRC ] CRLF

with the CRC, four hexadecimal digits, from DSMR 4 on, over everything from "/" to "!". Only what
the slots need is read, and strictly; all else may be as it likes:

- energy: 1-0:1.8.e and 1-0:2.8.e. DSMR and Fluvius send tariffs only, Sweden the total only,
  Luxembourg, Austria and Hungary both.
- power: 1-0:1.7.0 and 1-0:2.7.0. EasyMeter's Q3D has one number for both directions, below 0 when
  it feeds in.
- other meters on the M-Bus, n = 1 to 9: 0-n:24.1.0 tells the kind, 0-n:24.2.1 the register
  (0-n:24.2.3 in Belgium, 0-n:24.3.0 with the number in a line of its own before DSMR 4),
  0-n:96.1.0 or 0-n:96.1.1 the identity. All of one kind are one slot.
- version: 1-3:0.2.8 (Netherlands, "50") or 0-0:96.1.4 (Belgium, "50217").
- identity: 0-0:96.1.1, else 0-0:96.1.0, the logical device name 0-0:42.0.0, 1-0:0.0.0, or the
  first line.

A code may end in *255, "the current value", which most meters leave out; other numbers there are
values of the past. Numbers go to integers by their digits, never through a float. What is finer
than 1 Wh or 1 litre is cut off, register by register.
"""

from agent.meters.uart.telegram import TARIFFS_MOST, Telegram, TelegramError, note, x25

TELEGRAM_MOST = 4096  # bytes: DSMR 5 with its two text messages stays below

_TEXT_MOST = 96
_VERSIONS = (b"1-3:0.2.8", b"0-0:96.1.4")
_IDENTITIES = (b"0-0:96.1.1", b"0-0:96.1.0", b"0-0:42.0.0", b"1-0:0.0.0")
_ENERGIES = (b"1-0:1.8.", b"1-0:2.8.")
_POWERS = (b"1-0:1.7.0", b"1-0:2.7.0", b"1-0:1.7.255", b"1-0:2.7.255")
_NAMES = (b"96.1.1", b"96.1.0")
_VOLUMES = (b"24.2.1", b"24.2.3", b"24.3.0")
KINDS = {3: "gas", 4: "heat", 12: "heat", 6: "water", 7: "water", 21: "water", 22: "water"}
_ENERGY, _POWER, _TEXT, _KIND, _VOLUME = 1, 2, 3, 4, 5  # what a line tells
# unit, as it is compared: decimal places that are kept, what the number is then divided by
_WH = {b"wh": (0, 1), b"kwh": (3, 1)}
_W = {b"w": (0, 1), b"kw": (3, 1)}
_M3 = {b"m3": (3, 1)}
_HEAT = {b"wh": (0, 1), b"kwh": (3, 1), b"mwh": (6, 1), b"mj": (6, 3600), b"gj": (9, 3600)}

_ARC_STEPS = (
    0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
    0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
)  # fmt: skip


def crc16(data: bytes, size: int, start: int = 0) -> int:
    """CRC-16/ARC (polynomial 0x8005, reflected, from 0) of data[start:size], an int."""
    crc = 0
    for at in range(start, size):
        crc ^= data[at]
        crc = crc >> 4 ^ _ARC_STEPS[crc & 15]
        crc = crc >> 4 ^ _ARC_STEPS[crc & 15]
    return crc


def right(data: bytes, start: int, end: int, told: int) -> bool:
    """Return whether `told` is the checksum of data[start:end]: ARC, or X-25 as Holley's meters
    have it."""
    return told in (crc16(data, end, start), x25(data, start, end))


def checksum(tail: bytes) -> int | None:
    """Return the number in what follows a "!", -1 if there is none, or None if this is no end.

    Hexadecimal digits of either case, their leading zeros there or not, blanks around them.
    """
    tail = tail.strip().lower()
    if len(tail) > 4:
        return None
    told = 0
    for digit in tail:
        number = b"0123456789abcdef".find(bytes([digit]))
        if number < 0:
            return None
        told = told << 4 | number
    return told if tail else -1


def parse_telegram(data: bytes) -> Telegram:
    """Return the Telegram in `data`, bytes from "/" to the line end behind "!", which may be
    missing. Raises TelegramError only."""
    if not 4 <= len(data) <= TELEGRAM_MOST:
        raise TelegramError("size")
    end = data.rfind(b"\n!") + 1
    told = checksum(data[end + 1 :])
    if data[0] != 0x2F or not end or told is None:
        raise TelegramError("frame")
    if told >= 0 and not right(data, 0, end + 1, told):
        raise TelegramError("crc")
    start = data.find(b"\n") + 1
    lines = _Lines()
    while start < end:
        stop = data.find(b"\n", start, end)
        lines.take(data[start:stop].strip())
        start = stop + 1
    if told < 0 and lines.asks_for_crc():
        raise TelegramError("no-crc")
    return lines.telegram(data[1 : data.find(b"\n")].strip(), told >= 0)


class _Lines:
    """What the lines of one telegram have told so far."""

    def __init__(self) -> None:
        self._energies: tuple[dict[int, int | str], dict[int, int | str]] = ({}, {})
        self._powers: dict[int, int | str] = {}  # 0: taken, 1: fed in
        self._texts: dict[bytes, bytes] = {}
        self._kinds: dict[int, int | str] = {}  # of the M-Bus's meters, by channel
        self._volumes: dict[int, bytes] = {}  # what was in parentheses
        self._absent: dict[str, str] = {}  # slots of channels that have neither number nor name
        self._waits = 0  # the channel whose number is in the next line
        self._inside = False  # a text that is broken over lines

    def take(self, line: bytes) -> None:
        """Take a line without what ends it. Raises TelegramError."""
        opens = line.find(b"(")
        code = line[:opens].strip() if opens > 0 else b""
        if code.endswith(b"*255"):
            code = code[:-4]
        what = _what(code)
        if self._inside:
            if what:  # a register, or a text that looks like one
                raise TelegramError("line")
            self._inside = not line.endswith(b")")
            return
        waits, self._waits = self._waits, 0
        if waits and opens == 0:
            self._volumes[waits] += line
            return
        whole = line.endswith(b")")
        value = line[opens:] if whole else b"()()"  # cut off: nothing that a register could be
        if what == _ENERGY:
            self._energy(code, value)
        elif what == _POWER:
            self._power(code, value)
        elif what == _KIND:
            self._kind(code, value)
        elif what == _VOLUME:
            self._volume(code, value)
        else:
            self._inside = opens >= 0 and not whole
            if what == _TEXT:  # as much as this line has
                self._text(code, line[opens:] if whole else line[opens:] + b")")

    def _energy(self, code: bytes, value: bytes) -> None:
        tariffs = self._energies[_ENERGIES.index(code[:8])]
        digits = code[8:]
        if digits.isdigit() and len(digits) <= 2 and int(digits) <= TARIFFS_MOST:
            note(tariffs, int(digits), _number(value, _WH))
        else:
            note(tariffs, 0, "line")

    def _power(self, code: bytes, value: bytes) -> None:
        sign = -1 if value[1:].strip()[:1] == b"-" else 1
        if sign < 0:
            value = b"(" + value[1:].strip()[1:]
        found = _number(value, _W)
        note(self._powers, _POWERS.index(code) % 2, found if isinstance(found, str) else sign * found)

    def _text(self, code: bytes, value: bytes) -> None:
        text = value[1:-1].strip()
        if text and code not in self._texts:
            self._texts[code] = text[:_TEXT_MOST]

    def _kind(self, code: bytes, value: bytes) -> None:
        digits = value[1:-1].strip()
        number = int(digits) if digits.isdigit() and len(digits) <= 3 else "line"
        note(self._kinds, int(code[2:3]), number)

    def _volume(self, code: bytes, value: bytes) -> None:
        channel = int(code[2:3])
        if channel in self._volumes and code.endswith(b".3"):
            return  # at other than the standard's temperature, and the standard's is there
        self._volumes[channel] = value
        if code.endswith(b"24.3.0"):
            self._waits = channel

    def asks_for_crc(self) -> bool:
        """Return whether the meter's version has one: 4 or later."""
        return any(b"4" <= self._texts.get(code, b"")[:1] <= b"9" for code in _VERSIONS)

    def telegram(self, head: bytes, checked: bool) -> Telegram:
        """Return what was told; `head` is the first line. Raises TelegramError."""
        meter = head
        for code in _IDENTITIES:
            if code in self._texts:
                meter = self._texts[code]
                break
        telegram = Telegram(meter, checked)
        telegram.energy("load", self._energies[0])
        telegram.energy("export", self._energies[1])
        telegram.flow(self._powers.get(0), self._powers.get(1), False)
        for channel in sorted(self._kinds):
            self._other(telegram, channel)
        for slot in self._absent:
            if slot not in telegram.totals and slot not in telegram.odd:
                telegram.odd[slot] = self._absent[slot]
        return telegram.finish()

    def _other(self, telegram: Telegram, channel: int) -> None:
        """Add the register of an M-Bus meter to its slot."""
        kind = self._kinds[channel]
        slot = KINDS.get(kind) if isinstance(kind, int) else None
        if slot is None:
            return
        value = _number(_last(self._volumes.get(channel, b"()")), _HEAT if slot == "heat" else _M3)
        name = b""
        for code in _NAMES:
            name = name or self._texts.get(b"0-%d:" % channel + code, b"")
        if isinstance(value, str) and not name:
            self._absent[slot] = value  # a channel without a meter, as far as one can tell
            return
        telegram.identities[slot] = telegram.identities.get(slot, b"") + b"%d:" % channel + name + b" "
        if isinstance(value, str):
            telegram.odd[slot] = value
            telegram.totals.pop(slot, None)
        elif slot not in telegram.odd:
            telegram.totals[slot] = telegram.totals.get(slot, 0) + value


def _what(code: bytes) -> int:
    """Return what a line with this code tells, 0 if nothing that a slot needs."""
    if code[:8] in _ENERGIES:
        return 0 if b"*" in code else _ENERGY
    if code in _POWERS:
        return _POWER
    if code in _VERSIONS or code in _IDENTITIES:
        return _TEXT
    if code[:2] == b"0-" and code[2:3].isdigit() and code[2:3] != b"0" and code[3:4] == b":":
        code = code[4:]
        if code == b"24.1.0":
            return _KIND
        if code in _VOLUMES:
            return _VOLUME
        if code in _NAMES:
            return _TEXT
    return 0


def _last(value: bytes) -> bytes:
    """Return the last group of b"(time)(number*unit)"; of DSMR 2.2's b"(time)...(m3)(number)" with
    the unit, too."""
    at = value.rfind(b"(")
    last = value[at:]
    if b"*" not in last and at > 0 and len(last) > 2:
        unit = value[value.rfind(b"(", 0, at) + 1 : at - 1]
        return last[:-1] + b"*" + unit + b")"
    return last


def _number(value: bytes, units: "dict[bytes, tuple[int, int]]") -> "int | str":
    """Return the integer in b"(001581.123*kWh)", or a word for why it is none."""
    text = value[1:-1]
    if b"(" in text or b")" in text:
        return "line"
    if not text.strip():
        return "number"
    star = text.find(b"*")
    unit = text[star + 1 :].strip().lower()
    if star < 0 or unit not in units:
        return "unit"
    places, divisor = units[unit]
    number = text[:star].strip()
    point = number.find(b".")
    whole = number if point < 0 else number[:point]
    part = b"0" if point < 0 else number[point + 1 :]
    if not (whole.isdigit() and part.isdigit() and len(whole) <= 12 and len(part) <= 9):
        return "number"
    return int(whole + (part + b"000000000")[:places]) // divisor
