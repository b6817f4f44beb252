"""One virtual id in one query: a machine without a clock, a radio or a task of its own (sans-IO).

    start -> round 0 -> ... -> round plan.rounds-1 -> tree -> done

In round r a node enters the round (its part of the protocol may have cells to send), sends one
message to its partner, and leaves when its predecessor's message of round r has been worked
through, or when elapsed(r) says that its deadline passed, whichever is first.

Deadlines are a schedule: the runtime calls elapsed(r) at T0 + (r+1)*D, where T0 is when the node
got the query. Delays do not add up, and D >= latency + skew of T0 is enough for no message of a
living node to be late: by elapsed(r-1) a node enters round r at T0 + r*D at the latest, its message
is with its partner at T0 + r*D + latency, and the partner waits until T0' + (r+1)*D >= T0 - skew +
(r+1)*D. By induction no round needs more than its own D, however many nodes are dead. Who is ahead
of the schedule is bounded too: a message may come `plan.ahead` rounds early.

Source: paper, sections 4.2 (one message in every round) and 4.3.
"""

from agent.protocols.gossip.onion import tuples
from agent.protocols.gossip.onion.onion import OnionError
from agent.protocols.gossip.overlay.sizes import IDENTITY
from agent.protocols.gossip.phases.catalogue import part
from agent.protocols.gossip.phases.tree import Tree


