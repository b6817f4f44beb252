"""Onions on both interpreters: paths of every length, the published vectors, and the refusal of
whatever was tampered with."""

import json
import os
from hashlib import sha256

from agent.crypto import CryptoError, p256, p256_compressed, p256_points
from agent.protocols.gossip.onion import onion
from agent.protocols.gossip.onion.onion import OnionError
from tests.support.expect import raises

MOST = 4
PAYLOAD = b"eight...and fourteen.."
SIZE = 222
CONTEXT = b"deployment, group, epoch and query"
TEXT = bytes(range(32))
BASE = b"\x04" + p256_points.GX.to_bytes(32, "big") + p256_points.GY.to_bytes(32, "big")


def finish(steps):
    """Run the slices and return (result, how many)."""
    count = 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration as stop:
            return stop.value, count


def made_up_layer(number):
    """A layer as if from a secret shared with hop `number`: nothing is computed on the curve."""
    digest = sha256(b"ephemeral %d" % number).digest()
    return onion.layer_of(sha256(b"secret %d" % number).digest(), b"\x02" + digest, CONTEXT)


def built(hops, payload=PAYLOAD, random=os.urandom):
    layers = [made_up_layer(i) for i in range(hops)]
    return onion.build(layers, list(range(10, 9 + hops)), payload, MOST, len(payload), random, TEXT)


def peeled(number, cell):
    return onion.peel(made_up_layer(number), cell, MOST, len(PAYLOAD), TEXT)


def reason(function, *arguments):
    return raises(OnionError, function, *arguments).reason


def peel_reason(cell, private=b"\x05" * 32, context=CONTEXT, text=TEXT):
    def run():
        finish(onion.peel_steps(private, cell, context, MOST, len(PAYLOAD), text))

    return reason(run)


def bytes_of(table, *names):
    for name in names:
        table = table[name]
    return bytes.fromhex(table)


def test_a_payload_travels_through_real_keys_in_short_slices():
    privates = [bytes((i,)) * 32 for i in (7, 8)]
    layers = []
    for private in privates:
        layer, slices = finish(onion.layer_steps(p256.public_key(private), CONTEXT, os.urandom))
        assert slices > 90
        layers.append(layer)
    first = onion.build(layers, [42], PAYLOAD, MOST, len(PAYLOAD), os.urandom, TEXT)
    (number, second), slices = finish(onion.peel_steps(privates[0], first, CONTEXT, MOST, len(PAYLOAD), TEXT))
    assert (number, len(first), len(second)) == (42, SIZE, SIZE) and slices > 60
    (number, payload), _ = finish(onion.peel_steps(privates[1], second, CONTEXT, MOST, len(PAYLOAD), TEXT))
    assert (number, payload) == (None, PAYLOAD)
    assert peel_reason(second, privates[1], CONTEXT + b".") == "bad-tag"
    # The same x, so the same shared secret: the sign must count all the same.
    assert peel_reason(bytes((second[0] ^ 1,)) + second[1:], privates[1]) == "bad-tag"


def test_the_published_onions_are_built_and_peeled():
    with open("tests/interop/vectors/onions.json") as file:
        vectors = json.load(file)
    context, payload, text = [bytes_of(vectors, name) for name in ("context", "payload", "text")]
    most = vectors["hops_most"]
    for path in vectors["paths"].values():
        hops, padding = path["hops"], bytes_of(path, "padding")
        layers = []
        for hop in hops:
            made = onion.layer_of(bytes_of(hop, "secret"), bytes_of(hop, "ephemeral"), context)
            assert made == bytes_of(hop, "ephemeral") + bytes_of(hop, "aes_key") + bytes_of(hop, "mac_key")
            layers.append(made)
        copies = [bytearray(made) for made in layers]
        cell = onion.build(layers, path["rounds"], payload, most, len(payload), lambda count, p=padding: p, text)
        for i, hop in enumerate(hops):
            assert cell == bytes_of(hop, "cell")
            number, cell = onion.peel(copies[i], cell, most, len(payload), text)
            assert number == (path["rounds"] + [None])[i]
        assert cell == payload
    # The work on the curve, for one hop.
    hop = vectors["paths"]["two hops"]["hops"][1]
    public = p256_compressed.decompress(bytes_of(hop, "public"))
    own = bytes_of(hop, "ephemeral_private")
    made, _ = finish(onion.layer_steps(public, context, lambda count: own))
    assert made == onion.layer_of(bytes_of(hop, "secret"), bytes_of(hop, "ephemeral"), context)
    steps = onion.peel_steps(bytes_of(hop, "private"), bytes_of(hop, "cell"), context, most, len(payload), text)
    assert finish(steps)[0] == (None, payload)


def test_every_path_length_has_the_same_size_at_every_hop():
    assert onion.size(MOST, len(PAYLOAD)) == SIZE
    for hops in range(1, MOST + 1):
        cell = built(hops)
        for i in range(hops - 1):
            assert len(cell) == SIZE
            number, cell = peeled(i, cell)
            assert number == 10 + i
        assert len(cell) == SIZE
        assert peeled(hops - 1, cell) == (None, PAYLOAD)


def test_the_largest_onion_and_the_smallest():
    for most, payload in ((onion.MOST_HOPS, b"\xff" * onion.MOST_PAYLOAD), (1, b"")):
        layers = [made_up_layer(i) for i in range(most)]
        cell = onion.build(layers, [254] * (most - 1), payload, most, len(payload), os.urandom, TEXT)
        assert len(cell) == 50 * most + len(payload)
        for i in range(most):
            number, cell = onion.peel(made_up_layer(i), cell, most, len(payload), TEXT)
        assert (number, cell) == (None, payload)


