"""Whatever a broker makes of what coordinator and gateway say to each other, and whatever the other
end says if it was broken into: it is refused by name, and changes nothing."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.crypto import accelerate, p256
from broker.client.members import RequestTold
from broker.wire import channel
from broker.wire.channel import Channel
from host_sim.fuzz.mutations import Mutator
from tests.broker.gateway.office import Asker, Office
from tests.broker.gateway.test_requests import SUM
from tests.support.street_of_askers import DEPLOYMENT, GROUP

MUTANTS = 120


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def test_mutants_of_requests_are_refused_and_nothing_is_asked(tmp_path: Path) -> None:
    office = Office(tmp_path)
    mutator = Mutator(random.Random(1))
    gate = Channel(DEPLOYMENT, office.key, p256.public_key(office.street.coordinator), is_gateway=True)
    asker = Asker(office, replace(SUM, slot="water"))
    asker.ask()
    _, plain = office.gateway._desk._channel.open(channel.ASK, GROUP, asker.payloads[0])
    for _ in range(MUTANTS):
        sealed = mutator.octets(asker.payloads[0])
        if sealed != asker.payloads[0]:
            assert office.hear(sealed)[0] in ("malformed", "bad-tag", "oversized")
        inside = mutator.octets(plain)[: channel.MESSAGE_MOST - 200]
        assert office.hear(gate.seal(channel.ASK, GROUP, 0, inside))
    office.turn()
    assert (office.machine.phase, office.machine.next_round) == ("idle", 1)


def test_mutants_of_what_is_told_are_refused_or_are_in_range(tmp_path: Path) -> None:
    office = Office(tmp_path)
    mutator = Mutator(random.Random(2))
    office.perform(office.gateway.turn(office.machines, 1.0))
    Asker(office, SUM).ask()
    said = [one for one in office.said if "/view/" in one.topic or one.topic.endswith("/told")]
    assert len(said) == 4
    coordinator = Channel(DEPLOYMENT, office.street.coordinator, p256.public_key(office.key), is_gateway=False)
    gate = office.watch.channel_of(GROUP)
    assert gate
    for message in said:
        kind = message.topic.rpartition("/")[2]
        epoch, plain = gate.open(kind, GROUP, message.payload)
        office.watch.take(message.topic, message.payload)
        for _ in range(MUTANTS):
            refused = sum(office.watch.refused.values())
            office.watch.take(message.topic, mutator.octets(message.payload))
            inside = coordinator.seal(kind, GROUP, epoch, mutator.octets(plain)[: channel.MESSAGE_MOST - 200])
            news = office.watch.take(message.topic, inside)
            if news and not isinstance(news[0], RequestTold):
                assert news[0].epoch == 1 and news[0].at >= 0
            assert news or sum(office.watch.refused.values()) >= refused
    assert set(office.watch.refused) <= {"malformed", "bad-tag", "oversized", "replayed"}