class Node:
    """See the module. Events return a list of actions:

    ("send", r, partner, [cells])   the one message of round r: plan.pack, seal, mail to the partner
    ("partial", parent, bytes)      by mail
    ("result", bytes)               a leader's, for the coordinator: agent/protocols/gossip/results.py

    After start() and after every other event, idle() is to be called until it returns None: each
    call is one short step. What remains to be done may hold up a message until then, or until its
    deadline.

    `round` is -1 before start, plan.rounds in the tree; `done` when nothing more comes; `sent`
    counts cells; `refused` is a dict, reason -> count; `missed` a dict of what could not be sent as
    it should.
    """

    def __init__(
        self, plan, own, value, secrets, random, absent=(), draw=None, raw=None, genuine=None, clause=None, finish=None
    ):
        """`own` is 0 to n-1. `value` is what plan.function.admit() returned for the board's
        reading, with noise added where there is noise; None for nothing to tell (a blank tuple is
        sent, and counts as left out). A second id's value is not looked at.

        `secrets` has onion(path, rounds, payload, hops_most), a generator that returns a cell;
        peel(cell, hops_most, payload_size), a generator that returns (round or None, bytes) or
        raises OnionError; seal(to, nonce_part, payload), which adds 16 bytes; open(sender,
        nonce_part, data) that returns bytes or None. random(k) returns k random bytes. `absent` are
        ids announced dead with the query. `draw` is what shuffle.draw() returned, if layers were
        made ahead, and `raw` this node's tuple to the proxies of `draw`, if it had to be signed
        ahead. genuine(tuple) is a generator that returns whether its proof holds. `clause` is the
        range (low, high) outside of which a value counts as left out in the tree, whatever its
        board says. finish(count, seed, state) returns the state that a leader sends (noise).
        """
        self.plan = plan
        self.own = own
        self.secrets = secrets
        self.random = random
        self.absent = set(absent)
        self.draw = draw
        self.round = -1
        self.done = False
        self.has_tuple = own < plan.members
        self.tuples = {}  # key(tuple) -> tuple
        self.refused = {}
        self.missed = {}
        self.sent = 0
        self._value = value
        self._raw = raw
        self.genuine = genuine
        self._clause = clause
        self._finish = finish
        self._phase = self._part = self._tree = None
        self._work = []  # generators, and calls that wait for their turn
        self._outgoing = {}  # round -> cells, of the rounds to come
        self._incoming = {}  # round -> cells, not worked through
        self._has_sent = self._has_heard = False
        self._passed = -1
        self._layers = set()

    def start(self):
        """Begin the query."""
        self._enter()
        return self._go_on()

    def cells(self, r, cells):
        """The predecessor's message of round r came: the shell has checked who sent it and what it
        says it is."""
        if r < self.round or self.round == self.plan.rounds:
            self.refuse("late")
        elif r == self.round and self._has_heard:
            self.refuse("duplicate")
        elif r > max(self.round, 0) + self.plan.ahead or r >= self.plan.rounds:
            self.refuse("too-early")
        elif r in self._incoming:
            self.refuse("duplicate")
        elif not self._well_formed(r, cells):
            self.refuse("malformed")
        else:
            self._incoming[r] = cells
        return self._go_on()

    def elapsed(self, r):
        """The deadline of round r passed, 0 to plan.deadlines-1, at T0 + (r+1)*D."""
        actions = []
        self._passed = r
        while 0 <= self.round <= r and self.round < self.plan.rounds:
            if not self._has_sent:
                actions.append(self._send())
            self._hear()
            self._leave()
        return actions + self._go_on()

    def partial(self, sender, data):
        """A partial result came from the virtual id `sender`."""
        if self.round < 0 or (self._phase and self._phase.name == "survey"):
            self.refuse("too-early")
            return []
        reason = self._place().partial(sender, data)
        if reason:
            self.refuse(reason)
        return self._go_on()

    def idle(self):
        """Do one short step. Returns actions, None if there is nothing to do."""
        if not self._work:
            return None
        first = self._work[0]
        if isinstance(first, tuple):
            self._work[0:1] = [work for work in (first[0](*first[1:]),) if work is not None]
        else:
            try:
                next(first)
                return []
            except StopIteration:
                self._work.pop(0)
        return self._go_on()

    def post(self, r, cell):
        """For the parts: put a cell into the message of round r."""
        if r < self.round or (r == self.round and self._has_sent):
            self.refuse("late-cell")
            return
        cells = self._outgoing.setdefault(r, [])
        if len(cells) >= self.plan.phase(r).capacity:
            self.refuse("congested")
        else:
            cells.append(cell)

    def peel(self, cell, hops_most, payload_size):
        """For the parts, a generator: return (round or None, bytes), or None for what is refused.
        No layer is peeled twice.
        """
        layer = cell[1 : IDENTITY + 1]  # without the sign: a point and its negative differ in that alone
        if layer in self._layers:
            self.refuse("duplicate")
            return None
        try:
            peeled = yield from self.secrets.peel(cell, hops_most, payload_size)
        except OnionError as error:
            self.refuse(error.reason)
            return None
        self._layers.add(layer)
        return peeled

    def keep(self, raw, sender=None):
        """For the parts: keep a tuple that this node is a proxy of; `sender`, if known, must be
        another. Returns the reason if it is refused.
        """
        reason = tuples.refusal(self.plan, self.own, raw)
        if reason is None and sender is not None and sender not in tuples.proxies_of(self.plan, raw):
            reason = "not-a-proxy"
        key = self.key(raw)
        known = self.tuples.get(key)
        if reason is None and known is None:
            if len(self.tuples) >= self.plan.tuples_most:
                reason = "too-many"
            else:
                self.tuples[key] = bytes(raw)
        elif reason is None and known != raw:
            reason = "conflicting"
        if reason:
            self.refuse(reason)
        return reason

    def key(self, raw):
        """For the parts: return what a tuple is known by: its identity, or where a board may lie
        its whole content."""
        if not self.plan.proof_bytes:
            return bytes(raw[:IDENTITY])
        from agent.protocols.gossip.phases.agreement import key

        return key(self.plan, raw)

    def own_tuple(self, proxies):
        """For the parts: return this node's tuple."""
        return self._raw or tuples.make(self.random(IDENTITY), self._value, proxies, self.random(self.plan.seed_bytes))

    def refuse(self, reason):
        """Count what was refused."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def count_missed(self, reason, count):
        """For the parts: count what this node could not do as it should ("no-route",
        "shared-route")."""
        if count:
            self.missed[reason] = self.missed.get(reason, 0) + count

    def _well_formed(self, r, cells):
        phase = self.plan.phase(r)
        return len(cells) <= phase.capacity and all(len(cell) == phase.cell_size for cell in cells)

    def _place(self):
        if self._tree is None:
            self._tree = Tree(self.plan, self.own, self.absent)
        return self._tree

    def _do(self, call, *arguments):
        """Call now, or after the work that is there already; what it returns is work."""
        if self._work:
            self._work.append((call,) + arguments)
            return
        work = call(*arguments)
        if work is not None:
            self._work.append(work)

    def _go_on(self):
        """Go as far as possible without further work or messages. Returns the actions."""
        actions = []
        while not self._work and not self.done and self.round >= 0:
            if self.round == self.plan.rounds:
                if self._tree.ready() or self._passed >= self._tree.deadline:
                    actions.append(self._close())
                break
            if not self._has_sent:
                actions.append(self._send())
            if self._has_heard:
                self._leave()
            elif not self._hear():
                break
        return actions

    def _send(self):
        self._has_sent = True
        cells = self._outgoing.pop(self.round, [])
        self.sent += len(cells)
        return "send", self.round, self.plan.partner(self.own, self.round), cells

    def _hear(self):
        cells = self._incoming.pop(self.round, None)
        if cells is None or self._has_heard:
            return False
        self._has_heard = True
        self._do(self._take, self.round, cells)
        return True

    def _leave(self):
        if self.round + 1 == self._phase.end:
            self._do(self._end)
        self._enter()

    def _enter(self):
        self.round += 1
        self._has_sent = self._has_heard = False
        if self.round == self.plan.rounds:
            self._do(self._count)
            return
        phase = self.plan.phase(self.round)
        if phase is not self._phase:
            self._phase = phase
            self._do(self._begin, phase)
        self._do(self._enter_part, self.round)

    def _begin(self, phase):
        self._part = part(phase.name)(self, phase, self._part)

    # Looked up when their turn has come: the part may have changed by then.
    def _enter_part(self, r):
        return self._part.enter(r)

    def _take(self, r, cells):
        return self._part.take(r, cells)

    def _end(self):
        return self._part.end()

    def _count(self):
        self._place().add(self.tuples.values(), self._clause)

    def _close(self):
        self.done = True
        data = self._tree.close(self._finish)
        if self._tree.parent is not None:
            return "partial", self._tree.parent, data
        expected = len([v for v in range(self.plan.members) if v not in self.absent])
        return "result", expected.to_bytes(2, "big") + data
