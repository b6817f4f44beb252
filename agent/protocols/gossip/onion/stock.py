"""What can be done for a query before it comes: proxies and routes depend on its number alone, and
the layers on the routes."""

import os

from agent.protocols.gossip.onion.secrets import Layers
from agent.protocols.gossip.plan import Plan, PlanError
from agent.protocols.gossip.query_function import function_of


class Stock:
    """For the query `number`: `layers`, and, if `absent` (a bitmap of members) is what it will say,
    `draws` by virtual id of this board. `wanted` are the virtual ids that a layer is still to be
    made for.
    """

    def __init__(self, group, protocol, number, absent):
        self.number = number
        self.absent = absent
        self.layers = Layers(group, number)
        self.draws = {}
        self.wanted = []
        self._plan = None
        try:
            self._plan = Plan(protocol, number, len(group.names), group.tolerate, function_of("count", [], None))
        except PlanError:
            return  # a group that no query will be answered in
        if self._plan.phases[0].name == "shuffle":
            self._draw(group)

    def _draw(self, group):
        from agent.protocols.gossip.phases.shuffle import draw

        plan = self._plan
        absent = group.nodes_of(self.absent, plan.n)
        own = group.index  # a second virtual id has no tuple
        self.draws[own] = draw(plan, own, os.urandom, absent)
        for path, _ in self.draws[own][1]:
            self.wanted += path

    def steps(self):
        """Generator: make the layers that are wanted, in short steps."""
        while self.wanted:
            yield from self.layers.make_steps(self.wanted[-1])
            self.wanted.pop()
            yield
