"""MQTT 3.1.1 control packets (OASIS standard, 29 October 2014), as far as a client that speaks QoS
0 and 1 needs them.

Nothing here touches a socket. Encoders return the bytes of one whole packet and raise ValueError
for what may not be sent. The decoder `incoming` is a generator that yields how many bytes it wants
next, is sent exactly these, and returns the packet as a tuple whose first item is its type. Section
numbers are those of the standard.
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Final, Literal

    Octets = str | bytes  # a str is sent as UTF-8
    Will = tuple[str, Octets, int, bool]  # topic, payload, qos, retain
    Filters = list[tuple[str, int]]  # (filter, qos)
    Connack = tuple[Literal[2], bool, int]  # session_present, code
    # Topic, payload, qos, retain, identifier.
    Publish = tuple[Literal[3], str, bytes, int, bool, int]
    Suback = tuple[Literal[9], int, bytes]  # identifier, codes
    Acknowledgement = tuple[Literal[4, 11], int]  # PUBACK, UNSUBACK: identifier
    Packet = Connack | Publish | Suback | Acknowledgement | tuple[Literal[13]]

CONNECT = 1
CONNACK: "Final" = 2
PUBLISH: "Final" = 3
PUBACK: "Final" = 4
SUBSCRIBE = 8
SUBACK: "Final" = 9
UNSUBSCRIBE = 10
UNSUBACK: "Final" = 11
PINGREQ = 12
PINGRESP: "Final" = 13
DISCONNECT = 14

FAILURE = 0x80  # the SUBACK return code for a refused filter
TOPIC_LIMIT = 256  # bytes; the standard allows 65535, a board has better uses for its heap
LENGTH_LIMIT = 268435455  # four groups of seven bits, §2.2.3

# Remaining lengths (least, most) of what a server may send us, PUBLISH aside; every other type is
# malformed.
_LENGTHS = {CONNACK: (2, 2), PUBACK: (2, 2), SUBACK: (3, LENGTH_LIMIT), UNSUBACK: (2, 2), PINGRESP: (0, 0)}


class PacketError(Exception):
    """A packet that the client refuses: args are the reason ("malformed" or "oversized") and where
    it lies."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(reason, where)
        self.reason = reason


def connect(
    client_id: str,
    keepalive: int,
    clean: bool,
    *,
    user: str | None = None,
    password: "Octets | None" = None,
    will: "Will | None" = None,
) -> bytes:
    """CONNECT, §3.1. `keepalive` in seconds, 1 to 65535; `will` is (topic, payload, qos, retain) or
    None."""
    if not 1 <= keepalive <= 65535:
        raise ValueError("keepalive must be 1 to 65535 s")
    if password is not None and user is None:
        raise ValueError("a password needs a user name")  # [MQTT-3.1.2-22]
    if not client_id and not clean:
        raise ValueError("a lasting session needs a client id")  # [MQTT-3.1.3-7]
    flags = 0x02 if clean else 0
    parts = [b"", _field(client_id)]
    if will is not None:
        topic, payload, qos, retain = will
        flags |= 0x04 | _qos(qos) << 3 | (0x20 if retain else 0)
        parts += [_field(_topic(topic)), _field(payload)]
    if user is not None:
        flags |= 0x80
        parts.append(_field(user))
    if password is not None:
        flags |= 0x40
        parts.append(_field(password))
    parts[0] = b"\x00\x04MQTT\x04" + struct.pack(">BH", flags, keepalive)
    return _packet(CONNECT << 4, parts)


def publish(topic: str, payload: "Octets", qos: int = 0, retain: bool = False, identifier: int = 0) -> bytes:
    """PUBLISH, §3.3. `qos` 0 or 1; `identifier` 1 to 65535 goes with QoS 1 only."""
    parts = [_field(_topic(topic)), _octets(payload)]
    if _qos(qos):
        parts.insert(1, _identifier(identifier))
    return _packet(PUBLISH << 4 | qos << 1 | (1 if retain else 0), parts)


def puback(identifier: int) -> bytes:
    """PUBACK, §3.4."""
    return _packet(PUBACK << 4, [_identifier(identifier)])


def subscribe(identifier: int, filters: "Filters") -> bytes:
    """SUBSCRIBE, §3.8. `filters` is a non-empty list of (filter, qos)."""
    if not filters:
        raise ValueError("nothing to subscribe to")  # [MQTT-3.8.3-3]
    parts = [_identifier(identifier)]
    for name, qos in filters:
        if not name or "\x00" in name:
            raise ValueError("bad topic filter")
        parts.append(_field(name))
        parts.append(b"\x01" if _qos(qos) else b"\x00")
    return _packet(SUBSCRIBE << 4 | 2, parts)


def unsubscribe(identifier: int, name: str) -> bytes:
    """UNSUBSCRIBE, §3.10, from one filter."""
    return _packet(UNSUBSCRIBE << 4 | 2, [_identifier(identifier), _field(name)])


def pingreq() -> bytes:
    """PINGREQ, §3.12."""
    return b"\xc0\x00"


def disconnect() -> bytes:
    """DISCONNECT, §3.14: the server drops the will."""
    return b"\xe0\x00"


