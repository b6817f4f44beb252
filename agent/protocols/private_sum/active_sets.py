"""Active sets: a board takes part with those members of its cohort that the coordinator's signed
set names, and with no others. A part of the machine in machine.py; entering.py has what is needed
once a set.

A set waits until no round is open and no answer is under way. What it costs, work and wear, a
bucket of tokens limits: the highest number that has come is kept, and taken up when there is one.
"""

from agent.protocols.base import Refused, actions
from agent.wire.envelope import EnvelopeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.contributing import Contributing
    from agent.protocols.private_sum.membership import Membership

TOKENS_MOST = 4
TOKEN_MINUTES = 15  # of a board's own uptime


class ActiveSets:
    """The sets that are proposed to one board. `entering` is the record of one that is being made
    durable, None before and after: nothing else may be done. `recalled` is the record that the
    action recall() has loaded last, or None."""

    def __init__(self) -> None:
        self.entering: bytes | None = None
        self.recalled: bytes | None = None
        self._waiting: "tuple[int, bytes] | None" = None
        self._early: bytes | None = None
        self._tokens = TOKENS_MOST
        self._minutes = 0

    def forget(self) -> None:
        """There is another roster, or none."""
        self.entering = self._waiting = None

    def passed(self) -> None:
        """A minute has passed."""
        self._minutes += 1
        if self._minutes >= TOKEN_MINUTES:
            self._minutes = 0
            self._tokens = min(TOKENS_MOST, self._tokens + 1)

    def hear(self, member: "Membership | None", unit: str, raw: bytes, busy: bool) -> None:
        """Take a signed set from the topic of `unit`; with `busy` nothing can be taken up now.
        Raises Refused, EnvelopeError or MessageError."""
        if not raw or (member and unit != str(member.unit)):
            return  # cleared, or another unit's
        from agent.protocols.private_sum import entering

        if not member:
            # Retained messages come in any order: the roster may be the next.
            self._early = raw if len(raw) <= entering.ACTIVE_MOST else None
            raise Refused("not-ready")
        number = entering.hear(member, raw)
        if number and (not self._waiting or number > self._waiting[0]):
            self._waiting = number, raw
            if busy or not self._tokens:
                raise Refused("too-soon")

    def early(self) -> bytes | None:
        """Return what came before the roster, once."""
        raw, self._early = self._early, None
        return raw

    def next(self) -> bytes | None:
        """Return the signed set to be taken up, for a token; None if there is none of the two. It
        is asked for again until enter_steps() is through with it: that may be given up halfway."""
        return self._waiting[1] if self._waiting and self._tokens else None

    # -- taking one up

    def enter_steps(self, member: "Membership", signed: bytes, own: "Contributing") -> "Steps":
        """Generator: check the signature of a set that hear() has let pass, and yield the action
        that makes it durable. `own` is the board's Contributing. Raises EnvelopeError."""
        from agent.protocols.private_sum import entering

        try:
            self.entering = yield from entering.verify_steps(member, signed, own)
        except EnvelopeError:
            self._took(signed)
            raise
        self._took(signed)
        del entering  # or unload() would find it still in use here
        yield [actions.enter(self.entering)]

    def _took(self, signed: bytes) -> None:
        self._tokens -= 1
        if self._waiting and self._waiting[1] == signed:
            self._waiting = None

    def entered(self, member: "Membership", record: bytes | None) -> bool:
        """The set of this record is durable: `member` is in it from now on, if it is of its
        roster; return whether it is."""
        from agent.protocols.private_sum import entering

        self.entering = None
        return entering.restore(member, record)

    def secret_steps(self, member: "Membership") -> "Steps":
        """Generator: derive what the roster alone gives, and yield the actions that keep it and say
        that this board is here. Raises CryptoError."""
        from agent.protocols.private_sum import keying

        secrets = yield from keying.secret_steps(member)
        del keying
        yield [actions.put("secrets", secrets), actions.recall("secrets")]
        kept, self.recalled = self.recalled, None
        if kept == secrets:  # else the flash has not taken it, and this begins anew
            member.take_secrets(secrets)
            yield self.here(member) + [actions.unload()]

    def key_steps(self, member: "Membership") -> "Steps":
        """Generator: derive the keys of the set in force, and yield the action that keeps them;
        without the record of secrets there are none in the end."""
        from agent.protocols.private_sum import keying

        yield [actions.recall("secrets")]
        secrets, self.recalled = self.recalled, None
        if secrets and member.take_secrets(secrets):
            yield from keying.key_steps(member, secrets)
            del keying
            del secrets
            yield [actions.put("key", member.record()), actions.unload()]

    # -- words to and from the coordinator

    def here(self, member: "Membership") -> "list[Action]":
        """Return the action that says that this board is here."""
        from agent.protocols.private_sum import entering

        return [entering.here(member)]

    def coming(self, member: "Membership", raw: bytes) -> int:
        """Return the round that comes next, as the coordinator says. Raises Refused or
        MessageError."""
        from agent.protocols.private_sum import entering

        return entering.coming(member, raw)
