"""The board's side of a private sum: a sans-IO machine (docs/develop/architecture.md).

What it hears goes to its parts, each with a state of its own: standing (which roster and which
active set are in force, with membership and active_sets; and what lives under them: secret_sharing,
unmasking with consistency_check, answers) and contributing (masks, a round's ciphertext, its
receipt). Here is whose turn it is in idle time. Events: restore(), message(), entered(),
recalled(), taken(), unkept(), spent(), held(), fetched(), answered(), elapsed(), idle(), rest(),
link_up(), retry(), passed().
"""

from agent.protocols.base import Refused, actions
from agent.protocols.base.machine import Machine
from agent.protocols.private_sum.contributing import Contributing
from agent.protocols.private_sum.standing import Standing
from agent.wire import topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Identity
    from agent.protocols.base.machine import Steps
    from agent.protocols.base.ports import Masks, Records, Shares
    from agent.protocols.private_sum.membership import Membership

_TAG = b"\xc0"  # with which what is signed begins, and what is not does not


class PrivateSum(Machine):
    """One board in one group. `member` is the Membership under the roster in force, or None."""

    def __init__(self, identity: "Identity") -> None:
        super().__init__(identity, self._obey, self._on_mail, (("round", self._on_round), ("roll", self._on_roll)))
        self._own = Contributing(identity.masks_target)
        self._standing = Standing(self._own)
        self._making: "Steps | None" = None
        self._round_open = False
        self._of_sets = topics.group(identity.deployment, identity.group, "active/")

    @property
    def member(self) -> "Membership | None":
        return self._standing.member

    def subscriptions(self) -> list[str]:
        """Return the topic filters that this machine listens to."""
        return super().subscriptions() + [self._of_sets + "+"]

    # -- what the runtime may ask

    def progress(self) -> tuple[str, int, int]:
        """Return (phase, done, total): that of Standing, "masks" or "ready"."""
        found = self._standing.progress()
        if found[0]:
            return found
        return "masks" if self._own.refilling else "ready", self.masks(), self.identity.masks_target

    def masks(self) -> int:
        """Return for how many rounds to come there is a mask."""
        return len(self._own.stock)

    def in_round(self) -> bool:
        """Tell whether a round is open or an answer is to be made: nothing else should be done."""
        unmasking = self._standing.unmasking
        return self._round_open or bool(unmasking and unmasking.heard)

    # -- events

    def restore(self, store: "Records", masks: "Masks", shares: "Shares") -> "list[Action]":
        """Take up what the flash holds. Raises StoreError."""
        from agent.protocols.private_sum import saved  # once a start

        saved.restore_rounds(self._standing, self._own, masks, shares)
        roster = store.get("roster")
        if roster:
            self._guard(self._take_roster, roster)
        saved.restore(self._standing, self._own, store, masks, shares)
        return []

    def message(self, topic: str, payload: bytes) -> "list[Action]":
        """Take a message from the broker."""
        if topic.startswith(self._of_sets):
            return self._guard(self._standing.hear, topic[len(self._of_sets) :], payload, self.in_round())
        return super().message(topic, payload)

    def entered(self, record: bytes) -> "list[Action]":
        """The action enter() was done, the set is durable: only now what was made under another is
        forgotten, and this one is in force."""
        self._making = None
        from agent.protocols.private_sum import entering

        return entering.entered(self._standing, self._own, record)

    def recalled(self, value: bytes | None) -> None:
        """The action recall() was done: the record's value, or None."""
        self._standing.sets.recalled = value

    def taken(self, epoch: int, round: int, mask: bytes | None, values: list[int] | None) -> "list[Action]":
        """The action take() was done: the mask's bytes or None, the reading's values or None."""
        done = self._guard(self._own.contribute, self.member, self._standing.sharing, epoch, round, mask, values)
        self._own.awaited = None
        return done

    def unkept(self, epoch: int, round: int) -> "list[Action]":
        """The action mask() could not be done: the flash has no room for it, or fails."""
        if epoch != self.epoch:
            return []
        self._own.unkept(round)
        return self._own.announce(self.member, self._standing.sharing)

    def spent(self, epoch: int, round: int, envelope: bytes) -> "list[Action]":
        """The action spend() was done, the burn is durable: only now the envelope may leave."""
        return self._own.spent(self.member, epoch, round, envelope)

    def held(self, batch: int | None, peer: int) -> "list[Action]":
        """The action hold() was done: the share is durable."""
        sharing = self._standing.sharing
        return sharing.held(batch, peer) if sharing else []

    def fetched(self, share: bytes | None) -> None:
        """The action fetch() was done: the share's bytes, or None."""
        self._standing.answers().fetched(share)

    def answered(self, epoch: int, round: int, envelope: bytes) -> "list[Action]":
        """The action answer() was done, the record is durable: only now the answer may leave."""
        self._standing.answers().kept(envelope)
        return self._standing.resend_answer()

    def elapsed(self, r: int) -> "list[Action]":
        """The time has come that the last action at() or schedule() named."""
        own, member = self._own, self.member
        if not member or self._standing.sets.entering or not (own.awaited or own.held):
            return []  # the round, or the set, is another by now
        self._round_open = True
        return own.come(member)

    def link_up(self) -> "list[Action]":
        """The link is there: say who is here and ready, and resend what has no receipt."""
        own, standing, member = self._own, self._standing, self.member
        if standing.sharing:
            standing.sharing.restart()
        said = standing.here()
        return said + own.announce(member, standing.sharing, True) + own.resend(member) + standing.resend_answer()

    def passed(self) -> None:
        """A minute has passed."""
        self._standing.sets.passed()

    def retry(self) -> "list[Action]":
        """Some seconds have passed: idle work goes on, and what has no receipt is resent."""
        own, standing = self._own, self._standing
        done = own.resend(self.member, True) + (standing.resend_answer() if self._round_open else [])
        self._round_open = False
        if standing.sharing:
            standing.sharing.again()
        if standing.unmasking:
            standing.unmasking.again()
        if standing.sets.entering:
            done.append(actions.enter(standing.sets.entering))  # the flash did not take it
        if standing.sets.unsaid and not standing.sharing:
            done += standing.here()  # what was said may be lost
        return done

    # -- the roster

    def _obey(self, raw: bytes) -> "list[Action]":
        standing = self._standing
        least = max(self.epoch + 1, self._own.high_water[0], standing.answered_in())
        from agent.protocols.private_sum import joining  # once an epoch: see the action unload()

        member = joining.accept(self.identity, raw, least)
        standing.forget()
        standing.member = member
        self._making = None
        self.epoch = member.epoch
        for signed in standing.sets.take_early():
            self._guard(standing.hear, str(member.unit), signed, False)
        return [actions.use(b"")]

    def _lose_roster(self, reason: str) -> None:
        self._standing.forget()
        self._making = self._raw_digest = None
        self.epoch -= 1  # or the same roster would be refused when it comes again
        self.refuse(reason)

    # -- idle time

    def idle(self) -> "list[Action] | None":
        """Do one short step: answer a roll call, check a signature, or make a key, a share or a
        mask; None if there is nothing to do.

        While a round is open nothing but the answer is done: the time is the round's.
        """
        own, unmasking = self._own, self._standing.unmasking
        if unmasking:
            sends = unmasking.letters()
            if sends:
                return sends
            if unmasking.heard:
                verdict = unmasking.verdict()
                if not verdict:
                    return None if verdict is None else unmasking.step_answer(self._step)
                for reason in verdict:
                    self.refuse(reason)
        if self._round_open or self._standing.sets.entering:
            return None
        if not self._making:
            own.workspace = None
            self._making = self._standing.next_job(self._lose_roster)
        # Its buffers and the code that checks signatures are never in a small heap at once.
        if not own.workspace:
            if own.receipt:
                return own.step_receipt(self._step)
            if unmasking and unmasking.roll:
                return unmasking.step_roll(self._step)
        if not self._making:
            return None
        done, left = self._step(self._making)
        if not left:
            self._making = None
        return done

    def rest(self) -> None:
        """Memory is short: give up what is under way, and its buffers; idle() begins anew."""
        self._making = None
        self._own.workspace = None
        if self.member:
            self.member.keys_done = 0
        if self._standing.unmasking:
            self._standing.unmasking.rest()

    # -- messages

    def _on_mail(self, sender: str, raw: bytes) -> "list[Action]":
        if sender == topics.COORDINATOR:
            return self._on_word(raw)
        standing = self._standing
        member, sharing, unmasking = standing.member, standing.sharing, standing.unmasking
        if not member or not sharing or not unmasking:
            raise Refused("not-ready")
        from agent.protocols.private_sum import mail  # not before joining, which needs the room

        kind, number, round, peer, payload = mail.read(member, sender, raw)
        if kind in (mail.VOUCH, mail.SPLIT):
            unmasking.check_of(round).hear(kind, peer, payload)
            return []
        done = sharing.take(kind, number, round, peer, payload, self._own.batch(member))
        return done + self._own.announce(member, sharing)

    def _on_word(self, raw: bytes) -> "list[Action]":
        """The coordinator's mail is a receipt, a tag of CBOR, or which round comes next, a map."""
        own, member = self._own, self.member
        if not member or raw[:1] >= _TAG:
            own.hear_receipt(member, raw)
            return []
        from agent.protocols.private_sum import entering

        if entering.coming(member, raw, own):
            self._making = None  # it was for a round that is over
        return []

    def _on_round(self, raw: bytes) -> "list[Action]":
        own, standing = self._own, self._standing
        member, sharing, unmasking = standing.member, standing.sharing, standing.unmasking
        if not raw:
            # The coordinator cleared the retained message; a contributor waits for the roll call.
            self._round_open = self._round_open and own.last_round(self.epoch) == own.opened
            own.awaited = None
            return []
        if standing.sets.entering:
            raise Refused("not-ready")
        round, absent, said, time, instant, news, again = own.hear(member, sharing, raw)
        # hear() refuses what comes before there are keys.
        assert member and unmasking and sharing
        unmasking.expect(absent)
        if not again and not (sharing.enough(None) and sharing.enough(round // member.field.batch)):
            raise Refused("not-shared")
        self._round_open = again or instant <= 0
        # One that comes again tells of a time that has passed since.
        done: "list[Action]" = [actions.clock(time)] if news else []
        done += unmasking.begin_round(round)
        if again:
            return done + (own.resend(member) if unmasking.may_repeat() else [])
        counted, own.held = own.counted(said), False
        own.awaited = (round, counted) if instant > 0 else None
        take = actions.off_grid if instant else actions.take
        read = take(self.epoch, round, counted, member.slots)
        return done + [actions.at(instant, instant - time) if instant > 0 else read]

    def _on_roll(self, raw: bytes) -> "list[Action]":
        unmasking = self._standing.unmasking
        if not raw:
            # The coordinator cleared the retained message: the round is over.
            self._round_open = False
            return unmasking.over() if unmasking else []
        if not unmasking or self._standing.sets.entering:
            raise Refused("not-ready")
        if not unmasking.hear(raw):
            return self._standing.resend_answer() if unmasking.may_repeat() else []
        if unmasking.absent:
            self._making = None  # a power for the answer needs the same buffers
        return []
