"""What can be done for a query before it comes: proxies and routes depend on its number alone, and
the layers on the routes."""

import os

from agent.protocols.gossip.onion.secrets import Layers
from agent.protocols.gossip.plan import Plan, PlanError
from agent.protocols.gossip.query_function import function_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.gossip.group import Group
    from agent.protocols.gossip.ports import Draw, Work


class Stock:
    """For the query `number`: `layers`, and, if `absent` (a bitmap of members) is what it will say,
    `draws` by virtual id of this board. `wanted` are the virtual ids that a layer is still to be
    made for.
    """

    def __init__(self, group: "Group", protocol: str, number: int, absent: int) -> None:
        self.number = number
        self.absent = absent
        self.layers = Layers(group, number)
        self.draws: dict[int, Draw] = {}
        self.wanted: list[int] = []
        try:
            plan = Plan(protocol, number, len(group.names), group.tolerate, function_of("count", [], None))
        except PlanError:
            return  # a group that no query will be answered in
        if plan.phases[0].name == "shuffle":
            self._draw(group, plan)

    def _draw(self, group: "Group", plan: Plan) -> None:
        from agent.protocols.gossip.phases.shuffle import draw

        absent = group.nodes_of(self.absent, plan.n)
        own_id = group.index  # a second virtual id has no tuple
        self.draws[own_id] = draw(plan, own_id, os.urandom, absent)
        for path, _ in self.draws[own_id][1]:
            self.wanted += path

    def steps(self) -> "Work":
        """Generator: make the layers that are wanted, in short steps."""
        while self.wanted:
            yield from self.layers.make_steps(self.wanted[-1])
            self.wanted.pop()
            yield
