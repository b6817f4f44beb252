"""AES (FIPS 197), the encrypting direction only: for interpreters that lack MicroPython's
`cryptolib`.

The lookups depend on the key, so the time does as well: for tests and simulation, not beside an
attacker with a clock. Importing this module builds 4 kB of tables, as some 50 kB of Python objects:
import it only where it is needed.
"""

from agent.crypto import CryptoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.crypto.octets import Octets

ECB = 1  # the numbers that cryptolib and pycryptodome use
CBC = 2


def _double(value: int) -> int:
    """Multiply by x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, section 4.2)."""
    value <<= 1
    return value ^ 0x11B if value > 255 else value


def _substitution_box() -> bytes:
    """FIPS 197, section 5.1.1: the inverse in GF(2^8), then an affine map over GF(2)."""
    powers = [1]
    for _ in range(254):
        powers.append(powers[-1] ^ _double(powers[-1]))  # 3 generates the multiplicative group
    box = bytearray(256)
    box[0] = 0x63
    for exponent in range(255):
        inverse = powers[-exponent % 255]
        # The affine map is a sum of five rotations: five shifts, with what leaves the byte folded
        # back in.
        spread = inverse ^ inverse << 1 ^ inverse << 2 ^ inverse << 3 ^ inverse << 4
        box[powers[exponent]] = (spread ^ spread >> 8) & 255 ^ 0x63
    return bytes(box)


def _round_table(box: bytes) -> list[int]:
    """SubBytes and MixColumns of one byte of the first row, as one word (FIPS 197, sections 5.1.1
    and 5.1.3)."""
    return [_double(value) << 24 | value << 16 | value << 8 | (_double(value) ^ value) for value in box]


def _rotated(table: list[int]) -> list[int]:
    """The same for the row below."""
    return [word >> 8 | (word & 255) << 24 for word in table]


_BOX = _substitution_box()
_T0 = _round_table(_BOX)
_T1 = _rotated(_T0)
_T2 = _rotated(_T1)
_T3 = _rotated(_T2)


def _words(block: bytes) -> list[int]:
    return [int.from_bytes(block[i : i + 4], "big") for i in range(0, len(block), 4)]


def _substitute(word: int) -> int:
    return _BOX[word >> 24] << 24 | _BOX[word >> 16 & 255] << 16 | _BOX[word >> 8 & 255] << 8 | _BOX[word & 255]


def _expand(key: bytes) -> list[int]:
    """Return the round keys as four words a round (FIPS 197, section 5.2)."""
    words = _words(key)
    size = len(words)
    constant = 1
    for i in range(size, 4 * (size + 7)):
        word = words[i - 1]
        if i % size == 0:
            word = _substitute((word << 8 | word >> 24) & 0xFFFFFFFF) ^ constant << 24
            constant = _double(constant)
        elif size == 8 and i % size == 4:
            word = _substitute(word)
        words.append(words[i - size] ^ word)
    return words


def _encrypt_block(keys: list[int], block: bytes) -> bytes:
    a, b, c, d = _words(block)
    a, b, c, d = a ^ keys[0], b ^ keys[1], c ^ keys[2], d ^ keys[3]
    for i in range(4, len(keys) - 4, 4):
        a, b, c, d = (
            _T0[a >> 24] ^ _T1[b >> 16 & 255] ^ _T2[c >> 8 & 255] ^ _T3[d & 255] ^ keys[i],
            _T0[b >> 24] ^ _T1[c >> 16 & 255] ^ _T2[d >> 8 & 255] ^ _T3[a & 255] ^ keys[i + 1],
            _T0[c >> 24] ^ _T1[d >> 16 & 255] ^ _T2[a >> 8 & 255] ^ _T3[b & 255] ^ keys[i + 2],
            _T0[d >> 24] ^ _T1[a >> 16 & 255] ^ _T2[b >> 8 & 255] ^ _T3[c & 255] ^ keys[i + 3],
        )
    result = 0
    last = len(keys) - 4
    for i, rows in enumerate(((a, b, c, d), (b, c, d, a), (c, d, a, b), (d, a, b, c))):
        shifted = rows[0] & 0xFF000000 | rows[1] & 0xFF0000 | rows[2] & 0xFF00 | rows[3] & 0xFF
        result = result << 32 | _substitute(shifted) ^ keys[last + i]
    return result.to_bytes(16, "big")


def _xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(16, "big")


class Aes:
    """One key in one mode, shaped like `cryptolib.aes`: `key` of 16 or 32 bytes, `mode` ECB or CBC,
    `iv` for CBC."""

    def __init__(self, key: bytes, mode: int, iv: bytes | None = None) -> None:
        if len(key) not in (16, 32) or mode not in (ECB, CBC) or (mode == CBC) != (iv is not None):
            raise CryptoError("AES key, mode or initial vector not supported")
        self._keys = _expand(key)
        self._chain = iv  # None in ECB

    def encrypt(self, data: "Octets", output: bytearray) -> None:
        """Encrypt `data`, whole blocks of 16 bytes, into `output` of the same length, which may be
        `data` itself."""
        if len(data) % 16 or len(output) != len(data):
            raise CryptoError("AES data is not whole blocks")
        for i in range(0, len(data), 16):
            block = bytes(data[i : i + 16])
            if self._chain is not None:
                block = _xor(block, self._chain)
            block = _encrypt_block(self._keys, block)
            if self._chain is not None:
                self._chain = block
            output[i : i + 16] = block
