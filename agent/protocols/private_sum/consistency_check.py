"""The consistency check: before a board answers a roll call, the members of its cohort compare the
lists that they were shown. A part of the machine in machine.py, in the memory only while a round's
lists are compared.

Each listed member vouches for its list, once a round, to all others on it, in the order of the
overlay: in the n-1 rounds of it a node sends to every other. What a member says of itself counts,
and nothing that others say of it, for seals are pairwise and hearsay can be made up. So with t >
2c/3 of c members vouching, no two lists are answered unless 2t - c members lie
(docs/security/reasoning.md).
Who sees two lists answers neither, and floods the alarm over the overlay; of an alarm hearsay is
enough.
"""

from agent.protocols.base import overlay
from agent.protocols.private_sum.mail import SPLIT, VOUCH, letter
from agent.wire import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Action
    from agent.protocols.private_sum.membership import Membership

# Retries after which the threshold is enough; before, all on the list must have vouched.
PATIENCE = 1
RETRIES_MOST = 8  # retries after which the round is given up
ASKED_MOST = 8  # letters to one member that are sent again because one of its came again


class ConsistencyCheck:
    """One round's comparison: of `round`, for `member`, a Membership with keys."""

    def __init__(self, member: "Membership", round: int) -> None:
        self.round = round
        self._member = member
        self._own = 1 << member.index
        self._list: int | None = None  # the first list seen, from anybody
        self._alike = 0  # who vouched for it
        self._split: list[str] = []
        self._due: list[int] = []
        self._asked: "dict[int, int]" = {}  # by member
        self._retries = 0

    def vouch(self, present: int) -> None:
        """This board was shown the list `present`, a bitmap."""
        if self._vouches() and present == self._list:
            return
        if self._compare(self._own, present):
            self._due = [peer for peer in self._partners(0) if present >> peer & 1]

    def hear(self, kind: int, peer: int, payload: bytes) -> None:
        """Take a vouch or an alarm from the member `peer`. Raises MessageError."""
        present = int.from_bytes(messages.read_share(payload, 8), "big")
        if kind == SPLIT:
            self._alarm(0)
        elif not self._alike >> peer & 1:
            self._compare(1 << peer, present)
        elif present == self._list and self._vouches() and self._asked.get(peer, 0) < ASKED_MOST:
            # It says so again because it has not heard from this board.
            self._asked[peer] = self._asked.get(peer, 0) + 1
            self._due.append(peer)

    def verdict(self) -> list[str] | None:
        """Return None while the board is to wait, [] when it may answer: all on its list have
        vouched for it, or t, if the others have had their time. If it must not, return the named
        reasons."""
        if self._split:
            return self._split
        if not self._vouches():
            return None
        enough = bin(self._alike).count("1") >= self._member.threshold
        if not self._silent() or (enough and self._retries >= PATIENCE):
            return []
        return ["not-vouched"] if self._retries >= RETRIES_MOST else None

    def again(self) -> None:
        """Some seconds have passed: say it again to those that were not heard, which asks them
        to."""
        if self._vouches() and not self._split and self._retries < RETRIES_MOST:
            self._retries += 1
            self._due = self._silent()

    def next(self) -> "list[Action]":
        """Return the actions that send one letter, [] if none is due."""
        if not self._due:
            return []
        kind, content = (SPLIT, 0) if self._split else (VOUCH, self._list or 0)
        data = messages.share(content.to_bytes(8, "big"))
        return [letter(self._member, self._due.pop(0), kind, kind, self.round, data)]

    def _vouches(self) -> bool:
        """Tell whether this board was shown the list itself: nobody vouches for what others say."""
        return self._alike & self._own != 0

    def _silent(self) -> list[int]:
        return [peer for peer in self._member.cohort if ((self._list or 0) & ~self._alike) >> peer & 1]

    def _compare(self, who: int, present: int) -> bool:
        """Count the member in the bitmap `who` if its list is the same as the others'; return
        whether it is."""
        if self._list is None:
            self._list = present
        if present != self._list:
            # Who was shown a list itself can name those with another.
            self._alarm(self._alike if who == self._own else who if self._vouches() else 0)
            return False
        self._alike |= who
        return not self._split

    def _alarm(self, accused: int) -> None:
        """Begin the flood, once."""
        if not self._split:
            member = self._member
            self._due = self._partners(1)
            self._split = ["split-roll"]
            self._split += [("split-by-" + member.names[i])[:32] for i in member.cohort if accused >> i & 1]

    def _partners(self, failed: int) -> list[int]:
        """Return the others of the cohort in the order in which the overlay's rounds come to them:
        in those of a flood that so many failed members do not stop, or in all for 0. A member with
        two ids acts for both."""
        cohort = self._member.cohort
        own, size = cohort.index(self._member.index), len(cohort)
        n = overlay.suitable_size(size)
        found: list[int] = []
        for j in range(overlay.flood_rounds(n, failed) if failed else n - 1):
            for node in range(own, n, size):
                peer = cohort[overlay.partner(node, self.round + j, n) % size]
                if peer != self._member.index and peer not in found:
                    found.append(peer)
        return found
