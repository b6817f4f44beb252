"""The code of a public key that a person compares: what a board shows on its console with what the
operator's tool shows."""

from hashlib import sha256

# Digits and capitals without I, L, O and U, of which each is taken for another character: the
# alphabet of Crockford's base 32.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BITS = 60


def key_code(public: bytes) -> str:
    """Return the first 60 bits of the SHA-256 of a 65-byte key, such as "7K2M-Q0XD-ZP4A".

    To make a second key with a given code takes about 2^60 key pairs: a code tells a board from
    others that somebody could have made meanwhile, and is no place to look a key up by.
    """
    number = int.from_bytes(sha256(public).digest()[:8], "big") >> 64 - BITS
    code = "".join([ALPHABET[number >> shift & 31] for shift in range(BITS - 5, -1, -5)])
    return "-".join([code[at : at + 4] for at in range(0, 12, 4)])
