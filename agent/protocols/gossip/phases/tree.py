"""Aggregation: the living nodes of a group are a binary heap, in the order of their ids; partial
results go up to position 0, the leader.

A partial result: count of tuples (2 bytes) | XOR of their seeds | state of the function. It goes
from node to node by mail, not over the overlay. A node on level l (the leader's is 0) of a tree of
`depth` levels below the leader waits for its children until deadline rounds + depth - l - 1, one
level each: a dead node delays nobody but its parent, and takes its subtree with it. So one of the
groups must be without dead nodes.

Source: paper, section 4.3 (Aggregate).
"""

from agent.protocols.gossip import node_actions
from agent.protocols.gossip.functions import FunctionError
from agent.protocols.gossip.onion import tuples
from agent.protocols.gossip.overlay.sizes import NODES_MOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.protocols.gossip.node_actions import Partial, Result
    from agent.protocols.gossip.plan import Plan
    from agent.protocols.gossip.ports import Clause, Finish


class Tree:
    """The node `own_id` in the tree of its group. `absent` are the ids known to be dead: the same
    set for all, or partial results go astray.
    """

    def __init__(self, plan: "Plan", own_id: int, absent: set[int]) -> None:
        self._plan = plan
        living = [v for v in plan.group(plan.group_of(own_id)) if v not in absent]
        position = living.index(own_id)
        self.parent = living[(position - 1) // 2] if position else None
        # The children that are still to be heard.
        self._waiting = living[2 * position + 1 : 2 * position + 3]
        self._children = list(self._waiting)
        self.deadline = plan.rounds + plan.levels(len(living)) - plan.levels(position + 1) - 1
        if not self._children:
            self.deadline = plan.rounds - 1
        self.done = False
        self._expected = plan.living(absent)
        self._count = 0
        self._seed = bytes(plan.seed_bytes)
        self._state = plan.function.empty()

    def add(self, raws: "Iterable[bytes]", clause: "Clause | None") -> None:
        """Count the tuples that this node is proxy of, once. Values outside `clause`, (low, high)
        or None, count as left out.
        """
        for raw in raws:
            value = tuples.value_of(raw)
            if clause and value is not None and not clause[0] <= value <= clause[1]:
                value = None
            self._state = self._plan.function.add(self._state, value)
            self._join(1, tuples.seed_of(self._plan, raw))

    def partial(self, sender: int, data: bytes) -> str | None:
        """Count a child's partial result. Returns the reason why it is refused, or None."""
        if sender not in self._children:
            return "not-a-child"
        if self.done:
            return "late"
        if sender not in self._waiting:
            return "duplicate"
        function = self._plan.function
        at = 2 + self._plan.seed_bytes
        count = int.from_bytes(data[:2], "big")
        try:
            state = function.decode(data[at:])
        except FunctionError as error:
            reason: str = error.args[0]
            return reason
        if function.tuples(state) != count or self._count + count > NODES_MOST:
            return "bad-count"
        self._waiting.remove(sender)
        self._state = function.merge(self._state, state)
        self._join(count, data[2:at])
        return None

    def ready(self) -> bool:
        """Tell whether every child was heard."""
        return not self._waiting

    def outcome(self, finish: "Finish | None", least: int) -> "Partial | Result | None":
        """Close it, once. Return what is to be sent: a partial result to the parent; of a leader
        the group's result, or None if it has fewer than `least` tuples, since it would tell too
        much of each."""
        data = self.close(finish)
        if self.parent is not None:
            return node_actions.partial(self.parent, data)
        return node_actions.result(self._expected.to_bytes(2, "big") + data) if self._count >= least else None

    def close(self, finish: "Finish | None") -> bytes:
        """Return the partial result; of a leader what `finish` (or None: nothing) makes of it.
        Called once."""
        self.done = True
        state, seed = self._state, self._seed
        if self.parent is None:
            if finish:
                state = finish(self._count, seed, state)
            seed = bytes(len(seed))  # who has it takes the noise off
        return self._count.to_bytes(2, "big") + seed + self._plan.function.encode(state)

    def _join(self, count: int, seed: bytes) -> None:
        self._count += count
        self._seed = bytes([a ^ b for a, b in zip(self._seed, seed)])
