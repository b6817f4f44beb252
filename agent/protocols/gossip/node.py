"""One virtual id in one query: a machine without a clock, a radio or a task of its own (sans-IO).

    start -> round 0 -> ... -> round plan.rounds-1 -> tree -> done

In round r a node enters the round (its phase may have cells to send), sends one
message to its partner, and leaves when its predecessor's message of round r has been worked
through, or when elapsed(r) says that its deadline passed, whichever is first.

Deadlines are a schedule: the runtime calls elapsed(r) at T0 + (r+1)*D, where T0 is when the node
got the query. Delays do not add up, and D >= latency + skew of T0 is enough for no message of a
living node to be late: by elapsed(r-1) a node enters round r at T0 + r*D at the latest, its message
is with its partner at T0 + r*D + latency, and the partner waits until T0' + (r+1)*D >= T0 - skew +
(r+1)*D. By induction no round needs more than its own D, however many nodes are dead.

Source: paper, sections 4.2 (one message in every round) and 4.3.
"""

from agent.protocols.gossip import node_actions
from agent.protocols.gossip.onion import tuples
from agent.protocols.gossip.overlay.sizes import IDENTITY
from agent.protocols.gossip.phases.catalogue import load
from agent.protocols.gossip.phases.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.protocols.gossip.node_actions import NodeAction, Partial, Result, Send
    from agent.protocols.gossip.plan import Phase, Plan
    from agent.protocols.gossip.ports import Clause, Draw, Finish, Genuine, NodeSecrets, Random, RunningPhase, Work


