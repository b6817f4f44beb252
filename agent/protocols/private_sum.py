"""The board's side of a private sum: a sans-IO machine, events in, actions out (diagram in docs/architecture.md).

Events: restore(), message(), taken(), spent(), idle(), link_up(), retry(). Each returns a list of actions, to be done in
order; an action that fails ends the list. Actions:
  ("put", record, value)                    keep a record durably
  ("drop", epoch, round)                    forget masks of earlier epochs and rounds
  ("mask", epoch, round, mask)              keep a mask
  ("take", epoch, round)                    read the meter, load the round's mask, and call taken()
  ("spend", epoch, round, envelope)         burn the round durably, and only when that is done call spent()
  ("publish", topic, payload, qos, retain)  send
  ("settle", epoch, round)                  erase the receipted contribution
"""

from hashlib import sha256

from agent.crypto.errors import CryptoError
from agent.crypto.hmac import constant_time_equal
from agent.joye_libert import masks, zero_sum
from agent.joye_libert.packing import PackingError
from agent.protocols import membership
from agent.protocols.membership import Refused
from agent.wire import messages, topics
from agent.wire.envelope import Context, Envelope, EnvelopeError, opening_tag, seal

ROUND_MOST = 0xFFFFFFFF
CONTRIBUTION_NONCE = 1
READY_NONCE = 2


def nonce(kind, round):
    """Return the 13-byte nonce of round traffic: the kind, eight zeros, the round. One message per kind and round exists."""
    return bytes([kind]) + bytes(8) + round.to_bytes(4, "big")


