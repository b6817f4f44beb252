"""A board's place under the roster in force, and its keys. How it comes to them: joining.py,
keying.py."""

from agent.protocols import Refused  # noqa: F401  for the other parts of the machine
from agent.wire import topics
from agent.wire.envelope import Context

ROUND_MOST = 0xFFFFFFFF


class Membership:
    """A board's place under the roster in force.

    `index` is its own in `names`, the members' in roster order; `cohort` lists the indices of the
    members among whom it shares, itself included, `threshold` of whom recover what is shared; the
    thresholds of the other cohorts that one seal covers add up to `elsewhere`. `members` are the
    pairs of name and public key, None once the keys are made: 64 keys are a tenth of a Pico's heap;
    `keys_done` counts those that this board has gone through. `round_key`, `opening_key` (16 bytes
    each) and `exponent` are None before.
    """

    def __init__(self, place, epoch, digest, roster, part, cohort, threshold, elsewhere, parameters, packing, field):
        self.place = place
        self.epoch = epoch
        self.digest = digest
        self.members = roster.members
        self.names = roster.names()
        self.slots = roster.slots
        self.index = self.names.index(place.device)
        self.coordinator = roster.coordinator
        self.cohort_most = part.cohort
        self.seal = part.seal
        self.audit = part.audit
        self.cohort = cohort
        self.threshold = threshold
        self.elsewhere = elsewhere
        self.parameters = parameters
        self.packing = packing
        self.field = field
        self.round_key = self.opening_key = self.exponent = None
        self._mail_keys = None
        self.keys_done = 0

    def context(self, kind, round, sender=None, receiver=topics.COORDINATOR):
        """Return the Context of a message of this epoch; from this board to the coordinator unless
        told otherwise."""
        place = self.place
        return Context(place.deployment, kind, place.group, self.epoch, round, sender or place.device, receiver)

    def mail_key(self, peer, outgoing):
        """Return the 16-byte key of the mail to, or from, the member of the cohort with index
        `peer`."""
        at = 32 * self.cohort.index(peer) + (0 if outgoing else 16)
        return self._mail_keys[at : at + 16]

    def record(self):
        """Return the record of the keys: roster digest, round key, opening key, exponent, mail
        keys."""
        return self.digest + self.round_key + self.opening_key + self.exponent + self._mail_keys

    def restore(self, record):
        """Take up the keys in a record(), if it is one of this roster: the members' public keys are
        not needed again."""
        at = 64 + self.parameters.exponent_bytes
        if record and record[:32] == self.digest and len(record) == at + 32 * len(self.cohort):
            self.round_key, self.opening_key = record[32:48], record[48:64]
            self.exponent, self._mail_keys = record[64:at], record[at:]
            self.members = None
