"""What the broker of the home is told, event by event. No I/O."""

from collections.abc import Collection

from broker.gateway.computation import Computation
from broker.gateway.groups import Group
from broker.gateway.programs import topics
from broker.gateway.programs.computing import computation_of
from broker.gateway.programs.payloads import Publish, as_json, groups_of, retained, state_of, sum_of, taken_back
from broker.gateway.rounds import Round
from broker.gateway.totals import Standing


class Programs:
    """All that is retained for programs, so that it can be said again on every new link. Each
    method returns what is to be said because of the event. `compute` are the computations that
    programs may ask for, GROUP:FUNCTION."""

    def __init__(self, deployment: str, version: str, compute: Collection[str] = ()) -> None:
        self.deployment = deployment
        self.compute = frozenset(compute)
        self._info = {"deployment": deployment, "version": version}
        self._groups: dict[str, Group] = {}
        self._there: dict[str, bool] = {}
        self._sums: dict[str, Publish] = {}

    @property
    def groups(self) -> list[Group]:
        """The groups that are served, by name."""
        return [self._groups[name] for name in sorted(self._groups)]

    def will(self) -> Publish:
        """Return what the broker says once the gateway is gone without a word."""
        return retained(topics.state(self.deployment), state_of(False))

    def linked(self) -> list[Publish]:
        """A link is there: all is said, the gateway's own state last, when the rest is true."""
        said = [retained(topics.info(self.deployment), self._info), groups_of(self.deployment, self.groups)]
        for group in self.groups:
            said += [self._state(group.name), *self._last(group.name)]
        return [*said, retained(topics.state(self.deployment), state_of(True))]

    def leaving(self) -> list[Publish]:
        """The gateway ends in good order: its will is not said then."""
        return [self.will()]

    def described(self, group: Group) -> list[Publish]:
        """A group is there, or is in a new epoch."""
        if self._groups.get(group.name) == group:
            return []
        self._groups[group.name] = group
        self._there.setdefault(group.name, True)
        return [groups_of(self.deployment, self.groups), self._state(group.name)]

    def present(self, group: str, there: bool) -> list[Publish]:
        """A group that is served can be summed, or cannot: its coordinator is there or is not."""
        if group not in self._groups or self._there[group] == there:
            return []
        self._there[group] = there
        return [self._state(group)]

    def closed(self, round: Round, standing: Standing) -> list[Publish]:
        """A round is over, and `standing` is after it."""
        if round.group not in self._groups:
            return []
        self._sums[round.group] = sum_of(self.deployment, round, standing)
        return self._last(round.group)

    def may_compute(self, group: str, function: str) -> bool:
        """Tell whether programs may ask a group for a function, and hear of it."""
        return f"{group}:{function}" in self.compute

    def computed(self, found: Computation) -> list[Publish]:
        """There is news of a computation."""
        if not self.may_compute(found.group, found.wanted.function):
            return []
        topic = topics.group_computation(self.deployment, found.group)
        return [Publish(topic, as_json(computation_of(found)), False)]

    def gone(self, group: str) -> list[Publish]:
        """A group is no longer served: nothing is kept of it."""
        known = self._groups.pop(group, None)
        self._there.pop(group, None)
        self._sums.pop(group, None)
        said = [groups_of(self.deployment, self.groups)] if known else []
        return [*said, *forgotten(self.deployment, group)]

    def _state(self, group: str) -> Publish:
        return retained(topics.group_state(self.deployment, group), state_of(self._there[group]))

    def _last(self, group: str) -> list[Publish]:
        return [self._sums[group]] if group in self._sums else []


def forgotten(deployment: str, group: str) -> list[Publish]:
    """Return what takes back all that is kept of a group for programs."""
    return [taken_back(topics.group_sum(deployment, group)), taken_back(topics.group_state(deployment, group))]
