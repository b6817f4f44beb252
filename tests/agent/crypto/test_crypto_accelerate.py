"""The acceleration hook: what is installed is what gets called, and removing it brings the built-in
code back."""

from agent.crypto import accelerate, aes_ccm, p256
from agent.crypto.aes import Aes

PRIVATE = (7).to_bytes(32, "big")


def test_powmod_is_the_built_in_pow_by_default():
    for base, exponent, modulus in ((0, 0, 1), (0, 0, 7), (3, 0, 7), (2, 10, 1000), (5, 3**200, 2**521 - 1)):
        assert accelerate.powmod(base, exponent, modulus) == pow(base, exponent, modulus)
    assert accelerate.point_sum() is None


def test_installed_functions_are_called_and_removed_again():
    calls = []

    def aes(*arguments):
        calls.append("aes")
        return Aes(*arguments)

    def powmod(base, exponent, modulus):
        calls.append("powmod")
        return pow(base, exponent, modulus)

    def point_sum(terms):
        calls.append("point_sum")
        return p256.GX, p256.GY

    expected = aes_ccm.seal(bytes(16), bytes(13), b"x", b""), p256.public_key(PRIVATE)
    try:
        accelerate.install(aes=aes, powmod=powmod)
        assert (aes_ccm.seal(bytes(16), bytes(13), b"x", b""), p256.public_key(PRIVATE)) == expected
        assert "aes" in calls and "powmod" in calls
        accelerate.install(point_sum=point_sum)
        assert p256.public_key(PRIVATE)[1:33] == p256.GX.to_bytes(32, "big")
        assert p256.ecdh(PRIVATE, p256.public_key(PRIVATE)) == p256.GX.to_bytes(32, "big")
    finally:
        accelerate.install()
    calls.clear()
    assert (aes_ccm.seal(bytes(16), bytes(13), b"x", b""), p256.public_key(PRIVATE)) == expected
    assert calls == []
