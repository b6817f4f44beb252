"""HMAC, HKDF, AES and AES-CCM: published vectors, bounds, and refusal of everything that was
tampered with."""

from hashlib import sha256

from agent.crypto import CryptoError, accelerate, aes_ccm
from agent.crypto.aes import CBC, ECB, Aes
from agent.crypto.hmac import constant_time_equal, hkdf_sha256, hmac_sha256
from tests.support.expect import raises

KEY = bytes(range(16))
NONCE = bytes(range(100, 113))
NOT_BYTES = (None, 5, "text", [1, 2], (), 1.5)

# RFC 4231, cases 1 to 4, 6 and 7.
HMAC_VECTORS = (
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)

# RFC 5869, appendices A.1 to A.3: input, salt, info, output.
HKDF_VECTORS = (
    (
        b"\x0b" * 22,
        bytes(range(13)),
        bytes(range(0xF0, 0xFA)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)),
        bytes(range(0x60, 0xB0)),
        bytes(range(0xB0, 0x100)),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        b"\x0b" * 22,
        b"",
        b"",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
)

# NIST CAVP, CCM with 16-byte tags (file DVPT256): key, nonce, additional data, plaintext,
# ciphertext and tag.
CCM_VECTORS = (
    (
        "314a202f836f9f257e22d8c11757832ae5131d357a72df88f3eff0ffcee0da4e",
        "a544218dadd3c10583db49cf39",
        "3c0e2815d37d844f7ac240ba9d6e3a0b2a86f706e885959e09a1005e024f6907",
        "e8de970f6ee8e80ede933581b5bcf4d837e2b72baa8b00c3",
        "8d34cdca37ce77be68f65baf3382e31efa693e63f914a781367f30f2eaad8c063ca50795acd90203",
    ),
    (
        "af063639e66c284083c5cf72b70d8bc277f5978e80d9322d99f2fdc718cda569",
        "a544218dadd3c10583db49cf39",
        "",
        "",
        "97e1a8dd4259ccd2e431e057b0397fcf",
    ),
)

# SHA-256 of what OpenSSL seals (through the `cryptography` package, which
# tests/interop/test_crypto_oracles.py asks again) for pattern(7, length) and pattern(11, aad
# length) under KEY and NONCE cut to the length given first.
SEALED_DIGESTS = (
    (12, 0, 0, "d57f1a7a91e2d74c947b7f76f0774e8d410e97e300cf6161bfb218a176d9f906"),
    (12, 1, 1, "e7baffcfcae5c46996f3109fbe75d7bb645a0c5236d33a089734d7b186529bf9"),
    (12, 16, 14, "baa9df226a6dbcdd985422bdbe678fdb81dad61cc6a57d1742c34260e0755b95"),
    (12, 600, 33, "bf130efab2ea7b36c4f11eaa02a39988e36d293706e689d7235731de7b1f1bd5"),
    (12, 5000, 300, "6bb56756daeac4808e2da2a6fe3bebb7f037e07b3926ba787fe28f642e087795"),
    (13, 0, 0, "3dd4efa44f7d82f4b55313db655e23d70ef32f874fd3677f5a0cd934aef79197"),
    (13, 1, 1, "a5cd2bb180374a354bb8fff182dbf581a5c2f10f03d8f579aa6bef55f6676d13"),
    (13, 16, 14, "c04874946d9c5dab28ffe1bc592df9589c8c7b1613c9b4516e334bff3a7e5a8b"),
    (13, 600, 33, "61bf88795acf31ffe1ff564d644a8d018484bad3b84c69e19ecdacb37bab62f1"),
    (13, 5000, 300, "c5b1a9e3ba27a96d039bb1483e4a716e3e848ff7ba4e9fd921a3b933d5fe3fed"),
)


def pattern(step, length):
    return bytes([step * i & 255 for i in range(length)])


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def test_hmac_matches_rfc_4231():
    for key, message, code in HMAC_VECTORS:
        assert hmac_sha256(key, message).hex() == code
        assert hmac_sha256(bytearray(key), memoryview(message)).hex() == code


