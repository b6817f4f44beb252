"""Telegrams of smart meters' P1 ports: DSMR 2.2 to 5, eSMR, Fluvius' e-MUCS, and others of the same
grammar.

Sources: Netbeheer Nederland, "P1 Companion Standard" 2.2 to 5.0.2; IEC 62056-21, mode D (the
frame); IEC 62056-61 (OBIS codes); Fluvius, "e-MUCS P1". A telegram is

    "/" identification CRLF CRLF  { code "(" value ")" ... CRLF }  "!" [ CRC ] CRLF

The CRC, four hexadecimal digits, there from DSMR 4 on, is CRC-16/ARC over everything from "/" to
"!". Only the lines that a reading needs are looked at:

- imported energy: 1-0:1.8.0 if it is there, else the sum of 1-0:1.8.1, 1-0:1.8.2 and so on. In
  OBIS the last number is the tariff and 0 is the total over all of them: a sum that also had it
  would count all energy twice. DSMR and Fluvius send tariffs only, Sweden the total only,
  Luxembourg, Austria and Hungary both.
- imported power: 1-0:1.7.0. Time: 0-0:1.0.0. Version: 1-3:0.2.8 (Netherlands, "50") or 0-0:96.1.4
  (Belgium, "50217").
- the meter's identity: 0-0:96.1.1, else 0-0:96.1.0, the logical device name 0-0:42.0.0, or
  1-0:0.0.0.

A code may end in *255, "the current value", which most meters leave out.

Numbers go to integers by their digits, never through a float. What is finer than 1 Wh is cut off,
register by register.
"""

TELEGRAM_MOST = 4096  # bytes: DSMR 5 with its two text messages stays below
LINES_MOST = 128

_IDENTIFICATION_MOST = 64
_CODE_MOST = 16
_TEXT_MOST = 96
_TAIL_MOST = 6  # a CRC, CRLF
_TIME = b"0-0:1.0.0"
_VERSIONS = (b"1-3:0.2.8", b"0-0:96.1.4")
_IDENTITIES = (b"0-0:96.1.1", b"0-0:96.1.0", b"0-0:42.0.0", b"1-0:0.0.0")
_CRC_STEPS = (
    0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
    0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
)  # fmt: skip


