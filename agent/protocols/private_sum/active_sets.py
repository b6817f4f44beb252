"""Active sets: a board takes part with those members of its cohort that the coordinator's signed
set names, and with no others. A part of the machine in machine.py; entering.py has what is needed
once a set.

A set waits until no round is open and no answer is under way. What it costs, work and wear, a
bucket of tokens limits: of what has come the highest number is taken up first. Its signature is not
checked before that, so a few others are kept: the highest may be forged. A later set without this
board is kept beside those that wait: they are superseded, if it is genuine.

The bucket is full when a roster comes, as the coordinator takes it to be. If it were not, boards
would enter what is proposed too late, be left out as not ready, and so on.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.private_sum.membership import Membership

TOKENS_MOST = 4
WAITING_MOST = 4
TOKEN_MINUTES = 15  # of a board's own uptime


class ActiveSets:
    """The sets that are proposed to one board. `entering` is the record of one that is being made
    durable, None before and after: nothing else may be done. `unsaid` tells that a minute has
    passed since this board has said that it is here. `recalled` is the record that the
    action recall() has loaded last, or None. `waiting` are the (number, signed set) to be taken up
    when there is one of the `tokens`, highest first; `early` a few that came before the
    roster."""

    def __init__(self) -> None:
        self.entering: bytes | None = None
        self.recalled: bytes | None = None
        self.waiting: "list[tuple[int, bytes]]" = []
        self.early: list[bytes] = []
        self.tokens = TOKENS_MOST
        self._spared = False
        self._minutes = 0
        self.unsaid = False

    def forget(self) -> None:
        """There is another roster, or none."""
        self.entering, self.waiting = None, []
        self.tokens = TOKENS_MOST

    def passed(self) -> None:
        """A minute has passed."""
        self.unsaid = True
        self._minutes += 1
        if self._minutes >= TOKEN_MINUTES:
            self._minutes = 0
            self._spared = False
            self.tokens = min(TOKENS_MOST, self.tokens + 1)

    def hear(self, member: "Membership | None", unit: str, raw: bytes, busy: bool) -> None:
        """Take a signed set from the topic of `unit`; with `busy` nothing can be taken up now.
        Raises Refused, EnvelopeError or MessageError."""
        # Else it was cleared, or is another unit's.
        if raw and (not member or unit == str(member.unit)):
            from agent.protocols.private_sum import entering

            entering.hear(self, member, raw, busy)

    def keep_early(self, raw: bytes) -> None:
        """Keep one of the last few that come before the roster, which may be the next: retained
        messages come in any order."""
        self.early = (self.early + [raw])[-WAITING_MOST:]

    def take_early(self) -> list[bytes]:
        """Return what came before the roster: it is forgotten here."""
        early, self.early = self.early, []
        return early

    def wait(self, number: int, raw: bytes) -> None:
        """Keep a signed set until it can be taken up: of too many not the lowest."""
        self.waiting.append((number, raw))
        self.waiting.sort(key=lambda one: -one[0])
        del self.waiting[WAITING_MOST:]

    def took(self, raw: bytes, number: int = 0) -> None:
        """A token is spent on this set: it has a bad signature, or is entered and has `number`,
        below which nothing is of use."""
        self.tokens -= 1
        self.waiting = [one for one in self.waiting if one[1] != raw and one[0] > number]

    def skip(self, raw: bytes, number: int) -> None:
        """This set is signed, and not for this board: those below are of no use. A token that it
        costs would be missing for the next; but one check in TOKEN_MINUTES is free, and no more."""
        self.took(raw, number)
        if not self._spared:
            self._spared = True
            self.tokens += 1

    def next(self) -> bytes | None:
        """Return the signed set to be taken up, for a token; None if there is none of the two. It
        is asked for again until it is entered: that may be given up halfway."""
        return self.waiting[0][1] if self.waiting and self.tokens else None
