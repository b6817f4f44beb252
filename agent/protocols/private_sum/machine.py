"""The board's side of a private sum: a sans-IO machine, events in, actions out (diagram in
docs/architecture.md).

What it hears goes to its parts, each with a state of its own: membership (the roster and its keys),
contributing (masks, a round's ciphertext, its receipt), dealing (shares), answering (roll calls,
with audit and roll_call). Here is what they have in common: which roster is in force, and whose
turn it is in idle time. Events: restore(), message(), taken(), unkept(), spent(), held(),
fetched(), answered(), idle(), rest(), link_up(), retry(). Actions, besides those in machine.py:
  ("drop", epoch, round)                    forget masks of earlier epochs and rounds
  ("mask", epoch, round, mask)              keep a mask; if that cannot be, call unkept()
  ("take", epoch, round, counted, slots)    read the meter for the roster's slots, load the round's mask, and call taken(); counted
                                            tells whether the reading of the last round spent is in
                                            a published sum
  ("spend", epoch, round, envelope)         burn the round durably, and only when that is done call spent()
  ("settle", epoch, round)                  erase the receipted contribution
  ("hold", epoch, batch, peer, share)       keep a member's share (batch None: of its key) durably, and only then call held()
  ("fetch", epoch, batch, peer)             load such a share, and call fetched()
  ("discard", epoch, batch)                 forget shares of earlier epochs and batches
  ("answer", epoch, round, state, envelope) keep the answer durably, and only then call answered()
"""

from agent.crypto.errors import CryptoError
from agent.protocols.base.machine import Machine
from agent.protocols.private_sum.contributing import Contributing
from agent.protocols.private_sum.membership import Refused
from agent.protocols.private_sum.unmasking import Answering
from agent.wire import topics


