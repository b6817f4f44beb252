"""What a hostile broker, or a member gone bad, makes of messages: bits that fell over, pieces cut
off, lengths that lie, objects that are almost right, and genuine messages at another place or
time."""

import random
from collections import deque
from typing import Any

from agent.wire import cbor

PAST_MOST = 256  # messages that can be sent again
BOMB_MOST = 70_000  # bytes, more than any encoding may have
NAMES = ("coordinator", "client", "authority", "b000", "b001", "b002", "main", "", "UPPER", "x" * 33)
NUMBERS = (
    0,
    1,
    2,
    3,
    23,
    24,
    255,
    256,
    65535,
    65536,
    0xFFFFFFFF,
    1 << 32,
    (1 << 63) - 1,
    (1 << 64) - 1,
    -1,
    -(1 << 64),
)
# Heads of CBOR that announce more than there is, or nest without an end.
BOMBS = (
    b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x9b\x00\x00\x00\x01\x00\x00\x00\x00", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x9f", b"\xbf", b"\x5f", b"\x81" * 40, b"\xa1\x01" * 40, b"\xd2" * 40, b"\x5a\x00\x01\x00\x00", b"\xf9\x7e\x00",
)  # fmt: skip

Message = tuple[str, bytes]


class Mutator:
    """Makes mutants of messages, and keeps what it has seen for replays: `drawn` decides all."""

    def __init__(self, drawn: random.Random) -> None:
        self._drawn = drawn
        self._past: deque[Message] = deque(maxlen=PAST_MOST)
        self._ways = (
            self._bits, self._octets, self._cut, self._longer, self._bomb, self._splice, self._object, self._object,
            self._inside, self._inside, self._inside, self._replay, self._moved, self._empty,
        )  # fmt: skip

    def saw(self, topic: str, payload: bytes) -> None:
        """Keep a genuine message: some of the old ones make room."""
        if len(self._past) < PAST_MOST or self._drawn.random() < 0.1:
            self._past.append((topic, payload))

    def mutant(self, topic: str, payload: bytes) -> Message:
        """Return something that a receiver of this message may get in its place."""
        way = self._drawn.choice(self._ways)
        return way(topic, payload)

    def octets(self, payload: bytes) -> bytes:
        """Return a mutant of bytes that belong to no topic."""
        return self._drawn.choice(self._ways[:11])("", payload)[1]

    # -- bytes

    def _bits(self, topic: str, payload: bytes) -> Message:
        data = bytearray(payload)
        for _ in range(self._drawn.choice((1, 1, 1, 2, 8)) if data else 0):
            data[self._drawn.randrange(len(data))] ^= 1 << self._drawn.randrange(8)
        return topic, bytes(data)

    def _octets(self, topic: str, payload: bytes) -> Message:
        at, size = self._place(payload), self._drawn.randrange(1, 9)
        return topic, payload[:at] + self._drawn.randbytes(size) + payload[at + size * self._drawn.randrange(2) :]

    def _cut(self, topic: str, payload: bytes) -> Message:
        at, end = sorted((self._place(payload), self._place(payload)))
        return topic, self._drawn.choice((payload[:at], payload[end:], payload[:at] + payload[end:]))

    def _longer(self, topic: str, payload: bytes) -> Message:
        return topic, payload + self._drawn.choice((b"\x00", payload, self._drawn.randbytes(64)))

    def _bomb(self, topic: str, payload: bytes) -> Message:
        if self._drawn.random() < 0.02:
            size = self._drawn.choice((2049, 8193, 16385, 65537, BOMB_MOST))
            return topic, (payload + bytes(size))[:size]
        at = self._drawn.choice((0, self._place(payload)))
        return topic, payload[:at] + self._drawn.choice(BOMBS) + payload[at:]

    def _splice(self, topic: str, payload: bytes) -> Message:
        other = self._other()[1]
        return topic, payload[: self._place(payload)] + other[self._place(other) :]

    def _empty(self, topic: str, payload: bytes) -> Message:
        return topic, self._drawn.choice((b"", b"\xa0", b"\xf6", b"\x00"))

    # -- objects

    def _object(self, topic: str, payload: bytes) -> Message:
        """Change one object in the message."""
        return topic, self._changed(payload) or self._bits(topic, payload)[1]

    def _inside(self, topic: str, payload: bytes) -> Message:
        """Change one object in the header or the content of an envelope."""
        try:
            tag = cbor.decode(payload)
        except cbor.CborError:
            return self._object(topic, payload)
        if not isinstance(tag, cbor.Tag) or not isinstance(tag.value, list):
            return self._object(topic, payload)
        parts = list(tag.value)
        at = self._drawn.choice([i for i, part in enumerate(parts) if isinstance(part, bytes)] or [0])
        part: Any = parts[at]
        if len(parts) == 4 and at == 3 and self._drawn.random() < 0.5:
            parts[at] = _other_signature(part)
        else:
            parts[at] = self._changed(part) or self._bits("", part)[1] if isinstance(part, bytes) else part
        return topic, _encoded(cbor.Tag(tag.number, parts)) or payload[:-1]

    def _changed(self, data: bytes) -> bytes | None:
        try:
            found = cbor.decode(data)
        except cbor.CborError:
            return None
        return _encoded(self._mutated(found))

    def _mutated(self, value: Any) -> Any:
        """Return the object with one within it replaced."""
        if isinstance(value, cbor.Tag):
            if self._drawn.random() < 0.2:
                return cbor.Tag(self._drawn.choice(cbor.COSE_TAGS), value.value)
            return cbor.Tag(value.number, self._mutated(value.value))
        if isinstance(value, list) and value and self._drawn.random() < 0.8:
            return self._mutated_list(value)
        if isinstance(value, dict) and value and self._drawn.random() < 0.8:
            return self._mutated_dict(value)
        return self._replaced(value)

    def _mutated_list(self, value: list[Any]) -> list[Any]:
        at = self._drawn.randrange(len(value))
        match self._drawn.randrange(8):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, value[at]]
            case 2:
                return value[::-1]
            case _:
                return [*value[:at], self._mutated(value[at]), *value[at + 1 :]]

    def _mutated_dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        key = self._drawn.choice(list(value))
        changed = dict(value)
        match self._drawn.randrange(8):
            case 0:
                del changed[key]
            case 1:
                changed[self._drawn.choice((0, 99, -1, "x"))] = value[key]
            case 2:
                changed[self._drawn.choice(list(value))] = value[key]
            case _:
                changed[key] = self._mutated(value[key])
        return changed

    def _replaced(self, value: Any) -> Any:
        drawn = self._drawn
        if isinstance(value, bool) or drawn.random() < 0.1:
            return drawn.choice((None, True, False, 0, b"", "", [], {}, "text", b"\x00" * 16, [value], {1: value}))
        if isinstance(value, int):
            return drawn.choice((value + 1, value - 1, value ^ 1 << drawn.randrange(63), *NUMBERS))
        if isinstance(value, bytes):
            return drawn.choice((self._bits("", value)[1], value[:-1], value + b"\x00", bytes(len(value)), value[::-1]))
        if isinstance(value, str):
            return drawn.choice((value[:-1], value + "x", value.upper(), *NAMES))
        return drawn.choice((None, 0, b"", value))

    # -- places and times

    def _replay(self, topic: str, payload: bytes) -> Message:
        """A genuine message of before, often one of the same kind."""
        for _ in range(4):
            other = self._other()
            if other[0].split("/")[3:6:2] == topic.split("/")[3:6:2]:
                break
        return topic, other[1]

    def _moved(self, topic: str, payload: bytes) -> Message:
        """This message under another topic, or under one that is none."""
        levels = topic.split("/")
        at = self._drawn.randrange(len(levels))
        match self._drawn.randrange(4):
            case 0:
                return self._other()[0], payload
            case 1:
                return "/".join(levels[:at]), payload
            case _:
                levels[at] = self._drawn.choice((*NAMES, "contribution", "answer", "here", "state", "diag", "up", "7"))
                return "/".join(levels), payload

    def _other(self) -> Message:
        return self._drawn.choice(self._past) if self._past else ("hum/v1/x/g/x/up/x/x", b"\xa0")

    def _place(self, payload: bytes) -> int:
        return self._drawn.randrange(len(payload) + 1)


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


def _other_signature(signature: bytes) -> bytes:
    """Return the other signature that ECDSA takes for the same text."""
    s = int.from_bytes(signature[32:], "big")
    return signature[:32] + ((ORDER - s) % (1 << 256)).to_bytes(32, "big")


def _encoded(value: Any) -> bytes | None:
    """Return the encoding; None if there is none, as of an integer that is too large."""
    try:
        return cbor.encode(value)
    except cbor.CborError:
        return None
