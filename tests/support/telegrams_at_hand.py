"""Telegrams of P1 and of SML, made from their grammars; bytes as a UART would have them."""

from agent.meters.dsmr import crc16

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
TOTAL = 512000  # Wh, of 1.8.1 and 1.8.2


def x25_of(body, crc=0xFFFF):
    """CRC-16/X-25 of ISO/IEC 13239, bit by bit; Kermit's with `crc` 0 before its last step."""
    for octet in body:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ 0x8408 if crc & 1 else crc >> 1
    return crc ^ 0xFFFF


def p1(lines, head="HUM5\\TEST", checksum="%04X", end="\r\n", gap=1, eol="\r\n"):
    """A telegram of `lines`; `checksum` is its format, "" for none or "x25"; `end` is what follows
    it; `gap`, how many blank lines come behind the first."""
    text = "/" + head + eol * (1 + gap) + "".join([line + eol for line in lines]) + "!"
    body = bytes([ord(c) for c in text])
    check = x25_of(body) if checksum == "x25" else crc16(body, len(body))
    shape = "%04X" if checksum == "x25" else checksum
    return body + ((shape % check if shape else "") + end).encode()


def with_parity(data):
    """What a reader of 8N1 gets of a 7E1 line."""
    return bytes([octet | ones(octet) << 7 for octet in data])


def ones(octet):
    """1 if an odd number of bits is set."""
    count = 0
    while octet:
        count ^= octet & 1
        octet >>= 1
    return count


def value(number, kind=0x60, size=None):
    """A number as SML has it: in as few bytes as it fits, or in `size`."""
    if size is None:
        size = 1
        while not (-(1 << 8 * size - 1) <= number < 1 << (8 * size - (kind == 0x50))):
            size += 1
    return bytes([kind | size + 1]) + (number & (1 << 8 * size) - 1).to_bytes(size, "big")


def signed(number, size=None):
    return value(number, 0x50, size)


def octets(data):
    """Octets as SML has them; a long length takes two bytes."""
    size = len(data) + 1
    if size < 16:
        return bytes([size]) + data
    size += 1
    return bytes([0x80 | size >> 4, size & 15]) + data


def sequence(*items):
    """A list as SML has it."""
    size = len(items)
    head = bytes([0x70 | size]) if size < 16 else bytes([0xF0 | size >> 4, size & 15])
    return head + b"".join(items)


NONE = b"\x01"
SERVER = b"\x0a\x01HUM\x00\x01\x02\x03\x04"


def entry(code, told, unit=30, scaler=-1, status=NONE, time=NONE):
    """An entry for the code "1.8.0": `told` is an int, or bytes of SML."""
    numbers = [int(part) for part in code.split(".")]
    name = octets(bytes([1, 0] + numbers + [255] if len(numbers) == 3 else numbers))
    told = value(told) if isinstance(told, int) else told
    unit = NONE if unit is None else value(unit)
    scale = NONE if scaler is None else signed(scaler)
    return sequence(name, status, time, unit, scale, told, NONE)


def message(kind, body, number=1, kermit=False):
    """A message with its checksum."""
    head = sequence(octets(bytes([0, 0, number])), value(0), value(0), sequence(value(kind, size=2), body), NONE, NONE)
    data = head[:-2]
    return data + b"\x63" + checksum_of(data, kermit) + b"\x00"


def checksum_of(data, kermit=False):
    if kermit:
        return (x25_of(data, 0) ^ 0xFFFF).to_bytes(2, "big")
    return x25_of(data).to_bytes(2, "little")


def transport(messages, kermit=False):
    """`messages` as they are sent."""
    escape = b"\x1b" * 4
    padding = -len(messages) % 4
    data = (
        escape + b"\x01" * 4 + messages.replace(escape, escape * 2) + bytes(padding) + escape + bytes([0x1A, padding])
    )
    return data + checksum_of(data, kermit)


def sml(entries, server=SERVER, kermit=False, time=None, signature=NONE):
    """A telegram with these entries."""
    time = sequence(value(1), value(500, size=4)) if time is None else time
    server = octets(server) if server else NONE
    opening = sequence(NONE, NONE, octets(b"\x00\x01"), server, time, NONE)
    body = sequence(NONE, server, octets(b"\x01\x00\x62\x0a\xff\xff"), time, sequence(*entries), signature, NONE)
    found = message(0x0101, opening, 1, kermit) + message(0x0701, body, 2, kermit)
    return transport(found + message(0x0201, sequence(NONE), 3, kermit), kermit)


def usual(load=1234567, fed=7654, power=412):
    """The entries of an ordinary meter: `load` in tenths of Wh."""
    return [
        entry("1.8.0", load, status=value(0x1C0104, size=4), time=sequence(value(1), value(9))),
        entry("2.8.0", fed, scaler=0),
        entry("16.7.0", signed(power), 27, 0),
    ]
