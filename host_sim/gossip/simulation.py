"""One query of n simulated nodes over a virtual clock: the boards' own machines
(agent/protocols/gossip/node.py), deadlines, failures, the truth.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.protocols.gossip import functions, node_actions
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion import proof, tuples
from agent.protocols.gossip.overlay.sizes import IDENTITY
from agent.protocols.gossip.plan import Plan
from broker.coordinator.protocols.gossip import results
from host_sim.gossip import byzantine
from host_sim.gossip import secrets as overlay_secrets
from host_sim.gossip.board import ENVELOPE, Board
from host_sim.gossip.costs import Costs
from host_sim.gossip.network import DEADLINE_MS, MOST_MS, OWNER, OverlayNetwork
from host_sim.gossip.signer import RealSigner, Signer, StandInSigner

if TYPE_CHECKING:
    from agent.protocols.gossip.node_actions import NodeAction

VALUES = (0, 5000)  # of which the boards' values are drawn where none are given
_SENT = ("cells", "partial", "result")
QUERY_BYTES = 300  # a signed query; it is broadcast, so it counts once a board


@dataclass
class Setting:
    """What is simulated. `failed` nodes are dead from the beginning, or, with `failed_in` a phase's
    name, each dies in a round of it drawn at random, before it sends. `crypto` is "stand-in" or
    "real"; `costs` are those of the boards' cryptography, in ms. `byzantine` maps virtual ids to
    habits of host_sim/gossip/byzantine.py (gossip-bft only); none of these fails.
    """

    nodes: int
    failed: int = 0
    protocol: str = "gossip"
    tolerate: int = 1
    query: str = "sum"
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = 1
    failed_in: str = "start"
    latency: str = "paper"
    crypto: str = "stand-in"
    later: int = 2
    number: int = 1
    costs: Costs | None = None
    values: list[int | None] | None = None
    dead: list[int] | None = None
    watched: bool = False
    byzantine: dict[int, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What came out. `exact`: the accepted result is that of a plain computation over all honest
    living members (`living` of them), and those dead or Byzantine ones (`dead_counted`) whose
    tuples came through. Counts are means over the living nodes, `refused` and `missed` sums over
    the honest ones; `bytes` is what a node sends, in envelopes.
    """

    accepted: dict[str, Any] | None
    reason: str | None
    exact: bool
    living: int
    counted: int
    dead_counted: int
    query_ms: float
    rounds: int
    deadlines: int
    messages: float
    cells: float
    bytes: float
    message_size: int
    refused: dict[str, int]
    missed: dict[str, int]
    seen: str  # digest of what a broker sees: times, kinds, senders, receivers, sizes


