"""AES-CCM with a 16-byte tag (RFC 3610; NIST SP 800-38C).

AES-CBC makes the tag and AES-ECB the key stream, both in place and in pieces of some blocks: on
MicroPython the blocks never pass through Python one at a time, and a message of kilobytes is not in
a scattered heap ten times over. Never use a nonce twice under one key.
"""

from agent.crypto import CryptoError, accelerate
from agent.crypto.hmac import constant_time_equal
from agent.crypto.octets import octets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.crypto.accelerate import Cipher
    from agent.crypto.octets import Octets
TAG_LENGTH = 16
# RFC 3610 allows 2^24 - 1 with a 12-byte nonce; one bound for both, above what a board can hold, is
# simpler to rely on.
MAX_PLAINTEXT = 0xFFFF
MAX_AAD = 0xFEFF  # from 0xFF00 on, the length would need the long encoding of RFC 3610, section 2.2
PIECE = 512  # bytes, whole blocks
_ECB = 1
_CBC = 2


def seal(key: "Octets", nonce: "Octets", plaintext: "Octets", aad: "Octets") -> bytes:
    """Return ciphertext and 16-byte tag in one: len(plaintext) + 16 bytes.

    `key` has 16 or 32 bytes, `nonce` 12 or 13; `plaintext` at most 65535 and `aad` (authenticated,
    not encrypted) at most 65279. CryptoError otherwise.
    """
    key, nonce, aad = _checked(key, nonce, aad)
    plaintext = octets(plaintext, "plaintext")
    if len(plaintext) > MAX_PLAINTEXT:
        raise CryptoError("plaintext too long")
    return bytes(_crypt(key, nonce, plaintext, _tag(key, nonce, plaintext, aad)))


def open(key: "Octets", nonce: "Octets", ciphertext: "Octets", aad: "Octets") -> bytes:
    """Return the plaintext of what `seal` made under the same key, nonce and aad, or raise
    CryptoError.

    Bounds as for `seal`. Nothing of the plaintext is released before the tag has been compared.
    """
    key, nonce, aad = _checked(key, nonce, aad)
    ciphertext = octets(ciphertext, "ciphertext")
    length = len(ciphertext) - TAG_LENGTH
    if not 0 <= length <= MAX_PLAINTEXT:
        raise CryptoError("ciphertext length out of range")
    opened = memoryview(_crypt(key, nonce, memoryview(ciphertext)[:length], ciphertext[length:]))
    if not constant_time_equal(bytes(opened[length:]), _tag(key, nonce, opened[:length], aad)):
        raise CryptoError("authentication failed")
    return bytes(opened[:length])


def _checked(key: "Octets", nonce: "Octets", aad: "Octets") -> tuple[bytes, bytes, bytes]:
    key = octets(key, "AES key")
    nonce = octets(nonce, "nonce")
    aad = octets(aad, "additional data")
    if len(key) not in (16, 32):
        raise CryptoError("AES key is not 16 or 32 bytes long")
    if len(nonce) not in (12, 13):
        raise CryptoError("nonce is not 12 or 13 bytes long")
    if len(aad) > MAX_AAD:
        raise CryptoError("additional data too long")
    return key, nonce, aad


def _tag(key: bytes, nonce: bytes, plaintext: bytes | memoryview, aad: bytes) -> bytes:
    """CBC-MAC over the first block, the additional data and the plaintext (RFC 3610, section 2.2),
    16 bytes."""
    width = 15 - len(nonce)  # of the length field, L in the RFC
    flags = (0x40 if aad else 0) | (TAG_LENGTH - 2) // 2 << 3 | width - 1
    header = bytes((flags,)) + nonce + len(plaintext).to_bytes(width, "big")
    if aad:
        header += len(aad).to_bytes(2, "big") + aad
    cbc = accelerate.aes(key, _CBC, bytes(16))
    tag = _chained(cbc, header)
    for at in range(0, len(plaintext), PIECE):
        tag = _chained(cbc, plaintext[at : at + PIECE])
    return tag


def _chained(cbc: "Cipher", piece: bytes | memoryview) -> bytes:
    """Return the last block of the chain after `piece`, filled up with zeros."""
    blocks = bytearray((len(piece) + 15) // 16 * 16)
    blocks[: len(piece)] = piece
    cbc.encrypt(blocks, blocks)
    return bytes(blocks[-16:])


def _crypt(key: bytes, nonce: bytes, text: bytes | memoryview, tag: bytes) -> bytearray:
    """Return text, then tag, XOR the key stream (RFC 3610, section 2.3), whose block 0 is for the
    tag."""
    ecb = accelerate.aes(key, _ECB)
    first = bytes((14 - len(nonce),)) + nonce + bytes(15 - len(nonce))
    length = len(text)
    crypted = bytearray(length + TAG_LENGTH)
    crypted[length:] = _xor(tag, bytearray(first), ecb)
    for at in range(0, length, PIECE):
        piece = text[at : at + PIECE]
        count = (len(piece) + 15) // 16
        stream = bytearray(first * count)
        for i in range(count):
            number = at // 16 + 1 + i
            stream[16 * i + 14] = number >> 8
            stream[16 * i + 15] = number & 255
        crypted[at : at + len(piece)] = _xor(piece, stream, ecb)
    return crypted


def _xor(data: bytes | memoryview, counters: bytearray, ecb: "Cipher") -> bytes:
    ecb.encrypt(counters, counters)
    # One big XOR: eight times faster on MicroPython than a loop over bytes.
    mask = int.from_bytes(counters[: len(data)], "big")
    return (int.from_bytes(data, "big") ^ mask).to_bytes(len(data), "big")
