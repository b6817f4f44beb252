"""Blind signatures (RFC 9474): the RFC's own vectors, a round trip with 2048 bits, slices, and
refusal of what is wrong."""

import json
from binascii import unhexlify

from agent.crypto import CryptoError, blind_rsa
from agent.crypto.blind_rsa import run
from tests.support.expect import raises

# A key for this file alone.
MODULUS = unhexlify(
    "c0516e9ed5606eae8588d6b6c183b3acd91725561403d3ecf048277f93f01bf5acd22e65d076cd007e6dcab4ee059c1a"
    "dc8efb89891ef648241bf07e9a709d27c22f6d9375ffca495d21d6d7e4af15d2fc5370a50f80bc64249e2a0a9e70929d"
    "2e747b18fba0746ed90698bc361109dff838b7f5e3343dfcc9dd2a5fc8b0d56b57eb1e86e4c3cf138455f078e6dca692"
    "ae7b11be766fe2a54e2690a643173299702d736fc732a61125846825997664e8d1fc8263d74c25415b1f896ec0ea093b"
    "98359bdb54e4f0bf3be9cdfc30aa8c499cc076a25a1cfcb3949c2b4aacc71ba33ed551e68fb590cbfa09560ce7ba5589"
    "f1fea1bace80a853f2e73bfd4cedbe1f"
)
PRIVATE = unhexlify(
    "0813835f3a86605a30de646741577c09f95b38f9ffeb81e5ff2ddb317184d1a5195b01902201d32dbef6c7b3f3139b90"
    "c9e15bf129d279df8c05fbad52b956f2d9509a3be93bd2d80e32ad18879078b751af04047d285800fbeeae6fa00eb481"
    "7da16e47f2cd340686fe4ec2074d38dfc5c74551174d002b67a36e339e89c5348d8c7841ec043d7c2894c1e65217cbc7"
    "b108a1af5b4d541d041592e93c35657f14ca86406c2b54e1695f187db09cbd56c28bb12d45843151d34c1396d2c0c7f9"
    "a8e1da0aa38de4127feaeccf23336b3a17557a0d92f21e86ae0aa1935fc37ae88e72c4fac01965c4ae3f43d568d58309"
    "33123cbc7e68cf0c8b70661d8fd3667d"
)


def vectors():
    with open(__file__.rsplit("/", 3)[0] + "/interop/rfc9474.json") as file:
        return json.load(file)


def draws(*parts):
    """Return a random source that yields these in turn."""
    left = list(parts)

    def random(count):
        part = left.pop(0)
        assert len(part) == count
        return part

    return random


def counting(count):
    """Bytes that look random and are the same each time."""
    return bytes([(7 * i * i + 3 * count + 1) % 251 for i in range(count)])


def sign(blinded):
    n, d = [int.from_bytes(part, "big") for part in (MODULUS, PRIVATE)]
    return pow(int.from_bytes(blinded, "big"), d, n).to_bytes(256, "big")


def test_the_vectors_of_the_rfc_for_all_four_variants():
    rfc = vectors()
    modulus = unhexlify(rfc["n"])
    n = int.from_bytes(modulus, "big")
    assert len(rfc["vectors"]) == 4
    for vector in rfc["vectors"]:
        salt, prefix = unhexlify(vector["salt"]), unhexlify(vector["msg_prefix"])
        message = unhexlify(rfc["msg"])
        prepared = blind_rsa.prepare(message, draws(prefix)) if prefix else message
        inverse = int(vector["inv"], 16)
        factor = run(blind_rsa.inverse_steps(inverse, n))
        random = draws(salt, factor.to_bytes(512, "big"))
        assert run(blind_rsa.blind_steps(modulus, prepared, random, len(salt))) == (
            unhexlify(vector["blinded_msg"]),
            inverse,
        )
        answer = unhexlify(vector["blind_sig"])
        signature = run(blind_rsa.finalize_steps(modulus, prepared, answer, inverse, len(salt)))
        assert signature == unhexlify(vector["sig"])
        assert not run(blind_rsa.verify_steps(modulus, prepared, signature, 48 - len(salt)))


