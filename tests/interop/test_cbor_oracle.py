"""Deterministic CBOR against cbor2, and against random and mutated bytes.

cbor2 writes the keys of a map in the order of RFC 7049 when asked for canonical output, the shorter
encoding first. Hum follows RFC 8949: bytewise. Two keys of one major type stand in the same order
in both, because there a longer encoding has the greater first byte. The orders differ only when the
key of the lower major type has the longer encoding, like 24 (18 18) and -1 (20). So the oracle is
asked twice: for maps of one key type in its own canonical order, and for all maps with the keys
handed over in bytewise order and left as they are.
"""

import array
import enum
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.wire.cbor import DEPTH_LIMIT, SIZE_LIMIT, CborError, Tag, decode, encode

INTEGERS = st.one_of(st.integers(-(1 << 64), (1 << 64) - 1), st.integers(-300, 300))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
LEAVES = st.one_of(st.none(), st.booleans(), INTEGERS, TEXTS, st.binary(max_size=40))


def objects(keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def wrap(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.lists(inner, max_size=5),
            st.dictionaries(keys, inner, max_size=5),
            st.builds(Tag, st.sampled_from([16, 17, 18]), inner),
        )

    return st.recursive(LEAVES, wrap, max_leaves=20).filter(lambda obj: depth(obj) <= DEPTH_LIMIT)


def depth(obj: Any) -> int:
    if isinstance(obj, Tag):
        return 1 + depth(obj.value)
    if isinstance(obj, dict):
        return 1 + max(map(depth, obj.values()), default=0)
    if isinstance(obj, list):
        return 1 + max(map(depth, obj), default=0)
    return 0


def for_oracle(obj: Any) -> Any:
    """The same object in cbor2's classes, each map in bytewise order of its encoded keys."""
    if isinstance(obj, Tag):
        return cbor2.CBORTag(obj.number, for_oracle(obj.value))
    if isinstance(obj, dict):
        return {key: for_oracle(obj[key]) for key in sorted(obj, key=cbor2.dumps)}
    if isinstance(obj, list):
        return [for_oracle(item) for item in obj]
    return obj


ANY_KEYS = st.one_of(INTEGERS, TEXTS)


@given(objects(ANY_KEYS))
@settings(max_examples=300, deadline=None)
def test_cbor2_makes_the_same_bytes_from_keys_in_bytewise_order(obj: Any) -> None:
    assert encode(obj) == cbor2.dumps(for_oracle(obj))


@given(objects(st.integers(0, (1 << 64) - 1)) | objects(st.integers(-(1 << 64), -1)) | objects(TEXTS))
@settings(max_examples=300, deadline=None)
def test_cbor2_canonical_makes_the_same_bytes_when_the_keys_of_a_map_are_of_one_type(obj: Any) -> None:
    assert encode(obj) == cbor2.dumps(for_oracle(obj), canonical=True)


@pytest.mark.parametrize(("lower", "higher"), [(24, -1), (256, -25), (24, ""), (1000, "a"), (-25, ""), (-1000, "a")])
def test_rfc_7049_order_differs_across_key_types_and_is_refused(lower: int, higher: int | str) -> None:
    length_first = cbor2.dumps({lower: 0, higher: 0}, canonical=True)
    assert encode({higher: 0, lower: 0}) == cbor2.dumps({lower: 0, higher: 0}) != length_first
    with pytest.raises(CborError, match=r"^key-order$"):
        decode(length_first)


@given(objects(ANY_KEYS))
@settings(max_examples=300, deadline=None)
def test_what_is_encoded_decodes_to_the_same(obj: Any) -> None:
    back = decode(encode(obj))
    assert back == obj
    assert for_oracle(back) == cbor2.loads(encode(obj))
    assert repr(for_oracle(back)) == repr(for_oracle(obj))  # True is not 1


@given(objects(ANY_KEYS), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_insertion_leaves_no_trace(obj: Any, random: Any) -> None:
    def shuffled(part: Any) -> Any:
        if isinstance(part, Tag):
            return Tag(part.number, shuffled(part.value))
        if isinstance(part, dict):
            keys = list(part)
            random.shuffle(keys)
            return {key: shuffled(part[key]) for key in keys}
        return [shuffled(item) for item in part] if isinstance(part, list) else part

    assert encode(shuffled(obj)) == encode(obj)


def canonical_or_refused(data: bytes) -> None:
    try:
        obj = decode(data)
    except CborError as error:
        assert len(error.args) == 1 and isinstance(error.args[0], str)
        return
    assert encode(obj) == data
    assert for_oracle(obj) == cbor2.loads(data)


@given(st.binary(max_size=60))
@example(b"\x5f\x41a\xff")
@example(b"\xbb" + b"\xff" * 8)
@example(b"\x1b" + b"\xff" * 8)
@settings(max_examples=500, deadline=None)
def test_random_bytes_are_canonical_or_refused(data: bytes) -> None:
    canonical_or_refused(data)


# Bytes that begin or end something, so that random strings of them get somewhere.
STRUCTURE = [0x00, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x20, 0x38, 0x41, 0x58, 0x61, 0x62, 0x78, 0x80, 0x81, 0x82, 0x98, 0x9F]
STRUCTURE += [0xA0, 0xA1, 0xA2, 0xB8, 0xC2, 0xD0, 0xD1, 0xD2, 0xD8, 0xED, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xFB, 0xFF]


@given(st.lists(st.sampled_from(STRUCTURE), max_size=40).map(bytes))
@settings(max_examples=500, deadline=None)
def test_random_structures_are_canonical_or_refused(data: bytes) -> None:
    canonical_or_refused(data)


@given(objects(ANY_KEYS), st.data())
@settings(max_examples=500, deadline=None)
def test_mutated_encodings_are_canonical_or_refused(obj: Any, data: st.DataObject) -> None:
    encoding = encode(obj)
    at = data.draw(st.integers(0, len(encoding)))
    cut = data.draw(st.integers(0, 9))
    canonical_or_refused(encoding[:at] + data.draw(st.binary(max_size=9)) + encoding[at + cut :])


@given(objects(ANY_KEYS))
@settings(max_examples=100, deadline=None)
def test_what_cbor2_writes_another_way_is_refused(obj: Any) -> None:
    """Indefinite lengths, from the oracle's own writer."""
    stretched = cbor2.dumps([for_oracle(obj)], indefinite_containers=True)
    with pytest.raises(CborError, match=r"^(indefinite|too-deep)$"):
        decode(stretched)


@given(st.binary(max_size=12))
@settings(max_examples=400, deadline=None)
def test_text_is_accepted_exactly_when_cpython_accepts_it(raw: bytes) -> None:
    data = bytes([0x60 | len(raw)]) + raw
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        with pytest.raises(CborError, match=r"^bad-utf8$"):
            decode(data)
    else:
        assert decode(data) == text


@given(st.one_of(st.floats(), st.text(), st.lists(st.integers()), st.none(), st.dictionaries(st.text(), st.text())))
@settings(max_examples=100, deadline=None)
def test_other_than_bytes_is_refused(data: Any) -> None:
    with pytest.raises(CborError, match=r"^not-bytes$"):
        decode(data)


def test_views_of_wide_items_and_with_strides_do_not_confuse_the_reader() -> None:
    encoding = encode([1, 2, 3])
    words = array.array("H")
    words.frombytes(encoding)
    assert decode(memoryview(words)) == [1, 2, 3]
    assert decode(encode(memoryview(words))) == encoding
    with pytest.raises(CborError, match=r"^not-bytes$"):
        decode(memoryview(encoding + encoding)[::2])
    wide = memoryview(array.array("Q", bytes(SIZE_LIMIT + 8)))
    assert len(wide) < SIZE_LIMIT < wide.nbytes
    with pytest.raises(CborError, match=r"^too-large$"):
        decode(wide)
    released = memoryview(encoding)
    released.release()
    with pytest.raises(CborError, match=r"^not-bytes$"):
        decode(released)


def test_integer_enums_are_encoded_as_their_values() -> None:
    class Kind(enum.IntEnum):
        JOIN = 3

    assert encode({Kind.JOIN: Kind.JOIN}) == encode({3: 3})


def test_keys_that_are_distinct_in_python_but_not_in_cbor_are_refused() -> None:
    class Name(str):
        def __eq__(self, other: object) -> bool:
            return self is other

        def __hash__(self) -> int:
            return id(self)

    with pytest.raises(CborError, match=r"^duplicate-key$"):
        encode({Name("a"): 1, Name("a"): 2})
