"""Telegrams of SML 1.04, as German meters send them at their optical port.

Sources: BSI TR-03109-1, annex IV b, "Smart Message Language" (messages, transport version 1); FNN,
"Lastenheft EDL" (what is in them); IEC 62056-61 (OBIS codes); IEC 62056-62 (units). A telegram is

    1B1B1B1B 01010101  message ...  { 00 }  1B1B1B1B 1A padding CRC CRC

where four bytes 1B of the messages are sent twice. Everything in a message is a value with its type
and length before it: the high bit of a length says that another byte of it follows, the next three
are the type, the other four the length, with its own bytes but for a list, whose length is a number
of elements. A message is a list of six: number, group, on errors, (kind, body), CRC, its end. In
the body of the one list that is read, SML_GetList.Res, is the server's identity and a list of

    (code, status, time, unit, scaler, value, signature)

Both CRCs are X-25, their low byte first. Holley's DTZ541 has Kermit instead, its high byte first,
and times without the list that they should be in; both are read. Numbers may leave out leading
zeros. DZG's meters leave them out of a power that then seems to be below 0: which one is, nobody
can tell, and a negative power of theirs is none.

Slots: 1.8.e and 2.8.e in Wh (unit 30); 16.7.0 in W (unit 27), which has a sign, else 1.7.0 and
2.7.0. 15.7.0, which has none, is not read.
"""

from agent.meters.uart.telegram import TARIFFS_MOST, Telegram, TelegramError, ccitt, note, x25

TYPE_CHECKING = False
if TYPE_CHECKING:
    Value = int | bytes | None

TELEGRAM_MOST = 4096  # bytes as they are sent

BEGIN = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01"
ESCAPE = b"\x1b\x1b\x1b\x1b"
_LIST = 0x70
_SIGNED = 0x50
_UNSIGNED = 0x60
_OCTETS = 0x00
_BOOLEAN = 0x40
_GET_LIST = 0x0701
_DEPTH_MOST = 8  # of lists in lists
_IDENTITY_MOST = 32
_WATT_HOURS = 30
_WATTS = 27
_TAKEN, _FED, _BOTH = 1, 2, 16  # powers, by the third number of the code
_NUMBERS = (b"\x01\x00\x60\x01\x00\xff", b"\x01\x00\x00\x00\x09\xff")
_DZG = b"DZG"
_SCALE_MOST = 9


def parse_telegram(data: bytes) -> Telegram:
    """Return the Telegram in `data`, bytes from the first 1B to the CRC. Raises TelegramError
    only."""
    if not 16 <= len(data) <= TELEGRAM_MOST:
        raise TelegramError("size")
    end = len(data) - 8
    if data[:8] != BEGIN or data[end : end + 5] != ESCAPE + b"\x1a":
        raise TelegramError("frame")
    if not _right(data, 0, end + 6, data[end + 6 :]):
        raise TelegramError("crc")
    padding = data[end + 5]
    if padding > 3 or data[end - padding : end] != bytes(padding):
        raise TelegramError("padding")
    return _Reader(_unescaped(data, 8, end - padding)).telegram()


def _right(data: bytes, start: int, stop: int, told: bytes) -> bool:
    if int.from_bytes(told, "little") == x25(data, start, stop):
        return True
    return int.from_bytes(told, "big") == ccitt(data, start, stop, 0)


def _unescaped(data: bytes, start: int, stop: int) -> bytes:
    found = b""
    while True:
        at = data.find(ESCAPE, start, stop)
        if at < 0:
            return found + data[start:stop]
        if data[at + 4 : at + 8] != ESCAPE or at + 8 > stop:
            raise TelegramError("escape")
        found += data[start : at + 4]
        start = at + 8


