"""Onions of any shape against other people's libraries, every flipped bit, and what a hop can see
of its position."""

import hmac
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ecdsa
import pytest
from Crypto.Cipher import AES
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.crypto import CryptoError, accelerate, p256, p256_compressed
from agent.protocols.gossip.onion import onion
from agent.protocols.gossip.onion.onion import OnionError

CURVE = ec.SECP256R1()
VECTORS = json.loads((Path(__file__).parents[2] / "tests/interop/vectors/onions.json").read_text())
examples = settings(max_examples=60, deadline=None, derandomize=True)
MANY = 13
TEXT = bytes(range(32))
UNIFORM = 440  # chi-square with 255 degrees of freedom is above it once in 10^11 (Wilson and Hilferty's approximation)


@pytest.fixture(scope="module", autouse=True)
def host_libraries() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


# -- The onion once more, from docs/protocol/queries.md: peeled with `cryptography`, built with `ecdsa` and pycryptodome.


def oracle_peel(
    private: bytes, cell: bytes, context: bytes, payload_size: int, text: bytes
) -> tuple[int | None, bytes] | None:
    """What the hop learns, or None where the tag is wrong; the first 33 bytes must be a point."""
    ephemeral, tag, body = cell[:33], cell[33:49], cell[49:]
    own = ec.derive_private_key(int.from_bytes(private, "big"), CURVE)
    secret = own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, ephemeral))
    keys = HKDF(SHA256(), 48, context, b"hum/v1/onion" + ephemeral).derive(secret)
    if hmac.digest(keys[16:], text + body, "sha256")[:16] != tag:
        return None
    plain = Cipher(algorithms.AES(keys[:16]), modes.CTR(bytes(16))).encryptor().update(body + bytes(50))
    return (None, plain[1 : 1 + payload_size]) if plain[0] == 255 else (plain[0], plain[1:])


def oracle_layer(ephemeral_private: bytes, public: bytes, context: bytes) -> tuple[bytes, bytes, bytes]:
    """(ephemeral key, AES key, MAC key)"""
    own = ecdsa.SigningKey.from_string(ephemeral_private, ecdsa.NIST256p)
    hop = ecdsa.VerifyingKey.from_string(public, ecdsa.NIST256p)
    secret = ecdsa.ECDH(ecdsa.NIST256p, own, hop).generate_sharedsecret_bytes()
    ephemeral = own.verifying_key.to_string("compressed")
    extracted = hmac.digest(context, secret, "sha256")
    output, block = b"", b""
    for number in (1, 2):
        block = hmac.digest(extracted, block + b"hum/v1/onion" + ephemeral + bytes((number,)), "sha256")
        output += block
    return ephemeral, output[:16], output[16:48]


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def oracle_build(
    layers: Sequence[tuple[bytes, bytes, bytes]], rounds: Sequence[int], payload: bytes, padding: bytes, text: bytes
) -> bytes:
    body = 1 + len(payload) + len(padding) + 50 * (len(layers) - 1)
    streams = [AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=0).encrypt(bytes(body + 50)) for _, key, _ in layers]
    filler = b""
    for stream in streams[:-1]:
        filler = xor(filler + bytes(50), stream[body - len(filler) :])
    inner = b"\xff" + payload + padding
    content = xor(inner, streams[-1][: len(inner)]) + filler
    cell = b""
    for i in reversed(range(len(layers))):
        if cell:
            content = xor((bytes((rounds[i],)) + cell)[:body], streams[i][:body])
        ephemeral, _, code = layers[i]
        cell = ephemeral + hmac.digest(code, text + content, "sha256")[:16] + content
    return cell


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def key(draw: int) -> bytes:
    return (draw % (p256.N - 1) + 1).to_bytes(32, "big")


scalars = st.integers(1, p256.N - 1).map(lambda number: number.to_bytes(32, "big"))


@st.composite
def onions(draw: Any) -> tuple[list[bytes], list[int], bytes, int, bytes]:
    """(private keys in path order, rounds, payload, hops_most, context)"""
    hops_most = draw(st.integers(1, MANY))
    privates = draw(st.lists(scalars, min_size=1, max_size=hops_most))  # a node may be on the path twice
    rounds = draw(st.lists(st.integers(0, 254), min_size=len(privates) - 1, max_size=len(privates) - 1))
    return privates, rounds, draw(st.binary(max_size=300)), hops_most, draw(st.binary(max_size=80))


def real_layers(privates: Iterable[bytes], context: bytes) -> list[bytearray]:
    return [finish(onion.layer_steps(p256.public_key(one), context, os.urandom)) for one in privates]


@examples
@given(onions())
def test_any_onion_arrives_and_the_libraries_see_the_same_at_every_hop(
    drawn: tuple[list[bytes], list[int], bytes, int, bytes],
) -> None:
    privates, rounds, payload, hops_most, context = drawn
    most, count = hops_most, len(payload)
    cell = onion.build(real_layers(privates, context), rounds, payload, most, count, os.urandom, TEXT)
    for private, number in zip(privates, [*rounds, None], strict=True):
        assert len(cell) == onion.size(most, count) == 50 * most + count
        result = finish(onion.peel_steps(private, cell, context, most, count, TEXT))
        assert result == oracle_peel(private, cell, context, count, TEXT)
        assert result[0] == number
        cell = result[1]
    assert cell == payload


