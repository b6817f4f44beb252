"""One query at one board: the board's virtual ids, and the messages that they receive and send."""

from agent.protocols.base import Refused, actions
from agent.protocols.gossip import mail, node_actions
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion.secrets import Secrets
from agent.wire import queries, topics
from agent.wire.envelope import seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Action, Publish
    from agent.protocols.gossip.admission import Admitted
    from agent.protocols.gossip.group import Group
    from agent.protocols.gossip.mail import Mail
    from agent.protocols.gossip.node_actions import NodeAction
    from agent.protocols.gossip.onion.secrets import Layers
    from agent.protocols.gossip.pair_keys import PairKeys
    from agent.protocols.gossip.ports import Draw, Genuine, Random

AGGREGATE_NONCE = 4


def aggregate_nonce(leader: int, number: int) -> bytes:
    """Return the 13-byte nonce of a result: kind, zeros, the leader's virtual id, the query's
    number. There is one of each."""
    return bytes([AGGREGATE_NONCE]) + bytes(6) + leader.to_bytes(2, "big") + number.to_bytes(4, "big")


class Inquiry:
    """A query that has come: `plan` is its Plan, `text` the digest of what all were asked; `ended`
    from the last deadline on, when there is nothing left to do.

    Events return lists of the machine's actions. `sent` counts the messages that left the board."""

    def __init__(self, group: "Group", keys: "PairKeys", admitted: "Admitted") -> None:
        self.plan = plan = admitted.plan
        self.number = plan.number
        self.text = admitted.text
        self._admitted = admitted
        self.ended = False
        self.sent = 0
        self._group = group
        self._keys = keys
        self._nodes: dict[int, Node] = {}
        self._over = False

    def begin(
        self,
        value: int | None,
        random: "Random",
        absent: list[int],
        layers: "Layers",
        draws: "dict[int, Draw]",
        raw: bytes | None = None,
        genuine: "Genuine | None" = None,
    ) -> "list[Action]":
        """Take part with `value`, an int, with its noise if any, or None where the query does not
        cover this board's reading.

        `absent` are the virtual ids announced dead; `draws` maps this board's virtual ids to what
        was drawn ahead for them. The rest is for gossip-bft: this board's tuple (None: none was
        signed), and what tells a genuine one.
        """
        clause, finish = self._admitted.clause, self._admitted.finish(layers.context)
        least = self._group.living_least()
        for own_id in self._group.own_nodes(self.plan.n):
            secrets = Secrets(self._group, self._keys, layers, own_id, self.text)
            given, signed = (value, raw) if own_id == self._group.index else (None, None)
            draw = draws.get(own_id)
            self._nodes[own_id] = Node(
                self.plan, own_id, given, secrets, random, absent, draw, signed, genuine, clause, finish, least
            )
        done = []
        for own_id, node in self._nodes.items():
            done += self._deeds(own_id, node.start())
        return done

    def take(self, peer: int, letter: "Mail") -> "list[Action]":
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

    def elapsed(self, r: int) -> "list[Action]":
        """The deadline of round r has passed; those after the plan's rounds are the tree's."""
        done = []
        for own_id, node in self._nodes.items():
            done += self._deeds(own_id, node.elapsed(r))
        self._over = r + 1 >= self.plan.deadlines
        return done

    def idle(self) -> "list[Action] | None":
        """Do one short step; None if there is nothing to do."""
        for own_id, node in self._nodes.items():
            wanted = node.idle()
            if wanted is not None:
                return self._deeds(own_id, wanted)
        self.ended = self._over or all(node.done for node in self._nodes.values())
        return None

    def refused(self) -> dict[str, int]:
        """Return how often each named reason to refuse a cell came up, or kept one from being sent
        as it should."""
        total: dict[str, int] = {}
        for node in self._nodes.values():
            for counts in (node.refused, node.missed):
                for reason, count in counts.items():
                    total[reason] = total.get(reason, 0) + count
        return total

    def _deeds(self, own_id: int, wanted: "list[NodeAction]") -> "list[Action]":
        """Turn what the node `own_id` wants into the machine's actions; what is for another virtual
        id of this board stays here."""
        done: "list[Action]" = []
        waiting = [(own_id, action) for action in wanted]
        while waiting:
            own_id, action = waiting.pop(0)
            if action[0] == node_actions.SEND:
                _, r, to, cells = action
                if to in self._nodes:
                    waiting += [(to, more) for more in self._nodes[to].cells(r, cells)]
                else:
                    done.append(self._post(mail.CELLS, r, own_id, to, self.plan.pack(cells)))
            elif action[0] == node_actions.PARTIAL:
                _, to, data = action
                if to in self._nodes:
                    waiting += [(to, more) for more in self._nodes[to].partial(own_id, data)]
                else:
                    done.append(self._post(mail.PARTIAL, 0, own_id, to, data))
            else:
                done.append(self._result(own_id, action[1]))
        return done

    def _post(self, kind: int, r: int, own_id: int, to: int, payload: bytes) -> "Publish":
        self.sent += 1
        return mail.post(self._group, self._keys, kind, self.number, r, own_id, to, payload, self.text)

    def _result(self, own_id: int, data: bytes) -> "Publish":
        self.sent += 1
        group = self._group
        sealed = seal(
            self._keys.round_key,
            aggregate_nonce(own_id, self.number),
            group.context("aggregate", self.number),
            queries.aggregate(own_id, data, self.text),
        )
        identity = group.identity
        return actions.publish(
            topics.up(identity.deployment, identity.group, identity.device, "aggregate"), sealed, False
        )