class PrivateSum:
    """One board in one group. `refused` maps each named reason to how often an input was refused for it."""

    def __init__(self, provision):
        self.provision = provision
        self.refused = {}
        self.roster = None
        self._index = 0
        self._members = 0
        self.epoch = 0
        self.keys_done = 0
        self.pending = None
        self._digest = None
        self._raw_digest = None
        self._high_water = (0, 0)
        self._parameters = None
        self._workspace = None
        self._packing = None
        self._exponent = None
        self._round_key = None
        self._opening_key = None
        self._stock = []
        self._refilling = True
        self._announced = -1
        self._round_open = False
        self._opened = -1
        self._checking = None
        self._making = None

    # -- what the runtime may ask

    def subscriptions(self):
        """Return the topic filters that this machine listens to."""
        place = self.provision
        return [
            topics.group(place.deployment, place.group, "roster"),
            topics.group(place.deployment, place.group, "round"),
            topics.mail(place.deployment, place.group, place.device, topics.COORDINATOR),
        ]

    def progress(self):
        """Return (phase, done, total): "waiting", "keys", "masks" or "ready"."""
        if not self.roster:
            return "waiting", 0, 0
        if not self._exponent:
            return "keys", self.keys_done, self._members
        phase = "masks" if self._refilling else "ready"
        return phase, len(self._stock), self.provision.masks_target

    def masks(self):
        """Return for how many rounds to come there is a mask."""
        return len(self._stock)

    def refuse(self, reason):
        """Count one refusal."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    # -- events

    def restore(self, roster, key, stock, high_water, pending):
        """Take up what the flash holds: the records "roster" and "key" (bytes or None), the rounds in stock for the roster's
        epoch (a function of the epoch), the last (epoch, round) spent, and the pending (epoch, round, envelope) or None."""
        self._high_water = high_water
        self.pending = pending
        if not roster:
            return []
        actions = self._guard(self._adopt, roster)
        if self.roster:
            self._stock = [r for r in stock(self.epoch) if r > self._last_round()]
            self._refilling = len(self._stock) < self.provision.masks_target
            if key and len(key) == 64 + zero_sum.exponent_bytes(self._parameters) and key[:32] == self._digest:
                self._round_key = key[32:48]
                self._opening_key = key[48:64]
                self._exponent = key[64:]
                self.roster.members = None
        return actions

    def message(self, topic, payload):
        """Take a message from the broker."""
        place = self.provision
        if topic == topics.group(place.deployment, place.group, "roster"):
            return self._guard(self._on_roster, payload)
        if topic == topics.group(place.deployment, place.group, "round"):
            return self._guard(self._on_round, payload)
        if topic == topics.mail(place.deployment, place.group, place.device, topics.COORDINATOR):
            return self._guard(self._on_receipt, payload)
        self.refuse("wrong-topic")
        return []

    def taken(self, epoch, round, mask, values):
        """The runtime answers ("take", epoch, round): the mask's bytes or None, the reading's values or None."""
        return self._guard(self._contribute, epoch, round, mask, values)

    def spent(self, epoch, round, envelope):
        """The runtime answers ("spend", ...) when the burn is durable: now, and not before, the envelope may leave."""
        self.pending = (epoch, round, envelope)
        self._checking = None  # the receipt of an earlier round must not hold this one back
        return self._resend()

    def idle(self):
        """Do one short step: check a receipt, or make a key or a mask; None if there is nothing to do.

        While a round is open there is not: the time is the round's.
        """
        if self._round_open:
            return None
        if self._checking is None and self._making is None:
            self._making = self._next_job()
            if self._making is None:
                return None
        checking = self._checking is not None
        try:
            return next(self._checking if checking else self._making) or []
        except StopIteration:
            if checking:
                self._checking = None
            else:
                self._making = None
        except (Refused, EnvelopeError, messages.MessageError) as error:  # only what is checked can be refused
            self._checking = None
            self.refuse(error.args[0])
        except CryptoError:  # only what is made can fail
            self._forget_roster()
            self.refuse("bad-member-key")
        return []

    def rest(self):
        """Memory is short: give up the key or mask under way, and the buffers it was made in; idle() begins anew with others."""
        self._making = self._workspace = None
        self.keys_done = 0

    def link_up(self):
        """The link to the broker is (again) there: say who is ready, and resend what has no receipt."""
        self._announced = -1
        return self._announce() + self._resend()

    def retry(self):
        """Some seconds have passed: no round keeps the board from its idle work any longer, and what has no receipt is resent."""
        self._round_open = False
        return self._resend()

    def _resend(self):
        """Publish the pending contribution again: identical bytes."""
        if not self.pending or self.pending[0] != self.epoch or not self.roster or self._checking:
            return []
        return [self._publish_up("contribution", self.pending[2], False)]

    # -- the roster

    def _guard(self, handler, *arguments):
        try:
            return handler(*arguments)
        except (Refused, EnvelopeError, messages.MessageError) as error:
            self.refuse(error.args[0])
            return []

    def _on_roster(self, raw):
        if self._raw_digest and sha256(raw).digest() == self._raw_digest:
            return []
        return self._adopt(raw) + [("put", "roster", raw), ("drop", self.epoch, 1)]

    def _adopt(self, raw):
        accepted = membership.accept(self.provision, raw, max(self.epoch + 1, self._high_water[0]))
        self._forget_roster()
        self.epoch = accepted.epoch
        self.roster = accepted.roster
        self._digest = accepted.digest
        self._packing = accepted.packing
        self._raw_digest = sha256(raw).digest()
        self._index = self.roster.names().index(self.provision.device)
        self._members = len(self.roster.members)
        self._parameters = accepted.parameters
        self._workspace = None
        return []

    def _forget_roster(self):
        self.roster = self._raw_digest = self._exponent = self._checking = self._making = None
        self.keys_done = 0
        self._announced = self._opened = -1
        self._stock = []
        self._refilling = True

    def _last_round(self):
        return self._high_water[1] if self._high_water[0] == self.epoch else -1

    # -- idle time

    def _next_job(self):
        if not self.roster:
            return None
        if not self._exponent:
            return self._derive_key()
        next_round = max([self._last_round(), self._opened] + self._stock) + 1
        if not self._refilling or next_round > ROUND_MOST:
            return None
        if self._workspace is None:
            self._workspace = masks.workspace(self._parameters)
        return self._make_mask(next_round)

    def _derive_key(self):
        keys = yield from membership.key_steps(
            self.provision, self.roster, self._digest, self._parameters, self._count_key
        )
        self._round_key, self._opening_key, self._exponent = keys
        self.roster.members = None  # 64 keys are a tenth of a Pico's heap, and are not needed again
        yield [("put", "key", self._digest + self._round_key + self._opening_key + self._exponent)] + self._announce()

    def _count_key(self):
        self.keys_done += 1

    def _make_mask(self, round):
        place = self.provision
        mask = yield from masks.steps(
            masks.base(self._parameters, place.deployment, place.group, self.epoch, round, 0),
            self._exponent,
            self._parameters,
            self._workspace,
        )
        if round <= max(self._last_round(), self._opened):
            return
        self._stock.append(round)
        actions = [("mask", self.epoch, round, mask)]
        if len(self._stock) >= place.masks_target:
            self._refilling = False
            actions += self._announce()
        yield actions

    def _announce(self):
        if self._refilling or not self._exponent or not self._stock or self._announced == self._stock[-1]:
            return []
        self._announced = horizon = self._stock[-1]
        payload = seal(
            self._round_key, nonce(READY_NONCE, horizon), self._context("ready", horizon), messages.nothing()
        )
        return [self._publish_up("ready", payload, True)]

    # -- a round

    def _on_round(self, raw):
        if not raw:
            self._round_open = False  # the coordinator cleared the retained message
            return []
        epoch, round, digest, tags = messages.read_opening(raw)
        if not self.roster or epoch != self.epoch:
            raise Refused("wrong-epoch")
        if digest != self._digest:
            raise Refused("other-roster")
        if not self._exponent:
            raise Refused("not-ready")
        waiting = self.pending and self.pending[:2] == (epoch, round)
        if round <= self._last_round() and not waiting:
            raise Refused("replayed")
        at = 16 * self._index
        context = self._context("round", round, topics.COORDINATOR, self.provision.device)
        if not constant_time_equal(tags[at : at + 16], opening_tag(self._opening_key, context, digest)):
            raise Refused("bad-tag")
        self._round_open = True
        self._opened = max(self._opened, round)
        return self._resend() if waiting else [("take", epoch, round)]

    def _contribute(self, epoch, round, mask, values):
        if epoch != self.epoch or not self.roster or round <= self._last_round():
            raise Refused("replayed")
        if mask is None or len(mask) != self._parameters.residue_bytes:
            self._spend_stock(round)
            raise Refused("no-mask")
        if values is None:
            raise Refused("no-reading")
        try:
            plaintext = self._packing.pack(values)
        except PackingError as error:
            raise Refused(error.args[0])
        ciphertext = masks.protect(mask, plaintext, self._parameters)
        payload = messages.contribution(ciphertext, max([round] + self._stock))
        envelope = seal(
            self._round_key, nonce(CONTRIBUTION_NONCE, round), self._context("contribution", round), payload
        )
        # From here on the round is burnt, whatever becomes of the burn; before, running out of memory has changed nothing.
        self._high_water = (epoch, round)
        self._spend_stock(round)
        return [("spend", epoch, round, envelope)]

    def _spend_stock(self, round):
        """Masks up to `round` are of no more use; refill when a quarter of the target is left."""
        self._stock = [r for r in self._stock if r > round]
        if len(self._stock) * 4 <= self.provision.masks_target:
            self._refilling = True

    def _on_receipt(self, raw):
        envelope = Envelope(raw)
        if not self.pending or self.pending[:2] != (envelope.epoch, envelope.round) or not self.roster:
            raise Refused("replayed")
        if self._checking is None:
            self._checking = self._check_receipt(envelope)
        return []

    def _check_receipt(self, envelope):
        """Nothing waits for a receipt, and a signature is dear: it is checked in idle time, before all else."""
        context = self._context("receipt", envelope.round, topics.COORDINATOR, self.provision.device)
        digest = messages.read_receipt((yield from envelope.verify_steps(self.roster.coordinator, context)))
        if not self.pending or digest != sha256(self.pending[2]).digest():
            raise Refused("wrong-receipt")
        epoch, round, _ = self.pending
        self.pending = None
        yield [("settle", epoch, round)]

    def _context(self, kind, round, sender=None, receiver=topics.COORDINATOR):
        place = self.provision
        return Context(place.deployment, kind, place.group, self.epoch, round, sender or place.device, receiver)

    def _publish_up(self, kind, payload, retain):
        place = self.provision
        return ("publish", topics.up(place.deployment, place.group, place.device, kind), payload, 1, retain)
