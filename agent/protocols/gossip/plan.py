"""All that is public about one query: who takes part, which phases there are, when each round is,
and how large everything is.

Every member and the coordinator make the same Plan from the same query. A virtual id v (0 to n-1)
is the member v if v < members, else the member v - members a second time: that one relays and
aggregates and has no value. Rounds of a query are counted r = 0 to rounds-1; the overlay's round is
(start + r) mod (n-1), with start = number * rounds, so that the pairings differ from query to
query.

What a node sends in a round is one message of `message_size` bytes in every round of the query,
whatever it has to say: the count of its cells (2 bytes), the cells, zeros. `capacity` cells at most
are in a message: 4 standard deviations (of a Poisson variable) and 2 above the load of the busiest
rounds, which each phase states (`shape`); what is too much is dropped and counted.

Source: Tremel et al., "Anonymous, Fault-Tolerant Distributed Queries for Smart Devices", sections
4.3 and 5.
"""

from agent.protocols.base import overlay
from agent.protocols.gossip.overlay.sizes import FEW, ID, IDENTITY, NODES_MOST, ROUNDS_MOST, VALUE
from agent.protocols.gossip.phases.catalogue import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.protocols.gossip.functions import Function

# The phases of each protocol, in order. "tree" follows them all, off the overlay.
PROTOCOLS = {
    "gossip": ("shuffle", "echo"),
    "gossip-flood": ("survey", "scatter", "gather", "echo"),
    "gossip-bft": ("shuffle",),  # and what agent/protocols/gossip/phases/agreement.py adds
}


class PlanError(Exception):
    """A query that no plan can be made for. args[0] is the reason: "unknown-protocol", "too-few",
    "too-many", "too-long".
    """


class Phase:
    """A stretch of rounds: `name`, `first` round, `rounds`, `capacity` in cells a message,
    `cell_size` in bytes; `index` in the plan.
    """

    def __init__(self, index: int, name: str, first: int, shape: tuple[int, int, int]) -> None:
        rounds, sixteenths, self.cell_size = shape
        self.index = index
        self.name = name
        self.first = first
        self.rounds = rounds
        self.end = first + rounds
        self.capacity = _capacity(sixteenths)

    def fits(self, cells: list[bytes]) -> bool:
        """Tell whether a message of the phase can have these cells."""
        return len(cells) <= self.capacity and all(len(cell) == self.cell_size for cell in cells)


