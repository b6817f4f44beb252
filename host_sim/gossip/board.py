"""One virtual id of a simulated query: when it hears of it, what it does when its deadlines pass,
and when it dies."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from agent.protocols.gossip import node_actions
from agent.protocols.gossip.node import Node
from agent.wire.envelope import Context, seal
from host_sim.gossip.network import OWNER, OverlayNetwork
from host_sim.gossip.signer import REQUEST_BYTES

if TYPE_CHECKING:
    from agent.protocols.gossip.node_actions import NodeAction

ENVELOPE = len(seal(bytes(16), bytes(13), Context("d", "cells", "g", 1, 1, "b0001", "b0002"), bytes(1024))) - 1024


class Around(Protocol):
    """What a board needs of the simulation that it is in: see overlay_simulation.Simulation."""

    network: OverlayNetwork
    deadline_ms: float
    setup_ms: float

    def act(self, node: Node, action: "NodeAction") -> None:
        """Carry out what a node wants."""

    def spent(self, own: int) -> float:
        """Return the ms that the node's cryptography has taken in the event at hand."""

    def reset(self, own: int) -> None:
        """The event is over."""


class Board:
    """One virtual id: its node, its timers, and whether it lives. An event waits while the board
    computes."""

    def __init__(self, simulation: Around, node: Node, dies_in: int | None) -> None:
        self._simulation = simulation
        self._early: list[tuple[int, list[bytes]]] = []
        self._busy_until = 0.0
        self._dies_in = dies_in
        self.node = node
        self.dead = dies_in == -1

    def sign(self) -> None:
        """The query came, and the board's tuple is to be signed first. (Its proof was made with the
        board: here it takes its time.)
        """
        simulation, own = self._simulation, self.node.own_id
        if self.dead:
            return
        simulation.network.clock.after(simulation.setup_ms, self.query)
        if self.node.has_tuple:
            size = REQUEST_BYTES + ENVELOPE
            answer = lambda: simulation.network.send("signed", OWNER, own, size, lambda: None)  # noqa: E731
            simulation.network.send("blind", own, OWNER, size, answer)

    def query(self) -> None:
        """The query came: this is the board's T0."""
        if self.dead:
            return
        self._tick(0)
        self._event(self.node.start)
        for r, cells in self._early:
            self._event(self.node.cells, r, cells)
        self._early.clear()

    def message(self, sender: int, r: int, data: bytes) -> None:
        """A partner's message came; the envelope is taken as authenticated."""
        plan = self.node.plan
        cells = plan.unpack(r, data) if plan.predecessor(self.node.own_id, r) == sender else None
        if self.dead:
            return
        if cells is None:
            self.node.refuse("not-prescribed")
        elif self.node.round >= 0:
            self._event(self.node.cells, r, cells)
        elif len(self._early) < plan.ahead:
            self._early.append((r, cells))
        else:
            self.node.refuse("too-early")

    def partial(self, sender: int, data: bytes) -> None:
        """A child's partial result came."""
        self._event(self.node.partial, sender, data)

    def _tick(self, r: int) -> None:
        def elapsed() -> None:
            if not self.dead and not self.node.done:
                self._event(self.node.elapsed, r)
                if r + 1 < self.node.plan.deadlines:
                    self._tick(r + 1)

        self._simulation.network.clock.after(self._simulation.deadline_ms, elapsed)

    def _event(self, call: Callable[..., Any], *arguments: Any) -> None:
        clock = self._simulation.network.clock
        if self.dead:
            return
        if self._busy_until > clock.now:
            clock.after(self._busy_until - clock.now, lambda: self._event(call, *arguments))
            return
        actions = call(*arguments)
        while actions is not None:
            for action in actions:
                self._act(action)
            actions = None if self.dead else self.node.idle()
        self._busy_until = clock.now + self._simulation.spent(self.node.own_id)
        self._simulation.reset(self.node.own_id)

    def _act(self, action: "NodeAction") -> None:
        if action[0] == node_actions.SEND and self._dies_in is not None and action[1] >= self._dies_in:
            self.dead = True
        if not self.dead:
            self._simulation.act(self.node, action)
