"""A query of some nodes in one process: secrets that are none, and messages that arrive at once.
For the shared tests."""

from agent.protocols.gossip import functions, node_actions
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion import onion
from agent.protocols.gossip.overlay.sizes import SEAL
from agent.protocols.gossip.plan import Plan


class Drawn:
    """Random bytes that are the same in every run and on both interpreters (xorshift32)."""

    def __init__(self, seed):
        self._state = seed * 2654435761 % 0xFFFFFFFF + 1

    def __call__(self, count):
        out = bytearray(count)
        for i in range(count):
            x = self._state
            x ^= x << 13 & 0xFFFFFFFF
            x ^= x >> 17
            x ^= x << 5 & 0xFFFFFFFF
            self._state = x
            out[i] = x >> 11 & 255
        return bytes(out)


class Open:
    """The `secrets` of a Node in the clear, of the real sizes: layer (9 bytes) | hop | hops | (id,
    round) of each | payload."""

    def __init__(self, own, random):
        self._own = own
        self._random = random

    def onion(self, path, rounds, payload, hops_most):
        yield
        if len(path) > hops_most or len(rounds) + 1 != len(path):
            raise ValueError("path")
        cell = b"\x02" + self._random(8) + bytes([0, len(path)])
        for node, r in zip(path, rounds + [255]):
            cell += node.to_bytes(2, "big") + bytes([r])
        cell += payload
        return cell + bytes(onion.size(hops_most, len(payload)) - len(cell))

    def peel(self, cell, hops_most, payload_size):
        yield
        at = 11 + 3 * cell[9]
        if cell[at : at + 2] != self._own.to_bytes(2, "big"):
            raise onion.OnionError("bad-tag")
        if cell[9] + 1 == cell[10]:
            return None, cell[at + 3 : at + 3 + payload_size]
        return cell[at + 2], cell[:8] + bytes([cell[8] + 1 & 255, cell[9] + 1]) + cell[10:]

    def seal(self, to, part, payload):
        return payload + (part + to.to_bytes(2, "big"))[:9] + bytes(SEAL - 9)

    def open(self, sender, part, sealed):
        end = len(sealed) - SEAL
        return sealed[:end] if sealed[end:] == part + self._own.to_bytes(2, "big") + bytes(SEAL - 9) else None


class Street:
    """`members` nodes with the values i*i - 20, one query. `sent` are all messages: (round, from,
    to, bytes); `results` by group."""

    def __init__(self, protocol, members, tolerate, query="sum", parameters=None, seed=1, values=None, later=2):
        function = functions.load(query, parameters)
        self.plan = Plan(protocol, seed, members, tolerate, function, later)
        self.values = values or [i * i - 20 for i in range(members)]
        self.nodes = []
        for own in range(self.plan.n):
            value = function.admit(self.values[own]) if own < members else None
            random = Drawn(1000 * seed + own)
            self.nodes.append(Node(self.plan, own, value, Open(own, random), random))
        self.dead = set()
        self.sent = []
        self.results = {}
        self._waiting = []

    def run(self, dies_in=None):
        """Run the query; `dies_in` is a dict: node -> the round that it does not send in any more.
        Returns the results."""
        dies_in = dies_in or {}
        for node in self.nodes:
            self._carry(node, node.start(), dies_in)
        self._deliver(dies_in)
        for r in range(self.plan.deadlines):
            for node in self.nodes:
                if node.own_id not in self.dead:
                    self._carry(node, node.elapsed(r), dies_in)
            self._deliver(dies_in)
        return self.results

    def _deliver(self, dies_in):
        while self._waiting:
            node, event, first, second = self._waiting.pop(0)
            if node.own_id not in self.dead:
                self._carry(node, getattr(node, event)(first, second), dies_in)

    def _carry(self, node, actions, dies_in):
        while actions is not None and node.own_id not in self.dead:
            for action in actions:
                self._act(node, action, dies_in)
            actions = node.idle()

    def _act(self, node, action, dies_in):
        if action[0] == node_actions.SEND and action[1] >= dies_in.get(node.own_id, 999):
            self.dead.add(node.own_id)
        if node.own_id in self.dead:
            return
        if action[0] == node_actions.SEND:
            _, r, partner, cells = action
            message = self.plan.pack(cells)
            self.sent.append((r, node.own_id, partner, len(message)))
            self._waiting.append((self.nodes[partner], "cells", r, self.plan.unpack(r, message)))
        elif action[0] == node_actions.PARTIAL:
            self._waiting.append((self.nodes[action[1]], "partial", node.own_id, action[2]))
        else:
            self.results[self.plan.group_of(node.own_id)] = action[1]
