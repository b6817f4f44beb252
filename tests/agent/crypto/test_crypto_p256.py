"""P-256: published vectors, group laws at the edges, and refusal of every malformed input."""

from agent.crypto import CryptoError, p256, p256_points
from tests.support.expect import raises

# RFC 6979, appendix A.2.5.
PRIVATE = bytes.fromhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
PUBLIC = bytes.fromhex(
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
)
SAMPLE = bytes.fromhex(
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
)
TEST = bytes.fromhex(
    "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367"
    "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083"
)

# RFC 5903, section 8.1.
I_PRIVATE = bytes.fromhex("c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433")
I_PUBLIC = bytes.fromhex(
    "04dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
    "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3"
)
R_PRIVATE = bytes.fromhex("c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53")
R_PUBLIC = bytes.fromhex(
    "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
    "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab"
)
SHARED = bytes.fromhex("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de")

BASE = b"\x04" + p256_points.GX.to_bytes(32, "big") + p256_points.GY.to_bytes(32, "big")
NOT_BYTES = (None, 5, "04" * 32, [4] * 65, (), 1.5)


def be32(value):
    return value.to_bytes(32, "big")


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def bad_private_keys():
    yield from (
        b"",
        b"\x01",
        PRIVATE[:31],
        PRIVATE + b"\x00",
        bytes(32),
        be32(p256_points.N),
        be32(p256_points.N + 1),
        b"\xff" * 32,
    )
    yield from NOT_BYTES


def bad_public_keys():
    x, y = PUBLIC[1:33], PUBLIC[33:]
    yield from NOT_BYTES
    yield b"\x00"  # infinity in SEC 1
    yield b"\x04" + bytes(64)
    yield bytes(65)
    for prefix in (0, 2, 3, 5, 6, 7, 0x84, 255):
        yield bytes((prefix,)) + x + y
    yield b"\x02" + x  # the compressed form is not accepted
    yield PUBLIC + b"\x00"
    for length in range(65):
        yield PUBLIC[:length]
    for bit in range(8, 8 * 65, 3):
        yield flipped(PUBLIC, bit)
    yield b"\x04" + y + x
    yield b"\x04" + b"\xff" * 64
    yield b"\x04" + be32(p256_points.P) + y
    yield b"\x04" + x + be32(p256_points.P)
    # x = 5 is on the curve, so 5 + P and y + P would be, were they reduced; only those that fit 32
    # bytes matter.
    yield b"\x04" + be32(5 + p256_points.P) + be32(square_root(5))


