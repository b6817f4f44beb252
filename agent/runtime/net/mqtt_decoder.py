"""Decodes what a server sends: a generator, without I/O, that keeps no more than it may.

`incoming` yields how many bytes it wants next, is sent exactly these, and returns the packet as a
tuple whose first item is its type (mqtt_packets.py). What other users of the broker can bring about
never ends a link: a packet too large, a topic that is none, is received to its end in small pieces
that nobody keeps, and returned as (SKIPPED, reason, identifier), to be counted and acknowledged.
What only a broken broker sends raises PacketError.
"""

from agent.runtime.net.mqtt_packets import (
    CONNACK,
    FAILURE,
    LENGTH_LIMIT,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SKIPPED,
    SUBACK,
    TOPIC_LIMIT,
    UNSUBACK,
    PacketError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.runtime.net.mqtt_packets import Packet, Publish, Skipped

    Letters = tuple[str, int] | None  # the beginning of topics, the most bytes of their payloads

PIECE = 256  # bytes of a packet that is skipped, at a time

# Remaining lengths (least, most) of what a server may send us, PUBLISH aside; every other type is
# malformed.
_LENGTHS = {CONNACK: (2, 2), PUBACK: (2, 2), SUBACK: (3, LENGTH_LIMIT), UNSUBACK: (2, 2), PINGRESP: (0, 0)}


def incoming(limit: int, letters: "Letters" = None) -> "Generator[int, bytes, Packet]":
    """Decode one packet from the server; one whose remaining length is more than `limit` bytes is
    skipped.

    Returns (CONNACK, session_present, code), (PUBLISH, topic, payload, qos, retain, identifier),
    (PUBACK, identifier), (SUBACK, identifier, codes), (UNSUBACK, identifier), (PINGRESP,) or
    (SKIPPED, reason, identifier). `identifier` is 0 for QoS 0. Reasons: "oversized", "bad-topic",
    "no-room". Raises PacketError as soon as it is certain.

    `letters` are what other users write: topics that begin with it[0] have payloads of it[1] bytes
    at most. Who has no room for so many bytes sends none in their place: a letter is skipped, and
    for anything else MemoryError is raised.
    """
    head = yield 2  # no packet is shorter
    kind = head[0] >> 4
    flags = head[0] & 15
    if kind == PUBLISH:
        _check_publish_flags(flags)
    elif kind not in _LENGTHS or flags:
        raise PacketError("malformed", "type or flags")  # §2.2.1, §2.2.2
    length = yield from _length(head[1])
    if kind == PUBLISH:
        return (yield from _publish(flags, length, limit, letters))
    least, most = _LENGTHS[kind]
    if not least <= length <= most:
        raise PacketError("malformed", "length")
    if length > limit:
        yield from _skip(length)
        return SKIPPED, "oversized", 0
    body = (yield length) if length else b""
    if len(body) != length:
        raise MemoryError("for a packet")
    return _parse(kind, body)


def _length(octet: int) -> "Generator[int, bytes, int]":
    """The remaining length, of which this is the first byte, §2.2.3."""
    length = octet & 127
    shift = 7
    while octet & 128:
        if shift > 21:
            raise PacketError("malformed", "remaining length")
        octet = (yield 1)[0]
        length |= (octet & 127) << shift
        shift += 7
    return length


def _skip(size: int) -> "Generator[int, bytes, None]":
    while size:
        piece = min(size, PIECE)
        yield piece
        size -= piece


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


def _publish(flags: int, length: int, limit: int, letters: "Letters") -> "Generator[int, bytes, Publish | Skipped]":
    """The steps after the fixed header, so that a payload is received as the very bytes object that
    is handed on."""
    qos = flags >> 1 & 3
    rest = length - 2 - 2 * qos
    if rest < 0:
        raise PacketError("malformed", "length")
    octets = yield 2
    size = octets[0] << 8 | octets[1]
    rest -= size
    if rest < 0:
        raise PacketError("malformed", "topic length")
    reason = ""
    topic = None
    if size > TOPIC_LIMIT:
        reason = "oversized"
        yield from _skip(size)
    elif size:
        topic = _topic((yield size))
    identifier = _parse_identifier((yield 2)) if qos else 0
    letter = topic and letters and topic.startswith(letters[0])
    if length > limit or (letter and letters and rest > letters[1]):
        reason = "oversized"
    elif not topic:
        reason = reason or "bad-topic"
    if reason or not topic:
        yield from _skip(rest)
        return SKIPPED, reason, identifier
    payload = (yield rest) if rest else b""
    if len(payload) != rest:
        if not letter:
            raise MemoryError("for a packet")
        return SKIPPED, "no-room", identifier
    return PUBLISH, topic, payload, qos, bool(flags & 1), identifier


def _topic(octets: bytes) -> str | None:
    """A topic name: UTF-8 without NUL, surrogates (§1.5.3) and wildcards ([MQTT-3.3.2-2]); None
    where it is none."""
    try:
        topic = str(octets, "utf-8")
    except UnicodeError:
        return None
    if "\x00" in topic or "+" in topic or "#" in topic:
        return None
    return topic if len(topic) == len(octets) or _utf8_size(topic) == len(octets) else None


def _utf8_size(text: str) -> int:
    """Bytes of the shortest encoding, 0 where there is none: MicroPython decodes overlong forms,
    surrogates and code points too high."""
    size = 0
    for character in text:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            return 0
        size += 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
    return size


def _parse_identifier(octets: bytes) -> int:
    identifier = octets[0] << 8 | octets[1]
    if not identifier:
        raise PacketError("malformed", "identifier")  # [MQTT-2.3.1-1]
    return identifier