class TelegramError(Exception):
    """A telegram is refused. The argument is one of

    "size" (over 4096 bytes, or not even a frame), "frame" (no "/", no "!" at its end, or more of
    them), "crc" (wrong), "no-crc" (the version asks for one), "version", "identification", "line"
    (over 128, or one that is none), "twice" (a line that is needed), "number", "unit", "text" (of
    the time or the identity), "no-energy" (no register).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Telegram:
    """One telegram.

    energy_wh: imported energy over all tariffs, an int in Wh. power_w: imported power, an int in W,
    None if it is not there. timestamp: as the meter writes it, YYMMDDhhmmss and S (summer) or W
    (winter time), "" if it is not there. It is local time of a zone that no telegram names, and
    meters whose clock was never set send days that do not exist: so it stays text. equipment_id: as
    the meter writes it, mostly hexadecimal digits of an ASCII text, "" if it is not there.
    identification: the first line without its "/". checked: whether there was a CRC (and it was
    right).
    """

    __slots__ = ("checked", "energy_wh", "equipment_id", "identification", "power_w", "timestamp")

    def __init__(self, identification: str, checked: bool) -> None:
        self.identification = identification
        self.checked = checked
        self.energy_wh = 0  # until its lines are read
        self.power_w: int | None = None
        self.timestamp = ""
        self.equipment_id = ""


def crc16(data: bytes, size: int) -> int:
    """CRC-16/ARC (polynomial 0x8005, reflected, from 0) of the first `size` bytes, an int."""
    crc = 0
    for at in range(size):
        crc ^= data[at]
        crc = crc >> 4 ^ _CRC_STEPS[crc & 15]
        crc = crc >> 4 ^ _CRC_STEPS[crc & 15]
    return crc


def parse_telegram(data: bytes) -> Telegram:
    """Return the Telegram in `data`, bytes from "/" to the CRLF behind "!", which may be missing.
    Raises TelegramError only."""
    if not 4 <= len(data) <= TELEGRAM_MOST:
        raise TelegramError("size")
    end = data.find(b"!")
    if data[0] != 0x2F or data.find(b"/", 1) >= 0 or end < 0:
        raise TelegramError("frame")
    checked = _check_crc(data, end)
    # The frame is whole. From here on every line ends before `end`.
    start = data.find(b"\r\n", 0, end)
    if not 4 <= start <= _IDENTIFICATION_MOST or data[start + 2 : start + 4] != b"\r\n":
        raise TelegramError("identification")
    telegram = Telegram(_text(data[1:start], "identification"), checked)
    _read_lines(data, start + 4, end, telegram)
    return telegram


def _check_crc(data: bytes, end: int) -> bool:
    """Return whether there is a CRC behind the "!" at `end`. Raises TelegramError."""
    tail = data[end + 1 :]
    if tail[-2:] == b"\r\n":
        tail = tail[:-2]
    if not tail:
        return False
    if len(tail) != 4:
        raise TelegramError("frame")
    told = 0
    for digit in tail:
        number = b"0123456789ABCDEF".find(bytes([digit]))
        if number < 0:
            raise TelegramError("frame")
        told = told << 4 | number
    if told != crc16(data, end + 1):
        raise TelegramError("crc")
    return True


def _read_lines(data: bytes, start: int, end: int, telegram: Telegram) -> None:
    tariffs: dict[int, int] = {}  # number -> Wh
    texts: dict[bytes, str] = {}  # code -> what it tells
    lines = 0
    while start < end:
        stop = data.find(b"\r\n", start, end)
        lines += 1
        if stop < 0 or lines > LINES_MOST:
            raise TelegramError("line")
        if stop > start:
            _read_line(data, start, stop, telegram, tariffs, texts)
        start = stop + 2
    if not telegram.checked:
        for code in _VERSIONS:
            if code in texts and _major(texts[code]) >= 4:
                raise TelegramError("no-crc")
    if not tariffs:
        raise TelegramError("no-energy")
    telegram.energy_wh = tariffs[0] if 0 in tariffs else sum(tariffs.values())
    telegram.timestamp = _time(texts.get(_TIME, ""))
    for code in _IDENTITIES:
        telegram.equipment_id = telegram.equipment_id or texts.get(code, "")


def _read_line(
    data: bytes, start: int, stop: int, telegram: Telegram, tariffs: dict[int, int], texts: dict[bytes, str]
) -> None:
    """Take note of data[start:stop] if it is a line that matters."""
    opens = data.find(b"(", start, stop)
    if not 0 <= opens - start <= _CODE_MOST or data[stop - 1] != 0x29:
        raise TelegramError("line")
    code = data[start:opens]
    if code.endswith(b"*255"):
        code = code[:-4]
    if code.startswith(b"1-0:1.8."):
        tariff = _tariff(code[8:])
        if tariff in tariffs:
            raise TelegramError("twice")
        tariffs[tariff] = _quantity(_value(data, opens, stop), b"Wh")
    elif code == b"1-0:1.7.0":
        if telegram.power_w is not None:
            raise TelegramError("twice")
        telegram.power_w = _quantity(_value(data, opens, stop), b"W")
    elif code == _TIME or code in _VERSIONS or code in _IDENTITIES:
        if code in texts:
            raise TelegramError("twice")
        texts[code] = _text(_value(data, opens, stop), "text")


def _value(data: bytes, opens: int, stop: int) -> bytes:
    """The only value of a line."""
    value = data[opens + 1 : stop - 1]
    if b"(" in value or b")" in value:
        raise TelegramError("line")
    return value


def _tariff(digits: bytes) -> int:
    if not (digits.isdigit() and len(digits) <= 2 and int(digits) <= 63):
        raise TelegramError("line")
    return int(digits)


def _quantity(value: bytes, unit: bytes) -> int:
    """The integer in `unit` of b"001581.123*kWh", or of the same in the unit without its "k"."""
    star = value.find(b"*")
    if star < 0 or value[star + 1 :] not in (unit, b"k" + unit):
        raise TelegramError("unit")
    places = 3 if value[star + 1] == 0x6B else 0
    point = value.find(b".", 0, star)
    whole = value[: star if point < 0 else point]
    part = b"0" if point < 0 else value[point + 1 : star]
    if not (whole.isdigit() and part.isdigit() and len(whole) <= 12 and len(part) <= 9):
        raise TelegramError("number")
    return int(whole + (part + b"000")[:places])


def _text(value: bytes, reason: str) -> str:
    """`value` as a str of printable ASCII."""
    if len(value) > _TEXT_MOST:
        raise TelegramError(reason)
    for octet in value:
        if not 0x20 <= octet < 0x7F:
            raise TelegramError(reason)
    return value.decode()


def _time(text: str) -> str:
    if text and not (len(text) in (12, 13) and text[:12].isdigit() and text[12:] in ("", "S", "W")):
        raise TelegramError("text")
    return text


def _major(version: str) -> int:
    """The 5 of "50" and of "50217"."""
    if not (version.isdigit() and len(version) in (2, 5)):
        raise TelegramError("version")
    return int(version[0])


class Telegrams:
    """Cuts telegrams out of a stream of bytes: feed() until it returns None. `discarded` counts the
    bytes that are in none."""

    def __init__(self) -> None:
        self.discarded = 0
        self._buffer = bytearray(TELEGRAM_MOST)
        self._size = 0  # of what is held; 0 is outside of a telegram
        self._mark = 0  # where its "!" is, 0 before that
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes | None:
        """Take `chunk`, bytes, and return the next telegram that is complete, or None when more
        bytes are wanted.

        After a telegram call again with b"" for what else was in the chunk. A telegram is as
        parse_telegram wants it; whether it is right is another question. Another "/", more than
        4096 bytes or more than a CRC behind the "!" begin the search anew.
        """
        if self._rest:
            chunk = self._rest + chunk
            self._rest = b""
        at = 0
        while at < len(chunk):
            if not self._size:
                begin = chunk.find(b"/", at)
                self.discarded += (len(chunk) if begin < 0 else begin) - at
                if begin < 0:
                    break
                at = begin
            at = self._collect(chunk, at)
            if self._mark and self._buffer[self._size - 1] == 0x0A:
                telegram = bytes(memoryview(self._buffer)[: self._size])
                self._size = self._mark = 0
                self._rest = chunk[at:]
                return telegram
        return None

    def _collect(self, chunk: bytes, at: int) -> int:
        """Take bytes from `at` on up to the next that means something; return where to go on."""
        stop = chunk.find(b"\n" if self._mark else b"!", at)
        stop = len(chunk) if stop < 0 else stop + 1
        again = chunk.find(b"/", at + (0 if self._size else 1), stop)
        if again >= 0:
            stop = again
        size = self._size + stop - at
        if again >= 0 or size > TELEGRAM_MOST or (self._mark and size - self._mark > _TAIL_MOST):
            self.discarded += size
            self._size = self._mark = 0
            return stop
        self._buffer[self._size : size] = chunk[at:stop]
        self._size = size
        if not self._mark and chunk[stop - 1] == 0x21:
            self._mark = size
        return stop
