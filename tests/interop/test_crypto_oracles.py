"""The agent's cryptography against independent implementations, as plain Python and with the host's
libraries."""

import hashlib
import hmac
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import ecdsa
import pytest
from Crypto.Cipher import AES
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ecdsa.rfc6979 import generate_k
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.crypto import CryptoError, accelerate, aes_ccm, p256, p256_points, residue, rfc6979
from agent.crypto.aes import Aes
from agent.crypto.hmac import constant_time_equal, hkdf_sha256, hmac_sha256
from tests.support.both_ways import both_ways, implementation

ROOT = Path(__file__).parents[2]
CURVE = ec.SECP256R1()
N = p256.N
P = p256.P

examples = settings(max_examples=60, deadline=None, derandomize=True)

edges = [1, 2, 3, 15, 16, 17, 2**128 - 1, 2**128, 2**128 + 1, 2**255, N // 2, N // 2 + 1, N - 17, N - 2, N - 1]
scalars = st.one_of(st.sampled_from(edges), st.integers(1, N - 1))
aes_keys = st.one_of(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
nonces = st.binary(min_size=12, max_size=13)


def be32(value: int) -> bytes:
    return value.to_bytes(32, "big")


def oracle_public(scalar: int) -> bytes:
    key = ec.derive_private_key(scalar, CURVE).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def oracle_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, public).verify(der, message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


@both_ways
@examples
@given(scalar=scalars)
def test_public_key_equals_openssl(host: bool, scalar: int) -> None:
    with implementation(host):
        assert p256.public_key(be32(scalar)) == oracle_public(scalar)


@both_ways
@examples
@given(scalar=scalars, other=scalars)
def test_ecdh_equals_openssl(host: bool, scalar: int, other: int) -> None:
    public = oracle_public(other)
    peer = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, public)
    with implementation(host):
        assert p256.ecdh(be32(scalar), public) == ec.derive_private_key(scalar, CURVE).exchange(ec.ECDH(), peer)


@both_ways
@examples
@given(scalar=scalars, message=st.binary(max_size=300))
def test_sign_equals_the_deterministic_signature_of_the_ecdsa_package(host: bool, scalar: int, message: bytes) -> None:
    key = ecdsa.SigningKey.from_secret_exponent(scalar, ecdsa.NIST256p, hashlib.sha256)
    with implementation(host):
        signature = p256.sign(be32(scalar), message)
    assert signature == key.sign_deterministic(message, hashfunc=hashlib.sha256)
    assert oracle_verify(oracle_public(scalar), message, signature)


@examples
@given(scalar=scalars, digest=st.one_of(st.binary(min_size=32, max_size=32), st.just(b"\xff" * 32), st.just(be32(N))))
def test_later_nonce_candidates_equal_those_of_the_ecdsa_package(scalar: int, digest: bytes) -> None:
    candidates = rfc6979.nonces(scalar, digest, p256.N)
    for retry in range(3):
        assert next(candidates) == generate_k(N, scalar, hashlib.sha256, digest, retry_gen=retry)


@both_ways
@examples
@given(scalar=scalars, nonce=scalars, message=st.binary(max_size=100), bit=st.integers(0, 511))
def test_verify_agrees_with_openssl_on_random_nonces_and_on_damage(
    host: bool, scalar: int, nonce: int, message: bytes, bit: int
) -> None:
    key = ecdsa.SigningKey.from_secret_exponent(scalar, ecdsa.NIST256p, hashlib.sha256)
    public = oracle_public(scalar)
    signature = key.sign(message, hashfunc=hashlib.sha256, k=nonce)
    damaged = bytearray(signature)
    damaged[bit // 8] ^= 1 << bit % 8
    with implementation(host):
        assert p256.verify(public, message, signature)
        assert p256.verify(public, message, damaged) == oracle_verify(public, message, bytes(damaged))


@both_ways
@pytest.mark.parametrize("message", [b"sample", b"another"])
def test_verify_compares_x_modulo_n_and_not_modulo_p(host: bool, message: bytes) -> None:
    # Points with x >= n are too rare to meet: take one, and make the public key that fits it. With
    # r = x - n, Q = (s*R - e*G)/r verifies (r, s).
    curve = ecdsa.NIST256p.curve
    x = N
    while pow(x**3 - 3 * x + p256.B, (P - 1) // 2, P) != 1 or x == N:
        x += 1
    y = pow(x**3 - 3 * x + p256.B, (P + 1) // 4, P)
    point = ecdsa.ellipticcurve.Point(curve, x, y, N)
    r, s = x - N, 123456789
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    inverse = pow(r, -1, N)
    base = ecdsa.ellipticcurve.Point(curve, p256_points.GX, p256_points.GY, N)
    key = point * (s * inverse % N) + base * (-digest * inverse % N)
    public = b"\x04" + be32(key.x()) + be32(key.y())
    signature = be32(r) + be32(s)
    assert oracle_verify(public, message, signature)
    with implementation(host):
        assert p256.verify(public, message, signature)
        assert not p256.verify(public, message, be32(r + 1) + be32(s))


@both_ways
def test_a_signature_whose_point_is_infinity_is_refused(host: bool) -> None:
    digest = int.from_bytes(hashlib.sha256(b"sample").digest(), "big")
    for private in (1, 2, N - 1):
        r = -digest * pow(private, -1, N) % N
        with implementation(host):
            assert p256.verify(oracle_public(private), b"sample", be32(r) + be32(5)) is False


@both_ways
@examples
@given(public=st.one_of(st.binary(max_size=70), st.binary(min_size=64, max_size=64).map(lambda b: b"\x04" + b)))
def test_arbitrary_public_keys_are_refused_as_openssl_refuses_them(host: bool, public: bytes) -> None:
    with implementation(host):
        with pytest.raises(ValueError):  # one random pair of coordinates in 2^256 is on the curve
            ec.EllipticCurvePublicKey.from_encoded_point(CURVE, public)
        with pytest.raises(CryptoError):
            p256.ecdh(be32(5), public)
        assert p256.verify(public, b"", bytes(64)) is False


@examples
@given(k1=scalars, k2=scalars, other=scalars)
def test_host_and_own_point_sums_agree(k1: int, k2: int, other: int) -> None:
    public = oracle_public(other)
    x, y = int.from_bytes(public[1:33], "big"), int.from_bytes(public[33:], "big")
    rows = [
        (p256_points.digits_of(k1), p256_points.odd_multiples((p256_points.GX, p256_points.GY, 1))),
        (p256_points.digits_of(k2), p256_points.odd_multiples((x, y, 1))),
    ]
    point = p256._run(p256_points.sum_steps(rows))
    with implementation(True):
        expected = accelerate.point_sum()([(k1, p256_points.GX, p256_points.GY), (k2, x, y)])
    assert (p256_points.affine(point) if point[2] else None) == expected


@both_ways
def test_point_sum_handles_zero_scalars_doubling_and_cancellation(host: bool) -> None:
    base = p256_points.GX, p256_points.GY
    table = p256_points.odd_multiples((*base, 1))
    for k1, k2 in ((0, 1), (0, 0), (1, 1), (1, N - 1), (5, N - 5), (7, 7), (N - 1, N - 1), (0, N - 1)):
        total = (k1 + k2) % N
        expected = oracle_public(total) if total else None
        if host:
            with implementation(True):
                point = accelerate.point_sum()([(k1, *base), (k2, *base)])
        else:
            jacobian = p256._run(
                p256_points.sum_steps([(p256_points.digits_of(k1), table), (p256_points.digits_of(k2), table)])
            )
            point = p256_points.affine(jacobian) if jacobian[2] else None
        assert (b"\x04" + be32(point[0]) + be32(point[1]) if point else None) == expected


@examples
@given(scalar=st.one_of(st.just(0), st.just(N), scalars))
def test_recoded_digits_are_odd_bounded_and_sum_to_the_scalar(scalar: int) -> None:
    digits = p256_points.digits_of(scalar)
    assert len(digits) == 64
    assert all(digit % 2 and -15 <= digit <= 15 for digit in digits)
    assert sum(digit * 16**i for i, digit in enumerate(digits)) % N == scalar % N


@examples
@given(key=st.binary(max_size=200), message=st.binary(max_size=300))
def test_hmac_equals_the_standard_library(key: bytes, message: bytes) -> None:
    assert hmac_sha256(key, message) == hmac.digest(key, message, "sha256")


@examples
@given(a=st.binary(max_size=6), b=st.binary(max_size=6))
def test_comparison_equals_equality(a: bytes, b: bytes) -> None:
    assert constant_time_equal(a, b) == (a == b)
    assert constant_time_equal(a, bytearray(a))


@examples
@given(
    ikm=st.binary(max_size=80), salt=st.binary(max_size=80), info=st.binary(max_size=80), length=st.integers(1, 8160)
)
def test_hkdf_equals_the_cryptography_package(ikm: bytes, salt: bytes, info: bytes, length: int) -> None:
    assert hkdf_sha256(ikm, salt, info, length) == HKDF(SHA256(), length, salt, info).derive(ikm)


@both_ways
@examples
@given(key=aes_keys, data=st.binary(max_size=12).map(lambda b: b * 16), iv=st.binary(min_size=16, max_size=16))
def test_aes_equals_pycryptodome(host: bool, key: bytes, data: bytes, iv: bytes) -> None:
    with implementation(host):
        for arguments in ((key, AES.MODE_ECB), (key, AES.MODE_CBC, iv)):
            output = bytearray(data)
            accelerate.aes(*arguments).encrypt(output, output)
            assert output == AES.new(*arguments).encrypt(data)


def test_pure_aes_continues_a_cbc_chain() -> None:
    key, iv, data = os.urandom(16), os.urandom(16), os.urandom(64)
    cipher = Aes(key, AES.MODE_CBC, iv)
    first, second = bytearray(32), bytearray(32)
    cipher.encrypt(data[:32], first)
    cipher.encrypt(data[32:], second)
    assert first + second == AES.new(key, AES.MODE_CBC, iv).encrypt(data)


@both_ways
@examples
@given(key=aes_keys, nonce=nonces, plaintext=st.binary(max_size=700), aad=st.binary(max_size=100), data=st.data())
def test_ccm_equals_openssl_and_pycryptodome_and_refuses_damage(
    host: bool, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes, data: st.DataObject
) -> None:
    with implementation(host):
        sealed = aes_ccm.seal(key, nonce, plaintext, aad)
        assert sealed == AESCCM(key).encrypt(nonce, plaintext, aad)
        other = AES.new(key, AES.MODE_CCM, nonce=nonce, mac_len=16, msg_len=len(plaintext), assoc_len=len(aad))
        other.update(aad)
        assert sealed == b"".join(other.encrypt_and_digest(plaintext))
        assert aes_ccm.open(key, nonce, sealed, aad) == plaintext
        damaged = bytearray(sealed)
        damaged[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
        with pytest.raises(CryptoError):
            aes_ccm.open(key, nonce, damaged, aad)
        with pytest.raises(InvalidTag):
            AESCCM(key).decrypt(nonce, bytes(damaged), aad)


@both_ways
@pytest.mark.parametrize("nonce_length", [12, 13])
def test_ccm_equals_openssl_at_its_longest_and_at_block_edges(host: bool, nonce_length: int) -> None:
    key, nonce = os.urandom(16), os.urandom(nonce_length)
    sizes = [(n, a) for n in (0, 15, 16, 17, 32) for a in (0, 13, 14, 15, 30)] + [(4080, 1), (4081, 1), (65535, 65279)]
    with implementation(host):
        for length, aad_length in sizes:
            plaintext, aad = os.urandom(length), os.urandom(aad_length)
            sealed = aes_ccm.seal(key, nonce, plaintext, aad)
            assert sealed == AESCCM(key).encrypt(nonce, plaintext, aad)
            assert aes_ccm.open(key, nonce, sealed, aad) == plaintext


@examples
@given(digest=st.binary(min_size=32, max_size=32), length=st.integers(0, 5000))
def test_full_domain_is_mgf1(digest: bytes, length: int) -> None:
    from Crypto.Hash import SHA256 as PycryptodomeSha256
    from Crypto.Signature.pss import MGF1

    assert residue.full_domain(digest, length) == MGF1(digest, length, PycryptodomeSha256)


@examples
@given(digest=st.binary(min_size=32, max_size=32), n=st.one_of(st.integers(2, 2**64), st.integers(2**2047, 2**2048)))
def test_hash_to_residue_is_the_hash_modulo_n_squared(digest: bytes, n: int) -> None:
    x0, x1 = residue.hash_to_residue(digest, n)
    value = int.from_bytes(residue.full_domain(digest, 2 * ((n.bit_length() + 7) // 8) + 16), "big")
    assert x0 + n * x1 == value % n**2
    assert 0 <= x0 < n
    assert 0 <= x1 < n


@examples
@given(
    base=st.one_of(st.integers(0, 5), st.integers(0, 2**600)),
    exponent=st.one_of(st.integers(0, 5), st.integers(0, 2**600)),
    modulus=st.one_of(st.integers(1, 5), st.integers(1, 2**600)),
)
def test_accelerated_powers_are_ints_and_equal_pow(base: int, exponent: int, modulus: int) -> None:
    with implementation(True):
        power = accelerate.powmod(base, exponent, modulus)
    assert type(power) is int
    assert power == pow(base, exponent, modulus) == accelerate.powmod(base, exponent, modulus)


def test_a_missing_host_library_is_an_import_error_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gmpy2", None)
    with pytest.raises(ImportError):
        accelerate.use_host_libraries()
    assert accelerate.point_sum() is None
    assert accelerate.powmod(2, 10, 1000) == 24


def test_the_agent_imports_no_third_party_module_by_itself() -> None:
    names = ["accelerate", "aes", "aes_ccm", "hmac", "p256", "residue"]
    program = "import sys; " + "; ".join(f"import agent.crypto.{name}" for name in names)
    program += "; print([name for name in sys.modules if name.split('.')[0] in ('Crypto', 'gmpy2', 'cryptography')])"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


class Hostile:
    """Not bytes, though it pretends to be in every way that duck typing asks for."""

    def __len__(self) -> int:
        return 32

    def __bytes__(self) -> bytes:
        raise RuntimeError("called")

    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("called")


def released() -> memoryview:
    view = memoryview(bytearray(32))
    view.release()
    return view


anything = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([16, 32, 64, 65]).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    st.binary(max_size=130).map(bytearray),
    st.binary(max_size=130).map(memoryview),
    st.binary(max_size=130).map(lambda b: memoryview(b)[::2]),
    st.binary(max_size=130).map(lambda b: memoryview(b)[::-1]),
    st.binary(max_size=16).map(lambda b: memoryview(b * 8).cast("I")),
    st.builds(released),
    st.builds(Hostile),
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=65),
    st.lists(st.integers(0, 255), max_size=65),
)


def outcome(function: Callable[..., object], *arguments: object) -> object:
    """The result, or None for CryptoError; every other exception fails the test."""
    try:
        return function(*arguments)
    except CryptoError:
        return None


@both_ways
@settings(max_examples=300, deadline=None, derandomize=True)
@given(a=anything, b=anything, c=anything, d=anything)
def test_nothing_but_crypto_error_comes_out_whatever_goes_in(
    host: bool, a: object, b: object, c: object, d: object
) -> None:
    good_private, good_public, key, nonce = be32(7), oracle_public(9), bytes(16), bytes(13)
    with implementation(host):
        for private in (a, good_private):
            outcome(p256.public_key, private)
            outcome(p256.sign, private, b)
            for public in (c, good_public):
                outcome(p256.ecdh, private, public)
                outcome(lambda *keys: list(p256.ecdh_steps(*keys)), private, public)
        for public in (a, good_public):
            assert p256.verify(public, b, c) is False
        outcome(p256.generate, lambda count: a)
        outcome(hmac_sha256, a, b)
        outcome(constant_time_equal, a, b)
        outcome(hkdf_sha256, a, b, c, 33)
        outcome(hkdf_sha256, b"", b"", b"", d)
        for arguments in ((a, b, c, d), (key, nonce, c, d), (key, b, c, d), (a, nonce, c, d)):
            outcome(aes_ccm.seal, *arguments)
            assert outcome(aes_ccm.open, *arguments) is None
        outcome(residue.full_domain, a, 33)
        outcome(residue.full_domain, bytes(32), d)
        outcome(residue.hash_to_residue, a, 35)
        outcome(residue.hash_to_residue, bytes(32), d)