@examples
@given(onions(), st.data())
def test_the_libraries_build_the_same_cell(
    drawn: tuple[list[bytes], list[int], bytes, int, bytes], data: st.DataObject
) -> None:
    privates, rounds, payload, hops_most, context = drawn
    publics = [p256.public_key(one) for one in privates]
    count = len(privates)
    ephemerals = data.draw(st.lists(scalars, min_size=count, max_size=count, unique=True))
    length = onion.HOP * (hops_most - count + 1) - onion.HEADER - 1
    padding = data.draw(st.binary(min_size=length, max_size=length))
    layers = [
        finish(onion.layer_steps(public, context, lambda _, drawn=one: drawn))
        for public, one in zip(publics, ephemerals, strict=True)
    ]
    others = [oracle_layer(one, public, context) for public, one in zip(publics, ephemerals, strict=True)]
    assert [bytes(layer) for layer in layers] == [b"".join(other) for other in others]
    cell = onion.build(layers, rounds, payload, hops_most, len(payload), lambda _: padding, TEXT)
    assert cell == oracle_build(others, rounds, payload, padding, TEXT)


@pytest.mark.parametrize("name", sorted(VECTORS["paths"]))
def test_the_published_onions_follow_from_the_description(name: str) -> None:
    path = VECTORS["paths"][name]
    context, payload, text = (bytes.fromhex(VECTORS[field]) for field in ("context", "payload", "text"))
    hops = [{field: bytes.fromhex(value) for field, value in hop.items()} for hop in path["hops"]]
    layers = [oracle_layer(hop["ephemeral_private"], hop["public"], context) for hop in hops]
    assert layers == [(hop["ephemeral"], hop["aes_key"], hop["mac_key"]) for hop in hops]
    cell = oracle_build(layers, path["rounds"], payload, bytes.fromhex(path["padding"]), text)
    assert len(cell) == 50 * VECTORS["hops_most"] + len(payload)
    for hop, number in zip(hops, [*path["rounds"], None], strict=True):
        assert cell == hop["cell"]
        result = oracle_peel(hop["private"], cell, context, len(payload), text)
        assert result is not None and result[0] == number
        cell = result[1]
    assert cell == payload


@examples
@given(scalars)
def test_points_are_compressed_as_the_libraries_do_it(private: bytes) -> None:
    public = p256.public_key(private)
    short = ecdsa.SigningKey.from_string(private, ecdsa.NIST256p).verifying_key.to_string("compressed")
    assert p256_compressed.compress(public) == short
    assert p256_compressed.decompress(short) == public
    other = bytes((short[0] ^ 1,)) + short[1:]
    assert p256_compressed.decompress(other)[1:33] == public[1:33]
    assert p256_compressed.compress(p256_compressed.decompress(other)) == other


@examples
@given(st.sampled_from([2, 3]), st.integers(0, 2**256 - 1) | st.integers(p256.P - 2, p256.P + 2) | st.integers(0, 20))
def test_an_x_is_on_the_curve_exactly_where_the_libraries_say_so(first: int, x: int) -> None:
    short = bytes((first,)) + x.to_bytes(32, "big")
    try:
        expected = ecdsa.VerifyingKey.from_string(short, ecdsa.NIST256p).to_string("uncompressed")
    except ecdsa.errors.MalformedPointError:
        with pytest.raises(CryptoError):
            p256_compressed.decompress(short)
    else:
        # The library reduces an x that is too large; SEC 1 wants it below p.
        if x < p256.P:
            assert p256_compressed.decompress(short) == expected


# -- What an attacker sends.


def refusal(private: bytes, cell: Any, context: bytes, most: int, count: int) -> str:
    with pytest.raises(OnionError) as caught:
        finish(onion.peel_steps(private, cell, context, most, count, TEXT))
    return str(caught.value.reason)


def test_every_flipped_bit_is_refused_at_the_next_hop() -> None:
    privates, context, most, payload = [key(7), key(8), key(9)], b"query 1", 4, b"twenty-two bytes here."
    cell = onion.build(real_layers(privates, context), [5, 6], payload, most, len(payload), os.urandom, TEXT)
    for private in privates:
        seen: Counter[tuple[str, bool]] = Counter()
        for bit in range(8 * len(cell)):
            changed = bytearray(cell)
            changed[bit >> 3] ^= 1 << (bit & 7)
            seen[refusal(private, changed, context, most, len(payload)), bit >> 3 < 33] += 1
        assert seen["bad-tag", False] == 8 * (len(cell) - 33)
        assert seen["bad-tag", True] + seen["bad-point", True] == 8 * 33
        assert refusal(private, cell, b"query 2", most, len(payload)) == "bad-tag"
        assert refusal(key(10), cell, context, most, len(payload)) == "bad-tag"
        _, cell = finish(onion.peel_steps(private, cell, context, most, len(payload), TEXT))
    assert cell == payload


