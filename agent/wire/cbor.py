"""Deterministic CBOR (RFC 8949, section 4.2.1): what Hum's messages need, with a strict reader.

An object is one of
- an integer from -2^64 to 2^64-1; True, False or None;
- bytes (`encode` takes bytearray and memoryview as well); str without lone surrogates;
- a list (`encode` takes tuples as well); a dict whose keys are integers or str;
- a `Tag` of COSE: 16 (Encrypt0), 17 (Mac0) or 18 (Sign1).
Arrays, maps and tags nest at most DEPTH_LIMIT levels, and an encoding has at most SIZE_LIMIT bytes.

Each object has one encoding, and `decode` accepts no other: decode(encode(x)) == x, and
encode(decode(b)) == b for every b that decodes. So a signature over an encoding is a signature over
the object.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.crypto.octets import Octets

SIZE_LIMIT = 65536  # bytes of one encoding
DEPTH_LIMIT = 8  # arrays, maps and tags around one leaf
COSE_TAGS = (16, 17, 18)

# The major types (RFC 8949, section 3.1) and the simple values, each a single byte (section 3.3).
UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
FALSE, TRUE, NULL, BREAK = 0xF4, 0xF5, 0xF6, 0xFF
SIMPLE_VALUES = {FALSE: False, TRUE: True, NULL: None}


class CborError(Exception):
    """Not encodable, or not an encoding. args[0] is the reason, and holds none of the data:

    "truncated", "trailing", "non-canonical" (a head that could be shorter), "indefinite",
    "reserved" (a head that the RFC leaves undefined), "key-type", "key-order", "duplicate-key",
    "too-deep", "too-large", "out-of-range" (an integer), "bad-utf8", "unsupported" (floats, other
    tags, simple values and classes) or "not-bytes".
    """


class Tag:  # noqa: PLW1641 (unhashable, like a list)
    """`value` under the tag `number`, one of COSE_TAGS."""

    def __init__(self, number: int, value: "Any") -> None:
        self.number = number
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tag) and self.number == other.number and self.value == other.value

    def __repr__(self) -> str:
        return "Tag(%r, %r)" % (self.number, self.value)


def encode(obj: object) -> bytes:
    """Return the one encoding of `obj`. CborError if there is none."""
    out = bytearray()
    _write(out, obj, 0)
    if len(out) > SIZE_LIMIT:
        raise CborError("too-large")
    return bytes(out)


def decode(data: "Octets") -> "Any":
    """Return the object that `data` encodes: bytes, bytearray or a memoryview of bytes. CborError
    if it encodes none.

    Strings are copied out of `data`. An encoding whose objects do not fit into memory is
    "too-large": 64 KiB of small integers are a list of 256 KiB on a board.
    """
    try:
        reader = _Reader(_view(data))
        obj = reader.item(0)
    except MemoryError:
        raise CborError("too-large") from None
    if reader.at != reader.end:
        raise CborError("trailing")
    return obj


def _write(out: bytearray, obj: object, depth: int) -> None:
    """Append the encoding of `obj`, which stands inside `depth` arrays, maps and tags."""
    if obj is None:
        out.append(NULL)
    elif isinstance(obj, bool):
        out.append(TRUE if obj else FALSE)
    elif isinstance(obj, int):
        _write_integer(out, obj)
    elif isinstance(obj, (bytes, bytearray, memoryview)):
        raw = bytes(obj)
        _write_head(out, BYTES, len(raw))
        out.extend(raw)
    elif isinstance(obj, str):
        _write_text(out, obj)
    elif depth == DEPTH_LIMIT and isinstance(obj, (list, tuple, dict, Tag)):
        raise CborError("too-deep")
    elif isinstance(obj, (list, tuple)):
        _write_head(out, ARRAY, len(obj))
        for item in obj:
            _write(out, item, depth + 1)
    elif isinstance(obj, dict):
        values = _by_encoded_key(obj)
        _write_head(out, MAP, len(values))
        for key in sorted(values):
            out.extend(key)
            _write(out, values[key], depth + 1)
    elif isinstance(obj, Tag) and isinstance(obj.number, int) and obj.number in COSE_TAGS:
        _write_head(out, TAG, obj.number)
        _write(out, obj.value, depth + 1)
    else:
        raise CborError("unsupported")


def _by_encoded_key(mapping: "dict[Any, Any]") -> "dict[bytes, Any]":
    """Return a dict's values under their encoded keys, whose order as bytes is the RFC's."""
    values: "dict[bytes, Any]" = {}
    for key in mapping:
        raw = bytearray()
        if isinstance(key, str):
            _write_text(raw, key)
        elif isinstance(key, int) and not isinstance(key, bool):
            _write_integer(raw, key)
        else:
            raise CborError("key-type")
        values[bytes(raw)] = mapping[key]
    if len(values) != len(mapping):
        raise CborError("duplicate-key")
    return values


def _write_integer(out: bytearray, number: int) -> None:
    if not -1 << 64 <= number < 1 << 64:
        raise CborError("out-of-range")
    if number < 0:
        _write_head(out, NEGATIVE, -1 - number)
    else:
        _write_head(out, UNSIGNED, number)


def _write_text(out: bytearray, text: str) -> None:
    try:
        raw = text.encode()
    except UnicodeError:
        raise CborError("bad-utf8") from None
    _check_utf8(text, raw)
    _write_head(out, TEXT, len(raw))
    out.extend(raw)


def _write_head(out: bytearray, major: int, argument: int) -> None:
    """Append the major type and its argument, in as few bytes as can be. Raises CborError."""
    if len(out) > SIZE_LIMIT:
        raise CborError("too-large")
    if argument < 24:
        out.append(major << 5 | argument)
        return
    power = 0
    while argument >> (8 << power):
        power += 1
    out.append(major << 5 | 24 + power)
    out.extend(argument.to_bytes(1 << power, "big"))


def _view(data: object) -> memoryview:
    """A memoryview of single bytes over `data`."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise CborError("not-bytes")
    try:
        # CPython resizes no bytearray that is viewed, and an error's traceback keeps the view.
        view = memoryview(bytes(data) if isinstance(data, bytearray) else data)
        # CPython's views may have wider items, or a stride; MicroPython's have neither, nor cast().
        view = view.cast("B") if hasattr(view, "cast") else view
    except (TypeError, ValueError):
        raise CborError("not-bytes") from None
    if len(view) > SIZE_LIMIT:
        raise CborError("too-large")
    return view