def square_root(x):
    """The smaller y of the curve point at x: P = 3 mod 4."""
    square = (x * x * x - 3 * x + p256_points.B) % p256_points.P
    y = pow(square, (p256_points.P + 1) // 4, p256_points.P)
    assert y * y % p256_points.P == square
    return min(y, p256_points.P - y)


def test_public_keys_match_rfc_6979_and_rfc_5903():
    assert p256.public_key(PRIVATE) == PUBLIC
    assert p256.public_key(I_PRIVATE) == I_PUBLIC
    assert p256.public_key(R_PRIVATE) == R_PUBLIC


def test_ecdh_matches_rfc_5903_from_both_sides():
    assert p256.ecdh(I_PRIVATE, R_PUBLIC) == SHARED
    assert p256.ecdh(R_PRIVATE, I_PUBLIC) == SHARED


def test_signatures_match_rfc_6979_and_verify():
    assert p256.sign(PRIVATE, b"sample") == SAMPLE
    assert p256.sign(PRIVATE, b"test") == TEST
    assert p256.verify(PUBLIC, b"sample", SAMPLE)
    assert p256.verify(PUBLIC, b"test", TEST)


def test_bytearray_and_memoryview_are_as_good_as_bytes():
    for kind in (bytearray, memoryview):
        assert p256.ecdh(kind(I_PRIVATE), kind(R_PUBLIC)) == SHARED
        assert p256.sign(kind(PRIVATE), kind(b"sample")) == SAMPLE
        assert p256.verify(kind(PUBLIC), kind(b"sample"), kind(SAMPLE))


def test_small_and_large_scalars_obey_the_group_laws():
    assert p256.public_key(be32(1)) == BASE
    assert p256.public_key(be32(p256_points.N - 1)) == BASE[:33] + be32(p256_points.P - p256_points.GY)
    for scalar in (
        1,
        2,
        3,
        15,
        16,
        17,
        2**128,
        2**128 - 1,
        2**128 + 1,
        2**255,
        p256_points.N // 2,
        p256_points.N - 2,
        p256_points.N - 1,
    ):
        public = p256.public_key(be32(scalar))
        assert p256.ecdh(be32(scalar), BASE) == public[1:33]
        opposite = p256.public_key(be32(p256_points.N - scalar))
        assert opposite[:33] == public[:33] and opposite != public
        signature = p256.sign(be32(scalar), b"edge")
        assert p256.verify(public, b"edge", signature)
        assert not p256.verify(opposite, b"edge", signature)


def test_ecdh_steps_yields_none_often_and_returns_the_same_secret():
    for private, public in ((I_PRIVATE, R_PUBLIC), (be32(2), BASE), (be32(p256_points.N - 1), PUBLIC)):
        steps = p256.ecdh_steps(private, public)
        count = 0
        try:
            while True:
                assert next(steps) is None
                count += 1
        except StopIteration as stop:
            secret = stop.value
        assert count >= 60
        assert secret == p256.ecdh(private, public)


def test_two_ecdh_computations_can_be_interleaved():
    running = [p256.ecdh_steps(I_PRIVATE, R_PUBLIC), p256.ecdh_steps(PRIVATE, I_PUBLIC)]
    secrets = []
    while running:
        steps = running.pop(0)
        try:
            next(steps)
            running.append(steps)
        except StopIteration as stop:
            secrets.append(stop.value)
    assert secrets == [SHARED, p256.ecdh(I_PRIVATE, PUBLIC)]


def test_keys_may_be_wiped_while_ecdh_steps_runs():
    private = bytearray(I_PRIVATE)
    steps = p256.ecdh_steps(private, R_PUBLIC)
    next(steps)
    private[:] = bytes(32)
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        assert stop.value == SHARED


def test_bad_private_keys_are_refused():
    for private in bad_private_keys():
        raises(CryptoError, p256.public_key, private)
        raises(CryptoError, p256.ecdh, private, PUBLIC)
        raises(CryptoError, next, p256.ecdh_steps(private, PUBLIC))
        raises(CryptoError, p256.sign, private, b"sample")


def test_bad_public_keys_are_refused():
    for public in bad_public_keys():
        raises(CryptoError, p256.ecdh, PRIVATE, public)
        raises(CryptoError, next, p256.ecdh_steps(PRIVATE, public))
        assert p256.verify(public, b"sample", SAMPLE) is False


def test_a_coordinate_is_not_reduced_before_the_check():
    good = b"\x04" + be32(5) + be32(square_root(5))
    assert len(p256.ecdh(PRIVATE, good)) == 32
    raises(CryptoError, p256.ecdh, PRIVATE, b"\x04" + be32(5 + p256_points.P) + good[33:])


def test_messages_that_are_not_bytes_are_refused():
    for message in NOT_BYTES:
        raises(CryptoError, p256.sign, PRIVATE, message)
        assert p256.verify(PUBLIC, message, SAMPLE) is False


def test_every_truncation_and_changed_bits_spoil_a_signature():
    for length in range(64):
        assert p256.verify(PUBLIC, b"sample", SAMPLE[:length]) is False
    assert p256.verify(PUBLIC, b"sample", SAMPLE + b"\x00") is False
    for bit in range(0, 512, 5):
        assert p256.verify(PUBLIC, b"sample", flipped(SAMPLE, bit)) is False
    assert p256.verify(PUBLIC, b"Sample", SAMPLE) is False
    assert p256.verify(I_PUBLIC, b"sample", SAMPLE) is False
    for signature in NOT_BYTES:
        assert p256.verify(PUBLIC, b"sample", signature) is False


def test_signature_halves_outside_one_to_n_minus_one_are_refused():
    r, s = SAMPLE[:32], SAMPLE[32:]
    for bad in (bytes(32), be32(p256_points.N), be32(p256_points.N + 1), b"\xff" * 32):
        assert p256.verify(PUBLIC, b"sample", bad + s) is False
        assert p256.verify(PUBLIC, b"sample", r + bad) is False
        assert p256.verify(PUBLIC, b"sample", bad + bad) is False


def test_the_high_s_twin_of_a_signature_verifies_too():
    high = p256_points.N - int.from_bytes(SAMPLE[32:], "big")
    assert p256.verify(PUBLIC, b"sample", SAMPLE[:32] + be32(high))


def test_a_signature_whose_point_is_infinity_is_refused():
    # With r = -e/d the sum u1*G + u2*Q is (e + r*d)/s * G = infinity, whatever s is.
    from hashlib import sha256

    for private in (be32(1), be32(p256_points.N - 1), PRIVATE):
        digest = int.from_bytes(sha256(b"sample").digest(), "big")
        r = -digest * pow(int.from_bytes(private, "big"), p256_points.N - 2, p256_points.N) % p256_points.N
        for s in (1, 2, 12345, p256_points.N - 1):
            assert p256.verify(p256.public_key(private), b"sample", be32(r) + be32(s)) is False


def test_generate_draws_until_the_key_is_in_range():
    draws = [bytes(32), b"\xff" * 32, be32(p256_points.N), be32(p256_points.N - 1)]
    assert p256.generate(lambda count: draws.pop(0)[:count]) == be32(p256_points.N - 1)
    assert draws == []
    assert p256.generate(lambda count: be32(1)) == be32(1)


def test_generate_refuses_a_broken_random_source():
    for output in (bytes(32), b"\xff" * 32, bytes(31), bytes(33), b"", None, 7):
        raises(CryptoError, p256.generate, lambda count, output=output: output)
