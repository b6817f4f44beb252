"""Whatever a broker makes of what coordinator and gateway say to each other, and whatever the other
end says if it was broken into: it is refused by name, and changes nothing."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.crypto import accelerate, p256
from broker.client.members import RequestTold
from broker.client.past import PastRound
from broker.wire import channel, past
from broker.wire.channel import Channel
from host_sim.fuzz.mutations import Mutator
from tests.broker.gateway.office import Asker, Office
from tests.broker.gateway.test_missed import Coordinator, Reading
from tests.broker.gateway.test_requests import SUM
from tests.support.client_town import Town
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


def test_mutants_of_past_rounds_are_refused(tmp_path: Path) -> None:
    town = Town(tmp_path / "town")
    recorded = Coordinator(tmp_path, town)
    recorded.close()
    reading = Reading(town)
    reading.watch.take(town.topic("roster"), town.roster())
    send = reading.past.recall("street", 1, 0)
    assert send
    (told,), _ = recorded.hear(reading.public, send.payload)
    assert isinstance(reading.take(told.topic, told.payload), PastRound)
    mutator = Mutator(random.Random(3))
    coordinator = Channel("town", town.private, reading.public, is_gateway=False)
    plain = past.Past(1, 2, 0, recorded.newest).encode()
    reasons = {"malformed", "bad-tag", "oversized", "bad-signature", "wrong-epoch", "wrong-roster"}
    for _ in range(MUTANTS):
        changed = mutator.octets(told.payload)
        assert changed == told.payload or reading.take(told.topic, changed) in reasons
        inside = mutator.octets(plain)[: channel.MESSAGE_MOST - 200]
        found = reading.take(told.topic, coordinator.seal(channel.PAST, "street", 1, inside))
        assert found.result.sums == [1, 0] if isinstance(found, PastRound) else found in reasons
        roster = mutator.octets(town.roster())
        found = reading.take(channel.topic("town", "street", channel.PAST_ROSTER), roster)
        # Who has a signature can make the other one of the same: it signs nothing else.
        assert found in reasons or reading.past._former["street"].digest == town.scopes["street"].digest
