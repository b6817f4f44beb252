"""Agreement of gossip-bft: the proxies of a tuple agree whether it is counted, even if up to
`faults` virtual ids are Byzantine.

After Shuffle come K multicasts. In the k-th a proxy that holds a tuple with k-1 valid signatures of
other proxies of it (k = 1: it got the tuple in Shuffle) adds its own and sends the tuple with k
signatures to all other proxies, once for each tuple. In the end a tuple is counted with faults+1
signatures or more, else dropped. These are the chains of Dolev and Strong ("Authenticated
algorithms for Byzantine agreement", SIAM J. Comput. 12, 1983); the authority for a tuple's content
is the coordinator's blind signature (agent/protocols/gossip/onion/proof.py), so only its presence
is in question.

Claim: if K = faults+1 and copies between correct nodes arrive, all correct proxies of a tuple
decide alike, and count it if one of them got it in Shuffle. Let c be a correct proxy that signs,
first in multicast k. If k = K its copy has K = faults+1 signatures, and all count the tuple. If k <
K, all correct proxies have k signatures after multicast k, and every one has signed at the latest
in multicast k+1; there are faults+1 of them or more among 2*faults+1 proxies, their copies reach
all, and all count it. And if no correct proxy signs, there are `faults` signatures at most, and
none counts it.

The paper (section 5.2) has two multicasts for any t, and that is not enough. A Byzantine source
that is its own proxy sends the tuple to t correct proxies and withholds its signature in the first
multicast; at the end of the second it shows all t+1 signatures to one more proxy, whose group then
counts the tuple while the others do not, and no t+1 leaders agree. With K < faults+1 of the
multicasts here that takes K Byzantine nodes in as many groups, which deny a result but cannot
falsify one: what faults+1 groups sent alike, a group without Byzantine nodes sent.

How copies arrive. Up to FEW nodes a multicast has n-1 rounds, in which every node meets every other
once (the overlay's uniformity): a copy waits for that round, is authenticated by the link, and no
third node can hold it up, or flood its way. For greater n copies travel as in Echo, sealed; with F
dead of n nodes and m moves a route some mF/n of them get lost, and a tuple needs only faults+1 of
2*faults+1 signatures: at n = 797, F = 10, m = 5 a proxy lacks them with a probability below 1e-8.

A correct node sends nothing that does not hold, so who sends one thing that does not is not
listened to any more, and costs one check. No signature is checked beyond those that are needed.
"""

from agent.protocols.base import overlay
from agent.protocols.gossip.onion import tuples
from agent.protocols.gossip.overlay import routes
from agent.protocols.gossip.overlay.sizes import FEW, ID, ROUNDS_MOST, SEAL
from agent.protocols.gossip.phases import routed_cells, shuffle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.gossip.node import Node
    from agent.protocols.gossip.plan import Phase, Plan
    from agent.protocols.gossip.ports import Random, RunningPhase, Verdict, Work

SIGNATURE = 64
_ENTRY = 1 + SIGNATURE  # the group whose proxy signed, the signature
_COUNTER = 2
_HEAD = ID + _COUNTER
_DRAWS = 4


def multicasts(plan: "Plan") -> list[str]:
    """Return the names of the phases that follow Shuffle: "multicast-1" to "multicast-K"."""
    count = 2
    if plan.n <= FEW:
        room = (ROUNDS_MOST - shuffle.Shuffle.shape(plan)[0]) // (plan.n - 1)
        count = max(2, min(plan.faults + 1, room))
    return ["multicast-%d" % (i + 1) for i in range(count)]


class Multicast:
    """The k-th multicast: stands for a class of phases (agent/protocols/gossip/ports.py)."""

    def __init__(self, k: int) -> None:
        self._k = k

    def shape(self, plan: "Plan") -> tuple[int, int, int]:
        """As in Echo; the capacity is for all tuples in any multicast, or a withheld one could not
        be passed on."""
        copies = plan.groups * (plan.groups - 1)
        cell = plan.tuple_size + _ENTRY * self._k
        if plan.n <= FEW:
            return plan.n - 1, 16 * copies // (plan.n - 1), cell
        return 2 * plan.bits, 6 * copies, routed_cells.size(2 * plan.bits, _HEAD + cell + SEAL)

    def __call__(self, node: "Node", phase: "Phase", before: "RunningPhase | None") -> "Agreement":
        return Agreement(node, phase, before if isinstance(before, Agreement) else None, self._k)


