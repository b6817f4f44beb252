"""Rounds that a gateway has missed, as the coordinator tells them again: each is authenticated,
with the roster of its epoch, or refused. No I/O."""

from collections import Counter
from dataclasses import dataclass

from agent.protocols.base import Refused
from agent.wire import topics
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError
from broker.client.access import Access, Group, read_group
from broker.client.asking import Send
from broker.client.members import Watch
from broker.client.results import RoundResult, open_result
from broker.wire import channel, past
from broker.wire.past import Recall


@dataclass(frozen=True)
class PastRound:
    """A round that was over before: its result and the group of its epoch; when it opened and
    closed, Unix seconds, by the coordinator's clock; and how many more are told after it before
    others have to be asked for."""

    group: Group
    result: RoundResult
    opened: float
    closed: float
    left: int


class Past:
    """Reads rounds that were asked for, of the groups whose result keys `access` has; what is
    refused is counted in `refused`, by named reason. `watch` knows the groups' rosters that are in
    force, and by which keys a coordinator and its gateway speak."""

    def __init__(self, access: Access, watch: Watch) -> None:
        self.refused: Counter[str] = Counter()
        self._access = access
        self._watch = watch
        self._former: dict[str, Group] = {}  # of each group the last one that was told

    def filters(self) -> list[str]:
        """Return the topic filters to subscribe to, in this order."""
        return [topics.group(self._access.deployment, "+", kind) for kind in (channel.PAST_ROSTER, channel.PAST)]

    def recall(self, group: str, epoch: int, number: int) -> Send | None:
        """Return how a group's rounds are asked for, from the `number`-th of `epoch` on; None as
        long as its coordinator is not known."""
        gate = self._watch.channel_of(group)
        if gate is None:
            return None
        sealed = gate.seal(channel.RECALL, group, 0, Recall(epoch, number).encode())
        return Send(channel.topic(gate.deployment, group, channel.RECALL), sealed)

    def reads(self, topic: str) -> bool:
        """Tell whether what comes by `topic` is for it."""
        match topics.split(topic):
            case [self._access.deployment, "g", _, channel.PAST, *_]:
                return True
        return False

    def take(self, topic: str, payload: bytes) -> PastRound | None:
        """Take a message, and return the round that it brings, if any."""
        try:
            match topics.split(topic):
                case [self._access.deployment, "g", name, channel.PAST, "roster"]:
                    self._take_roster(name, payload)
                    return None
                case [self._access.deployment, "g", name, channel.PAST]:
                    return self._take_round(name, payload)
                case _:
                    raise Refused("wrong-topic")
        except (Refused, EnvelopeError, MessageError) as error:
            self.refused[error.args[0]] += 1
            return None

    def _take_roster(self, name: str, payload: bytes) -> None:
        if self._watch.group(name) is None:
            raise Refused("unknown-group")
        self._former[name] = read_group(self._access, name, payload)

    def _take_round(self, name: str, payload: bytes) -> PastRound:
        gate, key = self._watch.channel_of(name), self._access.key_of(name)
        if gate is None or key is None:
            raise Refused("unknown-group")
        epoch, plain = gate.open(channel.PAST, name, payload)
        told = past.read_past(plain)
        known = (self._watch.group(name), self._former.get(name))
        group = next((one for one in known if one and one.epoch == epoch), None)
        if group is None:
            raise Refused("wrong-epoch")
        result = open_result(group, key, told.result)
        if not isinstance(result, RoundResult):
            raise Refused("malformed")
        return PastRound(group, result, float(told.opened_at), float(told.closed_at), told.left)
