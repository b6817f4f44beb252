"""Deterministic CBOR, on both interpreters: the RFC's vectors, each refusal, and every damaged form
of a message."""

from agent.wire.cbor import DEPTH_LIMIT, SIZE_LIMIT, CborError, Tag, decode, encode
from tests.support.expect import raises

# RFC 8949, appendix A: what falls into the subset.
VECTORS = (
    (0, "00"),
    (1, "01"),
    (10, "0a"),
    (23, "17"),
    (24, "1818"),
    (25, "1819"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (-1, "20"),
    (-10, "29"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (b"\x01\x02\x03\x04", "4401020304"),
    ("", "60"),
    ("a", "6161"),
    ("IETF", "6449455446"),
    ('"\\', "62225c"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ("\U00010151", "64f0908591"),
    ([], "80"),
    ([1, 2, 3], "83010203"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    (["a", {"b": "c"}], "826161a161626163"),
    ({"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}, "a56161614161626142616361436164614461656145"),
)

# RFC 8949, appendix A: what falls outside, with the reason.
OUTSIDE = (
    ("c249010000000000000000", "unsupported"),
    ("c349010000000000000000", "unsupported"),
    ("f90000", "unsupported"),
    ("f93c00", "unsupported"),
    ("f97e00", "unsupported"),
    ("fa47c35000", "unsupported"),
    ("fb3ff199999999999a", "unsupported"),
    ("f7", "unsupported"),
    ("f0", "unsupported"),
    ("f8ff", "unsupported"),
    ("c11a514b67b0", "unsupported"),
    ("d74401020304", "unsupported"),
    ("d818456449455446", "unsupported"),
    ("5f42010243030405ff", "indefinite"),
    ("7f657374726561646d696e67ff", "indefinite"),
    ("9fff", "indefinite"),
    ("83018202039f0405ff", "indefinite"),
    ("bf61610161629f0203ffff", "indefinite"),
)


def message():
    """One of everything, nested: 100 bytes or so."""
    header = {1: 10, 4: b"meter-17", -1: True, "crit": None}
    body = [
        0,
        23,
        24,
        255,
        256,
        65535,
        65536,
        4294967295,
        4294967296,
        -1,
        -25,
        -4294967297,
        "k\u00fchl \u6c34 \U00010151",
    ]
    return Tag(18, [encode(header), header, body, {"round": {7: [False, [], {}]}}, bytes(range(24))])


def reason(data):
    return raises(CborError, decode, data).args[0]


def refusal(obj):
    return raises(CborError, encode, obj).args[0]


def nested(wrap, levels):
    obj = 0
    for _ in range(levels):
        obj = wrap(obj)
    return obj


def test_appendix_a_encodes_and_decodes():
    for obj, text in VECTORS:
        data = bytes.fromhex(text)
        assert encode(obj) == data, text
        back = decode(data)
        assert back == obj and type(back) is type(obj), text


def test_appendix_a_outside_the_subset_is_refused():
    for text, why in OUTSIDE:
        assert reason(bytes.fromhex(text)) == why, text


def test_heads_are_as_short_as_can_be_and_longer_ones_refused():
    for major in (0x00, 0x20, 0x40, 0x60, 0x80, 0xA0, 0xC0):
        for size, largest in ((1, 23), (2, 0xFF), (4, 0xFFFF), (8, 0xFFFFFFFF)):
            for argument in (0, largest):
                head = bytes([major | 23 + (1, 2, 4, 8).index(size) + 1]) + argument.to_bytes(size, "big")
                assert reason(head) == "non-canonical", head
    for limit in (24, 1 << 8, 1 << 16, 1 << 32):
        for number in (limit - 1, limit, -limit, -limit - 1):
            assert decode(encode(number)) == number
        assert len(encode(limit)) > len(encode(limit - 1)) == len(encode(-limit))


def test_reserved_heads_and_a_lone_break_are_refused():
    for major in range(7):
        for short in (28, 29, 30):
            assert reason(bytes([major << 5 | short, 0])) == "reserved"
        assert reason(bytes([major << 5 | 31, 0xFF])) == "indefinite"
    assert reason(b"\xff") == "indefinite"


def test_every_other_simple_value_is_refused():
    for initial in range(0xE0, 0x100):
        if initial not in (0xF4, 0xF5, 0xF6, 0xFF):
            assert reason(bytes([initial]) + bytes(8)) == "unsupported"


def test_map_keys_are_sorted_by_their_bytes():
    # The example of RFC 8949, section 4.2.1, without the keys that Hum does not know.
    assert encode({"aa": 0, "z": 0, -1: 0, 100: 0, 10: 0}) == bytes.fromhex("a50a001864002000617a0062616100")
    # Bytewise, not the shorter first as in RFC 7049: 24 is 1818, -1 is 20.
    assert encode({-1: 1, 24: 2}) == b"\xa2\x18\x18\x02\x20\x01"
    assert decode(b"\xa2\x18\x18\x02\x20\x01") == {24: 2, -1: 1}
    assert reason(b"\xa2\x20\x01\x18\x18\x02") == "key-order"
    assert reason(b"\xa2\x61b\x00\x61a\x00") == "key-order"


def test_duplicate_keys_are_refused():
    assert reason(b"\xa2\x01\x00\x01\x00") == "duplicate-key"
    assert reason(b"\xa2\x61a\x00\x61a\x01") == "duplicate-key"
    assert reason(b"\xa3\x01\x00\x02\x00\x01\x00") == "key-order"


def test_keys_are_integers_or_text():
    for key in ("40", "80", "a0", "d200", "f4", "f5", "f6", "f7", "f90000"):
        assert reason(bytes.fromhex("a1" + key + "00")) == "key-type", key
    for key in (True, False, None, b"a", (1, 2), 1.5):
        assert refusal({key: 0}) == "key-type"
    assert refusal({1 << 64: 0}) == "out-of-range"


def test_trailing_bytes_are_refused():
    assert reason(b"\x00\x00") == "trailing"
    assert reason(encode(message()) + b"\xf6") == "trailing"


def test_claims_of_more_than_there_is_are_refused_before_allocating():
    for head in ("5b", "7b", "9b", "bb"):
        assert reason(bytes.fromhex(head + "ffffffffffffffff")) == "truncated"
        assert reason(bytes.fromhex(head + "0000000100000000") + bytes(100)) == "truncated"
    assert reason(b"\x82\x00") == "truncated"
    assert reason(b"\xa1\x00") == "truncated"
    assert reason(b"\xa1") == "truncated"
    assert reason(b"\xa2\x00\x00\x01") == "truncated"
    assert reason(b"\x42a") == "truncated"
    assert reason(b"\xd2") == "truncated"
    assert reason(b"") == "truncated"


def test_nesting_has_a_limit_in_both_directions():
    for wrap in (lambda x: [x], lambda x: {1: x}, lambda x: {"k": x}, lambda x: Tag(18, x)):
        deepest = nested(wrap, DEPTH_LIMIT)
        assert decode(encode(deepest)) == deepest
        assert refusal(wrap(deepest)) == "too-deep"
    assert reason(b"\x81" * (DEPTH_LIMIT + 1) + b"\x00") == "too-deep"
    assert reason(b"\xa1\x00" * (DEPTH_LIMIT + 1) + b"\x00") == "too-deep"
    assert reason(b"\xd2" * (DEPTH_LIMIT + 1) + b"\x00") == "too-deep"
    assert reason(b"\x81" * SIZE_LIMIT) == "too-deep"
    assert reason(b"\xd2" * SIZE_LIMIT) == "too-deep"


def test_objects_that_hold_themselves_are_refused():
    loop = [1]
    loop.append(loop)
    assert refusal(loop) == "too-deep"
    circle = {}
    circle["again"] = [circle]
    assert refusal(circle) == "too-deep"
    tag = Tag(16, None)
    tag.value = tag
    assert refusal(tag) == "too-deep"


def test_an_encoding_has_at_most_64_kib():
    largest = encode(bytes(SIZE_LIMIT - 3))
    assert len(largest) == SIZE_LIMIT and len(decode(largest)) == SIZE_LIMIT - 3
    assert refusal(bytes(SIZE_LIMIT - 2)) == "too-large"
    assert reason(bytes(SIZE_LIMIT + 1)) == "too-large"
    assert reason(bytearray(SIZE_LIMIT + 1)) == "too-large"
    assert reason(memoryview(bytes(SIZE_LIMIT + 1))) == "too-large"


def test_a_small_object_that_would_encode_to_gigabytes_is_refused():
    fan = 0
    for _ in range(DEPTH_LIMIT):
        fan = [fan] * 50
    assert refusal(fan) == "too-large"


def test_objects_that_outgrow_the_heap_are_refused_and_nothing_is_left_behind():
    """65,533 empty lists: they fit into CPython's memory, not into the heap that this test has on
    MicroPython."""
    data = b"\x99\xff\xfd" + b"\x80" * 65533
    try:
        assert decode(data) == [[]] * 65533
    except CborError as error:
        assert error.args == ("too-large",)
    assert decode(encode(message())) == message()


def test_invalid_utf8_is_refused():
    for text in (
        "80",  # a continuation without a first byte
        "bf",
        "c3",  # a first byte without continuation
        "e282",
        "f09f98",
        "c361",
        "e228a1",
        "c080",  # overlong
        "c1bf",
        "e08080",
        "e09fbf",
        "f0808080",
        "f08fbfbf",
        "eda080",  # surrogates
        "edbfbf",
        "eda0bdedb880",
        "f4908080",  # above U+10FFFF
        "f5808080",
        "f7bfbfbf",
        "f888808080",  # no UTF-8 for 20 years
        "fe",
        "ff",
    ):
        raw = bytes.fromhex(text)
        for before, after in ((b"", b""), (b"ab", b"cd"), (b"\xc3\xbc", b"\xe6\xb0\xb4")):
            body = before + raw + after
            assert reason(bytes([0x60 | len(body)]) + body) == "bad-utf8", text
            assert reason(b"\xa1" + bytes([0x60 | len(body)]) + body + b"\x00") == "bad-utf8", text


def test_the_ends_of_each_utf8_range_are_accepted():
    for text in (
        "7f",
        "c280",
        "dfbf",
        "e0a080",
        "ecbfbf",
        "ed9fbf",
        "ee8080",
        "efbfbf",
        "f0908080",
        "f3bfbfbf",
        "f48fbfbf",
    ):
        data = bytes([0x60 | len(text) // 2]) + bytes.fromhex(text)
        back = decode(data)
        assert len(back) == 1 and encode(back) == data


def test_lone_surrogates_are_not_encoded():
    for code in (0xD800, 0xDBFF, 0xDC00, 0xDFFF):
        assert refusal(chr(code)) == "bad-utf8"
        assert refusal({"a" + chr(code): 1}) == "bad-utf8"


def test_only_the_tags_of_cose_pass():
    for number in (16, 17, 18):
        tag = Tag(number, [b"", {}, None, b""])
        assert decode(encode(tag)) == tag
        assert encode(tag)[0] == 0xC0 | number
    for number in (0, 15, 19, 24, 61, 98, -1, "18", 16.0, None):
        assert refusal(Tag(number, 0)) == "unsupported"
    for head in ("c0", "cf", "d3", "d83d", "d9d9f7", "db7fffffffffffffff"):
        assert reason(bytes.fromhex(head + "00")) == "unsupported"


def test_tags_are_equal_by_number_and_value():
    assert Tag(18, [1]) == Tag(18, [1])
    assert Tag(18, [1]) != Tag(17, [1]) and Tag(18, [1]) != Tag(18, [2]) and Tag(18, 1) != 1
    assert repr(Tag(18, [1])) == "Tag(18, [1])"


def test_what_cannot_be_represented_is_refused():
    for obj in (1.0, float("nan"), {1, 2}, object(), int, len, Ellipsis, range(3), [1.5], {1: 1.5}, Tag(16, 1.5)):
        assert refusal(obj) == "unsupported"
    for number in (1 << 64, -(1 << 64) - 1, 1 << 200, -(1 << 200)):
        assert refusal(number) == "out-of-range"


def test_decode_takes_nothing_but_bytes():
    for data in (None, 5, "abc", [0], (0,), {}, 1.5, object(), bytes):
        assert reason(data) == "not-bytes"


def test_every_kind_of_bytes_goes_in_and_bytes_come_out():
    data = encode(b"abc")
    for kind in (bytes, bytearray, memoryview):
        assert encode(kind(b"abc")) == data and type(encode(kind(b"abc"))) is bytes
        assert decode(kind(data)) == b"abc" and type(decode(kind(data))) is bytes
    assert decode(memoryview(b"xx" + data + b"yy")[2:-2]) == b"abc"


def test_the_result_does_not_follow_the_buffer():
    buffer = bytearray(encode({"k": b"abc"}))
    for view in (buffer, memoryview(buffer)):
        obj = decode(view)
        buffer[-1] ^= 1
        assert obj["k"] == b"abc"
        buffer[-1] ^= 1


def test_a_buffer_can_be_resized_while_its_refusal_is_handled():
    buffer = bytearray(b"\x82\x00")
    try:
        decode(buffer)
        raise AssertionError("decoded")
    except CborError:
        buffer.extend(b"\x01")
    assert decode(buffer) == [0, 1]


def test_tuples_come_back_as_lists():
    assert decode(encode((1, (2, 3)))) == [1, [2, 3]]


def test_a_message_survives():
    obj = message()
    data = encode(obj)
    assert decode(data) == obj
    assert encode(decode(data)) == data


def same_or_refused(data):
    """1 when `data` decodes, and then encodes to itself; 0 when it is refused. Anything else
    propagates."""
    try:
        obj = decode(data)
    except CborError:
        return 0
    assert encode(obj) == data, data
    return 1


def test_every_truncation_is_refused():
    data = encode(message())
    for length in range(len(data)):
        assert reason(data[:length]) == "truncated"
        assert reason(memoryview(data)[:length]) == "truncated"


def test_every_flipped_bit_is_another_message_or_refused():
    data = encode(message())
    decoded = 0
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            decoded += same_or_refused(damaged)
    assert 0 < decoded < 8 * len(data)


def test_every_byte_put_in_or_left_out_is_another_message_or_refused():
    data = encode(message())
    decoded = 0
    for at in range(len(data)):
        decoded += same_or_refused(data[:at] + data[at + 1 :])
        for byte in (0x00, 0x18, 0x41, 0x61, 0x81, 0xA1, 0xD2, 0xF6, 0xFF):
            decoded += same_or_refused(data[:at] + bytes([byte]) + data[at:])
    assert decoded < 10 * len(data)


def test_every_encoding_of_one_or_two_bytes_is_canonical_or_refused():
    accepted = 0
    for first in range(256):
        accepted += same_or_refused(bytes([first]))
        for second in range(256):
            accepted += same_or_refused(bytes([first, second]))
    # One byte: 24 + 24 integers, 3 simple values, 4 empty ones. Two: 232 + 232 integers, 256 byte
    # strings, 128 texts, and the 55 of one byte in an array of one or under three tags.
    assert accepted == 55 + 2 * 232 + 256 + 128 + 4 * 55