def test_hmac_and_comparison_refuse_what_is_not_bytes():
    for bad in NOT_BYTES:
        raises(CryptoError, hmac_sha256, bad, b"")
        raises(CryptoError, hmac_sha256, b"", bad)
        raises(CryptoError, constant_time_equal, bad, b"")
        raises(CryptoError, constant_time_equal, b"", bad)


def test_comparison_sees_every_bit_and_the_length():
    assert constant_time_equal(b"", b"") is True
    assert constant_time_equal(KEY, bytearray(KEY)) is True
    for bit in range(128):
        assert constant_time_equal(KEY, flipped(KEY, bit)) is False
    for length in range(16):
        assert constant_time_equal(KEY, KEY[:length]) is False
        assert constant_time_equal(KEY[:length], KEY) is False


def test_hkdf_matches_rfc_5869_and_shorter_outputs_are_prefixes():
    for ikm, salt, info, output in HKDF_VECTORS:
        expected = bytes.fromhex(output)
        for length in (1, 31, 32, 33, len(expected)):
            assert hkdf_sha256(ikm, salt, info, length) == expected[:length]


def test_hkdf_reaches_its_longest_output_and_no_further():
    longest = hkdf_sha256(b"ikm", b"salt", b"info", 8160)
    assert len(longest) == 8160
    # The last block by its definition: T(255) = HMAC(PRK, T(254) || info || 255).
    key = hmac_sha256(b"salt", b"ikm")
    assert longest[8128:] == hmac_sha256(key, longest[8096:8128] + b"info" + b"\xff")
    for length in (0, -1, 8161, 2**70, None, "32", 32.0):
        raises(CryptoError, hkdf_sha256, b"ikm", b"", b"", length)


def test_hkdf_refuses_what_is_not_bytes():
    for bad in NOT_BYTES:
        raises(CryptoError, hkdf_sha256, bad, b"", b"", 32)
        raises(CryptoError, hkdf_sha256, b"", bad, b"", 32)
        raises(CryptoError, hkdf_sha256, b"", b"", bad, 32)


def test_pure_aes_matches_fips_197():
    plaintext = bytes.fromhex("00112233445566778899aabbccddeeff")
    for key_length, ciphertext in ((16, "69c4e0d86a7b0430d8cdb78070b4c55a"), (32, "8ea2b7ca516745bfeafc49904b496089")):
        block = bytearray(plaintext)
        Aes(bytes(range(key_length)), ECB).encrypt(block, block)
        assert block.hex() == ciphertext


def test_pure_aes_and_the_default_aes_agree_in_both_modes():
    for key in (KEY, pattern(7, 32)):
        for arguments in ((key, ECB), (key, CBC, pattern(3, 16))):
            data = pattern(5, 160)
            pure, default = bytearray(160), bytearray(160)
            Aes(*arguments).encrypt(data, pure)
            accelerate.aes(*arguments).encrypt(data, default)
            assert pure == default != data


def test_pure_aes_refuses_other_keys_modes_and_partial_blocks():
    for arguments in ((b"", ECB), (bytes(24), ECB), (KEY, 3), (KEY, CBC), (KEY, ECB, bytes(16))):
        raises(CryptoError, Aes, *arguments)
    raises(CryptoError, Aes(KEY, ECB).encrypt, bytes(15), bytearray(15))
    raises(CryptoError, Aes(KEY, ECB).encrypt, bytes(16), bytearray(32))


def test_ccm_matches_nist_vectors():
    for vector in CCM_VECTORS:
        key, nonce, aad, plaintext, sealed = [bytes.fromhex(field) for field in vector]
        assert aes_ccm.seal(key, nonce, plaintext, aad) == sealed
        assert aes_ccm.open(key, nonce, sealed, aad) == plaintext


def test_ccm_key_stream_matches_rfc_3610_and_sp_800_38c():
    # RFC 3610 packet vector 1 and SP 800-38C example 3 have shorter tags: only their ciphertexts
    # can be compared.
    sealed = aes_ccm.seal(
        bytes(range(0xC0, 0xD0)), bytes.fromhex("00000003020100a0a1a2a3a4a5"), bytes(range(8, 0x1F)), bytes(range(8))
    )
    assert sealed[:-16].hex() == "588c979a61c663d2f066d0c2c0f989806d5f6b61dac384"
    sealed = aes_ccm.seal(
        bytes(range(0x40, 0x50)), bytes(range(0x10, 0x1C)), bytes(range(0x20, 0x38)), bytes(range(0x14))
    )
    assert sealed[:-16].hex() == "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5"


