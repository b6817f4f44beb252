"""The code that a person compares: the same on a board and on the operator's machine."""

from hashlib import sha256

from agent.crypto.key_code import ALPHABET, key_code

PUBLIC = b"\x04" + bytes(range(64))


def test_a_code_is_the_first_60_bits_of_the_hash():
    code = key_code(PUBLIC)
    assert len(code) == 14 and code[4] == code[9] == "-"
    number = 0
    for character in code.replace("-", ""):
        number = number << 5 | ALPHABET.index(character)
    assert number == int.from_bytes(sha256(PUBLIC).digest(), "big") >> 196
    assert code == "DF6T-K7AR-WPB2"


def test_no_two_characters_look_alike():
    assert len(ALPHABET) == 32 == len(set(ALPHABET))
    assert not set("ILOU") & set(ALPHABET)
