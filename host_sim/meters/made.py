"""Telegrams of P1 and of SML as meters send them, made from their grammars: for tests, for boards
of a demonstration, and to be spoilt (telegrams). Nothing here is the agent's own: checksums are
computed bit by bit. Plain Python, for both interpreters.
"""

LINES = [
    "1-3:0.2.8(50)",
    "0-0:1.0.0(251026023005S)",
    "0-0:96.1.1(54455354303030303031)",
    "1-0:1.8.1(000310.125*kWh)",
    "1-0:1.8.2(000201.875*kWh)",
    "0-0:96.14.0(0001)",
    "1-0:1.7.0(00.412*kW)",
    "1-0:2.7.0(00.000*kW)",
]
NONE = b"\x01"  # SML: an element that is not there
TOTAL = 512000  # Wh, of the lines
SERVER = b"\x0a\x01HUM\x00\x01\x02\x03\x04"

_ARC, _CCITT = 0xA001, 0x8408  # polynomials, reflected


def _crc(body: bytes, polynomial: int, crc: int) -> int:
    for octet in body:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ polynomial if crc & 1 else crc >> 1
    return crc


def arc(body: bytes) -> int:
    """Return CRC-16/ARC, of DSMR."""
    return _crc(body, _ARC, 0)


def x25(body: bytes) -> int:
    """Return CRC-16/X-25 of ISO/IEC 13239, of SML."""
    return _crc(body, _CCITT, 0xFFFF) ^ 0xFFFF


def kermit(body: bytes) -> int:
    """Return CRC-16/KERMIT, of Holley's SML."""
    return _crc(body, _CCITT, 0)


def p1(
    lines: list[str],
    head: str = "HUM5\\TEST",
    checksum: str = "%04X",
    end: str = "\r\n",
    gap: int = 1,
    eol: str = "\r\n",
) -> bytes:
    """Return a telegram of `lines`; `checksum` is its format, "" for none or "x25"; `end` is what
    follows it; `gap`, how many blank lines come behind the first."""
    text = "/" + head + eol * (1 + gap) + "".join([line + eol for line in lines]) + "!"
    body = bytes([ord(character) for character in text])
    told = ""
    if checksum:
        told = f"{x25(body):04X}" if checksum == "x25" else checksum % arc(body)
    return body + (told + end).encode()


def with_parity(data: bytes) -> bytes:
    """Return what a reader of 8N1 gets of a 7E1 line."""
    return bytes([octet | _ones(octet) << 7 for octet in data])


def _ones(octet: int) -> int:
    count = 0
    while octet:
        count ^= octet & 1
        octet >>= 1
    return count


def value(number: int, kind: int = 0x60, size: int | None = None) -> bytes:
    """Return a number as SML has it: in as few bytes as it fits, or in `size`."""
    if size is None:
        size = 1
        while not (-(1 << 8 * size - 1) <= number < 1 << (8 * size - (kind == 0x50))):
            size += 1
    return bytes([kind | size + 1]) + (number & (1 << 8 * size) - 1).to_bytes(size, "big")


def signed(number: int, size: int | None = None) -> bytes:
    """Return a number that has a sign."""
    return value(number, 0x50, size)


def octets(data: bytes) -> bytes:
    """Return octets as SML has them; a long length takes two bytes."""
    size = len(data) + 1
    if size < 16:
        return bytes([size]) + data
    size += 1
    return bytes([0x80 | size >> 4, size & 15]) + data


def sequence(*items: bytes) -> bytes:
    """Return a list as SML has it."""
    size = len(items)
    head = bytes([0x70 | size]) if size < 16 else bytes([0xF0 | size >> 4, size & 15])
    return head + b"".join(items)


def entry(
    code: str,
    told: int | bytes,
    unit: int | None = 30,
    scaler: int | None = -1,
    status: bytes = NONE,
    time: bytes = NONE,
) -> bytes:
    """Return an entry for the code "1.8.0": `told` is an int, or bytes of SML."""
    name = bytes([int(part) for part in code.split(".")])
    name = octets(name if len(name) == 6 else b"\x01\x00" + name + b"\xff")
    shown = value(told) if isinstance(told, int) else told
    measure = NONE if unit is None else value(unit)
    scale = NONE if scaler is None else signed(scaler)
    return sequence(name, status, time, measure, scale, shown, NONE)


def checksum_of(data: bytes, holley: bool = False) -> bytes:
    """Return the two bytes of SML's checksum."""
    return kermit(data).to_bytes(2, "big") if holley else x25(data).to_bytes(2, "little")


def message(kind: int, body: bytes, number: int = 1, holley: bool = False) -> bytes:
    """Return a message with its checksum."""
    head = sequence(octets(bytes([0, 0, number])), value(0), value(0), sequence(value(kind, size=2), body), NONE, NONE)
    data = head[:-2]
    return data + b"\x63" + checksum_of(data, holley) + b"\x00"


def transport(messages: bytes, holley: bool = False) -> bytes:
    """Return `messages` as they are sent."""
    escape = b"\x1b" * 4
    padding = -len(messages) % 4
    data = (
        escape + b"\x01" * 4 + messages.replace(escape, escape * 2) + bytes(padding) + escape + bytes([0x1A, padding])
    )
    return data + checksum_of(data, holley)


def listing(entries: list[bytes], server: bytes = SERVER, time: bytes | None = None) -> bytes:
    """Return the body of a message of entries, kind 0x0701."""
    time = sequence(value(1), value(500, size=4)) if time is None else time
    name = octets(server) if server else NONE
    return sequence(NONE, name, octets(b"\x01\x00\x62\x0a\xff\xff"), time, sequence(*entries), NONE, NONE)


def sml(entries: list[bytes], server: bytes = SERVER, holley: bool = False, time: bytes | None = None) -> bytes:
    """Return a telegram with these entries; `holley` has Kermit's checksums."""
    return sml_of(listing(entries, server, time), server, holley)


def sml_of(body: bytes, server: bytes = SERVER, holley: bool = False) -> bytes:
    """Return a telegram with this body between its opening and its closing message."""
    opening = sequence(NONE, NONE, octets(b"\x00\x01"), octets(server) if server else NONE, NONE, NONE)
    found = message(0x0101, opening, 1, holley) + message(0x0701, body, 2, holley)
    return transport(found + message(0x0201, sequence(NONE), 3, holley), holley)


def usual(load: int = 1234567, fed: int = 7654, power: int = 412) -> list[bytes]:
    """Return the entries of an ordinary meter: `load` in tenths of Wh, `fed` in Wh, `power` in W,
    below 0 when it feeds in."""
    return [
        entry("1.8.0", load, status=value(0x1C0104, size=4), time=sequence(value(1), value(9))),
        entry("2.8.0", fed, scaler=0),
        entry("16.7.0", signed(power), 27, 0),
    ]
