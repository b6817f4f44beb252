"""The board's side of a private sum: a sans-IO machine (docs/develop/architecture.md).

What it hears goes to its parts, each with a state of its own: membership (the roster, the active set
and its keys), active_sets (sets to come), contributing (masks, a round's ciphertext, its receipt),
secret_sharing (shares), unmasking (roll calls, with consistency_check and answers). Here is what
they have in common: which roster and which set are in force, and whose turn it is in idle time.
Events: restore(), message(), entered(), recalled(), taken(), unkept(), spent(), held(), fetched(),
answered(), idle(), rest(), link_up(), retry(), passed().
"""

from agent.crypto import CryptoError
from agent.protocols.base import Refused, actions
from agent.protocols.base.machine import Machine
from agent.protocols.private_sum.active_sets import ActiveSets
from agent.protocols.private_sum.contributing import Contributing
from agent.protocols.private_sum.unmasking import Unmasking
from agent.wire import topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Identity
    from agent.protocols.base.machine import Steps
    from agent.protocols.base.ports import Masks, Records, Shares
    from agent.protocols.private_sum.answers import RollCall
    from agent.protocols.private_sum.membership import Membership
    from agent.protocols.private_sum.secret_sharing import SecretSharing

    Held = tuple[int, dict[int, int]]  # as ShareStock.held() tells

_TAG = b"\xc0"  # with which what is signed begins, and what is not does not


