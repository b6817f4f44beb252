"""Active sets: a board takes part with those members of its cohort that the coordinator's signed
set names, and with no others. A part of the machine in machine.py; entering.py has what is needed
once a set.

A set waits until no round is open and no answer is under way. What it costs, work and wear, a
bucket of tokens limits: the highest number that has come is kept, and taken up when there is one.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.private_sum.membership import Membership

TOKENS_MOST = 4
TOKEN_MINUTES = 15  # of a board's own uptime


class ActiveSets:
    """The sets that are proposed to one board. `entering` is the record of one that is being made
    durable, None before and after: nothing else may be done. `unsaid` tells that a minute has
    passed since this board has said that it is here. `recalled` is the record that the
    action recall() has loaded last, or None. `waiting` is the (number, signed set) to be taken up
    when there is one of the `tokens`, or None; `early` a signed set that came before the roster."""

    def __init__(self) -> None:
        self.entering: bytes | None = None
        self.recalled: bytes | None = None
        self.waiting: "tuple[int, bytes] | None" = None
        self.early: bytes | None = None
        self.tokens = TOKENS_MOST
        self._minutes = 0
        self.unsaid = False

    def passed(self) -> None:
        """A minute has passed."""
        self.unsaid = True
        self._minutes += 1
        if self._minutes >= TOKEN_MINUTES:
            self._minutes = 0
            self.tokens = min(TOKENS_MOST, self.tokens + 1)

    def hear(self, member: "Membership | None", unit: str, raw: bytes, busy: bool) -> None:
        """Take a signed set from the topic of `unit`; with `busy` nothing can be taken up now.
        Raises Refused, EnvelopeError or MessageError."""
        # Else it was cleared, or is another unit's.
        if raw and (not member or unit == str(member.unit)):
            from agent.protocols.private_sum import entering

            entering.hear(self, member, raw, busy)

    def next(self) -> bytes | None:
        """Return the signed set to be taken up, for a token; None if there is none of the two. It
        is asked for again until it is entered: that may be given up halfway."""
        return self.waiting[1] if self.waiting and self.tokens else None
