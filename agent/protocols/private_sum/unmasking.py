"""Unmasking (Bonawitz et al.): a board checks the coordinator's roll call and makes its answer. A
part of the machine in machine.py.

The list is taken up if its tag is right; then the cohort compares what each was shown
(consistency_check.py), if the roster says so; then the answer is made (answers.py), once a round;
then, when there is time, the list's signature is checked. Between two roll calls the recovery share
for members that are known to be absent is made ahead.
"""

from agent.protocols.base import Refused, actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.answers import RollCall
    from agent.protocols.private_sum.consistency_check import ConsistencyCheck
    from agent.protocols.private_sum.contributing import Contributing, Step
    from agent.protocols.private_sum.membership import Membership
    from agent.protocols.private_sum.secret_sharing import SecretSharing
    from agent.wire.envelope import Envelope

REPEATS_MOST = 8  # openings and roll calls that come again, between retries, and are reacted to


class Unmasking:
    """The roll calls under one roster, for `member`, a Membership with keys, its SecretSharing and
    its Contributing.

    `calls()` returns the board's RollCall. `absent` lists the members of the cohort that are not
    there, as the coordinator said last; `heard` is the (Envelope, bitmap of the members present) to
    be answered, or None; `roll` checks the signature of the roll call that was answered, idle work
    under way, or None.
    """

    def __init__(
        self, member: "Membership", sharing: "SecretSharing", own: "Contributing", calls: "Callable[[], RollCall]"
    ) -> None:
        self.absent: list[int] = []
        self.heard: "tuple[Envelope, int] | None" = None
        self.roll: "Steps | None" = None
        self._repeats = REPEATS_MOST
        self._check: "ConsistencyCheck | None" = None
        self._answer: "Steps | None" = None
        self._member = member
        self._sharing = sharing
        self._own = own
        self._calls = calls
        # What it vouched for before a reboot it does not remember: it sits that round's comparison
        # out.
        self._checked = own.high_water

    # -- a roll call

    def expect(self, absent: int) -> None:
        """A round is open, and the coordinator says who is `absent`, a bitmap."""
        member = self._member
        self.absent = [peer for peer in member.cohort if absent >> peer & 1 and peer != member.index]

    def begin_round(self, round: int) -> "list[Action]":
        """A round is open: an earlier one's comparison is over."""
        return self.over() if self._check and self._check.round < round else []

    def may_repeat(self) -> bool:
        """Tell whether what comes again is to be reacted to again: that has a budget."""
        self._repeats -= 1
        return self._repeats >= 0

    def hear(self, raw: bytes) -> bool:
        """Take a roll call. Return whether it is to be answered: False if it was already. Raises
        Refused with the reason."""
        member, own, calls = self._member, self._own, self._calls()
        heard = calls.hear(member, raw, own.high_water)
        if heard is None:
            own.saw(calls.round)  # after a reboot nothing else tells
            return False
        envelope, present = heard
        if envelope.round == own.off_grid and not calls.repeats(member, present):
            raise Refused("other-list")
        if member.audit:
            self.check_of(envelope.round).vouch(present)
        if self.heard and self.heard[0].round == envelope.round:
            raise Refused("replayed")
        self._answer = None  # an answer to an earlier round has come too late
        own.saw(envelope.round)
        self._repeats = REPEATS_MOST
        self.absent = [peer for peer in member.cohort if not present >> peer & 1]
        self.heard = heard
        return True

    def verdict(self) -> list[str] | None:
        """Return [] if what was heard may be answered: the answer is under way then. None while it
        must wait for the others' letters; the named reasons if it must not be answered: it is
        forgotten."""
        found = self._check.verdict() if self._check else []
        if found:
            self.heard = self._answer = None
        elif found == [] and self.heard and not self._answer:
            self._answer = self._make_answer(self.heard)
        return found

    def step_answer(self, step: "Step") -> "list[Action]":
        """Do one step of the answer."""
        done: "list[Action]" = []
        if self._answer:
            done, left = step(self._answer)
            self._answer = left
        return done

    def step_roll(self, step: "Step") -> "list[Action]":
        """Do one step of the check of the signature."""
        done: "list[Action]" = []
        if self.roll:
            done, left = step(self.roll)
            self.roll = left
        return done

    def rest(self) -> None:
        """Memory is short: the answer is begun anew."""
        self._answer = None

    def _make_answer(self, heard: "tuple[Envelope, int]") -> "Steps":
        envelope, present = heard
        calls = self._calls()
        if self.absent and not calls.has_recovery(self._member, envelope.round, self.absent):
            # A power needs the room, more than the others need this board's letters again.
            yield self.over()
        try:
            yield from calls.steps(self._member, self._sharing, envelope.round, present, self._own)
        except Refused:
            self.heard = None
            raise
        self.heard = None
        self.roll = self._check_signature(envelope)

    def _check_signature(self, envelope: "Envelope") -> "Steps":
        """The tag made the board answer; that the list can be shown to others, its signature, is
        checked when there is time."""
        context = self._member.context_of_all("roll", envelope.round)
        yield from envelope.verify_steps(self._member.coordinator, context)
        yield [actions.unload()]

    # -- the consistency check

    def check_of(self, round: int) -> "ConsistencyCheck":
        """Return the ConsistencyCheck of a round: it is begun once, in the round that this board
        contributed to last. Raises Refused."""
        if not self._check or self._check.round != round:
            member = self._member
            if not member.audit or not self._checked < (member.epoch, round) == self._own.high_water:
                raise Refused("not-audited")
            from agent.protocols.private_sum.consistency_check import ConsistencyCheck

            self._checked = (member.epoch, round)
            self._check = ConsistencyCheck(member, round)
        return self._check

    def letters(self) -> "list[Action]":
        """Return the actions that send one letter of the consistency check, [] if none is due."""
        return self._check.next() if self._check else []

    def again(self) -> None:
        """Some seconds have passed."""
        self._repeats = REPEATS_MOST
        if self._check:
            self._check.again()

    def over(self) -> "list[Action]":
        """The round is over: without a verdict of the consistency check nothing is answered."""
        if not self._check:
            return []
        if self._check.verdict() != []:
            self.heard = self._answer = None
        self._check = None
        return [actions.unload()]

    # -- ahead of a roll call

    def foresee(self) -> "Steps | None":
        """Return a generator that makes the recovery share for the next roll call before it comes;
        None if there is no need to."""
        if not self.absent:
            return None
        calls = self._calls()
        round = calls.next_round(self._member, self._own)
        return None if calls.has_recovery(self._member, round, self.absent) else self._make_recovery(round, self.absent)

    def _make_recovery(self, round: int, absent: list[int]) -> "Steps":
        try:
            yield from self._calls().recovery_steps(self._member, self._sharing, round, absent, self._own)
        except Refused:
            self.absent = []
            raise
