"""What the gateway recalls: rounds that were over while it was away, as they were published."""

from agent.protocols.base import Refused as EnvelopeRefused
from agent.wire import topics
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError
from broker.coordinator.actions import Publish
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.base import Published
from broker.storage.storage import Storage
from broker.wire import channel, past
from broker.wire.channel import Channel
from broker.wire.past import BATCH_MOST, Past


def hear(storage: Storage, gate: Channel, group: str, payload: bytes) -> tuple[list[Publish], list[str]]:
    """Take what was said to the topic of recalls of a group; return what is told, BATCH_MOST rounds
    at most, and why it is refused, if it is."""
    try:
        _, plain = gate.open(channel.RECALL, group, payload)
        wanted = past.read_recall(plain)
    except (EnvelopeRefused, EnvelopeError, MessageError) as error:
        return [], [error.args[0]]
    found: list[Published] = []
    for declaration in registry.declarations():
        if declaration.past and not found:
            found = storage.read(declaration.past, group, wanted.epoch, wanted.round, BATCH_MOST)
    in_force = storage.epochs().get(group)
    actions = []
    for index, one in enumerate(found):
        # The broker keeps the roster that is in force; of the others it knows nothing any more.
        if one.epoch != in_force and (not index or found[index - 1].epoch != one.epoch):
            actions.append(Publish(topics.group(gate.deployment, group, channel.PAST_ROSTER), one.roster))
        told = Past(int(one.opened_at), int(one.closed_at), len(found) - index - 1, one.result)
        sealed = gate.seal(channel.PAST, group, one.epoch, told.encode())
        actions.append(Publish(channel.topic(gate.deployment, group, channel.PAST), sealed))
    return actions, []
