"""The board's side of a private sum: a sans-IO machine, events in, actions out (diagram in docs/architecture.md).

Its parts are membership (the roster and its keys), contributing, dealing (shares), audit and roll_call (answers). Events: restore(),
message(), taken(), spent(), held(), fetched(), answered(), idle(), link_up(), retry(). Each returns a list of actions, to be done
in order; an action that fails ends the list. Actions:
  ("put", record, value)                    keep a record durably
  ("drop", epoch, round)                    forget masks of earlier epochs and rounds
  ("mask", epoch, round, mask)              keep a mask
  ("clock", seconds)                        it is so many Unix seconds, the coordinator says
  ("take", epoch, round, counted, slots)    read the meter for the roster's slots, load the round's mask, and call taken(); counted
                                            tells whether the reading of the last round spent is in a published sum
  ("spend", epoch, round, envelope)         burn the round durably, and only when that is done call spent()
  ("settle", epoch, round)                  erase the receipted contribution
  ("hold", epoch, batch, peer, share)       keep a member's share (batch None: of its key) durably, and only then call held()
  ("fetch", epoch, batch, peer)             load such a share, and call fetched()
  ("discard", epoch, batch)                 forget shares of earlier epochs and batches
  ("answer", epoch, round, state, envelope) keep the answer durably, and only then call answered()
  ("unload",)                               code for joining, for key shares and signatures can leave the memory
  ("publish", topic, payload, qos, retain)  send
"""

from hashlib import sha256

from agent.crypto.errors import CryptoError
from agent.crypto.hmac import constant_time_equal
from agent.protocols.contributing import Contributing, publish_up
from agent.protocols.membership import Refused
from agent.wire import messages, topics
from agent.wire.envelope import EnvelopeError, opening_tag

ROUND_MOST = 0xFFFFFFFF
_JOBS = ("_checking", "_witnessing", "_making")