class PrivateSum(Machine):
    """One board in one group. `member` is the Membership under the roster in force, or None."""

    def __init__(self, identity: "Identity") -> None:
        super().__init__(identity, self._obey, self._on_mail, (("round", self._on_round), ("roll", self._on_roll)))
        self.member: "Membership | None" = None
        self._sets = ActiveSets()
        self._own = Contributing(identity.masks_target)
        self._last_answer: "tuple[int, int, bytes] | None" = None  # until a RollCall takes it up
        self._sharing: "SecretSharing | None" = None
        self._unmasking: "Unmasking | None" = None
        self._roll_call: "RollCall | None" = None
        self._making: "Steps | None" = None
        self._round_open = False

    def subscriptions(self) -> list[str]:
        """Return the topic filters that this machine listens to."""
        own = self.identity
        return super().subscriptions() + [topics.group(own.deployment, own.group, "active/+")]

    # -- what the runtime may ask

    def progress(self) -> tuple[str, int, int]:
        """Return (phase, done, total): "waiting" for a roster, "keys", "set" while there is none,
        "shares", "masks" or "ready"."""
        member, sharing = self.member, self._sharing
        if not member:
            return "waiting", 0, 0
        if not member.here_key:
            return "keys", member.keys_done, len(member.peers())
        if not sharing:
            return "set", 0, 0
        for batch in (None, self._own.batch(member)):
            if not sharing.enough(batch):
                return "shares", bin(sharing.holders(batch)).count("1"), member.threshold
        phase = "masks" if self._own.refilling else "ready"
        return phase, self.masks(), self.identity.masks_target

    def masks(self) -> int:
        """Return for how many rounds to come there is a mask."""
        return len(self._own.stock)

    def in_round(self) -> bool:
        """Tell whether a round is open or an answer is to be made: nothing else should be done."""
        return self._round_open or bool(self._unmasking and self._unmasking.heard)

    # -- events

    def restore(self, store: "Records", masks: "Masks", shares: "Shares") -> "list[Action]":
        """Take up what the flash holds. Raises StoreError."""
        from agent.protocols.private_sum.saved import Saved  # once a start

        saved = Saved(store, masks, shares)
        self._last_answer = saved.answered
        self._own.restore(saved.high_water, saved.pending, saved.sent)
        if saved.roster:
            self._guard(self._take_roster, saved.roster)
        member = self.member
        if not member:
            return []
        member.take_secrets(saved.secrets)
        # Whatever is lost, the number in force is not: an earlier set does not come again.
        if self._sets.entered(member, saved.active):
            stock, held = saved.of_set(self.epoch, member.set_digest)
            self._own.restore_set(member, stock)
            member.restore(saved.key)
            if member.round_key:
                self._start_sharing(member, held, saved.acks)
        return []

    def message(self, topic: str, payload: bytes) -> "list[Action]":
        """Take a message from the broker."""
        own = self.identity
        of_sets = topics.group(own.deployment, own.group, "active/")
        if topic.startswith(of_sets):
            return self._guard(self._on_active, topic[len(of_sets) :], payload)
        return super().message(topic, payload)

    def entered(self, record: bytes) -> "list[Action]":
        """The action enter() was done, the set is durable: only now what was made under another is
        forgotten, and this one is in force."""
        member = self.member
        if not member or not self._sets.entered(member, record):
            return []
        self._sharing = self._unmasking = self._making = None
        self._own.enter_set()
        if self._roll_call:
            self._roll_call.enter_set()
        return [actions.use(member.set_digest)] + self._sets.here(member) + [actions.unload()]

    def recalled(self, value: bytes | None) -> None:
        """The action recall() was done: the record's value, or None."""
        self._sets.recalled = value

    def taken(self, epoch: int, round: int, mask: bytes | None, values: list[int] | None) -> "list[Action]":
        """The action take() was done: the mask's bytes or None, the reading's values or None."""
        return self._guard(self._own.contribute, self.member, self._sharing, epoch, round, mask, values)

    def unkept(self, epoch: int, round: int) -> "list[Action]":
        """The action mask() could not be done: the flash has no room for it, or fails."""
        if epoch != self.epoch:
            return []
        self._own.unkept(round)
        return self._own.announce(self.member, self._sharing)

    def spent(self, epoch: int, round: int, envelope: bytes) -> "list[Action]":
        """The action spend() was done, the burn is durable: only now the envelope may leave."""
        return self._own.spent(self.member, epoch, round, envelope)

    def held(self, batch: int | None, peer: int) -> "list[Action]":
        """The action hold() was done: the share is durable."""
        return self._sharing.held(batch, peer) if self._sharing else []

    def fetched(self, share: bytes | None) -> None:
        """The action fetch() was done: the share's bytes, or None."""
        self._answers().fetched(share)

    def answered(self, epoch: int, round: int, envelope: bytes) -> "list[Action]":
        """The action answer() was done, the record is durable: only now the answer may leave."""
        self._answers().kept(envelope)
        return self._resend_answer()

    def link_up(self) -> "list[Action]":
        """The link to the broker is there: say who is here and ready, and resend what has no
        receipt."""
        own, member = self._own, self.member
        if self._sharing:
            self._sharing.restart()
        said = self._sets.here(member) if member and member.here_key else []
        return said + own.announce(member, self._sharing, True) + own.resend(member) + self._resend_answer()

    def passed(self) -> None:
        """A minute has passed."""
        self._sets.passed()

    def retry(self) -> "list[Action]":
        """Some seconds have passed: idle work goes on, and what has no receipt is resent."""
        done = self._own.resend(self.member) + (self._resend_answer() if self._round_open else [])
        self._round_open = False
        if self._sharing:
            self._sharing.again()
        if self._unmasking:
            self._unmasking.again()
        if self._sets.entering:
            done.append(actions.enter(self._sets.entering))  # the flash did not take it
        return done

    def _resend_answer(self) -> "list[Action]":
        return self._roll_call.resend(self.member, self._own.opened) if self._roll_call else []

    # -- the roster

    def _obey(self, raw: bytes) -> "list[Action]":
        least = max(self.epoch + 1, self._own.high_water[0], self._answered_in())
        from agent.protocols.private_sum import joining  # once an epoch: see the action unload()

        member = joining.accept(self.identity, raw, least)
        self._forget_roster()
        self.member = member
        self.epoch = member.epoch
        early = self._sets.early()
        if early:
            self._guard(self._on_active, str(member.unit), early)
        return [actions.use(b"")]

    def _on_active(self, unit: str, raw: bytes) -> "list[Action]":
        self._sets.hear(self.member, unit, raw, self.in_round())
        return []

    def _answered_in(self) -> int:
        """Return the epoch of the last answer, 0 for none."""
        if self._roll_call:
            return self._roll_call.epoch
        return self._last_answer[0] if self._last_answer else 0

    def _forget_roster(self) -> None:
        self.member = self._sharing = self._unmasking = self._making = self._raw_digest = None
        self._sets.forget()
        self._own.forget()

    def _start_sharing(self, member: "Membership", held: "Held", acks: bytes | None) -> None:
        # Not before joining, which needs the room.
        from agent.protocols.private_sum.secret_sharing import SecretSharing

        self._sharing = SecretSharing(member, held, acks)
        self._unmasking = Unmasking(member, self._sharing, self._own, self._answers)

    def _answers(self) -> "RollCall":
        """Return the RollCall: its code is loaded when the first roll call needs it."""
        if not self._roll_call:
            from agent.protocols.private_sum.answers import RollCall

            self._roll_call, self._last_answer = RollCall(self._last_answer), None
        return self._roll_call

    # -- idle time

    def idle(self) -> "list[Action] | None":
        """Do one short step: answer a roll call, check a signature, or make a key, a share or a
        mask; None if there is nothing to do.

        While a round is open nothing but the answer is done: the time is the round's.
        """
        own, unmasking = self._own, self._unmasking
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
        if self._round_open or self._sets.entering:
            return None
        if not self._making:
            own.clear_workspace()
            self._making = self._next_job()
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
        self._own.clear_workspace()
        if self.member:
            self.member.begin_keys()
        if self._unmasking:
            self._unmasking.rest()

    def _next_job(self) -> "Steps | None":
        """Return a generator, or None: each part says what is to be made next."""
        member, own, sharing, unmasking = self.member, self._own, self._sharing, self._unmasking
        if not member:
            return None
        if not member.here_key:
            return self._derive_secrets(member)
        signed = self._sets.next()
        if signed:
            return self._sets.enter_steps(member, signed, own.high_water)
        if not sharing or not unmasking:
            return self._derive_keys(member) if member.number else None
        batch = own.batch(member)
        return (
            (sharing.enter(batch) if batch != sharing.batch else None)
            or sharing.deal(batch)
            or (unmasking.foresee() if own.stock else None)
            or own.refill(member, sharing)
            or sharing.deal(batch + 1)
        )

    def _derive_secrets(self, member: "Membership") -> "Steps":
        try:
            yield from self._sets.secret_steps(member)
        except CryptoError:  # a member's key is no point of the curve
            self._forget_roster()
            self.refuse("bad-member-key")

    def _derive_keys(self, member: "Membership") -> "Steps":
        yield from self._sets.key_steps(member)
        if member.round_key:
            self._start_sharing(member, (0, {}), None)
        else:
            self._forget_roster()  # it comes again with the next link
            self.refuse("secrets-lost")

    # -- messages

    def _on_mail(self, sender: str, raw: bytes) -> "list[Action]":
        if sender == topics.COORDINATOR:
            return self._on_word(raw)
        member, sharing, unmasking = self.member, self._sharing, self._unmasking
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
        round = self._sets.coming(member, raw)
        if round > own.opened + 1:
            own.skip_to(round)
            self._making = None  # it was for a round that is over
        return []

    def _on_round(self, raw: bytes) -> "list[Action]":
        own, member, unmasking = self._own, self.member, self._unmasking
        if not raw:
            # The coordinator cleared the retained message; a contributor waits for the roll call.
            self._round_open = self._round_open and own.last_round(self.epoch) == own.opened
            return []
        round, absent, said, time, again = own.hear(member, self._sharing, raw)
        # hear() refuses what comes before there are keys.
        assert member and unmasking and self._sharing
        unmasking.expect(absent)
        if not again and not (self._sharing.enough(None) and self._sharing.enough(round // member.field.batch)):
            raise Refused("not-shared")
        self._round_open = True
        done: "list[Action]" = [actions.clock(time)]
        done += unmasking.begin_round(round)
        if again:
            return done + own.resend(member)
        counted = own.counted(self.identity.policy, self.epoch, round, said)
        return done + [actions.take(self.epoch, round, counted, member.slots)]

    def _on_roll(self, raw: bytes) -> "list[Action]":
        unmasking = self._unmasking
        if not raw:
            # The coordinator cleared the retained message: the round is over.
            self._round_open = False
            return unmasking.over() if unmasking else []
        if not unmasking:
            raise Refused("not-ready")
        if not unmasking.hear(raw):
            return self._resend_answer()
        if unmasking.absent:
            self._making = None  # a power for the answer needs the same buffers
        return []