def test_a_signature_is_for_its_message_its_bytes_and_its_key():
    prepared = blind_rsa.prepare(b"reading", counting)
    blinded, inverse = run(blind_rsa.blind_steps(MODULUS, prepared, counting))
    signature = run(blind_rsa.finalize_steps(MODULUS, prepared, sign(blinded), inverse))
    assert run(blind_rsa.verify_steps(MODULUS, prepared, signature))
    assert run(blind_rsa.verify_steps(bytearray(MODULUS), memoryview(prepared), bytearray(signature)))
    for other in (prepared + b"x", prepared[1:], b"", None):
        assert not run(blind_rsa.verify_steps(MODULUS, other, signature))
    for at in (0, 100, 255):
        wrong = bytearray(signature)
        wrong[at] ^= 1
        assert not run(blind_rsa.verify_steps(MODULUS, prepared, wrong))
    n = int.from_bytes(MODULUS, "big")
    for wrong in (b"", signature[:-1], signature + b"x", bytes(256), MODULUS, b"\xff" * 256, None, "s" * 256):
        assert not run(blind_rsa.verify_steps(MODULUS, prepared, wrong))
    assert not run(blind_rsa.verify_steps((n - 2).to_bytes(256, "big"), prepared, signature))


def test_an_answer_that_is_no_signature_is_refused():
    prepared = blind_rsa.prepare(b"reading", counting)
    blinded, inverse = run(blind_rsa.blind_steps(MODULUS, prepared, counting))
    answer = sign(blinded)
    wrong = answer[:-1] + bytes((answer[-1] ^ 1,))
    for bad in (wrong, blinded, bytes(256), MODULUS, b"\xff" * 256, answer[:-1], answer + b"x", None):
        raises(CryptoError, run, blind_rsa.finalize_steps(MODULUS, prepared, bad, inverse))
    raises(CryptoError, run, blind_rsa.finalize_steps(MODULUS, prepared + b"x", answer, inverse))


def test_blinding_hides_the_message_and_is_fresh():
    # The same message and salt, another factor: another blinded message; and the factor alone leads
    # back.
    prepared = blind_rsa.prepare(b"reading", counting)
    n = int.from_bytes(MODULUS, "big")
    seen = []
    for value in (3, 5):
        factor = value.to_bytes(256, "big")
        blinded, inverse = run(blind_rsa.blind_steps(MODULUS, prepared, draws(bytes(48), factor)))
        assert inverse * value % n == 1
        seen.append(blinded)
        encoded = int.from_bytes(blinded, "big") * pow(inverse, 65537, n) % n
        assert encoded & 0xFF == 0xBC and encoded >> 2047 == 0
    assert seen[0] != seen[1]


def test_a_factor_out_of_range_or_without_inverse_is_drawn_again():
    prepared = blind_rsa.prepare(b"reading", counting)
    zero, large, fine = bytes(256), b"\xff" * 256, counting(256)
    expected = run(blind_rsa.blind_steps(MODULUS, prepared, draws(bytes(48), fine)))
    assert run(blind_rsa.blind_steps(MODULUS, prepared, draws(bytes(48), zero, large, fine))) == expected
    raises(CryptoError, run, blind_rsa.blind_steps(MODULUS, prepared, bytes))
    raises(CryptoError, run, blind_rsa.blind_steps(MODULUS, prepared, lambda count: bytes(count - 1)))


def test_inverses_by_euclid():
    for n in (2, 3, 15, 64, 97, 2**127 - 1):
        for value in [v for v in range(1, 40) if v < n]:
            inverse = run(blind_rsa.inverse_steps(value, n))
            a, b = n, value
            while b:
                a, b = b, a % b
            assert inverse is None if a > 1 else (0 <= inverse < n and inverse * value % n == 1), (n, value)


def test_steps_are_short_and_many():
    prepared = blind_rsa.prepare(b"reading", counting)

    def steps(generator):
        count = 0
        while True:
            try:
                assert next(generator) is None
                count += 1
            except StopIteration as stop:
                return count, stop.value

    count, (blinded, inverse) = steps(blind_rsa.blind_steps(MODULUS, prepared, counting))
    # Seven blocks of SHA-384, ten slices each; 16 squarings; some 1,200 divisions, 16 a slice.
    assert 70 + 16 + 60 < count < 70 + 16 + 90
    count, _ = steps(blind_rsa.finalize_steps(MODULUS, prepared, sign(blinded), inverse))
    assert count == 70 + 16


def test_moduli_of_another_kind_are_refused():
    for modulus in (b"", MODULUS[1:], b"\x7f" + MODULUS[1:], MODULUS[:-1] + b"\x02", None, "n" * 256):
        raises(CryptoError, run, blind_rsa.blind_steps(modulus, b"m", counting))
        raises(CryptoError, run, blind_rsa.finalize_steps(modulus, b"m", bytes(256), 1))
        raises(CryptoError, run, blind_rsa.verify_steps(modulus, b"m", bytes(256)))
    raises(CryptoError, run, blind_rsa.blind_steps(b"\x81" * 513, b"m", counting))
    raises(CryptoError, blind_rsa.prepare, None, counting)