class Node:
    """See the module. Events return a list of actions (agent/protocols/gossip/node_actions.py).
    After each, idle() is to be called until it returns None: each call is one short step. What
    remains to be done may hold up a message until then, or until its deadline.

    `round` is -1 before start, plan.rounds in the tree; `done` when nothing more comes; `sent`
    counts cells; `refused` is a dict, reason -> count; `missed` a dict of what could not be sent as
    it should. `has_tuple` tells whether it has a tuple of its own, and `tuples` are those that it
    is a proxy of: a dict, tuples.key_of() -> tuple.
    """

    def __init__(
        self,
        plan: "Plan",
        own_id: int,
        value: int | None,
        secrets: "NodeSecrets",
        random: "Random",
        absent: "Iterable[int]" = (),
        draw: "Draw | None" = None,
        raw: bytes | None = None,
        genuine: "Genuine | None" = None,
        clause: "Clause | None" = None,
        finish: "Finish | None" = None,
        least: int = 0,
    ) -> None:
        """`own_id` is 0 to n-1. `value` is what plan.function.admit() returned for the board's
        reading, with noise added where there is noise; None for nothing to tell (a blank tuple is
        sent, and counts as left out). A second id's value is not looked at.

        `absent` are ids announced dead. `draw` is given if layers were made ahead, and `raw`, this
        node's tuple to its proxies, if it had to be signed ahead: with `genuine`, who lacks it has
        none. A value outside `clause` counts as left out. With fewer than `least` members after a
        survey or in a result it says no more.
        """
        self.plan, self.own_id = plan, own_id
        self.secrets = secrets
        self.random = random
        self.absent = set(absent)
        self.draw = draw
        self.round = -1
        self.has_tuple = own_id < plan.members and (not genuine or raw is not None)
        self.tuples: dict[bytes, bytes] = {}
        self.refused: dict[str, int] = {}
        self.missed: dict[str, int] = {}
        self.sent = 0
        self._value = value
        self._raw = raw
        self.genuine = genuine
        self._clause = clause
        self._finish, self._least = finish, least
        self._unheard: set[int] = set()  # predecessors, not announced dead, that were not heard
        self._phase: "Phase | None" = None
        self._running: "RunningPhase | None" = None
        self._tree: Tree | None = None
        # Work under way, and calls that wait for their turn.
        self._work: "list[Work | tuple[Callable[..., Work | None], tuple[object, ...]]]" = []
        self._outgoing: dict[int, list[bytes]] = {}  # round -> cells, of the rounds to come
        self._incoming: dict[int, list[bytes]] = {}  # round -> cells, not worked through
        self.done = self._has_sent = self._has_heard = False
        self._passed = -1

    def start(self) -> "list[NodeAction]":
        """Begin the query."""
        self._enter()
        return self._go_on()

    def cells(self, r: int, cells: list[bytes]) -> "list[NodeAction]":
        """The predecessor's message of round r came: the shell has checked who sent it."""
        if r < self.round or self.round == self.plan.rounds:
            self.refuse("late")
        elif r == self.round and self._has_heard:
            self.refuse("duplicate")
        elif r > max(self.round, 0) + self.plan.ahead or r >= self.plan.rounds:
            self.refuse("too-early")
        elif r in self._incoming:
            self.refuse("duplicate")
        elif not self.plan.phase(r).fits(cells):
            self.refuse("malformed")
        else:
            self._incoming[r] = cells
        return self._go_on()

    def elapsed(self, r: int) -> "list[NodeAction]":
        """The deadline of round r passed, 0 to plan.deadlines-1, at T0 + (r+1)*D."""
        actions: "list[NodeAction]" = []
        self._passed = r
        while 0 <= self.round <= r and self.round < self.plan.rounds and not self.done:
            if not self._has_sent:
                actions.append(self._send())
            self._hear()
            if self._has_heard or not self._is_alone():
                self._leave()
        return actions + self._go_on()

    def partial(self, sender: int, data: bytes) -> "list[NodeAction]":
        """A partial result came from the virtual id `sender`."""
        if self.round < 0 or (self._phase and self._phase.name == "survey"):
            self.refuse("too-early")
            return []
        reason = self._in_tree().partial(sender, data)
        if reason:
            self.refuse(reason)
        return self._go_on()

    def idle(self) -> "list[NodeAction] | None":
        """Do one short step. Returns actions, None if there is nothing to do."""
        if not self._work:
            return None
        first = self._work[0]
        if isinstance(first, tuple):
            self._work[0:1] = [work for work in (first[0](*first[1]),) if work is not None]
        else:
            try:
                next(first)
                return []
            except StopIteration:
                self._work.pop(0)
        return self._go_on()

    def post(self, r: int, cell: bytes) -> None:
        """For the phases: put a cell into the message of round r."""
        if r < self.round or (r == self.round and self._has_sent):
            self.refuse("late-cell")
            return
        cells = self._outgoing.setdefault(r, [])
        if len(cells) >= self.plan.phase(r).capacity:
            self.refuse("congested")
        else:
            cells.append(cell)

    def keep(self, raw: bytes, sender: int | None = None) -> str | None:
        """For the phases: keep a tuple that this node is a proxy of; `sender`, if known, must be
        another. Returns the reason if it is refused."""
        reason = tuples.keep(self.plan, self.own_id, self.tuples, raw, sender)
        if reason:
            self.refuse(reason)
        return reason

    def keep_only(self, agreed: dict[bytes, bytes]) -> None:
        """For the phases: of the tuples, these are what is left."""
        self.tuples = agreed

    def announce_dead(self, absent: set[int]) -> None:
        """For the phases: these ids, and no others, count as dead from now on."""
        self.absent = absent
        if self.plan.living(absent) < self._least:
            self._give_up("too-few")

    def own_tuple(self, proxies: list[int]) -> bytes:
        """For the phases: return this node's tuple."""
        return self._raw or tuples.make(self.random(IDENTITY), self._value, proxies, self.random(self.plan.seed_bytes))

    def refuse(self, reason: str) -> None:
        """Count what was refused."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def count_missed(self, reason: str, count: int) -> None:
        """For the phases: count what could not be done as it should, as "no-route"."""
        if count:
            self.missed[reason] = self.missed.get(reason, 0) + count

    def _in_tree(self) -> Tree:
        if self._tree is None:
            self._tree = Tree(self.plan, self.own_id, self.absent)
        return self._tree

    def _do(self, call: "Callable[..., Work | None]", *arguments: object) -> None:
        """Call now, or after the work that is there already; what it returns is work."""
        if self._work:
            self._work.append((call, arguments))
        elif not self.done:
            work = call(*arguments)
            if work is not None:
                self._work.append(work)

    def _go_on(self) -> "list[NodeAction]":
        """Go as far as possible without further work or messages. Returns the actions."""
        actions: "list[NodeAction]" = []
        while not self._work and not self.done and self.round >= 0:
            if self.round == self.plan.rounds:
                tree = self._in_tree()
                if tree.ready() or self._passed >= tree.deadline:
                    last = self._close(tree)
                    actions += [last] if last else []
                break
            if not self._has_sent:
                actions.append(self._send())
            if self._has_heard:
                self._leave()
            elif not self._hear():
                break
        return actions

    def _send(self) -> "Send":
        self._has_sent = True
        cells = self._outgoing.pop(self.round, [])
        self.sent += len(cells)
        return node_actions.send(self.round, self.plan.partner(self.own_id, self.round), cells)

    def _hear(self) -> bool:
        cells = self._incoming.pop(self.round, None)
        if cells is None or self._has_heard:
            return False
        self._has_heard = True
        self._do(self._take, self.round, cells)
        return True

    def _leave(self) -> None:
        if self.round + 1 == self.plan.phase(self.round).end:
            self._do(self._end)
        self._enter()

    def _enter(self) -> None:
        self.round += 1
        self._has_sent = self._has_heard = False
        if self.round == self.plan.rounds:
            self._do(self._count)
            return
        phase = self.plan.phase(self.round)
        if phase is not self._phase:
            self._phase = phase
            self._do(self._begin, phase)
        self._do(self._enter_phase, self.round)

    def _begin(self, phase: "Phase") -> None:
        self._running = load(phase.name)(self, phase, self._running)

    # Looked up when their turn has come: the phase may be another by then.
    def _enter_phase(self, r: int) -> "Work | None":
        assert self._running
        return self._running.enter(r)

    def _take(self, r: int, cells: list[bytes]) -> "Work | None":
        assert self._running
        return self._running.take(r, cells)

    def _end(self) -> "Work | None":
        assert self._running
        return self._running.end()

    def _count(self) -> None:
        self._in_tree().add(self.tuples.values(), self._clause)

    def _close(self, tree: Tree) -> "Partial | Result | None":
        last = tree.outcome(self._finish, self._least)
        if last:
            self.done = True
        else:
            self._give_up("too-few")
        return last

    def _is_alone(self) -> bool:
        """Its predecessor was not heard. Were more of them missed than may fail, or are too few
        left? Then what leaves is hardly mixed: fall silent, so that successors miss it, too."""
        silent = self.plan.predecessor(self.own_id, self.round)
        if silent not in self.absent:
            self._unheard.add(silent)
        heard = self.plan.living(self.absent | self._unheard)
        if len(self._unheard) > self.plan.silent_most or heard < self._least:
            self._give_up("isolated")
        return self.done

    def _give_up(self, reason: str) -> None:
        self.done = True
        self._work = []
        self.refuse(reason)
