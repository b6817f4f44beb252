"""An anonymous query's part of a roster: its fields from 6 on (CDDL in docs/protocol/sums.md)."""

from agent.wire.messages import MEMBERS_MOST, check, is_bytes, is_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def query_part(signer: bytes = b"") -> dict[int, object]:
    """Return the fields: `signer` is the RSA-2048 modulus, 256 bytes, of the coordinator's blind
    signatures (exponent 65537), or empty. The others are a sum's, and mean nothing here."""
    return {6: 32, 7: 0, 8: 0, 9: signer}


def read_part(part: "dict[int, Any]") -> bytes:
    """Return the signer in a roster's `part`. Raises MessageError."""
    check(len(part) == 4 and all(key in part for key in (6, 7, 8, 9)))
    check(is_integer(part[6], 4, MEMBERS_MOST) and is_integer(part[7], 0, 1) and is_integer(part[8], 0, 1))
    signer: bytes = part[9]
    check(is_bytes(signer, 0) or (is_bytes(signer, 256) and signer[0] >> 7 and signer[255] & 1))
    return signer