def test_ccm_seals_what_openssl_seals_and_opens_it_again():
    for nonce_length, length, aad_length, digest in SEALED_DIGESTS:
        plaintext, aad = pattern(7, length), pattern(11, aad_length)
        sealed = aes_ccm.seal(KEY, NONCE[:nonce_length], plaintext, aad)
        assert len(sealed) == length + 16
        assert sha256(sealed).digest().hex() == digest
        assert aes_ccm.open(KEY, NONCE[:nonce_length], sealed, aad) == plaintext


def test_ccm_accepts_bytearray_and_memoryview():
    sealed = aes_ccm.seal(KEY, NONCE, b"reading", b"round 1")
    for kind in (bytearray, memoryview):
        assert aes_ccm.seal(kind(KEY), kind(NONCE), kind(b"reading"), kind(b"round 1")) == sealed
        assert aes_ccm.open(kind(KEY), kind(NONCE), kind(sealed), kind(b"round 1")) == b"reading"


def test_ccm_refuses_every_flipped_bit():
    sealed = aes_ccm.seal(KEY, NONCE, b"seventeen bytes!!", b"round 1")
    for bit in range(8 * len(sealed)):
        raises(CryptoError, aes_ccm.open, KEY, NONCE, flipped(sealed, bit), b"round 1")
    for bit in range(8 * 7):
        raises(CryptoError, aes_ccm.open, KEY, NONCE, sealed, flipped(b"round 1", bit))
    for bit in range(8 * 13):
        raises(CryptoError, aes_ccm.open, KEY, flipped(NONCE, bit), sealed, b"round 1")
    for bit in range(128):
        raises(CryptoError, aes_ccm.open, flipped(KEY, bit), NONCE, sealed, b"round 1")


def test_ccm_refuses_every_truncation_and_extension():
    sealed = aes_ccm.seal(KEY, NONCE, pattern(7, 40), b"aad")
    for length in range(len(sealed)):
        raises(CryptoError, aes_ccm.open, KEY, NONCE, sealed[:length], b"aad")
        raises(CryptoError, aes_ccm.open, KEY, NONCE, sealed[length + 1 :], b"aad")
    raises(CryptoError, aes_ccm.open, KEY, NONCE, sealed + b"\x00", b"aad")
    for aad in (b"", b"aa", b"aad\x00"):
        raises(CryptoError, aes_ccm.open, KEY, NONCE, sealed, aad)


def test_ccm_refuses_other_key_and_nonce_lengths():
    sealed = aes_ccm.seal(KEY, NONCE, b"", b"")
    for length in range(40):
        if length not in (16, 32):
            raises(CryptoError, aes_ccm.seal, bytes(length), NONCE, b"", b"")
            raises(CryptoError, aes_ccm.open, bytes(length), NONCE, sealed, b"")
        if length not in (12, 13):
            raises(CryptoError, aes_ccm.seal, KEY, bytes(length), b"", b"")
            raises(CryptoError, aes_ccm.open, KEY, bytes(length), sealed, b"")


def test_ccm_refuses_what_is_too_long():
    for nonce in (NONCE, NONCE[:12]):
        raises(CryptoError, aes_ccm.seal, KEY, nonce, bytes(0x10000), b"")
        raises(CryptoError, aes_ccm.open, KEY, nonce, bytes(0x10000 + 16), b"")
        raises(CryptoError, aes_ccm.seal, KEY, nonce, b"", bytes(0xFF00))
        raises(CryptoError, aes_ccm.open, KEY, nonce, bytes(16), bytes(0xFF00))


def test_ccm_refuses_what_is_not_bytes():
    good = [KEY, NONCE, bytes(20), b"aad"]
    for position in range(4):
        for bad in NOT_BYTES:
            arguments = list(good)
            arguments[position] = bad
            raises(CryptoError, aes_ccm.seal, *arguments)
            raises(CryptoError, aes_ccm.open, *arguments)
