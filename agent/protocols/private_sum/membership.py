"""A board's membership under the roster in force, and its keys. joining.py and keying.py make
it."""

from agent.wire import topics
from agent.wire.envelope import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.joye_libert.blinding import Field
    from agent.joye_libert.packing import Packing
    from agent.joye_libert.parameters import Parameters
    from agent.protocols.base.identity import Identity
    from agent.protocols.private_sum.roster_part import SumPart
    from agent.wire.rosters import Roster

ROUND_MOST = 0xFFFFFFFF


class Membership:
    """A board's place under the roster in force.

    `index` is its own in `names`, the members' in roster order; `cohort` lists the indices of the
    members among whom it shares, itself included, `threshold` of whom recover what is shared; the
    thresholds of the other cohorts that one seal covers add up to `elsewhere`. `members` are the
    pairs of name and public key, None once the keys are made: 64 keys are a tenth of a Pico's heap;
    `keys_done` counts those that this board has gone through. `round_key`, `opening_key` (16 bytes
    each) and `exponent` are empty before.
    """

    def __init__(
        self,
        identity: "Identity",
        epoch: int,
        digest: bytes,
        roster: "Roster",
        part: "SumPart",
        cohort: list[int],
        threshold: int,
        elsewhere: int,
        parameters: "Parameters",
        packing: "Packing",
        field: "Field",
    ) -> None:
        self.identity = identity
        self.epoch = epoch
        self.digest = digest
        self.members: "list[tuple[str, bytes]] | None" = roster.members
        self.names = roster.names()
        self.slots = roster.slots
        self.index = self.names.index(identity.device)
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
        self.round_key = self.opening_key = self.exponent = self._mail_keys = b""
        self.keys_done = 0

    def begin_keys(self) -> None:
        """Making the keys begins (anew)."""
        self.keys_done = 0

    def count_key(self) -> None:
        """The keys with one more member are made."""
        self.keys_done += 1

    def context(self, kind: str, round: int, sender: str | None = None, receiver: str = topics.COORDINATOR) -> Context:
        """Return the Context of a message of this epoch; from this board to the coordinator unless
        told otherwise."""
        identity = self.identity
        return Context(
            identity.deployment, kind, identity.group, self.epoch, round, sender or identity.device, receiver
        )

    def mail_key(self, peer: int, outgoing: bool) -> bytes:
        """Return the 16-byte key of the mail to, or from, the member of the cohort with index
        `peer`."""
        at = 32 * self.cohort.index(peer) + (0 if outgoing else 16)
        return self._mail_keys[at : at + 16]

    def record(self) -> bytes:
        """Return the record of the keys: roster digest, round key, opening key, exponent, mail
        keys."""
        return self.digest + self.round_key + self.opening_key + self.exponent + self._mail_keys

    def restore(self, record: bytes | None) -> None:
        """Take up the keys in a record(), if it is one of this roster: the members' public keys are
        not needed again."""
        at = 64 + self.parameters.exponent_bytes
        if record and record[:32] == self.digest and len(record) == at + 32 * len(self.cohort):
            self.round_key, self.opening_key = record[32:48], record[48:64]
            self.exponent, self._mail_keys = record[64:at], record[at:]
            self.members = None
