"""Contributing: masks ahead, the opening of a round, its one ciphertext, and the receipt. A part of
the machine in machine.py.

A round's mask is spent once: `high_water` is the last (epoch, round) spent, and nothing at or below
it is encrypted again. Source: threshold Joye-Libert paper, section 3.6 (equation 1) and section 6;
making masks ahead is its section 10.
"""

from hashlib import sha256

from agent.joye_libert.packing import PackingError
from agent.protocols.base import Refused, actions, check_tag
from agent.protocols.private_sum.membership import CONTRIBUTION_NONCE, READY_NONCE, ROUND_MOST, nonce, publish_up
from agent.wire import messages, topics
from agent.wire.envelope import Envelope, opening_tag, seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.joye_libert.parameters import Parameters
    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.membership import Membership
    from agent.protocols.private_sum.secret_sharing import SecretSharing

    Step = Callable[[Steps], tuple[list[Action], Steps | None]]


class Contributing:
    """One board's contributions. `stock` lists the rounds to come that there is a mask for;
    `refilling` tells whether more masks are to be made, `masks_target` at most; `pending` is the
    (epoch, round, envelope) without a receipt, or None; `sent` is the (epoch, round) of the last
    envelope that may have left the board; `opened` the last round that was opened under the roster
    in force, -1 for none, `off_grid` the last one off the grid; `awaited` the (round, whether the
    last reading was counted) of an opening whose instant has not come, or None; `held` tells that
    what was read at an instant waits for this board's turn to send it; `receipt` a generator that
    checks a receipt's signature, idle work that is under way, or None; `workspace` the buffers that
    a power is made in, or None."""

    def __init__(self, masks_target: int) -> None:
        self.high_water = self.sent = (0, 0)
        self.pending: "tuple[int, int, bytes] | None" = None
        self._masks_target = masks_target
        self.receipt: "Steps | None" = None
        self.workspace: "list[bytearray] | None" = None
        self._may_check = True
        self.forget()

    def forget(self) -> None:
        """There is a new roster, or none: the masks are of no more use."""
        self.opened = self.off_grid = -1
        self.stock: list[int] = []
        self.refilling, self.receipt, self.workspace = True, None, None
        self._announced = (-1, 0)
        self.awaited: "tuple[int, bool] | None" = None
        self.held = False

    def take_stock(self, rounds: list[int]) -> None:
        """Take up the rounds that the flash has masks for."""
        self.stock = rounds
        self.refilling = len(rounds) < self._masks_target

    def last_round(self, epoch: int) -> int:
        """Return the last round of `epoch` that was spent, -1 if none was."""
        return self.high_water[1] if self.high_water[0] == epoch else -1

    def batch(self, member: "Membership") -> int:
        """Return the batch of blinding in use: that of the last round that was opened."""
        return max(self.opened, self.last_round(member.epoch), 0) // member.field.batch

    def saw(self, round: int) -> None:
        """A message shows that `round` was opened."""
        self.opened = max(self.opened, round)

    # -- masks

    def buffers(self, parameters: "Parameters") -> list[bytearray]:
        """Return the buffers for a power: those of one, for which a small heap has room."""
        if not self.workspace:
            from agent.joye_libert import masks  # not before there is a key

            self.workspace = masks.workspace(parameters)
        return self.workspace

    def next_mask(self, member: "Membership") -> int:
        """Return the round that the next mask is for. Before one of another batch of blinding is
        made that batch is dealt: who makes a mask as fast as rounds come never has enough."""
        return max([self._over(member.epoch)] + self.stock) + 1

    def refill(self, member: "Membership", sharing: "SecretSharing") -> "Steps | None":
        """Return a generator that makes, keeps and announces a mask; None if there are enough."""
        round = self.next_mask(member)
        return self._mask_steps(member, sharing, round) if self.refilling and round <= ROUND_MOST else None

    def _mask_steps(self, member: "Membership", sharing: "SecretSharing", round: int) -> "Steps":
        from agent.joye_libert import masks

        identity = member.identity
        base = masks.base(
            member.parameters, identity.deployment, identity.group, member.epoch, round, 0, member.set_digest
        )
        mask = yield from masks.steps(base, member.exponent, member.parameters, self.buffers(member.parameters))
        if round <= self._over(member.epoch):
            return  # it comes too late
        self.stock.append(round)
        self.refilling = len(self.stock) < self._masks_target
        kept: "list[Action]" = [actions.mask(member.epoch, round, mask)]
        yield kept + self.announce(member, sharing)

    def _over(self, epoch: int) -> int:
        """Return the last round that a mask is of no use for any more: one that waits for its
        instant is not over."""
        return max(self.last_round(epoch), self.opened - 1 if self.awaited else self.opened)

    def unkept(self, round: int) -> None:
        """The flash did not take the mask of `round`: make do with those before it."""
        self.stock = [r for r in self.stock if r != round]
        self.refilling = False
        self._announced = (-1, 0)

    def spend_stock(self, round: int) -> None:
        """Masks up to `round` are of no more use; refill when a quarter of the target is left."""
        self.stock = [r for r in self.stock if r > round]
        if len(self.stock) * 4 <= self._masks_target:
            self.refilling = True

    # -- ready

    def _masks_until(self, member: "Membership", sharing: "SecretSharing") -> int:
        """Return the last round that masks and blinding reach, -1 if there is none."""
        last = (sharing.last_batch(self.batch(member)) + 1) * member.field.batch - 1
        return max([round for round in self.stock if round <= last] + [-1])

    def announce(
        self, member: "Membership | None", sharing: "SecretSharing | None", again: bool = False
    ) -> "list[Action]":
        """Say up to which round this board can take part: from the first mask under a set on, and
        once more when all the cohort holds its key shares or it holds all of theirs. `again`: the
        link is new, and what was announced may be lost."""
        if again:
            self._announced = (-1, 0)
        last, known = self._announced
        if (self.refilling and last >= 0) or not member or not sharing or not sharing.enough(None):
            return []
        until = self._masks_until(member, sharing)
        whole = sharing.all_hold(None) + 2 * sharing.holds_all(None)
        if until < 0 or until < last or (until == last and whole <= known):
            return []
        self._announced = (until, whole)
        payload = messages.ready(sharing.holders(None), sharing.holds(None))
        sealed = seal(member.round_key, nonce(READY_NONCE, until, payload), member.context("ready", until), payload)
        return [publish_up(member, "ready", sealed, True)]

    # -- the opening

    def hear(
        self, member: "Membership | None", sharing: "SecretSharing | None", raw: bytes
    ) -> tuple[int, int, bytes, int, int, bool, bool]:
        """Take the opening of a round; `sharing` is None before there are keys. Raises Refused or
        MessageError.

        Returns (round, bitmap of the members absent, what it says was counted of this board's, Unix
        seconds, the instant, 0 or OFF_GRID, whether the round was not heard of before, whether it
        has this board's contribution already, and no receipt for it).
        """
        epoch, round, sets, tags, absent, counted, time, instant = messages.read_opening(raw)
        if not member or epoch != member.epoch:
            raise Refused("wrong-epoch")
        if not sharing:
            raise Refused("not-ready")
        digest = messages.digest_of(sets, member.unit)
        if digest != member.set_digest:
            raise Refused("other-active")
        again = self.pending is not None and self.pending[:2] == (epoch, round)
        if round <= self.last_round(epoch) and not again:
            raise Refused("replayed")
        context = member.context("round", round, topics.COORDINATOR, member.identity.device)
        counted = counted[8 * member.index : 8 * member.index + 8]
        check_tag(tags, member.index, opening_tag(member.opening_key, context, digest, absent, counted, time, instant))
        news = round > self.opened
        self.saw(round)
        if instant < 0:
            self.off_grid = round
        return round, absent, counted, time, instant, news, again

    def counted(self, said: bytes) -> bool:
        """Tell whether the reading that was sent last is in a published sum: `said` is what an
        opening says of this member. True if nothing was ever sent.

        What is not counted comes again, with a later reading. A coordinator that says so of
        readings it did count would see this board's energy twice, and others' once: that is a
        difference, and the policy's limit on close lists holds there too (take(), in
        agent/runtime/effects.py).
        """
        epoch, last = self.sent
        return not epoch or said == epoch.to_bytes(4, "big") + last.to_bytes(4, "big")

    # -- the instant

    def come(self, member: "Membership") -> "list[Action]":
        """The time has come: the instant, or this board's turn to send what it read then."""
        if self.awaited:
            return [actions.take(member.epoch, self.awaited[0], self.awaited[1], member.slots)]
        self.held = False
        return self.resend(member, True)

    # -- the contribution

    def contribute(
        self,
        member: "Membership | None",
        sharing: "SecretSharing | None",
        epoch: int,
        round: int,
        mask: bytes | None,
        values: list[int] | None,
    ) -> "list[Action]":
        """Return the action that spends the round: `values` blinded and encrypted with `mask`.
        Raises Refused with the reason."""
        from agent.joye_libert import blinding, masks

        if not member or not sharing or epoch != member.epoch or round <= self.last_round(epoch):
            raise Refused("replayed")
        if mask is None or len(mask) != member.parameters.residue_bytes:
            self.spend_stock(round)
            raise Refused("no-mask")
        if values is None:
            raise Refused("no-reading")
        try:
            packed = member.packing.pack(values)
        except PackingError as error:
            raise Refused(error.args[0])
        blinded = (packed + blinding.blind(sharing.blinding_seed, round, member.field)) % member.field.p
        ciphertext = masks.protect(mask, blinded, member.parameters)
        last = max(round, self._masks_until(member, sharing))
        batch = round // member.field.batch
        payload = messages.contribution(ciphertext, last, sharing.holders(batch), sharing.holds(batch))
        context = member.context("contribution", round)
        envelope = seal(member.round_key, nonce(CONTRIBUTION_NONCE, round), context, payload)
        # From here on the round is burnt, whatever becomes of the burn; before, running out of
        # memory has changed nothing.
        self.high_water = (member.epoch, round)
        self.held = self.awaited is not None and member.delay > 0
        self.spend_stock(round)
        return [actions.spend(member.epoch, round, envelope)]

    def spent(self, member: "Membership | None", epoch: int, round: int, envelope: bytes) -> "list[Action]":
        """The burn is durable: publish the contribution."""
        self.pending = (epoch, round, envelope)
        self.sent = (epoch, round)
        self.receipt = None  # the receipt of an earlier round must not hold this one back
        if self.held and member:
            return [actions.schedule(member.delay, 1)]
        return self.resend(member, True)

    def resend(self, member: "Membership | None", passed: bool = False) -> "list[Action]":
        """Publish the contribution (again) that has no receipt, unless one is being checked, or its
        turn has not come: identical bytes. `passed`: it is new, or some seconds have passed."""
        self._may_check = self._may_check or passed
        if self.receipt or self.held or not member or not self.pending or self.pending[0] != member.epoch:
            return []
        return [publish_up(member, "contribution", self.pending[2], False)]

    # -- the receipt

    def hear_receipt(self, member: "Membership | None", raw: bytes) -> None:
        """Take a receipt: nothing waits for it, and a signature is dear, so it is checked in idle
        time, and after a wrong one not at once. Raises Refused."""
        if self.receipt is None:
            envelope = Envelope(raw)
            if not member or not self.pending or self.pending[:2] != (envelope.epoch, envelope.round):
                raise Refused("replayed")
            if not self._may_check:
                raise Refused("too-soon")
            self._may_check = False
            self.receipt = self._check_receipt(member, envelope)

    def step_receipt(self, step: "Step") -> "list[Action]":
        """Do one step of the check."""
        done: "list[Action]" = []
        if self.receipt:
            done, left = step(self.receipt)
            self.receipt = left
        return done

    def _check_receipt(self, member: "Membership", envelope: Envelope) -> "Steps":
        context = member.context("receipt", envelope.round, topics.COORDINATOR, member.identity.device)
        digest = messages.read_receipt((yield from envelope.verify_steps(member.coordinator, context)))
        if not self.pending or digest != sha256(self.pending[2]).digest():
            raise Refused("wrong-receipt")
        epoch, round, _ = self.pending
        self.pending = None
        yield [actions.settle(epoch, round), actions.unload()]
