"""The board's side of a private sum: a sans-IO machine (docs/develop/architecture.md).

What it hears goes to its parts, each with a state of its own: membership (the roster and its keys),
contributing (masks, a round's ciphertext, its receipt), secret_sharing (shares), unmasking (roll
calls, with consistency_check and answers). Here is what they have in common: which roster is in
force, and whose turn it is in idle time. Events: restore(), message(), taken(), unkept(), spent(),
held(), fetched(), answered(), idle(), rest(), link_up(), retry().
"""

from agent.crypto import CryptoError
from agent.protocols.base import Refused, actions
from agent.protocols.base.machine import Machine
from agent.protocols.private_sum.contributing import Contributing
from agent.protocols.private_sum.unmasking import Unmasking
from agent.wire import topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Identity
    from agent.protocols.base.machine import Steps
    from agent.protocols.base.ports import Masks, Records, Shares
    from agent.protocols.private_sum.answers import RollCall
    from agent.protocols.private_sum.membership import Membership
    from agent.protocols.private_sum.secret_sharing import SecretSharing


class PrivateSum(Machine):
    """One board in one group. `member` is the Membership under the roster in force, or None."""

    def __init__(self, identity: "Identity") -> None:
        super().__init__(identity, self._obey, self._on_mail, (("round", self._on_round), ("roll", self._on_roll)))
        self.member: "Membership | None" = None
        self._own = Contributing(identity.masks_target)
        self._last_answer: "tuple[int, int, bytes] | None" = None  # until a RollCall takes it up
        self._flash_holds: "Callable[[int], tuple[int, dict[int, int]]] | None" = None
        self._sharing: "SecretSharing | None" = None
        self._unmasking: "Unmasking | None" = None
        self._roll_call: "RollCall | None" = None
        self._making: "Steps | None" = None
        self._round_open = False

    # -- what the runtime may ask

    def progress(self) -> tuple[str, int, int]:
        """Return (phase, done, total): "waiting", "keys", "shares", "masks" or "ready"."""
        member, sharing = self.member, self._sharing
        if not member:
            return "waiting", 0, 0
        if not sharing:
            return "keys", member.keys_done, len(member.names)
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
        self._last_answer, self._flash_holds = saved.answered, saved.held
        self._own.restore(saved.high_water, saved.pending, saved.sent)
        if saved.roster:
            self._guard(self._take_roster, saved.roster)
        member = self.member
        if member:
            self._own.take_stock([r for r in saved.rounds(self.epoch) if r > self._own.last_round(self.epoch)])
            member.restore(saved.key)
            if member.round_key:
                self._start_sharing(member, saved.acks)
        return []

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

    def held(self, epoch: int, batch: int | None, peer: int) -> "list[Action]":
        """The action hold() was done: the share is durable."""
        return self._sharing.held(batch, peer) if self._sharing and epoch == self.epoch else []

    def fetched(self, share: bytes | None) -> None:
        """The action fetch() was done: the share's bytes, or None."""
        self._answers().fetched(share)

    def answered(self, epoch: int, round: int, envelope: bytes) -> "list[Action]":
        """The action answer() was done, the record is durable: only now the answer may leave."""
        self._answers().kept(envelope)
        return self._resend_answer()

    def link_up(self) -> "list[Action]":
        """The link to the broker is there: say who is ready, and resend what has no receipt."""
        own = self._own
        if self._sharing:
            self._sharing.restart()
        return own.announce(self.member, self._sharing, True) + own.resend(self.member) + self._resend_answer()

    def retry(self) -> "list[Action]":
        """Some seconds have passed: idle work goes on, and what has no receipt is resent."""
        done = self._own.resend(self.member, True) + (self._resend_answer() if self._round_open else [])
        self._round_open = False
        if self._sharing:
            self._sharing.again()
        if self._unmasking:
            self._unmasking.again()
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
        return [actions.drop(self.epoch, 1), actions.discard(self.epoch, 0)]

    def _answered_in(self) -> int:
        """Return the epoch of the last answer, 0 for none."""
        if self._roll_call:
            return self._roll_call.epoch
        return self._last_answer[0] if self._last_answer else 0

    def _forget_roster(self) -> None:
        self.member = self._sharing = self._unmasking = self._making = self._raw_digest = None
        self._own.forget()

    def _start_sharing(self, member: "Membership", acks: bytes | None) -> None:
        # Not before joining, which needs the room.
        from agent.protocols.private_sum.secret_sharing import SecretSharing

        held = self._flash_holds(self.epoch) if self._flash_holds else (0, {})
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
        if self._round_open:
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
        if not sharing or not unmasking:
            return self._derive_keys(member)
        batch = own.batch(member)
        return (
            (sharing.enter(batch) if batch != sharing.batch else None)
            or sharing.deal(batch)
            or (unmasking.foresee() if own.stock else None)
            or own.refill(member, sharing)
            or sharing.deal(batch + 1)
        )

    def _derive_keys(self, member: "Membership") -> "Steps":
        from agent.protocols.private_sum import keying

        try:
            if not member.round_key:  # memory may have been short just after they were made
                yield from keying.key_steps(member)
        except CryptoError:  # a member's key is no point of the curve
            self._forget_roster()
            self.refuse("bad-member-key")
            return
        del keying  # or unload() would find it still in use here
        yield [actions.put("key", member.record()), actions.unload()]
        self._start_sharing(member, None)

    # -- messages

    def _on_mail(self, sender: str, raw: bytes) -> "list[Action]":
        if sender == topics.COORDINATOR:
            self._own.hear_receipt(self.member, raw)
            return []
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
            return done + (own.resend(member) if unmasking.may_repeat() else [])
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
            return self._resend_answer() if unmasking.may_repeat() else []
        if unmasking.absent:
            self._making = None  # a power for the answer needs the same buffers
        return []
