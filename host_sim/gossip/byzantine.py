"""Boards of the simulator that do as they please: an ordinary Node takes up a bad habit. It has its
keys and one proof a query.

Whatever the habit, a liar also falsifies the partial result that leaves it: its group is lost, and
only its group may be. This runs on MicroPython too (host_sim/fleet/board.py).
"""

from agent.protocols.gossip import node_actions
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion import tuples
from agent.protocols.gossip.phases import shuffle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from agent.protocols.gossip.node_actions import NodeAction, Partial, Result, Send
    from agent.protocols.gossip.plan import Phase, Plan
    from agent.protocols.gossip.ports import Draw, Random, Work

    Begin: TypeAlias = Callable[[Phase], None]
    Spoilt: TypeAlias = Any  # a Node whose own methods, and its phase's, are replaced

HABITS = ("drop", "equivocate", "flood", "forge", "lie")
LIE = 10**12  # out of every range that a query of watts has
_ENTRY = 65  # bytes of a signature in a copy


def make(habit: str, *arguments: "Any", **rest: "Any") -> Node:
    """Return a Node of these arguments that has a habit of HABITS. ValueError for another habit."""
    if habit not in HABITS:
        raise ValueError(f"no such habit: {habit}")
    node = Node(*arguments, **rest)
    take_up(node, habit)
    return node


def draw(habit: str | None, plan: "Plan", own: int, random: "Random") -> "Draw":
    """Return what shuffle.draw() returns for a node with a habit, or None for none: an equivocator
    is its own proxy."""
    while True:
        drawn = shuffle.draw(plan, own, random, ())
        if habit != "equivocate" or own in drawn[0]:
            return drawn


def spoil(habit: str) -> None:
    """Have every Node of this process take up a habit, and its board lie if that is the habit."""
    from agent.protocols.gossip.machine import Gossip

    start = Node.start

    def begin(node: Node) -> "list[NodeAction]":
        take_up(node, habit)
        return start(node)

    Node.start = begin  # type: ignore[method-assign, assignment]  # a habit replaces what a node does
    if habit == "lie":
        Gossip._value = lambda self, group, admitted, values: LIE  # type: ignore[method-assign]  # so does a lie


def take_up(node: "Spoilt", habit: str) -> None:
    """Give a Node that has not begun a habit. Who lies has been given LIE for its value."""
    close = node._close
    node._close = lambda tree: _falsified(close(tree))
    begin = node._begin
    if habit == "drop":
        _drop(node)
    elif habit == "equivocate":
        node._begin = lambda phase: _equivocate(node, begin, phase)
    elif habit == "flood":
        send = node._send
        node._send = lambda: _flooded(node, send())
        node._begin = lambda phase: _begin_and(node, begin, phase, _onions)
    elif habit == "forge":
        node._begin = lambda phase: _begin_and(node, begin, phase, _votes)


def _falsified(action: "Partial | Result | None") -> "Partial | Result | None":
    if action is None:
        return None
    data = action[-1][:-1] + bytes((action[-1][-1] ^ 1,))
    if action[0] == node_actions.PARTIAL:
        return node_actions.partial(action[1], data)
    return node_actions.result(data)


def _begin_and(node: Node, begin: "Begin", phase: "Phase", more: "Callable[[Node, Phase], Work]") -> None:
    begin(phase)
    node._do(more, node, phase)


def _drop(node: "Spoilt") -> None:
    """Its messages go out, as they must or be missed, with nothing in them but its own tuple; no
    result leaves it."""
    cells, go_on = node.cells, node._go_on
    node.cells = lambda r, _: cells(r, [])
    node._go_on = lambda: [action for action in go_on() if action[0] == node_actions.SEND]


def _onions(node: Node, phase: "Phase") -> "Work":
    """In Shuffle: fill each message with onions that others have to carry on."""
    plan = node.plan
    for r in range(phase.first, phase.end if phase.index == 0 else 0):
        rounds = list(range(r, min(r + plan.hops_most, phase.end)))
        path = [node.own_id]
        for move in rounds:
            path.append(plan.partner(path[-1], move))
        for _ in range(phase.capacity):
            payload = node.random(plan.tuple_size)
            node.post(r, (yield from node.secrets.onion(path[1:], rounds[1:], payload, plan.hops_most)))


def _flooded(node: Node, action: "Send") -> "Send":
    """Fill a message with cells that only look like cells, or were there before."""
    cells = action[3]
    phase = node.plan.phase(action[1])
    while len(cells) < phase.capacity:
        cells.append(bytes(cells[0]) if cells and node.random(1)[0] < 128 else node.random(phase.cell_size))
    return action


def _votes(node: Node, phase: "Phase") -> "Work":
    """Vote several times: tuples with a forged proof, others' tuples with another value, signatures
    in others' names."""
    plan = node.plan
    if phase.index == 0:
        proxies, paths, _ = node.draw or shuffle.draw(plan, node.own_id, node.random, ())
        for path, moves in paths:
            raw = tuples.make(node.random(8), 4999, proxies, b"", node.random(plan.proof_bytes))
            node.post(moves[0], (yield from node.secrets.onion(path, moves[1:], raw, plan.hops_most)))
        return
    for raw in list(node.tuples.values()):
        _post_chain(node, phase, raw[:8] + bytes(7) + b"\x01" + raw[16:])
        _post_chain(node, phase, raw)
        yield


def _post_chain(node: Node, phase: "Phase", raw: bytes) -> None:
    plan = node.plan
    own = plan.group_of(node.own_id)
    groups = [own] + [group for group in range(plan.groups) if group != own]
    groups = groups[: (phase.cell_size - plan.tuple_size) // _ENTRY]
    cell = raw + b"".join([bytes((group,)) + node.random(_ENTRY - 1) for group in groups])
    for to in tuples.proxies_of(plan, raw):
        for r in range(phase.first, phase.end):
            if to == plan.partner(node.own_id, r) and len(cell) == phase.cell_size:
                node.post(r, cell)


def _equivocate(node: "Spoilt", begin: "Begin", phase: "Phase") -> None:
    """Give the own tuple to one other proxy or to none, and sign in one of the multicasts, for one
    proxy only.

    A second id has no tuple: it signs in that way what it is a proxy of.
    """
    raw = node._raw
    if phase.index == 0:
        if raw:
            proxies, paths, shared = node.draw
            others = [path for path in paths if path[0][-1] != node.own_id]
            node.draw = proxies, others[: raw[0] & 1], shared
            node.keep(raw)
        begin(phase)
        return
    begin(phase)
    running = node._running
    send = running._send
    running._send = lambda to, route, counter, cell: None if counter else send(to, route, counter, cell)
    if phase.index != 1 + (raw[1] if raw else node.own_id) % (len(node.plan.phases) - 1):
        running.enter = lambda r: None
