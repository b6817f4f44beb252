"""SHA-384, PSS and the coordinator's signer against other implementations; and what survives a
kill."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.crypto import blind_rsa
from agent.crypto.blind_rsa import run
from agent.crypto.sha384 import sha384
from agent.protocols.gossip.onion import proof
from broker.coordinator.protocols.gossip.blind_signer import KEY_FILE, BlindSigner, BlindSignerError, read_statement
from tests.support.both_ways import both_ways, implementation
from tests.support.signer_at_hand import key_file, signer_in

ROOT = Path(__file__).parents[2]
BITS = 2048

examples = settings(max_examples=25, deadline=None, derandomize=True)


def pss(salt_length: int) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=salt_length)


def modulus_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_numbers().n.to_bytes(BITS // 8, "big")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, BITS)


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[BlindSigner]:
    with signer_in(tmp_path) as signer:
        yield signer


@examples
@given(st.one_of(st.binary(max_size=300), st.sampled_from([bytes(i) for i in (110, 111, 112, 127, 128, 239, 240)])))
def test_sha384_is_that_of_hashlib(message: bytes) -> None:
    assert sha384(message) == hashlib.sha384(message).digest()


def test_the_host_plugs_in_hashlib(monkeypatch: pytest.MonkeyPatch) -> None:
    with implementation(True):
        monkeypatch.setattr("agent.crypto.sha384._block_steps", None)
        assert sha384(b"abc") == hashlib.sha384(b"abc").digest()


@both_ways
@pytest.mark.parametrize("salt_length", [0, 48])
def test_signatures_of_the_library_verify_here(key: rsa.RSAPrivateKey, host: bool, salt_length: int) -> None:
    with implementation(host):
        for message in (b"", b"m", os.urandom(200)):
            signature = key.sign(message, pss(salt_length), SHA384())
            assert run(blind_rsa.verify_steps(modulus_of(key), message, signature, salt_length))
            assert not run(blind_rsa.verify_steps(modulus_of(key), message + b"x", signature, salt_length))
            assert not run(blind_rsa.verify_steps(modulus_of(key), message, signature, 48 - salt_length))


def test_another_salt_hash_or_trailer_does_not_verify(key: rsa.RSAPrivateKey) -> None:
    from cryptography.hazmat.primitives.hashes import SHA256

    modulus = modulus_of(key)
    for signature in (
        key.sign(b"m", pss(47), SHA384()),
        key.sign(b"m", padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=48), SHA384()),
        key.sign(b"m", padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48), SHA256()),
        key.sign(b"m", padding.PKCS1v15(), SHA384()),
    ):
        assert not run(blind_rsa.verify_steps(modulus, b"m", signature))


@both_ways
def test_blind_signatures_verify_in_the_library(signer: BlindSigner, tmp_path: Path, host: bool) -> None:
    loaded = load_pem_private_key((tmp_path / KEY_FILE).read_bytes(), None)
    assert isinstance(loaded, rsa.RSAPrivateKey) and modulus_of(loaded) == signer.modulus
    with implementation(host):
        prepared = blind_rsa.prepare(b"a tuple", os.urandom)
        blinded, inverse = run(blind_rsa.blind_steps(signer.modulus, prepared, os.urandom))
        signature = run(
            blind_rsa.finalize_steps(signer.modulus, prepared, signer.sign("g", 1, 1, "d", blinded), inverse)
        )
    loaded.public_key().verify(signature, prepared, pss(48), SHA384())
    with pytest.raises(InvalidSignature):
        loaded.public_key().verify(signature, prepared + b"x", pss(48), SHA384())


def test_a_proof_is_for_one_tuple_one_query_and_one_signer(signer: BlindSigner, key: rsa.RSAPrivateKey) -> None:
    with implementation(True):
        blinded, secret = run(proof.blind_steps(signer.modulus, b"q" * 32, b"tuple", os.urandom))
        made = run(proof.proof_steps(signer.modulus, signer.sign("g", 1, 1, "d", blinded), secret))
        assert len(made) == proof.SIZE == 288
        assert run(proof.genuine_steps(signer.modulus, b"q" * 32, b"tuple" + made))
        assert not run(proof.genuine_steps(signer.modulus, b"r" * 32, b"tuple" + made))
        assert not run(proof.genuine_steps(signer.modulus, b"q" * 32, b"tuplf" + made))
        assert not run(proof.genuine_steps(modulus_of(key), b"q" * 32, b"tuple" + made))


def refusal(call: Callable[..., bytes], *arguments: object) -> str:
    with pytest.raises(BlindSignerError) as caught:
        call(*arguments)
    return str(caught.value.args[0])


def test_one_signature_a_board_and_query(signer: BlindSigner) -> None:
    first, second = b"\x01" * 256, b"\x02" * 256
    answer = signer.sign("g", 1, 5, "d", first)
    assert pow(int.from_bytes(answer, "big"), 65537, int.from_bytes(signer.modulus, "big")) == int.from_bytes(
        first, "big"
    )
    assert signer.sign("g", 1, 5, "d", first) == answer  # the answer got lost
    assert refusal(signer.sign, "g", 1, 5, "d", second) == "second"
    assert refusal(signer.sign, "g", 1, 4, "d", first) == "past"
    assert signer.sign("g", 1, 5, "e", second) != answer
    assert signer.sign("h", 1, 4, "d", first) == answer
    signer.sign("g", 1, 6, "d", second)
    assert refusal(signer.sign, "g", 1, 5, "d", first) == "past"
    signer.sign("g", 2, 1, "d", second)
    assert refusal(signer.sign, "g", 1, 7, "d", second) == "past"
    for bad in (b"", first[1:], first + b"x", signer.modulus, b"\xff" * 256):
        assert refusal(signer.sign, "g", 2, 2, "d", bad) == "malformed"
    signer.sign("g", 2, 2, "d", first)  # a malformed request spends nothing


def test_what_was_signed_is_known_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(key_file())
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from broker.coordinator.protocols.gossip.blind_signer import BlindSigner\n"
        "signer = BlindSigner(Path(sys.argv[1]))\n"
        "print(signer.sign('g', 1, 1, 'd', bytes(255) + b'\\x05').hex(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    run_ = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, timeout=250, check=False
    )
    assert run_.returncode == -9
    signer = BlindSigner(tmp_path)
    assert signer.sign("g", 1, 1, "d", bytes(255) + b"\x05").hex() == run_.stdout.decode().strip()
    assert refusal(signer.sign, "g", 1, 1, "d", bytes(255) + b"\x06") == "second"
    signer.close()


def test_two_processes_cannot_both_sign(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(key_file())
    one, two = BlindSigner(tmp_path), BlindSigner(tmp_path)
    assert one.modulus == two.modulus
    one.sign("g", 1, 1, "d", b"\x01" * 256)
    assert refusal(two.sign, "g", 1, 1, "d", b"\x02" * 256) == "second"
    one.close()
    two.close()


def test_only_the_owner_can_read_the_key_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    BlindSigner(tmp_path).close()
    path = tmp_path / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-200], os.urandom(500)):
        path.write_bytes(damaged)
        with pytest.raises(BlindSignerError, match="damaged"):
            BlindSigner(tmp_path)
    small = rsa.generate_private_key(65537, 1024)
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path.write_bytes(small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(BlindSignerError, match="2048 bits"):
        BlindSigner(tmp_path)


def test_the_authority_can_check_that_the_key_was_made_well(signer: BlindSigner) -> None:
    statement = signer.statement()
    assert read_statement(statement) == signer.modulus and len(statement) == 9 * 256
    for wrong in (b"", statement[:-1], statement + b"x", bytes(256) + statement[256:]):
        with pytest.raises(BlindSignerError, match="statement"):
            read_statement(wrong)
    for at in (300, 2303):
        broken = bytearray(statement)
        broken[at] ^= 1
        with pytest.raises(BlindSignerError, match="proof"):
            read_statement(bytes(broken))


def test_a_modulus_that_links_messages_has_no_proof(tmp_path: Path) -> None:
    """With a prime p = 1 mod 65537 only one unit in 65537 has a root: who knows p cannot make
    eight."""
    from gmpy2 import is_prime, mpz, next_prime, powmod

    from broker.coordinator.protocols.gossip.blind_signer import _points

    p = mpz(65537) * 2 * (mpz(3) << 1005)
    while not is_prime(p + 1):
        p += 2 * 65537
    p += 1
    q = next_prime(mpz(3) << 1022)
    modulus = int(p * q).to_bytes(256, "big")
    assert modulus[0] >> 7
    roots = [powmod(int.from_bytes(point, "big"), (p - 1) // 65537, p) == 1 for point in _points(modulus)]
    assert not any(roots)
