"""A private sum's part of a roster: its fields from 6 on (CDDL in docs/protocol/sums.md)."""

from agent.wire.messages import MEMBERS_MOST, check, is_bytes, is_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class SumPart:
    """`cohort` is the most members of a cohort, 4 to 64; with `seal` 0 the sum of each cohort
    opens, with 1 only that of all members; with `audit` 1 a cohort compares roll calls before it
    answers."""

    def __init__(self, cohort: int = 32, seal: int = 0, audit: int = 0) -> None:
        self.cohort = cohort
        self.seal = seal
        self.audit = audit

    def fields(self) -> dict[int, object]:
        """Return the fields. The last one is another protocol's, and empty here."""
        return {6: self.cohort, 7: self.seal, 8: self.audit, 9: b""}


def read_part(part: "dict[int, Any]") -> SumPart:
    """Return the SumPart in a roster's `part`. Raises MessageError."""
    check(len(part) == 4 and all(key in part for key in (6, 7, 8, 9)))
    cohort, seal, audit = part[6], part[7], part[8]
    check(is_integer(cohort, 4, MEMBERS_MOST) and is_integer(seal, 0, 1) and is_integer(audit, 0, 1))
    check(is_bytes(part[9], 0))
    return SumPart(cohort, seal, audit)
