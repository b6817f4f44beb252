"""Contributing: the masks in stock, the one ciphertext of a round, and its receipt. A part of the machine in private_sum.py.

A round's mask is spent once: `high_water` is the last (epoch, round) spent, and nothing at or below it is encrypted again.
Source: threshold Joye-Libert paper, section 3.6 (equation 1) and section 6; making masks ahead is its section 10.
"""

from hashlib import sha256

from agent.joye_libert.packing import PackingError
from agent.protocols.membership import Refused
from agent.protocols.provision import CLOSE_WINDOW
from agent.wire import messages, topics
from agent.wire.envelope import Envelope, seal

CONTRIBUTION_NONCE = 1
READY_NONCE = 2


def nonce(kind, round, held=0):
    """Return the 13-byte nonce of round traffic: kind, bitmap, round. One payload of each kind, bitmap and round exists."""
    return bytes([kind]) + held.to_bytes(8, "big") + round.to_bytes(4, "big")


class Contributing:
    """One board's contributions. `stock` lists the rounds to come that there is a mask for; `refilling` tells whether more masks
    are to be made, `masks_target` at most; `pending` is the (epoch, round, envelope) without a receipt, or None; `sent` is the
    (epoch, round) of the last envelope that may have left the board."""

    def __init__(self, masks_target, high_water, pending, sent):
        self.high_water = high_water
        self.sent = sent
        self.pending = pending
        self._masks_target = masks_target
        self._disputed = None
        self._disputes = (0, 0), 0
        self.forget()

    def forget(self):
        """There is a new roster, or none: the masks are of no more use."""
        self.stock = []
        self.refilling = True
        self._announced = (-1, 0)

    def take_stock(self, rounds):
        """Take up the rounds that the flash has masks for."""
        self.stock = rounds
        self.refilling = len(rounds) < self._masks_target

    def last_round(self, epoch):
        """Return the last round of `epoch` that was spent, -1 if none was."""
        return self.high_water[1] if self.high_water[0] == epoch else -1

    # -- masks

    def mask_steps(self, member, round, buffers, opened):
        """Generator: make the mask of `round` in short steps, and yield the action that keeps it.

        `opened()` returns the last round that was opened: a mask that comes too late is not kept.
        """
        from agent.joye_libert import masks  # not before there is a key

        place = member.place
        base = masks.base(member.parameters, place.deployment, place.group, member.epoch, round, 0)
        mask = yield from masks.steps(base, member.exponent, member.parameters, buffers)
        if round <= max(self.last_round(member.epoch), opened()):
            return
        self.stock.append(round)
        self.refilling = len(self.stock) < self._masks_target
        yield [("mask", member.epoch, round, mask)]

    def unkept(self, round):
        """The flash has not taken the mask of `round`: make do with those before it, until a round is spent."""
        self.stock = [r for r in self.stock if r != round]
        self.refilling = False
        self._announced = (-1, 0)

    def _spend_stock(self, round):
        """Masks up to `round` are of no more use; refill when a quarter of the target is left."""
        self.stock = [r for r in self.stock if r > round]
        if len(self.stock) * 4 <= self._masks_target:
            self.refilling = True

    # -- ready

    def horizon(self, member, dealing, batch):
        """Return the last round in which this board can take part, -1 if there is none: masks and blinding reach that far.

        `batch` is the batch of blinding in use.
        """
        last = (dealing.last_batch(batch) + 1) * member.field.batch - 1
        return max([round for round in self.stock if round <= last] + [-1])

    def announce(self, member, dealing, batch):
        """Say up to which round this board can take part; once more when all the cohort holds its key shares."""
        if self.refilling or not dealing or not dealing.enough(None):
            return []
        horizon = self.horizon(member, dealing, batch)
        held = dealing.holders(None)
        if horizon < 0 or horizon < self._announced[0]:
            return []
        if horizon == self._announced[0] and not (held != self._announced[1] and dealing.all_hold(None)):
            return []
        self._announced = (horizon, held)
        context = member.context("ready", horizon)
        payload = seal(member.round_key, nonce(READY_NONCE, horizon, held), context, messages.ready(held))
        return [publish_up(member, "ready", payload, True)]

    def announce_again(self):
        """The link is new: what was announced may be lost."""
        self._announced = (-1, 0)

    # -- the contribution

    def counted(self, policy, epoch_now, round, said):
        """Tell whether the reading that was sent last is in a published sum: `said` is what the opening of `round` in the
        epoch in force says of this member. True if nothing was ever sent.

        What is not counted comes again, with the next reading. A coordinator that says so of readings it did count would see
        this board's energy twice, and others' once: that is a difference, and the policy's limit on close lists holds here too.
        Raises Refused("uncounted").
        """
        epoch, last = self.sent
        if not epoch or said == epoch.to_bytes(4, "big") + last.to_bytes(4, "big"):
            return True
        now = epoch_now, round // CLOSE_WINDOW
        window, disputes = self._disputes
        if window != now:
            disputes = 0
        if self._disputed != self.sent:
            self._disputed = self.sent
            disputes += 1
        self._disputes = now, disputes
        if disputes > policy.close_most:
            raise Refused("uncounted")
        return False

    def contribute(self, member, dealing, round, mask, values, batch):
        """Return the action that spends the round: `values` blinded and encrypted with `mask`. Raises Refused with the reason."""
        from agent.joye_libert import blinding, masks

        if mask is None or len(mask) != member.parameters.residue_bytes:
            self._spend_stock(round)
            raise Refused("no-mask")
        if values is None:
            raise Refused("no-reading")
        try:
            packed = member.packing.pack(values)
        except PackingError as error:
            raise Refused(error.args[0])
        blinded = (packed + blinding.blind(dealing.blinding_seed, round, member.field)) % member.field.p
        ciphertext = masks.protect(mask, blinded, member.parameters)
        last = max(round, self.horizon(member, dealing, batch))
        payload = messages.contribution(ciphertext, last, dealing.holders(round // member.field.batch))
        context = member.context("contribution", round)
        envelope = seal(member.round_key, nonce(CONTRIBUTION_NONCE, round), context, payload)
        # From here on the round is burnt, whatever becomes of the burn; before, running out of memory has changed nothing.
        self.high_water = (member.epoch, round)
        self._spend_stock(round)
        return [("spend", member.epoch, round, envelope)]

    def resend(self, member):
        """Publish the pending contribution (again): identical bytes."""
        if not member or not self.pending or self.pending[0] != member.epoch:
            return []
        return [publish_up(member, "contribution", self.pending[2], False)]

    # -- the receipt

    def receipt_steps(self, member, raw):
        """Return a generator that checks a receipt: nothing waits for one, and a signature is dear. Raises Refused("replayed")."""
        envelope = Envelope(raw)
        if not member or not self.pending or self.pending[:2] != (envelope.epoch, envelope.round):
            raise Refused("replayed")
        return self._check_receipt(member, envelope)

    def _check_receipt(self, member, envelope):
        context = member.context("receipt", envelope.round, topics.COORDINATOR, member.place.device)
        digest = messages.read_receipt((yield from envelope.verify_steps(member.coordinator, context)))
        if not self.pending or digest != sha256(self.pending[2]).digest():
            raise Refused("wrong-receipt")
        epoch, round, _ = self.pending
        self.pending = None
        yield [("settle", epoch, round), ("unload",)]


def publish_up(member, kind, payload, retain):
    """Return the action that publishes to the coordinator."""
    place = member.place
    return ("publish", topics.up(place.deployment, place.group, place.device, kind), payload, 1, retain)
