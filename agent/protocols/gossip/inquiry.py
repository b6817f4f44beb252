"""One query at one board: its virtual ids, what arrives for them and what they send."""

from agent.protocols.base import Refused, actions
from agent.protocols.gossip import mail
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion.secrets import Secrets
from agent.wire import queries, topics
from agent.wire.envelope import seal

AGGREGATE_NONCE = 4


def aggregate_nonce(leader, number):
    """Return the 13-byte nonce of a result: kind, zeros, the leader's virtual id, the query's
    number. There is one of each."""
    return bytes([AGGREGATE_NONCE]) + bytes(6) + leader.to_bytes(2, "big") + number.to_bytes(4, "big")


class Inquiry:
    """A query that has come: `plan` is its Plan, `text` the digest of what all were asked; `ended`
    from the last deadline on, when there is nothing left to do.

    Events return lists of the machine's actions. `sent` counts the messages that left the board."""

    def __init__(self, group, keys, admitted):
        self.plan = plan = admitted.plan
        self.number = plan.number
        self.text = admitted.text
        self._admitted = admitted
        self.ended = False
        self.sent = 0
        self._group = group
        self._keys = keys
        self._nodes = {}
        self._over = False

    def begin(self, value, random, absent, layers, draws, raw=None, genuine=None):
        """Take part with `value`, an int, with its noise if any, or None where the query does not
        cover this board's reading.

        `absent` are the virtual ids announced dead; `draws` maps this board's virtual ids to what
        was drawn ahead for them. The rest is for gossip-bft: this board's tuple (None: none was
        signed), and what tells a genuine one.
        """
        clause, finish = self._admitted.clause, self._admitted.finish(layers.context)
        for own in self._group.own_nodes(self.plan.n):
            secrets = Secrets(self._group, self._keys, layers, own)
            given = value if own == self._group.index else None
            signed = raw if own == self._group.index else None
            node = Node(self.plan, own, given, secrets, random, absent, draws.get(own), signed, genuine, clause, finish)
            node.has_tuple = node.has_tuple and (not genuine or signed is not None)
            self._nodes[own] = node
        actions = []
        for own, node in self._nodes.items():
            actions += self._deeds(own, node.start())
        return actions

    def take(self, peer, letter):
        """Take a Mail from the member with index `peer`. Raises Refused unless it is prescribed."""
        plan, group = self.plan, self._group
        node = self._nodes.get(letter.receiver)
        if not node or letter.sender >= plan.n or group.member(letter.sender) != peer:
            raise Refused("wrong-node")
        if letter.kind == mail.PARTIAL:
            if len(letter.payload) != plan.partial_size:
                raise Refused("malformed")
            return self._deeds(letter.receiver, node.partial(letter.sender, letter.payload))
        if letter.r >= plan.rounds or plan.predecessor(letter.receiver, letter.r) != letter.sender:
            raise Refused("wrong-partner")
        cells = plan.unpack(letter.r, letter.payload)
        if cells is None:
            raise Refused("malformed")
        return self._deeds(letter.receiver, node.cells(letter.r, cells))

    def elapsed(self, r):
        """The deadline of round r has passed; those after the plan's rounds are the tree's."""
        actions = []
        for own, node in self._nodes.items():
            actions += self._deeds(own, node.elapsed(r))
        self._over = r + 1 >= self.plan.deadlines
        return actions

    def idle(self):
        """Do one short step; None if there is nothing to do."""
        for own, node in self._nodes.items():
            actions = node.idle()
            if actions is not None:
                return self._deeds(own, actions)
        self.ended = self._over or all(node.done for node in self._nodes.values())
        return None

    def refused(self):
        """Return how often each named reason to refuse a cell came up."""
        total = {}  # type: ignore[var-annotated]
        for node in self._nodes.values():
            for reason, count in node.refused.items():
                total[reason] = total.get(reason, 0) + count
        return total

    def _deeds(self, own, actions):
        """Turn what the node `own` wants into the machine's actions; what is for another virtual id
        of this board stays here."""
        done = []
        waiting = [(own, action) for action in actions]
        while waiting:
            own, action = waiting.pop(0)
            if action[0] == "send":
                _, r, to, cells = action
                if to in self._nodes:
                    waiting += [(to, more) for more in self._nodes[to].cells(r, cells)]
                else:
                    done.append(self._post(mail.CELLS, r, own, to, self.plan.pack(cells)))
            elif action[0] == "partial":
                _, to, data = action
                if to in self._nodes:
                    waiting += [(to, more) for more in self._nodes[to].partial(own, data)]
                else:
                    done.append(self._post(mail.PARTIAL, 0, own, to, data))
            else:
                done.append(self._result(own, action[1]))
        return done

    def _post(self, kind, r, own, to, payload):
        self.sent += 1
        return mail.post(self._group, self._keys, kind, self.number, r, own, to, payload, self.text)

    def _result(self, own, data):
        self.sent += 1
        group = self._group
        sealed = seal(
            self._keys.round_key,
            aggregate_nonce(own, self.number),
            group.context("aggregate", self.number),
            queries.aggregate(own, data),
        )
        identity = group.identity
        return actions.publish(
            topics.up(identity.deployment, identity.group, identity.device, "aggregate"), sealed, False
        )