class _Reader:
    """Reads an encoding. `item` calls itself once a level: a board's stack is small."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.at = 0
        self.end = len(view)

    def item(self, depth: int) -> "Any":
        """The object that starts here, inside `depth` arrays, maps and tags."""
        initial = self.byte()
        major = initial >> 5
        if major == SIMPLE:
            return _simple(initial)
        argument = self.argument(initial & 31)
        if major == UNSIGNED:
            return argument
        if major == NEGATIVE:
            return -1 - argument
        if major == BYTES:
            return bytes(self.take(argument))
        if major == TEXT:
            return _text(self.take(argument))
        if depth == DEPTH_LIMIT:
            raise CborError("too-deep")
        if major == TAG:
            if argument not in COSE_TAGS:
                raise CborError("unsupported")
            return Tag(argument, self.item(depth + 1))
        # Every item takes a byte or more, so no loop and no list is longer than the encoding.
        if argument > (self.end - self.at) // (2 if major == MAP else 1):
            raise CborError("truncated")
        if major == ARRAY:
            items: "list[Any]" = []
            for _ in range(argument):
                items.append(self.item(depth + 1))
            return items
        mapping: "dict[int | str, Any]" = {}
        last = b""
        for _ in range(argument):
            start = self.at
            key = self.key()
            encoded = bytes(self.view[start : self.at])
            if encoded <= last:
                raise CborError("duplicate-key" if encoded == last else "key-order")
            last = encoded
            mapping[key] = self.item(depth + 1)
        return mapping

    def key(self) -> int | str:
        if self.at < self.end and self.view[self.at] >> 5 not in (UNSIGNED, NEGATIVE, TEXT):
            raise CborError("key-type")
        key: int | str = self.item(DEPTH_LIMIT)
        return key

    def argument(self, short: int) -> int:
        """The argument of a head whose first byte ends in the five bits `short`: 0 to 2^64-1."""
        if short < 24:
            return short
        if short > 27:
            raise CborError("indefinite" if short == 31 else "reserved")
        size = 1 << (short - 24)
        number = 0
        for _ in range(size):
            number = number << 8 | self.byte()
        if number < (24 if size == 1 else 1 << 4 * size):
            raise CborError("non-canonical")
        return number

    def byte(self) -> int:
        if self.at == self.end:
            raise CborError("truncated")
        self.at += 1
        return self.view[self.at - 1]

    def take(self, length: int) -> memoryview:
        """A view of the next `length` bytes."""
        if length > self.end - self.at:
            raise CborError("truncated")
        self.at += length
        return self.view[self.at - length : self.at]


def _simple(initial: int) -> bool | None:
    if initial not in SIMPLE_VALUES:
        raise CborError("indefinite" if initial == BREAK else "unsupported")
    return SIMPLE_VALUES[initial]


def _text(raw: memoryview) -> str:
    try:
        text = str(raw, "utf-8")
    except UnicodeError:
        raise CborError("bad-utf8") from None
    _check_utf8(text, raw)
    return text


def _check_utf8(text: str, raw: bytes | memoryview) -> None:
    """Refuse what RFC 3629, section 4, forbids and MicroPython lets through.

    That is overlong forms, surrogates and code points above U+10FFFF. Both interpreters see to the
    rest: `raw` is sequences of a first byte and the right number of continuation bytes.
    """
    if len(text) == len(raw):
        return  # all ASCII
    first = 0
    for byte in raw:
        if byte >= 0xC0:
            first = byte
            if byte < 0xC2 or byte > 0xF4:
                raise CborError("bad-utf8")
        elif first:
            if (
                (first == 0xE0 and byte < 0xA0)
                or (first == 0xED and byte >= 0xA0)
                or (first == 0xF0 and byte < 0x90)
                or (first == 0xF4 and byte >= 0x90)
            ):
                raise CborError("bad-utf8")
            first = 0