class Plan:
    """See the module. `function` is one of agent/protocols/gossip/functions.py.

    `number` is the query's, 1 or more; `members` 3 or more; `tolerate` how many failures (0 or
    more): gossip has tolerate + 1 groups, gossip-bft 2 * tolerate + 1; for gossip-flood `tolerate`
    is how many may be dead before the survey ends, and `later` how many may fail after it: later +
    1 groups. `faults` is the same in virtual ids, since a member may have two; groups are by that.
    `silent_most` is from how many ids nothing need be heard: all that may fail or be dead.
    `seed_bytes` in every tuple are joined by XOR on the way to the leaders (0: none); `proof_bytes`
    end a tuple (0: none; gossip-bft: a signature of what is before them).
    """

    def __init__(
        self,
        protocol: str,
        number: int,
        members: int,
        tolerate: int,
        function: "Function",
        later: int = 2,
        seed_bytes: int = 0,
        proof_bytes: int = 0,
    ) -> None:
        if protocol not in PROTOCOLS:
            raise PlanError("unknown-protocol")
        if members < 3:
            raise PlanError("too-few")
        if members > NODES_MOST // 2:
            raise PlanError("too-many")
        self.protocol = protocol
        self.number = number
        self.members = members
        self.n = overlay.suitable_size(members)
        self.bits = overlay.log2_ceil(self.n)
        self.tolerate = tolerate
        self.function = function
        # A member that fails may take its second id with it.
        failing = later if protocol == "gossip-flood" else tolerate
        self.faults = failing + min(failing, self.n - members)
        self.silent_most = self.faults
        if protocol == "gossip-flood":
            self.silent_most += min(2 * tolerate, tolerate + self.n - members)
        self.groups = (2 if protocol == "gossip-bft" else 1) * self.faults + 1
        if tolerate < 0 or later < 0 or self.groups * 2 > self.n:
            raise PlanError("too-few")
        self.seed_bytes = seed_bytes
        self.proof_bytes = proof_bytes
        self.tuple_size = IDENTITY + VALUE + ID * self.groups + seed_bytes + proof_bytes
        # Held by one proxy: on average there are as many as groups.
        self.tuples_most = _capacity(16 * self.groups) + self.groups
        self.partial_size = 2 + seed_bytes + function.size
        # Moves of an onion, the last one included.
        self.hops_most = self.bits // 2 + (2 if self.n <= FEW else 3)
        self._lay_out()

    def _names(self) -> tuple[str, ...]:
        if self.protocol != "gossip-bft":
            return PROTOCOLS[self.protocol]
        from agent.protocols.gossip.phases import agreement

        return PROTOCOLS[self.protocol] + tuple(agreement.multicasts(self))

    def _lay_out(self) -> None:
        self.phases: list[Phase] = []
        first = 0
        for index, name in enumerate(self._names()):
            phase = Phase(index, name, first, load(name).shape(self))
            self.phases.append(phase)
            first = phase.end
        if first > ROUNDS_MOST:
            raise PlanError("too-long")
        self.rounds = first
        self.start = self.number * self.rounds % (self.n - 1)
        self.deadlines = self.rounds + self.levels(-(-self.n // self.groups))
        # After L rounds all nodes wait for the slowest, and that one begins at most a deadline
        # late.
        self.ahead = self.bits + 4
        self.message_size = 2 + max([phase.capacity * phase.cell_size for phase in self.phases])

    @staticmethod
    def levels(count: int) -> int:
        """Return the levels below the leader of a tree of `count` nodes."""
        return overlay.log2_ceil(count + 1) - 1

    def phase(self, r: int) -> Phase:
        """Return the Phase of round r, 0 to rounds-1."""
        for phase in self.phases:
            if r < phase.end:
                return phase
        raise ValueError("no such round")

    def partner(self, node: int, r: int) -> int:
        """Return to whom the virtual id `node` sends in round r."""
        return overlay.partner(node, self.start + r, self.n)

    def predecessor(self, node: int, r: int) -> int:
        """Return from whom the virtual id `node` hears in round r, and from nobody else."""
        return overlay.predecessor(node, self.start + r, self.n)

    def group_of(self, node: int) -> int:
        """Return in which group, 0 to groups-1, a virtual id is."""
        return ((node + 1) * self.groups - 1) // self.n

    def group(self, index: int) -> range:
        """Return the virtual ids of a group, a range."""
        return range(index * self.n // self.groups, (index + 1) * self.n // self.groups)

    def living(self, absent: "Collection[int]") -> int:
        """Return how many members are not among the ids in `absent`."""
        return self.members - len([v for v in absent if v < self.members])

    def mixed(self, node: int, r: int, absent: "Collection[int]") -> bool:
        """Tell whether more ids than may fail or collude were to write to `node` before round r,
        `absent` ones apart: then what it sends may be another's. An epidemic cycle is enough."""
        due = {self.predecessor(node, before) for before in range(r)}
        return len([v for v in due if v not in absent]) > min(self.faults, self.bits)

    def pack(self, cells: list[bytes]) -> bytes:
        """Return the `message_size` bytes in which a node sends its cells."""
        body = b"".join(cells)
        return len(cells).to_bytes(2, "big") + body + bytes(self.message_size - 2 - len(body))

    def unpack(self, r: int, message: bytes) -> list[bytes] | None:
        """Return the cells of a message of round r, or None if it is none: wrong in size, count or
        padding."""
        phase = self.phase(r)
        if len(message) != self.message_size:
            return None
        count = int.from_bytes(message[:2], "big")
        end = 2 + count * phase.cell_size
        if count > phase.capacity or message[end:] != bytes(len(message) - end):
            return None
        return [message[at : at + phase.cell_size] for at in range(2, end, phase.cell_size)]


def _capacity(sixteenths: int) -> int:
    """Return ceil(m + 4 * sqrt(m)) + 2 for a mean of m = sixteenths / 16 cells: in integers, since
    boards differ in their floats.
    """
    root = 0
    while root * root < sixteenths:
        root += 1
    return -(-sixteenths // 16) + root + 2
