"""The leaders of the groups of a query: the coordinator takes results from them alone, and decides
which to believe.

broker/coordinator/protocols/gossip/results.py says which result is taken. One that lacks more
tuples than failures are tolerated, or that another leader contradicts, is not believed.
"""

from typing import Any

from broker.coordinator.protocols.gossip import results
from broker.coordinator.upload_filter import Refused

SURVEYING = "gossip-flood"
BYZANTINE = "gossip-bft"  # whose leaders may lie, up to a number that the rule of acceptance knows


class NoAnswer(Exception):
    """There is no state to be told. args[0] is the named reason."""


class Leaders:
    """The results for `plan`, a Plan of the members `names`. A group is led by the first virtual id
    in it that is not announced `absent`, a bitmap of members; `tolerate` members may fail."""

    def __init__(self, plan: Any, names: list[str], absent: int, tolerate: int) -> None:
        self._plan = plan
        self._names = names
        self._least = len(names) - absent.bit_count() - tolerate
        self._leaders: dict[int, int] = {}
        for node in range(plan.n):
            if not absent >> self._member(node) & 1:
                self._leaders.setdefault(plan.group_of(node), node)
        self._results: dict[int, bytes] = {}

    def take(self, device: str, leader: int, data: bytes) -> None:
        """Take the result that `device` sent as the virtual id `leader`. Raises Refused."""
        if leader >= self._plan.n or self._names[self._member(leader)] != device:
            raise Refused("not-a-leader")
        group = self._plan.group_of(leader)
        # A survey may have found the first of a group dead: then it is led by another, and the
        # boards know by whom.
        if self._leaders.get(group) != leader and self._plan.protocol != SURVEYING:
            raise Refused("not-a-leader")
        if group in self._results:
            raise Refused("duplicate" if self._results[group] == data else "conflict")
        if results.read(self._plan, data) is None:
            raise Refused("malformed")
        self._results[group] = data

    def answered(self) -> bool:
        """Tell whether no further result can change the answer: all are in, or in gossip-bft more
        groups than can be faulty have said the same."""
        if self._results.keys() >= self._leaders.keys():
            return True
        if self._plan.protocol != BYZANTINE:
            return False
        try:
            results.accept(self._plan, self._results)
        except results.NotAccepted:
            return False
        return True

    def state(self) -> tuple[int, ...]:
        """Return the state that is believed: count, outside, and what the function makes of the
        rest. Raises NoAnswer."""
        try:
            _, count, _, state = results.accept(self._plan, self._results)
        except results.NotAccepted as error:
            raise NoAnswer(error.args[0]) from None
        if count < self._least:
            raise NoAnswer("too-many-failed")
        found = [results.read(self._plan, data) for data in self._results.values()]
        if self._plan.protocol != BYZANTINE and any(one and one[1] == count and one[3] != state for one in found):
            raise NoAnswer("leaders-disagree")  # crashes alone do not lead to this
        return tuple(state)

    def _member(self, node: int) -> int:
        return node if node < len(self._names) else node - len(self._names)
