"""The actions of a node (agent/protocols/gossip/node.py): tuples, each made by one constructor."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal, TypeAlias

    Send: TypeAlias = tuple[Literal["send"], int, int, list[bytes]]
    Partial: TypeAlias = tuple[Literal["partial"], int, bytes]
    Result: TypeAlias = tuple[Literal["result"], bytes]
    NodeAction: TypeAlias = Send | Partial | Result

SEND: "Final" = "send"
PARTIAL: "Final" = "partial"
RESULT: "Final" = "result"


def send(r: int, to: int, cells: list[bytes]) -> "Send":
    """Pack the cells (plan.pack), seal them, and mail them to the virtual id `to`: the one message
    of round r."""
    return SEND, r, to, cells


def partial(to: int, data: bytes) -> "Partial":
    """Mail a partial result to the virtual id `to`, the parent in the tree."""
    return PARTIAL, to, data


def result(data: bytes) -> "Result":
    """Send a leader's result (broker/coordinator/protocols/gossip/results.py) to the
    coordinator."""
    return RESULT, data