class _Held:
    """A tuple that this node is a proxy of, with the valid signatures known, by group."""

    def __init__(self, raw: bytes, proxies: list[int]) -> None:
        self.raw = raw
        self.proxies = proxies
        self.signatures: dict[int, bytes] = {}


class Agreement:
    """A running phase (agent/protocols/gossip/ports.py): multicast k at one node. A copy: the
    tuple, then k times group and signature, its own first."""

    def __init__(self, node: "Node", phase: "Phase", before: "Agreement | None", k: int) -> None:
        self._node = node
        self._phase = phase
        self._k = k
        self._own_group = node.plan.group_of(node.own_id)
        self._held: dict[bytes, _Held] = before._held if before else self._from_shuffle()
        # Sent what no correct node sends.
        self._ignored: set[int] = before._ignored if before else set()
        self._copied: set[tuple[int, bytes]] = set()  # (sender, key): one copy of a tuple from each
        self._routed = routed_cells.RoutedCells(node, phase) if node.plan.n > FEW else None
        self._opened: list[tuple[int, bytes]] = []  # from whom, the cell

    def _from_shuffle(self) -> dict[bytes, _Held]:
        node = self._node
        held = {}
        for name, raw in node.tuples.items():
            reason = self._refusal(raw)
            if reason:
                node.refuse(reason)
            else:
                held[name] = _Held(raw, tuples.proxies_of(node.plan, raw))
        return held

    def _refusal(self, raw: bytes) -> str | None:
        """Return why this node is no proxy of a tuple, or None. If one left out a group with living
        nodes, groups would differ."""
        node = self._node
        reason = tuples.refusal(node.plan, node.own_id, raw)
        if reason:
            return reason
        for index, proxy in enumerate(tuples.proxies_of(node.plan, raw)):
            if proxy in node.absent:
                return "bad-proxies"
            if proxy == tuples.NOBODY and not all(v in node.absent for v in node.plan.group(index)):
                return "bad-proxies"
        return None

    def enter(self, r: int) -> "Work | None":
        """At the phase's beginning: sign and send."""
        return self._begin() if r == self._phase.first else None

    def _begin(self) -> "Work":
        node = self._node
        counter = 0
        for name, held in list(self._held.items()):
            if self._own_group in held.signatures or len(held.signatures) < self._k - 1:
                continue
            held.signatures[self._own_group] = yield from node.secrets.sign(_signed(name, node.own_id))
            others = [p for p in held.proxies if p not in (node.own_id, tuples.NOBODY)]
            cell = held.raw + self._entries(held)
            for to, route in zip(others, self._routes(others)):
                self._send(to, route, counter, cell)
                counter += 1
                yield

    def _entries(self, held: _Held) -> bytes:
        groups = [self._own_group] + sorted([group for group in held.signatures if group != self._own_group])
        return b"".join([bytes((group,)) + held.signatures[group] for group in groups[: self._k]])

    def _routes(self, others: list[int]) -> list[int]:
        node, phase, plan = self._node, self._phase, self._node.plan
        start = plan.start + phase.first
        if self._routed:
            return [_short_route(node.own_id, to, start, phase.rounds, plan, node.random, node.absent) for to in others]
        return [1 << (overlay.round_of(node.own_id, to, plan.n) - start) % (plan.n - 1) for to in others]

    def _send(self, to: int, route: int, counter: int, cell: bytes) -> None:
        node = self._node
        if not self._routed:
            node.post(self._phase.first + overlay.log2_ceil(route), cell)
        elif route:
            head = node.own_id.to_bytes(ID, "big") + counter.to_bytes(_COUNTER, "big")
            self._routed.post(route, to, head + node.secrets.seal(to, self._nonce(head, to), cell))
        else:
            node.count_missed("no-route", 1)

    def _nonce(self, head: bytes, to: int) -> bytes:
        """Return what no other cell of the query has: phase | counter | from | to."""
        return bytes((self._phase.index,)) + head[ID:] + head[:ID] + to.to_bytes(ID, "big")

    def take(self, r: int, cells: list[bytes]) -> "Work | None":
        """Check what is for this node; forward the rest."""
        if not cells:
            return None
        if not self._routed:
            sender = self._node.plan.predecessor(self._node.own_id, r)
            return self._check([(sender, cell) for cell in cells])
        self._opened = []
        self._routed.take(cells, r, self._open)
        return self._check(self._opened) if self._opened else None

    def _open(self, body: bytes) -> None:
        node = self._node
        sender = int.from_bytes(body[:ID], "big")
        cell = None
        if sender < node.plan.n:
            cell = node.secrets.open(sender, self._nonce(body[:_HEAD], node.own_id), body[_HEAD:])
        if cell is None:
            node.refuse("bad-seal")
        else:
            self._opened.append((sender, cell))

    def _check(self, copies: list[tuple[int, bytes]]) -> "Work":
        for sender, cell in copies:
            if sender in self._ignored:
                self._node.refuse("ignored")
                continue
            reason = yield from self._copy(sender, cell)
            if reason:
                self._ignored.add(sender)
                self._node.refuse(reason)

    def _copy(self, sender: int, cell: bytes) -> "Verdict":
        """Take in a copy. Returns the reason why no correct node can have sent it, or None."""
        node, plan = self._node, self._node.plan
        raw = bytes(cell[: plan.tuple_size])
        name = tuples.digest_of(plan, raw)
        held = self._held.get(name)
        if held and len(held.signatures) > plan.faults:
            return None
        if (sender, name) in self._copied:
            node.refuse("duplicate")  # a relay can do that to a correct sender
            return None
        self._copied.add((sender, name))
        reason = self._refusal(raw) if held is None else None
        if reason:
            return reason
        proxies = held.proxies if held else tuples.proxies_of(plan, raw)
        entries = _read(cell[plan.tuple_size :])
        groups = [group for group, _ in entries]
        if len(set(groups)) < self._k or max(groups) >= plan.groups or proxies[groups[0]] != sender:
            return "bad-chain"
        if held is None:
            if len(self._held) >= plan.tuples_most:
                node.refuse("too-many")
                return None
            if node.genuine and not (yield from node.genuine(raw)):
                return "forged"
            held = self._held[name] = _Held(raw, proxies)
        return (yield from self._signatures(name, held, entries))

    def _signatures(self, name: bytes, held: _Held, entries: list[tuple[int, bytes]]) -> "Verdict":
        for group, signature in entries:
            if len(held.signatures) > self._node.plan.faults:
                break
            if group in held.signatures or group == self._own_group:
                continue
            signer = held.proxies[group]
            if not (yield from self._node.secrets.verify(signer, _signed(name, signer), signature)):
                return "bad-signature"
            held.signatures[group] = signature
        return None

    def end(self) -> None:
        """After the last multicast: leave the node what is agreed on."""
        node = self._node
        if self._phase is not node.plan.phases[-1]:
            return
        agreed = {}
        for name, held in self._held.items():
            if len(held.signatures) > node.plan.faults:
                agreed[name] = held.raw
            else:
                node.refuse("not-agreed")
        node.keep_only(agreed)


def _signed(name: bytes, signer: int) -> bytes:
    """Return what the virtual id `signer` signs; the secrets bind it to the query."""
    return name + signer.to_bytes(ID, "big")


def _read(entries: bytes) -> list[tuple[int, bytes]]:
    return [(entries[at], bytes(entries[at + 1 : at + _ENTRY])) for at in range(0, len(entries), _ENTRY)]


def _short_route(a: int, b: int, start: int, rounds: int, plan: "Plan", random: "Random", absent: set[int]) -> int:
    """Return a route (agent/protocols/gossip/overlay/routes.py) from a to b of few moves, on which
    nobody is `absent`; 0 if none was found.

    It waits at a for some rounds, or all would begin in the first; then the binary form of what is
    left to go leads to b. Copies of a tuple are many and not kept apart: no search for routes that
    are disjoint.
    """
    best = 0
    for wait in random(_DRAWS):
        wait %= rounds - plan.bits + 1
        route = (b - a) * pow(2, -(start + wait) % (plan.n - 1), plan.n) % plan.n << wait
        if best and bin(route).count("1") >= bin(best).count("1"):
            continue
        if not absent or absent.isdisjoint(routes.visited(a, route, start, plan.n)):
            best = route
    return best
