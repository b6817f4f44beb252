"""Answering: from the coordinator's roll call to this board's answer. A part of the machine in
private_sum.py.

The list is taken up if its tag is right; then the cohort compares what each was shown (audit.py),
if the roster says so; then the answer is made (roll_call.py), once a round; then, when there is
time, the list's signature is checked. Between two roll calls the recovery share for members that
are known to be absent is made ahead.
"""

from agent.protocols.private_sum.membership import Refused
from agent.wire import topics


class Answering:
    """The roll calls under one roster, for `member`, a Membership with keys, its Dealing and its
    Contributing.

    `calls()` returns the board's RollCall. `absent` lists the members of the cohort that are not
    there, as the coordinator said last; `heard` is the (Envelope, bitmap of the members present) to
    be answered, or None; `audit` the round's Audit, or None. `answer` and `roll` are generators,
    idle work under way, or None: the one makes the answer, the other checks the signature of the
    roll call that was answered.
    """

    def __init__(self, member, dealing, own, calls):
        self.absent = []
        self.heard = self.audit = self.answer = self.roll = None
        self._member = member
        self._dealing = dealing
        self._own = own
        self._calls = calls
        # What it vouched for before a reboot it does not remember: it sits that round's audit out.
        self._audited = own.high_water

    # -- a roll call

    def hear(self, raw):
        """Take a roll call. Return whether it is to be answered: False if it was already. Raises
        Refused with the reason."""
        member, own, calls = self._member, self._own, self._calls()
        heard = calls.hear(member, raw, own.high_water)
        if heard is None:
            own.opened = max(own.opened, calls.round)  # after a reboot nothing else tells
            return False
        envelope, present = heard
        if member.audit:
            self.audit_of(envelope.round).vouch(present)
        if self.heard and self.heard[0].round == envelope.round:
            raise Refused("replayed")
        self.answer = None  # an answer to an earlier round has come too late
        own.opened = max(own.opened, envelope.round)
        self.absent = [peer for peer in member.cohort if not present >> peer & 1]
        self.heard = heard
        return True

    def verdict(self):
        """Return [] if what was heard may be answered: `answer` is under way then. None while it
        must wait for the others' letters; the named reasons if it must not be answered: it is
        forgotten."""
        found = self.audit.verdict() if self.audit else []
        if found:
            self.heard = self.answer = None
        elif found == [] and not self.answer:
            self.answer = self._make_answer()
        return found

    def _make_answer(self):
        envelope, present = self.heard
        calls = self._calls()
        if self.absent and not calls.has_recovery(self._member, envelope.round, self.absent):
            yield self.over()  # a power needs the room, more than the others need this board's letters again
        try:
            yield from calls.steps(self._member, self._dealing, envelope.round, present, self._own)
        except Refused:
            self.heard = None
            raise
        self.heard = None
        self.roll = self._check_signature(envelope)

    def _check_signature(self, envelope):
        """The tag made the board answer; that the list can be shown to others, its signature, is
        checked when there is time."""
        context = self._member.context("roll", envelope.round, topics.COORDINATOR, "")
        yield from envelope.verify_steps(self._member.coordinator, context)
        yield [("unload",)]

    # -- the audit

    def audit_of(self, round):
        """Return the Audit of a round: it is begun once, in the round that this board contributed
        to last. Raises Refused."""
        if not self.audit or self.audit.round != round:
            member = self._member
            if not member.audit or not self._audited < (member.epoch, round) == self._own.high_water:
                raise Refused("not-audited")
            from agent.protocols.private_sum.consistency_check import Audit

            self._audited = (member.epoch, round)
            self.audit = Audit(member, round)
        return self.audit

    def over(self):
        """The round is over: without a verdict of the audit nothing is answered."""
        if not self.audit:
            return []
        if self.audit.verdict() != []:
            self.heard = self.answer = None
        self.audit = None
        return [("unload",)]

    # -- ahead of a roll call

    def foresee(self):
        """Return a generator that makes the recovery share for the next roll call before it comes;
        None if there is no need to."""
        if not self.absent:
            return None
        calls = self._calls()
        round = calls.next_round(self._member, self._own)
        return None if calls.has_recovery(self._member, round, self.absent) else self._make_recovery(round, self.absent)

    def _make_recovery(self, round, absent):
        try:
            yield from self._calls().recovery_steps(self._member, self._dealing, round, absent, self._own)
        except Refused:
            self.absent = []
            raise
