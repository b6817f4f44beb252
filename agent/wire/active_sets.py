"""The payloads about active sets (CDDL in docs/protocol/sums.md): a module of its own, which a
board loads only while it takes up a set, or says that it is here."""

from agent.crypto.hmac import hmac_sha256
from agent.wire import cbor
from agent.wire.messages import EVERYONE, UNITS_MOST, check, fields, is_bytes, is_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.wire.envelope import Context


def active(roster_digest: bytes, unit: int, members: int) -> bytes:
    """Make what the coordinator signs: the active set of a unit, a bitmap; the set's number stands
    in the round's place of the envelope."""
    return cbor.encode({1: roster_digest, 2: unit, 3: members})


def read_active(payload: bytes) -> tuple[bytes, int, int]:
    """Return (roster digest, unit, bitmap of the members in the set). Raises MessageError."""
    digest, unit, members = fields(payload, 3)
    check(is_bytes(digest, 32) and is_integer(unit, 0, UNITS_MOST - 1) and is_integer(members, 1, EVERYONE))
    return digest, unit, members


def here(number: int) -> bytes:
    """Make a board's word that it is here under a roster, with the set of this number in force, 0
    for none."""
    return cbor.encode({1: number})


def read_here(payload: bytes) -> int:
    """Return the number of the set in force at the sender. Raises MessageError."""
    number: int
    (number,) = fields(payload, 1)
    check(is_integer(number, 0, 0xFFFFFFFF))
    return number


def coming(epoch: int, round: int, tag: bytes) -> bytes:
    """Make the coordinator's word to one board, which round comes next."""
    return cbor.encode({1: epoch, 2: round, 3: tag})


def read_coming(payload: bytes) -> tuple[int, int, bytes]:
    """Return (epoch, round, tag). Not authentic before the tag is checked. Raises MessageError."""
    epoch, round, tag = fields(payload, 3)
    check(is_integer(epoch, 1, 0xFFFFFFFF) and is_integer(round, 0, 0xFFFFFFFF) and is_bytes(tag, 16))
    return epoch, round, tag


def coming_tag(key: bytes, context: "Context") -> bytes:
    """Return the 16-byte tag by which a board knows that the coordinator says which round comes
    next: HMAC-SHA-256 under the opening key, over the context of type "coming", with the round and
    the set's number."""
    return hmac_sha256(key, cbor.encode(["Coming", context.external_aad()]))[:16]
