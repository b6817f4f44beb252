"""What the toy protocol says, on both sides: keys, nonces and payloads.

A round: the coordinator signs an opening and retains it on the group's topic "toy". A board that
has told that it is there ("hello", once a roster, and retained: the coordinator may come later)
sends each other member one letter by mail, and when it has all letters, or the opening's seconds
are over, tells how many it got ("tally"). The coordinator then takes the opening back (an empty
payload) and retains the signed count on the topic "result".
"""

from agent.crypto.hmac import hkdf_sha256
from agent.wire import cbor
from agent.wire.messages import MEMBERS_MOST, check, fields, is_bytes, is_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = "toy"
PARAMETERS = "none"  # there are no others
TOPIC = "toy"  # of the opening; that of the count is "result"
HELLO, TALLY, LETTER = "hello", "tally", "letter"  # kinds: what an envelope is bound to, and the topics of uploads
SECONDS_MOST = 3600

_NONCES = {HELLO: 1, TALLY: 2, LETTER: 3}


def nonce(kind: str, round: int) -> bytes:
    """Return the 13-byte nonce of the one message of its kind, sender and receiver in a round; 0
    for a "hello"."""
    return bytes([_NONCES[kind]]) + bytes(8) + round.to_bytes(4, "big")


def up_key(secret: bytes, roster_digest: bytes, device: str) -> bytes:
    """Return the 16-byte key of what `device` sends up; `secret` is its ECDH with the
    coordinator."""
    return hkdf_sha256(secret, roster_digest, cbor.encode(["hum/v1/toy/up", device]), 16)


def letter_key(secret: bytes, roster_digest: bytes, sender: str, receiver: str) -> bytes:
    """Return the 16-byte key of the letters from one member to another; `secret` is their ECDH."""
    return hkdf_sha256(secret, roster_digest, cbor.encode(["hum/v1/toy/letter", sender, receiver]), 16)


# -- the part of a roster


def part(least: int) -> dict[int, object]:
    """Return the fields: of fewer than `least` boards, 1 to 64, no count is published."""
    return {6: least}


def read_part(found: "dict[int, Any]") -> int:
    """Return `least`. Raises MessageError."""
    check(len(found) == 1 and 6 in found and is_integer(found[6], 1, MEMBERS_MOST))
    least: int = found[6]
    return least


# -- payloads


def opening(roster_digest: bytes, seconds: int) -> bytes:
    """Make the payload that opens a round, to be signed: boards wait `seconds` for letters, 1 to
    3600."""
    return cbor.encode({1: roster_digest, 2: seconds})


def read_opening(payload: bytes) -> "tuple[bytes, int]":
    """Return (roster digest, seconds). Raises MessageError."""
    digest, seconds = fields(payload, 2)
    check(is_bytes(digest, 32) and is_integer(seconds, 1, SECONDS_MOST))
    return digest, seconds


def hello() -> bytes:
    """Make what a board says once it has its keys; all is in what it is bound to."""
    return cbor.encode({})


def read_hello(payload: bytes) -> None:
    """Raise MessageError unless it is a hello()."""
    fields(payload, 0)


def letter() -> bytes:
    """Make a letter; all is in what it is bound to."""
    return cbor.encode({})


def read_letter(payload: bytes) -> None:
    """Raise MessageError unless it is a letter()."""
    fields(payload, 0)


def tally(letters: int) -> bytes:
    """Make what a board tells at the end of a round: how many letters it got, 0 to 63."""
    return cbor.encode({1: letters})


def read_tally(payload: bytes) -> int:
    """Return how many letters. Raises MessageError."""
    (letters,) = fields(payload, 1)
    check(is_integer(letters, 0, MEMBERS_MOST - 1))
    return int(letters)


def count(roster_digest: bytes, boards: int, letters: "int | None") -> bytes:
    """Make the result, to be signed: so many boards have told, of so many letters; None of too few
    boards."""
    return cbor.encode({1: roster_digest, 2: boards, 3: letters})


def read_count(payload: bytes) -> "tuple[bytes, int, int | None]":
    """Return (roster digest, boards, letters or None). Raises MessageError."""
    digest, boards, letters = fields(payload, 3)
    check(is_bytes(digest, 32) and is_integer(boards, 0, MEMBERS_MOST))
    check(letters is None or is_integer(letters, 0, MEMBERS_MOST * MEMBERS_MOST))
    return digest, boards, letters