class _Reader:
    """Reads the messages in `data`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._server = b""
        self._number = b""  # in the list, of meters that have no server
        self._energies: tuple[dict[int, int | str], dict[int, int | str]] = ({}, {})
        self._powers: dict[int, int | str] = {}

    def telegram(self) -> Telegram:
        """Return what the messages tell. Raises TelegramError."""
        while self._at < len(self._data):
            self._message()
        telegram = Telegram(self._server or self._number, True)
        telegram.energy("load", self._energies[0])
        telegram.energy("export", self._energies[1])
        taken, fed = self._powers.get(_BOTH), None
        if taken is None:
            taken, fed = self._powers.get(_TAKEN), self._powers.get(_FED)
        elif isinstance(taken, str):
            fed = taken
        if isinstance(taken, int) and taken < 0 and self._server[2:5] == _DZG:
            taken = fed = "sign"
        telegram.flow(taken, fed, _BOTH in self._powers)
        return telegram.finish()

    def _message(self) -> None:
        start = self._at
        self._list(6)
        self._skip(3)
        self._list(2)
        body = self._at
        kind = self._value()
        self._value()
        stop = self._at
        told = self._value()
        if not isinstance(told, int) or not 0 <= told <= 0xFFFF or self._take() != 0:
            raise TelegramError("message")
        if not _right(self._data, start, stop, told.to_bytes(2, "big")):
            raise TelegramError("message-crc")
        if kind == _GET_LIST:
            end, self._at = self._at, body
            self._value()
            self._get_list()
            self._at = end

    def _get_list(self) -> None:
        self._list(7)
        self._value()
        server = self._value()
        if isinstance(server, bytes):
            self._server = server[:_IDENTITY_MOST]
        self._skip(2)
        for _ in range(self._list(None)):
            self._list(7)
            code = self._value()
            self._skip(2)
            unit, scaler, value = self._value(), self._value(), self._value()
            self._value()
            if isinstance(code, bytes) and len(code) == 6:
                self._entry(code, unit, scaler, value)

    def _entry(self, code: bytes, unit: "Value", scaler: "Value", value: "Value") -> None:
        if code in _NUMBERS:
            if isinstance(value, bytes):
                self._number = value[:_IDENTITY_MOST]
        elif code[:2] != b"\x01\x00" or code[5] != 0xFF:
            return  # another medium, another channel, or a value of the past
        elif code[2] in (1, 2) and code[3] == 8 and code[4] <= TARIFFS_MOST:
            if isinstance(value, int) and value < 0:
                value = None  # no register falls below 0
            found = _scaled(value, scaler, unit, _WATT_HOURS)
            note(self._energies[code[2] - 1], code[4], found)
        elif code[2] in (_TAKEN, _FED, _BOTH) and code[3:5] == b"\x07\x00":
            note(self._powers, code[2], _scaled(value, scaler, unit, _WATTS))

    def _list(self, size: int | None) -> int:
        kind, found = self._head()
        if kind != _LIST or size not in (None, found):
            raise TelegramError("message")
        return found

    def _skip(self, count: int) -> None:
        for _ in range(count):
            self._value()

    def _value(self, depth: int = 0) -> "Value":
        """Return the next value: a number, octets, None if it is left out; b"" for a list or a
        boolean."""
        kind, size = self._head()
        if kind == _LIST:
            if depth >= _DEPTH_MOST:
                raise TelegramError("message")
            for _ in range(size):
                self._value(depth + 1)
            return b""
        start = self._at
        self._at += size
        if size < 0 or self._at > len(self._data) or (kind in (_SIGNED, _UNSIGNED) and not 1 <= size <= 8):
            raise TelegramError("message")
        octets = self._data[start : self._at]
        if kind in (_SIGNED, _UNSIGNED):
            number = int.from_bytes(octets, "big")
            return number - (1 << 8 * size) if kind == _SIGNED and octets[0] > 0x7F else number
        if kind not in (_BOOLEAN, _OCTETS):
            raise TelegramError("message")
        return None if not size else octets if kind == _OCTETS else b""

    def _head(self) -> tuple[int, int]:
        """Return the type and the length of what follows: elements of a list, else bytes."""
        octet = self._take()
        kind, size, count = octet & 0x70, octet & 0x0F, 1
        while octet & 0x80:
            octet = self._take()
            size = size << 4 | octet & 0x0F
            count += 1
            if octet & 0x70 or size > TELEGRAM_MOST:
                raise TelegramError("message")
        return kind, size if kind == _LIST else size - count

    def _take(self) -> int:
        if self._at >= len(self._data):
            raise TelegramError("message")
        self._at += 1
        return self._data[self._at - 1]


def _scaled(value: "Value", scaler: "Value", unit: "Value", wanted: int) -> "int | str":
    """Return the integer `value` times ten to the `scaler`, cut towards 0, or why it is none."""
    if unit != wanted:
        return "unit"
    if scaler is None:
        scaler = 0
    if not isinstance(value, int) or not isinstance(scaler, int) or not -_SCALE_MOST <= scaler <= _SCALE_MOST:
        return "number"
    if scaler >= 0:
        factor: int = 10**scaler
        return value * factor
    whole: int = abs(value) // 10**-scaler
    return whole if value >= 0 else -whole
