"""A private sum's part of a roster: its fields from 6 on (CDDL in docs/protocol/sums.md)."""

from hashlib import sha256

from agent.wire import cbor
from agent.wire.messages import MEMBERS_MOST, check, is_bytes, is_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


SPREAD_MOST = 3600  # seconds


class SumPart:
    """`cohort` is the most members of a cohort, 4 to 64; with `seal` 0 the sum of each cohort
    opens, with 1 only that of all members; with `audit` 1 a cohort compares roll calls before it
    answers. `spread`: within how many seconds after an instant its members send what they read
    then, 0 to SPREAD_MOST."""

    def __init__(self, cohort: int = 32, seal: int = 0, audit: int = 0, spread: int = 0) -> None:
        self.cohort = cohort
        self.seal = seal
        self.audit = audit
        self.spread = spread

    def fields(self) -> dict[int, object]:
        """Return the fields. The one with the number 9 is another protocol's, and empty here."""
        found: dict[int, object] = {6: self.cohort, 7: self.seal, 8: self.audit, 9: b""}
        if self.spread:
            found[10] = self.spread
        return found

    def delay(self, digest: bytes, device: str) -> int:
        """Return how many ms after an instant this member of the roster with that digest sends what
        it read then: 0 to below the spread, as even as a hash is."""
        drawn = sha256(cbor.encode(["hum/v1/delay", digest, device])).digest()[:4]
        return 1000 * self.spread * int.from_bytes(drawn, "big") >> 32


def read_part(part: "dict[int, Any]") -> SumPart:
    """Return the SumPart in a roster's `part`. Raises MessageError."""
    check(4 <= len(part) <= 5 and all(key in part for key in range(6, 6 + len(part))))
    cohort, seal, audit = part[6], part[7], part[8]
    check(is_integer(cohort, 4, MEMBERS_MOST) and is_integer(seal, 0, 1) and is_integer(audit, 0, 1))
    check(is_bytes(part[9], 0) and (len(part) == 4 or is_integer(part[10], 1, SPREAD_MOST)))
    return SumPart(cohort, seal, audit, part.get(10, 0))
