"""What the coordinator makes of the leaders' results: expected members (2 bytes) | count (2) | seed
| state of the function.

gossip: the result with the greatest count (paper, section 4.3). gossip-flood: the same, if it
counts all members that the survey found; what failures after the survey took is refused, never
guessed. gossip-bft: a result that more groups sent alike than can be faulty (5.2).
"""

from agent.protocols.gossip.functions import FunctionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from agent.protocols.gossip.plan import Plan
    from agent.protocols.gossip.ports import State

    Read: TypeAlias = tuple[int, int, bytes, State]  # expected, count, seed, state


class NotAccepted(Exception):
    """There is no result to be published. args[0] is the reason: "no-result", "incomplete",
    "no-agreement"."""


def read(plan: "Plan", data: bytes) -> "Read | None":
    """Return (expected, count, seed, state) of a leader's result, or None if it is none."""
    if len(data) != 2 + plan.partial_size:
        return None
    at = 4 + plan.seed_bytes
    try:
        state = plan.function.decode(data[at:])
    except FunctionError:
        return None
    expected, count = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    return (expected, count, bytes(data[4:at]), state) if expected <= plan.members and count <= plan.members else None


def accept(plan: "Plan", results: dict[int, bytes]) -> "Read":
    """Return (expected, count, seed, state) of the result to be published; `results` is a dict,
    group -> what its leader sent.

    Raises NotAccepted.
    """
    found = []
    for data in results.values():
        one = read(plan, data)
        if one is not None:
            found.append(one)
    if not found:
        raise NotAccepted("no-result")
    if plan.protocol == "gossip-bft":
        for one in found:
            if len([other for other in found if other[1:] == one[1:]]) > plan.faults:
                return one
        raise NotAccepted("no-agreement")
    best = max(found, key=lambda one: one[1])
    if plan.protocol == "gossip-flood" and best[1] < max([one[0] for one in found]):
        raise NotAccepted("incomplete")
    return best