class PrivateSum:
    """One board in one group. `refused` maps each named reason to how often an input was refused for it.

    `member` is the Membership under the roster in force, or None.
    """

    def __init__(self, provision):
        self.provision = provision
        self.refused = {}
        self.member = None
        self.epoch = 0
        self.keys_done = 0
        self._flash_holds = None
        self._dealing = None
        self._roll_call = None
        self._audit = None
        self._audited = (0, 0)
        self._answered = None
        self._raw_digest = None
        self._own = Contributing(provision.masks_target, (0, 0), None, (0, 0))
        self._workspace = None
        self._opened = -1
        self._round_open = False
        self._kept_batch = 0
        self._absent = []
        self._roll = None
        self._answering = self._checking = self._witnessing = self._making = None

    # -- what the runtime may ask

    def subscriptions(self):
        """Return the topic filters that this machine listens to."""
        place = self.provision
        group = [topics.group(place.deployment, place.group, kind) for kind in ("roster", "round", "roll")]
        return group + [topics.mail(place.deployment, place.group, place.device, "+")]

    def progress(self):
        """Return (phase, done, total): "waiting", "keys", "shares", "masks" or "ready"."""
        if not self.member:
            return "waiting", 0, 0
        if not self._dealing:
            return "keys", self.keys_done, len(self.member.names)
        for batch in (None, self._batch()):
            if not self._dealing.enough(batch):
                return "shares", bin(self._dealing.holders(batch)).count("1"), self.member.threshold
        phase = "masks" if self._own.refilling else "ready"
        return phase, len(self._own.stock), self.provision.masks_target

    @property
    def pending(self):
        """The (epoch, round, envelope) of the contribution that has no receipt, or None."""
        return self._own.pending

    def masks(self):
        """Return for how many rounds to come there is a mask."""
        return len(self._own.stock)

    def in_round(self):
        """Tell whether a round is open or an answer is to be made: nothing else should be done."""
        return self._round_open or self._roll is not None

    def refuse(self, reason):
        """Count one refusal."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    # -- events

    def restore(self, roster, key, stock, high_water, pending, held=None, acks=None, answered=None, sent=(0, 0)):
        """Take up what the flash holds: the records "roster", "key" and "acks" (bytes or None), the rounds in stock for an epoch (a
        function), the last (epoch, round) spent, the pending (epoch, round, envelope) or None, the shares held of an epoch (a
        function that returns what Dealing takes), the last answer's (epoch, round, data) or None, the (epoch, round) of the last
        spend that did not fail."""
        self._own = Contributing(self.provision.masks_target, high_water, pending, sent)
        self._flash_holds = held
        self._audited = high_water  # what it vouched for it does not remember: it sits that round's audit out
        self._answered = answered
        if not roster:
            return []
        actions = self._guard(self._adopt, roster)
        if self.member:
            self._own.take_stock([r for r in stock(self.epoch) if r > self._last_round()])
            self.member.restore(key)
            if self.member.round_key:
                self._start_dealing(acks)
        return actions

    def message(self, topic, payload):
        """Take a message from the broker."""
        place = self.provision
        own_mail = topics.mail(place.deployment, place.group, place.device, "")
        if topic.startswith(own_mail):
            return self._guard(self._on_mail, topic[len(own_mail) :], payload)
        for kind, handler in (("roster", self._on_roster), ("round", self._on_round), ("roll", self._on_roll)):
            if topic == topics.group(place.deployment, place.group, kind):
                return self._guard(handler, payload)
        self.refuse("wrong-topic")
        return []

    def taken(self, epoch, round, mask, values):
        """The runtime answers ("take", ...): the mask's bytes or None, the reading's values or None."""
        return self._guard(self._contribute, epoch, round, mask, values)

    def unkept(self, epoch, round):
        """The runtime answers ("mask", ...) where the flash has no room for it, or fails."""
        if epoch != self.epoch:
            return []
        self._own.unkept(round)
        return self._announce()

    def spent(self, epoch, round, envelope):
        """The runtime answers ("spend", ...) when the burn is durable: now, and not before, the envelope may leave."""
        self._own.pending = (epoch, round, envelope)
        self._own.sent = (epoch, round)
        self._checking = None  # the receipt of an earlier round must not hold this one back
        return self._resend()

    def held(self, epoch, batch, peer):
        """The runtime answers ("hold", ...) when the share is durable."""
        return self._dealing.held(batch, peer) if self._dealing and epoch == self.epoch else []

    def fetched(self, share):
        """The runtime answers ("fetch", ...): the share's bytes, or None."""
        self._roll_call.fetched = share
        return []

    def answered(self, epoch, round, envelope):
        """The runtime answers ("answer", ...) when the record is durable: now, and not before, the answer may leave."""
        self._roll_call.envelope = envelope
        return self._send_answer()

    def idle(self):
        """Do one short step: answer a roll call, check a signature, or make a key, a share or a mask; None if there is nothing to do.

        While a round is open nothing but the answer is done: the time is the round's.
        """
        sends = self._audit.next() if self._audit else []
        name = None if sends else self._job()
        if name is None:
            return sends or None
        try:
            return next(getattr(self, name)) or []
        except StopIteration:
            setattr(self, name, None)
        except (Refused, EnvelopeError, messages.MessageError) as error:
            setattr(self, name, None)
            self._roll = None if name == "_answering" else self._roll
            self.refuse(error.args[0])
            return [("unload",)]  # the code that checks signatures, if it was that
        except CryptoError:  # only keys that are made can fail so
            self._forget_roster()
            self.refuse("bad-member-key")
        if name == "_answering":
            self._roll = None
        return []

    def rest(self):
        """Memory is short: give up what is under way, and the buffers it was made in; idle() begins anew with others."""
        self._making = self._answering = self._workspace = None
        self.keys_done = 0

    def link_up(self):
        """The link to the broker is (again) there: say who is ready, and resend what has no receipt."""
        self._own.announce_again()
        if self._dealing:
            self._dealing.restart()
        return self._announce() + self._resend() + self._send_answer()

    def retry(self):
        """Some seconds have passed: no round keeps the board from its idle work any longer, and what has no receipt is resent."""
        actions = self._resend() + (self._send_answer() if self._round_open else [])
        self._round_open = False
        if self._dealing:
            self._dealing.again()
        if self._audit:
            self._audit.again()
        return actions

    def _guard(self, handler, *arguments):
        try:
            return handler(*arguments)
        except (Refused, EnvelopeError, messages.MessageError) as error:
            self.refuse(error.args[0])
            return []

    def _resend(self):
        """Publish the contribution again that has no receipt, unless one is being checked."""
        return [] if self._checking else self._own.resend(self.member)

    def _announce(self):
        return self._own.announce(self.member, self._dealing, self._batch()) if self._dealing else []

    def _last_round(self):
        return self._own.last_round(self.epoch)

    def _send_answer(self):
        """Publish the last answer (again), as long as its round is the last that was opened: identical bytes."""
        last = self._roll_call
        if not last or not last.envelope or (last.epoch, last.round) != (self.epoch, self._opened) or not self.member:
            return []
        return [publish_up(self.member, "answer", last.envelope, False)]

    # -- the roster

    def _on_roster(self, raw):
        if self._raw_digest and sha256(raw).digest() == self._raw_digest:
            return []
        return self._adopt(raw) + [
            ("put", "roster", raw),
            ("drop", self.epoch, 1),
            ("discard", self.epoch, 0),
            ("unload",),
        ]

    def _adopt(self, raw):
        answered = self._roll_call.epoch if self._roll_call else self._answered[0] if self._answered else 0
        least = max(self.epoch + 1, self._own.high_water[0], answered)
        from agent.protocols import joining  # once an epoch: see the action "unload"

        member = joining.accept(self.provision, raw, least)
        self._forget_roster()
        self.member = member
        self.epoch = member.epoch
        self._raw_digest = sha256(raw).digest()
        self._workspace = None
        return []

    def _forget_roster(self):
        self.member = self._dealing = self._raw_digest = self._roll = self._audit = None
        self._answering = self._checking = self._witnessing = self._making = None
        self.keys_done = self._kept_batch = 0
        self._opened = -1
        self._absent = []
        self._own.forget()

    def _start_dealing(self, acks):
        from agent.protocols.dealing import Dealing  # not before joining, which needs the room

        held = self._flash_holds(self.epoch) if self._flash_holds else (0, {})
        self._dealing = Dealing(self.member, held, acks)

    def _answers(self):
        """Return the RollCall: its code is not in the memory before the first roll call needs it."""
        if not self._roll_call:
            from agent.protocols.roll_call import RollCall

            self._roll_call = RollCall(self._answered)
        return self._roll_call

    def _batch(self):
        """Return the batch of blinding that the last open round was of."""
        return max(self._opened, self._last_round(), 0) // self.member.field.batch

    # -- idle time

    def _job(self):
        """Return the name of the attribute with the generator whose turn it is, or None."""
        if self._roll and self._audit:
            verdict = self._audit.verdict()
            if verdict is None:
                return None
            for reason in verdict:
                self.refuse(reason)
                self._roll = self._answering = None
        if self._roll:
            if not self._answering:
                round, present, envelope = self._roll
                self._answering = self._answer(round, present, envelope)
            return "_answering"
        if self._round_open:
            return None
        if not self._making:
            self._workspace = None
            self._making = self._next_job()
        elif self._workspace:
            return "_making"  # its buffers and the code that checks signatures are never in a small heap at once
        for name in _JOBS:
            if getattr(self, name):
                return name
        return None

    def _next_job(self):
        member = self.member
        if not member:
            return None
        if not self._dealing:
            return self._derive_keys()
        batch = self._batch()
        if batch != self._kept_batch:
            return self._discard(batch)
        due = self._dealing.next([batch])
        if due:
            return self._dealing.steps(due[0], due[1])
        if (
            self._own.stock
            and self._absent
            and not self._answers().has_recovery(member, self._next_roll(), self._absent)
        ):
            return self._foresee(self._next_roll(), self._absent)
        next_round = max([self._last_round(), self._opened] + self._own.stock) + 1
        if self._own.refilling and next_round <= ROUND_MOST:
            return self._make_mask(next_round)
        due = self._dealing.next([batch + 1] if (batch + 1) * member.field.batch <= ROUND_MOST else [])
        return self._dealing.steps(due[0], due[1]) if due else None

    def _derive_keys(self):
        from agent.protocols import keying

        if not self.member.round_key:  # memory may have been short just after they were made
            yield from keying.key_steps(self.member, self._count_key)
        keying = None  # or "unload" would find it still in use here
        yield [("put", "key", self.member.record()), ("unload",)]
        self._start_dealing(None)

    def _count_key(self):
        self.keys_done += 1

    def _discard(self, batch):
        self._kept_batch = batch
        self._dealing.forget_before(batch)
        yield [("discard", self.epoch, batch)]

    def _buffers(self):
        if self._workspace is None:
            from agent.joye_libert import masks

            self._workspace = masks.workspace(self.member.parameters)
        return self._workspace

    def _make_mask(self, round):
        for actions in self._own.mask_steps(self.member, round, self._buffers(), lambda: self._opened):
            yield actions + self._announce() if actions else None

    def _next_roll(self):
        """Return the round whose roll call comes next, as far as this board can tell."""
        last = self._answers()
        over = (last.epoch, last.round) == (self.epoch, self._opened) or self._last_round() < self._opened
        return self._opened + 1 if over else max(self._opened, 0)

    def _foresee(self, round, absent):
        """Members are known dead: make the recovery share for the next roll call before it comes."""
        try:
            yield from self._answers().recovery_steps(self.member, self._dealing, round, absent, self._buffers)
        except Refused:
            self._absent = []
            raise

    # -- mail

    def _on_mail(self, sender, raw):
        if sender == topics.COORDINATOR:
            if self._checking is None:
                self._checking = self._own.receipt_steps(self.member, raw)
            return []
        if not self._dealing:
            raise Refused("not-ready")
        from agent.protocols import mail  # not before joining, which needs the room

        kind, number, round, peer, payload = mail.read(self.member, sender, raw)
        if kind in (mail.VOUCH, mail.SPLIT):
            self._audit_of(round).hear(kind, peer, payload)
            return []
        actions = self._dealing.take(kind, number, round, peer, payload, self._batch())
        return actions + self._announce()

    # -- the audit

    def _audit_of(self, round):
        """Return the Audit of a round: it is begun once, in the round that this board contributed to last. Raises Refused."""
        if not self._audit or self._audit.round != round:
            if not self.member.audit or not self._audited < (self.epoch, round) == self._own.high_water:
                raise Refused("not-audited")
            from agent.protocols.audit import Audit

            self._audited = (self.epoch, round)
            self._audit = Audit(self.member, round)
        return self._audit

    def _end_audit(self):
        """The round is over."""
        if not self._audit:
            return []
        if self._audit.verdict() != []:
            self._roll = None
        self._audit = None
        return [("unload",)]

    # -- a round

    def _on_round(self, raw):
        member = self.member
        if not raw:
            # The coordinator cleared the retained message; who has contributed waits for the roll call.
            self._round_open = self._round_open and self._last_round() == self._opened
            return []
        epoch, round, digest, tags, absent, counted, time = messages.read_opening(raw)
        if not member or epoch != self.epoch:
            raise Refused("wrong-epoch")
        if digest != member.digest:
            raise Refused("other-roster")
        if not self._dealing:
            raise Refused("not-ready")
        waiting = self._own.pending and self._own.pending[:2] == (epoch, round)
        if round <= self._last_round() and not waiting:
            raise Refused("replayed")
        at = 16 * member.index
        context = member.context("round", round, topics.COORDINATOR, self.provision.device)
        counted = counted[at // 2 : at // 2 + 8]
        tag = opening_tag(member.opening_key, context, digest, absent, counted, time)
        if not constant_time_equal(tags[at : at + 16], tag):
            raise Refused("bad-tag")
        self._opened = max(self._opened, round)
        self._absent = [peer for peer in member.cohort if absent >> peer & 1 and peer != member.index]
        if not waiting and not (self._dealing.enough(None) and self._dealing.enough(round // member.field.batch)):
            raise Refused("not-shared")
        self._round_open = True
        actions = [("clock", time)]
        if round > self._audited[1]:
            actions += self._end_audit()
        if waiting:
            return actions + self._resend()
        counted = self._own.counted(member.place.policy, epoch, round, counted)
        return actions + [("take", epoch, round, counted, member.slots)]

    def _contribute(self, epoch, round, mask, values):
        if epoch != self.epoch or not self._dealing or round <= self._last_round():
            raise Refused("replayed")
        return self._own.contribute(self.member, self._dealing, round, mask, values, self._batch())

    def _on_roll(self, raw):
        member = self.member
        if not raw:
            self._round_open = False  # the coordinator cleared the retained message: the round is over
            return self._end_audit()
        if not self._dealing:
            raise Refused("not-ready")
        heard = self._answers().hear(member, raw, self._own.high_water)
        if heard is None:
            self._opened = max(self._opened, self._roll_call.round)  # after a reboot nothing else tells
            return self._send_answer()
        envelope, present = heard
        if member.audit:
            self._audit_of(envelope.round).vouch(present)
        if self._roll and self._roll[0] == envelope.round:
            raise Refused("replayed")
        self._answering = None  # an answer to an earlier round has come too late
        self._opened = max(self._opened, envelope.round)
        self._absent = [peer for peer in member.cohort if not present >> peer & 1]
        if self._absent:
            self._making = None  # a power for the answer needs the same buffers
        self._roll = (envelope.round, present, envelope)
        return []

    def _answer(self, round, present, envelope):
        if self._absent and not self._roll_call.has_recovery(self.member, round, self._absent):
            yield self._end_audit()  # a power needs the room, more than the others need this board's letters again
        yield from self._roll_call.steps(self.member, self._dealing, round, present, self._buffers)
        self._witnessing = self._witness(envelope)

    def _witness(self, envelope):
        """The tag made the board answer; that the list can be shown to others, its signature, is checked when there is time."""
        context = self.member.context("roll", envelope.round, topics.COORDINATOR, "")
        yield from envelope.verify_steps(self.member.coordinator, context)
        yield [("unload",)]