def incoming(limit: int) -> "Generator[int, bytes, Packet]":
    """Decode one packet from the server whose remaining length is at most `limit` bytes.

    Returns (CONNACK, session_present, code), (PUBLISH, topic, payload, qos, retain, identifier),
    (PUBACK, identifier), (SUBACK, identifier, codes), (UNSUBACK, identifier) or (PINGRESP,).
    `identifier` is 0 for QoS 0. Raises PacketError as soon as it is certain, before it asks for the
    bytes that a lying length promises.
    """
    head = yield 2  # no packet is shorter
    kind = head[0] >> 4
    flags = head[0] & 15
    if kind == PUBLISH:
        _check_publish_flags(flags)
    elif kind not in _LENGTHS or flags:
        raise PacketError("malformed", "type or flags")  # §2.2.1, §2.2.2
    octet = head[1]
    length = octet & 127
    shift = 7
    while octet & 128:
        if shift > 21:
            raise PacketError("malformed", "remaining length")  # §2.2.3
        octet = (yield 1)[0]
        length |= (octet & 127) << shift
        shift += 7
    if length > limit:
        raise PacketError("oversized", "packet")
    if kind == PUBLISH:
        return (yield from _incoming_publish(flags, length))
    least, most = _LENGTHS[kind]
    if not least <= length <= most:
        raise PacketError("malformed", "length")
    body = (yield length) if length else b""
    return _parse(kind, body)


def parse_connack(body: bytes) -> tuple[bool, int]:
    """(session_present, code) of a CONNACK's two bytes, §3.2.2."""
    session_present, code = body[0], body[1]
    if session_present > 1 or code > 5 or (session_present and code):
        raise PacketError("malformed", "connack")
    return session_present == 1, code


def parse_suback(body: bytes) -> tuple[int, bytes]:
    """(identifier, codes) of a SUBACK's body of three bytes or more, §3.9; each code is 0, 1, 2 or
    FAILURE."""
    for code in body[2:]:
        if code not in (0, 1, 2, FAILURE):
            raise PacketError("malformed", "suback code")
    return _parse_identifier(body), body[2:]


def _parse(kind: int, body: bytes) -> "Packet":
    if kind == CONNACK:
        return (CONNACK,) + parse_connack(body)
    if kind == PUBACK:
        return PUBACK, _parse_identifier(body)
    if kind == UNSUBACK:
        return UNSUBACK, _parse_identifier(body)
    if kind == SUBACK:
        return (SUBACK,) + parse_suback(body)
    return (PINGRESP,)


def _check_publish_flags(flags: int) -> None:
    qos = flags >> 1 & 3
    if qos > 1:
        raise PacketError("malformed", "qos")  # 3 is reserved, and 2 is never subscribed to
    if flags & 8 and not qos:
        raise PacketError("malformed", "dup")  # [MQTT-3.3.1-2]


def _incoming_publish(flags: int, length: int) -> "Generator[int, bytes, Publish]":
    """The steps after the fixed header, so that a payload is received as the very bytes object that
    is handed on."""
    qos = flags >> 1 & 3
    fixed = 2 + 2 * qos
    if length <= fixed:
        raise PacketError("malformed", "length")
    size = struct.unpack(">H", (yield 2))[0]
    if not 1 <= size <= length - fixed:
        raise PacketError("malformed", "topic length")  # [MQTT-4.7.3-1]
    if size > TOPIC_LIMIT:
        raise PacketError("oversized", "topic")
    data = yield size + 2 * qos
    topic = parse_topic(data[:size])
    identifier = _parse_identifier(data[size:]) if qos else 0
    rest = length - fixed - size
    payload = (yield rest) if rest else b""
    return PUBLISH, topic, payload, qos, bool(flags & 1), identifier


def parse_topic(octets: bytes) -> str:
    """A topic name: UTF-8 without NUL, surrogates (§1.5.3) and wildcards ([MQTT-3.3.2-2])."""
    try:
        topic = str(octets, "utf-8")
    except UnicodeError:
        raise PacketError("malformed", "utf-8") from None
    if "\x00" in topic or "+" in topic or "#" in topic:
        raise PacketError("malformed", "topic")
    if len(topic) != len(octets) and _utf8_size(topic) != len(octets):
        raise PacketError("malformed", "utf-8")
    return topic


def _utf8_size(text: str) -> int:
    """Bytes of the shortest encoding: MicroPython decodes overlong forms, surrogates and code
    points too high."""
    size = 0
    for character in text:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            raise PacketError("malformed", "utf-8")
        size += 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
    return size


def _parse_identifier(octets: bytes) -> int:
    identifier = octets[0] << 8 | octets[1]
    if not identifier:
        raise PacketError("malformed", "identifier")  # [MQTT-2.3.1-1]
    return identifier


def _topic(topic: str) -> str:
    if not topic or len(topic.encode()) > TOPIC_LIMIT or "+" in topic or "#" in topic or "\x00" in topic:
        raise ValueError("bad topic")
    return topic


def _qos(qos: int) -> int:
    if qos not in (0, 1):
        raise ValueError("QoS must be 0 or 1")
    return qos


def _identifier(identifier: int) -> bytes:
    if not 1 <= identifier <= 65535:
        raise ValueError("packet identifier must be 1 to 65535")
    return struct.pack(">H", identifier)


def _octets(value: "Octets") -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _field(value: "Octets") -> bytes:
    """A string or bytes with its length in two bytes before it, §1.5.3."""
    octets = _octets(value)
    if len(octets) > 65535:
        raise ValueError("field longer than 65535 bytes")
    return struct.pack(">H", len(octets)) + octets


def _packet(first: int, parts: list[bytes]) -> bytes:
    """The fixed header (§2.2) before `parts`, put together in one allocation."""
    length = 0
    for part in parts:
        length += len(part)
    if length > LENGTH_LIMIT:
        raise ValueError("packet too long")
    head = bytearray([first])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    parts.insert(0, bytes(head))
    return b"".join(parts)