def test_a_changed_byte_anywhere_is_refused_at_every_hop():
    cell = built(MOST)
    for hop in range(MOST):
        for place in range(SIZE):
            changed = bytearray(cell)
            changed[place] ^= 1 << (place + hop & 7)
            assert reason(peeled, hop, changed) == "bad-tag"
        _, cell = peeled(hop, cell)
    assert cell == PAYLOAD


def test_another_hops_cell_is_refused():
    cell = built(3)
    assert reason(peeled, 1, cell) == "bad-tag"
    _, after = peeled(0, cell)
    assert reason(peeled, 0, after) == "bad-tag"


def test_other_sizes_and_things_that_are_no_bytes_are_refused():
    cell = built(2)
    wrong = (b"", cell[:-1], cell[1:], cell + b"\0", cell[:49], cell[:172], cell * 2, None, 5, "x" * SIZE, [0] * SIZE)
    for one in wrong:
        assert peel_reason(one) == "wrong-size"
        assert reason(peeled, 0, one) == "wrong-size"
    assert peeled(0, memoryview(cell)) == peeled(0, bytearray(cell)) == peeled(0, cell)


def test_what_is_no_point_of_the_curve_is_refused():
    rest = built(1)[33:]
    x = BASE[1:33]
    for start in (
        b"\x02" + (1).to_bytes(32, "big"),  # no point has this x
        b"\x03" + p256_points.P.to_bytes(32, "big"),
        b"\x02" + (p256_points.P + p256_points.GX % 2**200).to_bytes(32, "big"),
        b"\x03" + b"\xff" * 32,
        bytes(33),  # infinity is one zero byte
        b"\x00" + x,
        b"\x01" + x,
        b"\x04" + x,
        b"\x06" + x,
        b"\xff" + x,
    ):
        assert peel_reason(start + rest) == "bad-point"


def test_a_layer_serves_one_onion():
    layers = [made_up_layer(0), made_up_layer(1)]
    onion.build(layers, [3], PAYLOAD, MOST, len(PAYLOAD), os.urandom, TEXT)
    assert layers == [bytearray(81), bytearray(81)]
    fresh = made_up_layer(2)
    for again in ([layers[0], fresh], [fresh, layers[1]], [fresh, fresh], [fresh, made_up_layer(2)]):
        assert reason(onion.build, again, [3], PAYLOAD, MOST, len(PAYLOAD), os.urandom, TEXT) == "spent-layer"
    assert fresh == made_up_layer(2)  # what is refused costs nothing
    for bad in (bytes(made_up_layer(1)), bytearray(80), None, "x" * 81):
        assert reason(onion.build, [fresh, bad], [3], PAYLOAD, MOST, len(PAYLOAD), os.urandom, TEXT) == "bad-layer"


def test_a_caller_out_of_range_is_told_so():
    def attempt(hops=2, rounds=(3,), payload=PAYLOAD, most=MOST, payload_size=22, random=os.urandom):
        layers = [made_up_layer(i) for i in range(hops)]
        return onion.build(layers, rounds, payload, most, payload_size, random, TEXT)

    assert len(attempt()) == SIZE
    for change in (
        {"hops": 0, "rounds": ()},
        {"hops": 5, "rounds": (1, 2, 3, 4)},
        {"rounds": ()},
        {"rounds": (1, 2)},
        {"rounds": (255,)},
        {"rounds": (-1,)},
        {"payload": PAYLOAD[1:]},
        {"payload": PAYLOAD + b"."},
        {"most": 0},
        {"most": 33},
        {"payload": b"", "payload_size": -1},
        {"payload": bytes(2049), "payload_size": 2049},
    ):
        assert reason(lambda change=change: attempt(**change)) == "out-of-range"
    for output in (b"", None, bytes(99), bytes(101)):
        assert reason(lambda output=output: attempt(random=lambda count: output)) == "no-random"


def test_a_layer_for_a_bad_key_or_without_randomness_is_refused():
    def attempt(public, random):
        finish(onion.layer_steps(public, CONTEXT, random))

    assert reason(attempt, BASE, bytes) == "no-random"  # zeros: no key in 64 draws
    assert reason(attempt, BASE, lambda count: b"") == "no-random"
    for public in (BASE[:64], b"\x04" + bytes(64), None):
        assert reason(attempt, public, lambda count: bytes(31) + b"\x01") == "bad-key"


def test_points_are_compressed_and_found_again():
    negative = BASE[:33] + (p256_points.P - p256_points.GY).to_bytes(32, "big")
    for public, first in ((BASE, b"\x03"), (negative, b"\x02")):  # SEC 2, section 2.4.2, writes G as 03...
        assert p256_compressed.compress(public) == first + public[1:33]
        assert p256_compressed.decompress(first + public[1:33]) == public
    for wrong in (BASE[:64], BASE + b"\0", b"\x02" + BASE[1:], BASE[:64] + b"\0", b"\x04" + b"\xff" * 64, None):
        raises(CryptoError, p256_compressed.compress, wrong)
    for wrong in (BASE[:33], BASE, b"\0", b"", b"\x02" + (1).to_bytes(32, "big"), None):
        raises(CryptoError, p256_compressed.decompress, wrong)


def test_a_public_key_is_made_in_slices():
    public, slices = finish(p256.public_key_steps(b"\x11" * 32))
    assert public == p256.public_key(b"\x11" * 32) and slices == 32
