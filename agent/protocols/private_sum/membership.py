"""A board's membership under the roster in force, and in its active set: joining.py, entering.py
and keying.py make it; and how a member writes to the coordinator."""

from hashlib import sha256

from agent.protocols.base import actions
from agent.wire import topics
from agent.wire.envelope import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.joye_libert.blinding import Field
    from agent.joye_libert.packing import Packing
    from agent.joye_libert.parameters import Parameters
    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Identity
    from agent.protocols.private_sum.roster_part import SumPart
    from agent.wire.rosters import Roster

ROUND_MOST = 0xFFFFFFFF
CONTRIBUTION_NONCE = 1
READY_NONCE = 2


class Membership:
    """A board's place under the roster in force, and in the active set.

    Of the roster: `index` is its own in `names`, the members' in roster order; `unit` is the number
    of what opens together, `every` lists its cohorts as lists of indices, `thresholds` how many of
    each recover what is shared in it; `own_cohort` and `threshold` are those of the board itself,
    the thresholds of the others add up to `elsewhere`; what it reads at an instant it sends `delay`
    ms later. `members` are the pairs of name and public
    key, None once `here_key` (16 bytes) is made: 64 keys are a tenth of a Pico's heap; `keys_done`
    counts those that this board has gone through.

    Of the set: its `number`, 0 before there is one, `set_digest` (32 bytes), the bitmap `active`;
    `cohort` lists the indices of the members among whom this board shares, itself included; `floor`
    is the last (epoch, round) spent before it. `round_key`, `opening_key` (16 bytes each) and
    `exponent` are empty until its keys are made.
    """

    def __init__(
        self,
        identity: "Identity",
        epoch: int,
        digest: bytes,
        roster: "Roster",
        part: "SumPart",
        unit: int,
        every: list[list[int]],
        thresholds: list[int],
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
        self.delay = part.delay(digest, identity.device)
        self.unit = unit
        self.every = every
        self.thresholds = thresholds
        for cohort, threshold in zip(every, thresholds):
            if self.index in cohort:
                self.own_cohort, self.threshold = cohort, threshold
        self.elsewhere = sum(thresholds) - self.threshold
        self.parameters = parameters
        self.packing = packing
        self.field = field
        self.keys_done = 0
        self.here_key = b""
        self.enter(0, b"", 0, (0, 0))

    def enter(self, number: int, set_digest: bytes, active: int, floor: tuple[int, int]) -> None:
        """Be in this set from now on: its keys are to be made."""
        self.number = number
        self.set_digest = set_digest
        self.active = active
        self.floor = floor
        self.cohort = [index for index in self.own_cohort if active >> index & 1]
        self.round_key = self.opening_key = self.exponent = self.mail_keys = b""

    def peers(self) -> list[int]:
        """Return the indices of the members with whom this board may come to share keys."""
        return [index for cohort in self.every for index in cohort if index != self.index]

    def context(self, kind: str, round: int, sender: str | None = None, receiver: str = topics.COORDINATOR) -> Context:
        """Return the Context of a message of this epoch and set; from this board to the coordinator
        unless told otherwise."""
        own = self.identity
        sender = sender or own.device
        return Context(own.deployment, kind, own.group, self.epoch, round, sender, receiver, self.number)

    def context_of_all(self, kind: str, round: int) -> Context:
        """Return the Context of what the coordinator says to the whole group."""
        own = self.identity
        return Context(own.deployment, kind, own.group, self.epoch, round, topics.COORDINATOR, "")

    def mail_key(self, peer: int, outgoing: bool) -> bytes:
        """Return the 16-byte key of the mail to, or from, the member of the cohort with index
        `peer`."""
        at = 32 * self.cohort.index(peer) + (0 if outgoing else 16)
        return self.mail_keys[at : at + 16]


def nonce(kind: int, round: int, payload: bytes | None = None) -> bytes:
    """Return the 13-byte nonce of round traffic: kind, 8 bytes, round. There is one payload of each
    kind and round under a set, but for "ready": the first bytes of its digest stand between, zeros
    for the others."""
    middle = sha256(payload).digest()[:8] if payload else bytes(8)
    return bytes([kind]) + middle + round.to_bytes(4, "big")


def publish_up(member: "Membership", kind: str, payload: bytes, retain: bool) -> "Action":
    """Return the action that publishes to the coordinator."""
    identity = member.identity
    return actions.publish(topics.up(identity.deployment, identity.group, identity.device, kind), payload, retain)