class PrivateSum(Machine):
    """One board in one group. `member` is the Membership under the roster in force, or None."""

    def __init__(self, provision):
        super().__init__(provision, self._obey, self._on_mail, (("round", self._on_round), ("roll", self._on_roll)))
        self.member = None
        self._own = Contributing(provision.masks_target, (0, 0), None, (0, 0))
        self._dealing = None
        self._answering = None
        self._roll_call = None
        self._answered = None
        self._flash_holds = None
        self._making = None
        self._round_open = False

    # -- what the runtime may ask

    def progress(self):
        """Return (phase, done, total): "waiting", "keys", "shares", "masks" or "ready"."""
        if not self.member:
            return "waiting", 0, 0
        if not self._dealing:
            return "keys", self.member.keys_done, len(self.member.names)
        for batch in (None, self._own.batch(self.member)):
            if not self._dealing.enough(batch):
                return "shares", bin(self._dealing.holders(batch)).count("1"), self.member.threshold
        phase = "masks" if self._own.refilling else "ready"
        return phase, self.masks(), self.provision.masks_target

    def masks(self):
        """Return for how many rounds to come there is a mask."""
        return len(self._own.stock)

    def in_round(self):
        """Tell whether a round is open or an answer is to be made: nothing else should be done."""
        return self._round_open or bool(self._answering and self._answering.heard)

    # -- events

    def restore(self, roster, key, stock, high_water, pending, held=None, acks=None, answered=None, sent=(0, 0)):
        """Take up what the flash holds: the records "roster", "key" and "acks" (bytes or None), the
        rounds in stock for an epoch (a function), the last (epoch, round) spent, the pending
        (epoch, round, envelope) or None, the shares held of an epoch (a function that returns what
        Dealing takes), the last answer's (epoch, round, data) or None, the (epoch, round) of the
        last spend that did not fail."""
        self._own = Contributing(self.provision.masks_target, high_water, pending, sent)
        self._flash_holds = held
        self._answered = answered
        if roster:
            self._guard(self._take_roster, roster)
        if self.member:
            self._own.take_stock([r for r in stock(self.epoch) if r > self._own.last_round(self.epoch)])
            self.member.restore(key)
            if self.member.round_key:
                self._start_dealing(acks)
        return []

    def taken(self, epoch, round, mask, values):
        """The runtime answers ("take", ...): the mask's bytes or None, the reading's values or
        None."""
        return self._guard(self._own.contribute, self.member, self._dealing, epoch, round, mask, values)

    def unkept(self, epoch, round):
        """The runtime answers ("mask", ...) where the flash has no room for it, or fails."""
        if epoch != self.epoch:
            return []
        self._own.unkept(round)
        return self._own.announce(self.member, self._dealing)

    def spent(self, epoch, round, envelope):
        """The runtime answers ("spend", ...) when the burn is durable: now, and not before, the
        envelope may leave."""
        return self._own.spent(self.member, epoch, round, envelope)

    def held(self, epoch, batch, peer):
        """The runtime answers ("hold", ...) when the share is durable."""
        return self._dealing.held(batch, peer) if self._dealing and epoch == self.epoch else []

    def fetched(self, share):
        """The runtime answers ("fetch", ...): the share's bytes, or None."""
        self._roll_call.fetched = share
        return []

    def answered(self, epoch, round, envelope):
        """The runtime answers ("answer", ...) when the record is durable: now, and not before, the
        answer may leave."""
        self._roll_call.envelope = envelope
        return self._resend_answer()

    def link_up(self):
        """The link to the broker is (again) there: say who is ready, and resend what has no
        receipt."""
        own = self._own
        if self._dealing:
            self._dealing.restart()
        return own.announce(self.member, self._dealing, True) + own.resend(self.member) + self._resend_answer()

    def retry(self):
        """Some seconds have passed: no round keeps the board from its idle work any longer, and
        what has no receipt is resent."""
        actions = self._own.resend(self.member) + (self._resend_answer() if self._round_open else [])
        self._round_open = False
        if self._dealing:
            self._dealing.again()
            if self._answering.audit:
                self._answering.audit.again()
        return actions

    def _resend_answer(self):
        return self._roll_call.resend(self.member, self._own.opened) if self._roll_call else []

    # -- the roster

    def _obey(self, raw):
        answered = self._roll_call.epoch if self._roll_call else self._answered[0] if self._answered else 0
        least = max(self.epoch + 1, self._own.high_water[0], answered)
        from agent.protocols.private_sum import joining  # once an epoch: see the action "unload"

        member = joining.accept(self.provision, raw, least)
        self._forget_roster()
        self.member = member
        self.epoch = member.epoch
        return [("drop", self.epoch, 1), ("discard", self.epoch, 0)]

    def _forget_roster(self):
        self.member = self._dealing = self._answering = self._making = self._raw_digest = None
        self._own.forget()

    def _start_dealing(self, acks):
        from agent.protocols.private_sum.secret_sharing import Dealing  # not before joining, which needs the room

        held = self._flash_holds(self.epoch) if self._flash_holds else (0, {})
        self._dealing = Dealing(self.member, held, acks)
        self._answering = Answering(self.member, self._dealing, self._own, self._answers)

    def _answers(self):
        """Return the RollCall: its code is not in the memory before the first roll call needs
        it."""
        if not self._roll_call:
            from agent.protocols.private_sum.answers import RollCall

            self._roll_call, self._answered = RollCall(self._answered), None
        return self._roll_call

    # -- idle time

    def idle(self):
        """Do one short step: answer a roll call, check a signature, or make a key, a share or a
        mask; None if there is nothing to do.

        While a round is open nothing but the answer is done: the time is the round's.
        """
        own, answering = self._own, self._answering
        if answering and answering.audit:
            sends = answering.audit.next()
            if sends:
                return sends
        if answering and answering.heard:
            verdict = answering.verdict()
            if not verdict:
                return None if verdict is None else self._step(answering, "answer")
            for reason in verdict:
                self.refuse(reason)
        if self._round_open:
            return None
        if not self._making:
            own.workspace = None
            self._making = self._next_job()
        if not own.workspace:  # its buffers and the code that checks signatures are never in a small heap at once
            if own.receipt:
                return self._step(own, "receipt")
            if answering and answering.roll:
                return self._step(answering, "roll")
        return self._step(self, "_making") if self._making else None

    def rest(self):
        """Memory is short: give up what is under way, and the buffers it was made in; idle() begins
        anew with others."""
        self._making = self._own.workspace = None
        if self.member:
            self.member.keys_done = 0
        if self._answering:
            self._answering.answer = None

    def _next_job(self):
        """Return a generator, or None: each part says what is to be made next."""
        member, own, dealing = self.member, self._own, self._dealing
        if not dealing:
            return self._derive_keys() if member else None
        batch = own.batch(member)
        return (
            (dealing.enter(batch) if batch != dealing.batch else None)
            or dealing.deal(batch)
            or (self._answering.foresee() if own.stock else None)
            or own.refill(member, dealing)
            or dealing.deal(batch + 1)
        )

    def _derive_keys(self):
        from agent.protocols.private_sum import keying

        try:
            if not self.member.round_key:  # memory may have been short just after they were made
                yield from keying.key_steps(self.member)
        except CryptoError:  # a member's key is no point of the curve
            self._forget_roster()
            self.refuse("bad-member-key")
            return
        keying = None  # or "unload" would find it still in use here
        yield [("put", "key", self.member.record()), ("unload",)]
        self._start_dealing(None)

    # -- messages

    def _on_mail(self, sender, raw):
        if sender == topics.COORDINATOR:
            self._own.hear_receipt(self.member, raw)
            return []
        if not self._dealing:
            raise Refused("not-ready")
        from agent.protocols.private_sum import mail  # not before joining, which needs the room

        kind, number, round, peer, payload = mail.read(self.member, sender, raw)
        if kind in (mail.VOUCH, mail.SPLIT):
            self._answering.audit_of(round).hear(kind, peer, payload)
            return []
        actions = self._dealing.take(kind, number, round, peer, payload, self._own.batch(self.member))
        return actions + self._own.announce(self.member, self._dealing)

    def _on_round(self, raw):
        own, member, answering = self._own, self.member, self._answering
        if not raw:
            # The coordinator cleared the retained message; who has contributed waits for the roll
            # call.
            self._round_open = self._round_open and own.last_round(self.epoch) == own.opened
            return []
        round, absent, counted, time, again = own.hear(member, self._dealing, raw)
        answering.absent = [peer for peer in member.cohort if absent >> peer & 1 and peer != member.index]
        if not again and not (self._dealing.enough(None) and self._dealing.enough(round // member.field.batch)):
            raise Refused("not-shared")
        self._round_open = True
        actions = [("clock", time)]
        if answering.audit and answering.audit.round < round:
            actions += answering.over()
        if again:
            return actions + own.resend(member)
        counted = own.counted(self.provision.policy, self.epoch, round, counted)
        return actions + [("take", self.epoch, round, counted, member.slots)]

    def _on_roll(self, raw):
        if not raw:
            self._round_open = False  # the coordinator cleared the retained message: the round is over
            return self._answering.over() if self._answering else []
        if not self._answering:
            raise Refused("not-ready")
        if not self._answering.hear(raw):
            return self._resend_answer()
        if self._answering.absent:
            self._making = None  # a power for the answer needs the same buffers
        return []
