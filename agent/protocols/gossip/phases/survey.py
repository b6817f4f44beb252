"""Survey: all nodes find out which nodes live, before anything is routed around the dead. A message
is a bitmap of the nodes known to live, joined by OR.

It replaces the flooding of n * (t+1) tuples through every node (paper, section 5.1) by n bits a
message. What it gives up: who fails after the survey is not avoided any more. `faults` nodes that
fail once their own tuples are on the way are made good by redundancy. A board that dies before
that, or more that die later, are seen: the result's count is below the survey's, and it is refused,
not guessed (broker/coordinator/protocols/gossip/results.py). The next query's survey misses them.

Rounds: what flooding needs in the worst case (overlay.flood_rounds, two for each dead node), but at
most three epidemic cycles, and four more times the part of the nodes that may be dead. Sets of dead
nodes that hold up a flood for longer exist, and are not met with by chance: for dead nodes drawn at
random, n = 1019, the longest of 20 floods took 19, 28 and 41 rounds with 10, 30 and 50 % dead; this
rule gives 34, 42 and 50. Were it too short all the same, nodes would differ on who lives, and
partial results go astray: counts are too small then.
"""

from agent.protocols.base import overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.gossip.node import Node
    from agent.protocols.gossip.plan import Phase, Plan
    from agent.protocols.gossip.ports import RunningPhase


class Survey:
    """A running phase (agent/protocols/gossip/ports.py)."""

    @staticmethod
    def shape(plan: "Plan") -> tuple[int, int, int]:
        """One bitmap a message."""
        dead = min(2 * plan.tolerate, plan.tolerate + plan.n - plan.members)
        rounds = 3 * plan.bits + 4 * plan.bits * dead // plan.n
        return min(overlay.flood_rounds(plan.n, min(dead, plan.n - 1)), rounds), 0, (plan.n + 7) // 8

    def __init__(self, node: "Node", phase: "Phase", before: "RunningPhase | None") -> None:
        self._node = node
        self._size = phase.cell_size
        self._living = 1 << node.own_id

    def enter(self, r: int) -> None:
        """Send what is known."""
        self._node.post(r, self._living.to_bytes(self._size, "big"))

    def take(self, r: int, cells: list[bytes]) -> None:
        """Learn what the predecessor knew."""
        for cell in cells:
            living = int.from_bytes(cell, "big")
            if living >> self._node.plan.n:
                self._node.refuse("bad-bitmap")
            else:
                self._living |= living

    def end(self) -> None:
        """Who is not known to live counts as dead from now on."""
        self._node.announce_dead({v for v in range(self._node.plan.n) if not self._living >> v & 1})