@examples
@given(scalars, st.binary(max_size=400), st.integers(1, 4), st.integers(0, 60))
def test_any_bytes_are_refused_by_name(private: bytes, cell: bytes, most: int, count: int) -> None:
    assert refusal(private, cell, b"", most, count) in ("wrong-size", "bad-point", "bad-tag")


@examples
@given(scalars, scalars, st.binary(min_size=189, max_size=189))
def test_any_bytes_after_a_point_of_the_curve_are_refused(private: bytes, other: bytes, rest: bytes) -> None:
    cell = p256_compressed.compress(p256.public_key(other)) + rest
    assert refusal(private, cell, b"context", 4, 22) == "bad-tag"


def test_what_a_malicious_builder_wraps_is_refused_by_the_hop_after() -> None:
    """A valid layer around anything: the relay forwards it, because it cannot know, and the next
    hop refuses it."""
    first, second = key(20), key(21)
    (outer,) = real_layers([first], b"c")
    inner = os.urandom(222)
    ephemeral, code = bytes(outer[:33]), bytes(outer[49:])
    stream = AES.new(bytes(outer[33:49]), AES.MODE_CTR, nonce=b"", initial_value=0).encrypt(bytes(223))
    body = xor(b"\x09" + inner[:172], stream[:173])
    cell = ephemeral + hmac.digest(code, TEXT + body, "sha256")[:16] + body
    number, forwarded = finish(onion.peel_steps(first, cell, b"c", 4, 22, TEXT))
    assert (number, forwarded) == (9, inner[:172] + stream[173:])
    assert refusal(second, forwarded, b"c", 4, 22) in ("bad-point", "bad-tag")


# -- What a hop can see of where it stands. The work on the curve is left out.


def made_up_layers(count: int) -> list[bytearray]:
    return [onion.layer_of(os.urandom(32), b"\x02" + os.urandom(32), b"") for _ in range(count)]


def chi_square(data: bytes) -> float:
    expected = len(data) / 256
    counts = Counter(data)
    return sum((counts[value] - expected) ** 2 for value in range(256)) / expected


def views(hops: int, random: Callable[[int], bytes]) -> tuple[list[bytes], bytes]:
    """The cells that the hops get, and all that the recipient decrypts after the payload."""
    layers = made_up_layers(hops)
    copies = [bytes(layer) for layer in layers]
    cell = onion.build(layers, [hop % 255 for hop in range(hops - 1)], bytes(38), MANY, 38, random, TEXT)
    cells = []
    for layer in copies:
        cells.append(cell)
        _, cell = onion.peel(layer, cell, MANY, 38, TEXT)
    last = cells[-1]
    stream = AES.new(copies[-1][33:49], AES.MODE_CTR, nonce=b"", initial_value=0).encrypt(bytes(len(last) + 1))
    return cells, xor(last[49:] + bytes(50), stream)[1 + 38 :]


def test_cells_look_alike_at_every_hop_of_every_path() -> None:
    for hops in (1, 2, 3, 5, 8, MANY):
        many = [views(hops, os.urandom) for _ in range(60)]
        for hop in range(hops):
            at_hop = [cells[hop] for cells, _ in many]
            assert {len(cell) for cell in at_hop} == {50 * MANY + 38}
            assert chi_square(b"".join(cell[1:] for cell in at_hop)) < UNIFORM
            # Where fillers and padding are: at the end.
            assert chi_square(b"".join(cell[-100:] for cell in at_hop)) < UNIFORM


def test_what_the_recipient_decrypts_after_the_payload_does_not_tell_the_length_of_the_path() -> None:
    for hops in (1, 2, 5, MANY):
        assert chi_square(b"".join(views(hops, os.urandom)[1] for _ in range(60))) < UNIFORM
    # The measure is one that would see it: padding of zeros.
    assert chi_square(b"".join(views(5, bytes)[1] for _ in range(60))) > 100 * UNIFORM


def test_two_onions_share_nothing_that_a_hop_could_recognise() -> None:
    """No eight bytes of any cell come again in another cell of either onion."""
    seen: set[bytes] = set()
    for _ in range(2):
        for cell in views(MANY, os.urandom)[0]:
            pieces = {cell[i : i + 8] for i in range(len(cell) - 7)}
            assert not pieces & seen
            seen |= pieces


def test_the_same_layers_and_payload_never_make_the_same_cell() -> None:
    """Only a test can do that, with copies of layers: the padding is fresh."""
    layers = made_up_layers(3)
    cells = set()
    for _ in range(20):
        copies = [bytearray(layer) for layer in layers]
        cells.add(onion.build(copies, [1, 2], bytes(38), MANY, 38, os.urandom, TEXT))
    assert len(cells) == 20
