"""Hashing into Z*_{N^2}: the definition, the pair form, and refusal of bad input."""

from hashlib import sha256

from agent.crypto import CryptoError
from agent.crypto.residue import full_domain, hash_to_residue
from tests.support.expect import raises

DIGEST = sha256(b"hum").digest()
MODULI = (2, 3, 35, 255, 256, 257, 65537, 2**255 - 19, 2**1024 + 643, 2**2048 - 1942289)


def test_full_domain_is_the_counter_construction_cut_to_length():
    stream = b"".join([sha256(DIGEST + bytes((0, 0, i // 256, i % 256))).digest() for i in range(300)])
    for length in (0, 1, 31, 32, 33, 64, 528, 1040, 9600):
        assert full_domain(DIGEST, length) == stream[:length]
    assert full_domain(bytearray(DIGEST), 40) == full_domain(memoryview(DIGEST), 40) == stream[:40]


def test_the_pair_is_the_hash_modulo_n_squared():
    for n in MODULI:
        length = 1
        while n >> (8 * length):
            length += 1
        value = int.from_bytes(full_domain(DIGEST, 2 * length + 16), "big")
        x0, x1 = hash_to_residue(DIGEST, n)
        assert 0 <= x0 < n and 0 <= x1 < n
        assert x0 + n * x1 == value % (n * n)


def test_other_digests_give_other_residues():
    n = MODULI[-1]
    seen = [hash_to_residue(sha256(bytes((i,))).digest(), n) for i in range(20)]
    assert len(set(seen)) == 20


def test_small_moduli_are_hit_evenly():
    counts = [0] * 9
    for i in range(900):
        x0, x1 = hash_to_residue(sha256(bytes((i // 256, i % 256))).digest(), 3)
        counts[x0 + 3 * x1] += 1
    # 900 draws over 9 values: a mean of 100 and a standard deviation of 9.4; the inputs are fixed,
    # so is the outcome.
    assert min(counts) > 60 and max(counts) < 140


def test_bad_input_is_refused():
    for digest in (b"", DIGEST[:31], DIGEST + b"\x00", None, 5, "d" * 32, [0] * 32):
        raises(CryptoError, full_domain, digest, 32)
        raises(CryptoError, hash_to_residue, digest, 35)
    for length in (-1, 65536, 2**70, None, "32", 32.0):
        raises(CryptoError, full_domain, DIGEST, length)
    for n in (1, 0, -35, 2**8192, None, "35", 35.0, b"#"):
        raises(CryptoError, hash_to_residue, DIGEST, n)
    assert hash_to_residue(DIGEST, 2**8192 - 1)[0] > 0