class Simulation:
    """One query. run() returns the Outcome; `boards` and `network` may be looked at afterwards."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        function = functions.load(setting.query, setting.parameters)
        signed = setting.protocol == "gossip-bft"
        self.plan = Plan(
            setting.protocol,
            setting.number,
            setting.nodes,
            setting.tolerate,
            function,
            setting.later,
            proof_bytes=proof.SIZE if signed else 0,
        )
        self.network = OverlayNetwork(setting.seed, setting.latency, setting.watched)
        self.deadline_ms = DEADLINE_MS + (setting.costs.round_ms(self.plan) if setting.costs else 0.0)
        self.setup_ms = self._setup() if signed else 0.0
        self.results: dict[int, bytes] = {}
        self.ended: float | None = None
        self._origins: dict[bytes, int] = {}
        self._costs: dict[int, float] = {}
        real = setting.crypto == "real"
        self._signer: Signer | None = None
        if signed:
            self._signer = RealSigner(setting.seed, setting.number) if real else StandInSigner(setting.seed)
        drawn = random.Random(f"setting {setting.seed}")
        self.values: list[int | None] = (
            list(setting.values) if setting.values else [drawn.randint(*VALUES) for _ in range(setting.nodes)]
        )
        dies_in = self._failures(drawn)
        secrets = (
            overlay_secrets.real(self.plan, setting.seed)
            if real
            else lambda own: overlay_secrets.StandIn(own, setting.seed)
        )
        self.boards = [self._board(own, secrets(own), dies_in.get(own)) for own in range(self.plan.n)]

    def run(self) -> Outcome:
        """Let the owner ask, and the clock run until the last deadline."""
        for own, board in enumerate(self.boards):
            self.network.send("query", OWNER, own, QUERY_BYTES, board.query if self._signer is None else board.sign)
        # The last leader may have begun late, and its result takes its time.
        patience = self.setup_ms + self.plan.deadlines * self.deadline_ms + 2 * MOST_MS
        self.network.clock.run(patience)
        return self._outcome(patience if self.ended is None else self.ended)

    def act(self, node: Node, action: "NodeAction") -> None:
        """Carry out what a node wants."""
        own, after, send = node.own_id, self.spent(node.own_id), self.network.send
        if action[0] == node_actions.SEND:
            _, r, partner, cells = action
            data = self.plan.pack(cells)
            board = self.boards[partner]
            send("cells", own, partner, len(data) + ENVELOPE, lambda: board.message(own, r, data), after)
        elif action[0] == node_actions.PARTIAL:
            _, parent, data = action
            board = self.boards[parent]
            send("partial", own, parent, len(data) + ENVELOPE, lambda: board.partial(own, data), after)
        else:
            group, result = self.plan.group_of(own), action[1]
            send("result", own, OWNER, len(result) + ENVELOPE, lambda: self._result(group, result), after)

    def spent(self, own: int) -> float:
        """Return the ms that the node's cryptography has taken in the event at hand."""
        return self._costs.get(own, 0.0)

    def reset(self, own: int) -> None:
        """The event is over."""
        self._costs.pop(own, None)

    def _failures(self, drawn: random.Random) -> dict[int, int]:
        """Return in which round each failed node dies; -1: it never lives."""
        setting = self.setting
        honest = [own for own in range(self.plan.n) if own not in setting.byzantine]
        dead = setting.dead if setting.dead is not None else drawn.sample(honest, setting.failed)
        if setting.failed_in == "start":
            return dict.fromkeys(dead, -1)
        phase = next(phase for phase in self.plan.phases if phase.name == setting.failed_in)
        return {own: drawn.randrange(phase.first, phase.end) for own in dead}

    def _board(self, own: int, secrets: Any, dies_in: int | None) -> Board:
        habit = self.setting.byzantine.get(own)
        if habit == "lie" and own < self.plan.members:
            self.values[own] = byzantine.LIE
        value = self.values[own] if own < self.plan.members else None
        value = self.plan.function.admit(value) if habit is None else value
        drawn = random.Random(f"node {self.setting.seed} {own}").randbytes
        rest: dict[str, Any] = {"clause": self.setting.parameters.get("range")}
        if self._signer and own < self.plan.members:
            rest.update(self._signed(own, value, drawn, habit))
        watched = overlay_secrets.Watched(self, own, secrets)
        if habit:
            node = byzantine.make(habit, self.plan, own, value, watched, drawn, **rest)
        else:
            node = Node(self.plan, own, value, watched, drawn, **rest)
        return Board(self, node, dies_in)

    def _signed(self, own: int, value: int | None, drawn: Callable[[int], bytes], habit: str | None) -> dict[str, Any]:
        """Return what a Node of gossip-bft needs: its tuple is signed before it begins."""
        assert self._signer
        draw = byzantine.draw(habit, self.plan, own, drawn)
        content = tuples.make(drawn(IDENTITY), value, draw[0], drawn(self.plan.seed_bytes))
        raw = content + self._signer.proof(own, content)
        self.note(own, raw)
        return {"draw": draw, "raw": raw, "genuine": self._signer.genuine}

    def _setup(self) -> float:
        """Return the ms between query and T0: a request for a signature and its answer, and in
        between the owner signs for all.
        """
        costs = self.setting.costs
        return 2 * MOST_MS + (costs.of("sign") * self.plan.members if costs else 0.0)

    def note(self, own: int, payload: bytes) -> None:
        """Remember whose tuple this is: for the truth, nobody in the protocol knows."""
        if len(payload) == self.plan.tuple_size:
            self._origins[payload] = own

    def spend(self, own: int, operation: str, times: int = 1) -> None:
        """Let an operation of a node take its time."""
        if self.setting.costs:
            self._costs[own] = self._costs.get(own, 0.0) + times * self.setting.costs.of(operation)

    def _result(self, group: int, data: bytes) -> None:
        self.results[group] = data
        read = results.read(self.plan, data)
        everything = read is not None and read[1] == (read[0] if self._surveys() else self.plan.members)
        if self.setting.protocol == "gossip-bft":
            everything = len(self.results) > self.plan.faults
        if self.ended is None and (everything or len(self.results) == self.plan.groups):
            try:
                results.accept(self.plan, self.results)
            except results.NotAccepted:
                return
            self.ended = self.network.clock.now

    def _surveys(self) -> bool:
        return self.setting.protocol == "gossip-flood"

    def _outcome(self, query_ms: float) -> Outcome:
        living = [board for board in self.boards if not board.dead]
        honest = [board.node for board in living if board.node.own_id not in self.setting.byzantine]
        members = {node.own_id for node in honest if node.has_tuple}
        accepted, reason, counted, dead_counted = None, None, 0, None
        try:
            best = results.accept(self.plan, self.results)
        except results.NotAccepted as error:
            reason = error.args[0]
        else:
            accepted, counted = self.plan.function.result(best[3]), best[1]
            dead_counted = self._beside(members, best)
        network, per = self.network, max(1, len(living))
        return Outcome(
            accepted,
            reason,
            dead_counted is not None,
            len(members),
            counted,
            dead_counted or 0,
            round(query_ms, 3),
            self.plan.rounds,
            self.plan.deadlines,
            sum(network.messages.get(kind, 0) for kind in _SENT) / per,
            sum(board.node.sent for board in living) / per,
            sum(network.bytes.get(kind, 0) for kind in _SENT) / per,
            self.plan.message_size + ENVELOPE,
            _total(node.refused for node in honest),
            _total(node.missed for node in honest),
            network.digest(),
        )

    def _beside(self, members: set[int], best: tuple[Any, ...]) -> int | None:
        """Return how many a result counts beside these members; None if it is not the truth over
        them all and those."""
        beside = None
        for group, data in self.results.items():
            if results.read(self.plan, data) == best:
                origins = self._held_in(group)
                if self._plain(origins) == best[3] and members <= origins:
                    beside = len(origins - members)
        return beside

    def _held_in(self, group: int) -> set[int]:
        """Return whose tuples the living proxies of a group hold."""
        nodes = [self.boards[own].node for own in self.plan.group(group) if not self.boards[own].dead]
        return {self._origins[raw] for node in nodes for raw in node.tuples.values() if raw in self._origins}

    def _plain(self, origins: set[int]) -> tuple[int, ...]:
        function = self.plan.function
        state: tuple[int, ...] = function.empty()
        for own in origins:
            state = function.add(state, function.admit(self.values[own]))
        return state


def _total(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for reason, count in one.items():
            total[reason] = total.get(reason, 0) + count
    return total
