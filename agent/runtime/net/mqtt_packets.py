"""MQTT 3.1.1 control packets (OASIS standard, 29 October 2014), as far as a client that speaks QoS
0 and 1 needs them.

Nothing here touches a socket. Encoders return the bytes of one whole packet and raise ValueError
for what may not be sent. The decoder is in mqtt_decoder.py. Section numbers are those of the
standard.
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    Octets = str | bytes  # a str is sent as UTF-8
    Will = tuple[str, Octets, int, bool]  # topic, payload, qos, retain
    Filters = list[tuple[str, int]]  # (filter, qos)
    Connack = tuple[Literal[2], bool, int]  # session_present, code
    # Topic, payload, qos, retain, identifier.
    Publish = tuple[Literal[3], str, bytes, int, bool, int]
    Suback = tuple[Literal[9], int, bytes]  # identifier, codes
    Acknowledgement = tuple[Literal[4, 11], int]  # PUBACK, UNSUBACK: identifier
    Skipped = tuple[Literal[0], str, int]  # reason, identifier of a PUBLISH at QoS 1, or 0
    Packet = Connack | Publish | Suback | Acknowledgement | Skipped | tuple[Literal[13]]

SKIPPED: "Final" = 0  # no type of the standard's: a packet that was received and thrown away
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
# Most remaining length of a packet that is taken: 8192 bytes of payload, the longest topic with its
# length, and an identifier. The broker's limit on payloads is the same (broker/deploy/mosquitto).
PACKET_LIMIT = 8192 + TOPIC_LIMIT + 4
LENGTH_LIMIT = 268435455  # four groups of seven bits, §2.2.3


class PacketError(Exception):
    """What no broker may send: the link ends. args are the reason, "malformed", and where it
    lies."""

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
