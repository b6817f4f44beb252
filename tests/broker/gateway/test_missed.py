"""Rounds that were over while the gateway was away are had from the coordinator, in their order and
before the next one, so that totals miss nothing; nobody else can tell any."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.wire import coordination
from broker.client.access import read_group
from broker.client.members import Watch
from broker.client.past import Past, PastRound
from broker.client.results import RoundResult
from broker.coordinator.actions import Publish
from broker.coordinator.gateway import recalled, tables
from broker.coordinator.protocols.private_sum.records import Attendance, CloseRound, OpenRound
from broker.gateway import feed as module
from broker.gateway.book import rounds
from broker.gateway.keeping import keeper, missed
from broker.gateway.keeping.missed import TRIES_MOST, Missed, Recall, Seen
from broker.storage.storage import Storage
from broker.wire import channel
from broker.wire import past as payloads
from broker.wire.channel import Channel
from broker.wire.past import BATCH_MOST
from tests.broker.gateway.test_feed import Played, Scene, play
from tests.support.client_town import NAMES, Town

ATTENDANCE = Attendance({}, True, [], [], 3, 5)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, seconds in (("KEYS_S", 0.02), ("RETRY_S", 0.02)):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(keeper, "AGAIN_S", 0.02)
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Coordinator:
    """What a coordinator has recorded of the town's street: of the n-th of its rounds that are
    `summed` the sums are n + 1 and -n."""

    def __init__(self, folder: Path, town: Town) -> None:
        self.storage = Storage(folder / "coordinator.db", tables.schemas())
        self.town = town
        self.count = 0
        self.next = 0
        self.newest = b""
        self.adopt()

    def adopt(self) -> None:
        scope = self.town.scopes["street"]
        self.storage.keep_roster("street", scope.epoch, scope.signed_roster)
        self.next = 0

    def close(self, summed: bool = True) -> None:
        """One more round is over."""
        sums = [self.count + 1, -self.count] if summed else None
        self.count += summed
        epoch = self.town.scopes["street"].epoch
        self.newest = self.town.result(self.next, sums, ["b4"])
        status = coordination.COMPLETE if summed else coordination.INCOMPLETE
        end = (status, ["b4"] if summed else NAMES, sums, self.newest, 1.0, [], 0, None, ATTENDANCE)
        opened = OpenRound("street", epoch, self.next, b"o", 0)
        self.storage.commit([opened, CloseRound("street", epoch, self.next, *end)], {})
        self.next += 1

    def hear(self, gateway: bytes, payload: bytes) -> tuple[list[Publish], list[str]]:
        gate = Channel("town", self.town.private, gateway, is_gateway=False)
        return recalled.hear(self.storage, gate, "street", payload)


class Answered(Played):
    """A link at whose other end the coordinator answers recalls."""

    coordinator: Coordinator
    gateway: bytes

    def hear(self, topic: str, payload: bytes) -> None:
        assert topic == channel.topic("town", "street", channel.RECALL)
        told, refused = self.coordinator.hear(self.gateway, payload)
        assert not refused and not any(one.retain for one in told)
        for one in told:
            for queue in self.heard:
                queue.put_nowait((one.topic, one.payload))


def answered(scene: Scene, coordinator: Coordinator) -> None:
    link = Answered()
    object.__setattr__(link, "coordinator", coordinator)
    object.__setattr__(link, "gateway", scene.public)
    link.retained.update(scene.link.retained)
    scene.link = link
    scene.feed._link = link


def test_rounds_that_were_over_meanwhile_are_in_the_totals_whatever_epoch_they_are_of(tmp_path: Path) -> None:
    coordinators: list[Coordinator] = []

    async def act(scene: Scene) -> None:
        coordinator = Coordinator(tmp_path, scene.town)
        coordinators.append(coordinator)
        answered(scene, coordinator)
        scene.key()
        scene.roster()
        coordinator.close()
        scene.link.say(scene.town.topic("result"), coordinator.newest)
        assert await scene.told(1) == ["1.0"]
        # The gateway hears nothing for a while: two batches and more, an epoch's end, rounds without a sum.
        for number in range(2 * BATCH_MOST + 3):
            coordinator.close(summed=number % 5 != 0)
        scene.town.sign("street")
        coordinator.adopt()
        for _ in range(4):
            coordinator.close()
        scene.roster()
        scene.link.say(scene.town.topic("result"), coordinator.newest)
        told = await scene.told(1 + 2 * BATCH_MOST + 3 + 4)
        assert told == [f"1.{number}" for number in range(2 * BATCH_MOST + 4)] + [f"2.{number}" for number in range(4)]
        coordinator.close()
        scene.link.say(scene.town.topic("result"), coordinator.newest)
        await scene.told(len(told) + 1)
        assert not scene.feed.refused

    scene = play(tmp_path, act)
    (coordinator,) = coordinators
    last, standing = scene.book.read(rounds.last, "street"), scene.book.read(rounds.standing, "street")
    assert last is not None and standing is not None
    n = coordinator.count
    assert last.total == {"load": n * (n + 1) // 2, "feed-in": -n * (n - 1) // 2} and standing.unseen == 0
    former = scene.book.read(rounds.one, "street", 1, 7)
    assert former is not None and former.members == tuple(NAMES) and former.opened is not None


def test_what_a_key_that_came_has_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        coordinator = Coordinator(tmp_path, scene.town)
        scene.key()
        scene.roster()
        coordinator.close()
        scene.link.say(scene.town.topic("result"), coordinator.newest)
        assert await scene.told(1) == ["1.0"]
        for _ in range(5):
            coordinator.close()
        scene.link.say(scene.town.topic("result"), coordinator.newest)
        await scene.until(lambda: scene.link.said)  # and nobody answers
        answered(scene, coordinator)
        scene.key("lane")  # so what comes is read anew
        assert await scene.told(6) == [f"1.{number}" for number in range(6)]

    standing = play(tmp_path, act).book.read(rounds.standing, "street")
    assert standing is not None and standing.unseen == 0


def test_without_an_answer_the_newest_round_is_kept_and_the_others_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "RETRY_S", 0.01)

    async def act(scene: Scene) -> None:
        scene.key()
        scene.roster()
        scene.result(3, 7, -8)
        await scene.told(1)
        scene.result(6, 9, -1)
        await scene.until(lambda: scene.link.said)
        await asyncio.sleep(0.3)  # of looks each 0.02 s: it waits for who could answer
        assert scene.hub.last == 1 and len(scene.link.said) == 1
        scene.coordinator()
        assert await scene.told(2) == ["1.3", "1.6"]
        asked = [topic for topic, _ in scene.link.said]
        assert asked == [channel.topic("town", "street", channel.RECALL)] * TRIES_MOST

    standing = play(tmp_path, act).book.read(rounds.standing, "street")
    assert standing is not None and standing.unseen == 2


def seen(epoch: int, number: int, town: Town) -> Seen:
    group = read_group(town.access, "street", town.roster())
    return Seen(group, RoundResult("street", epoch, number, "complete", ["load"], [1], []), None, 0.0)


def test_a_round_waits_for_those_before_it_and_no_longer_than_they_can_be_had(tmp_path: Path) -> None:
    town = Town(tmp_path)
    machine = Missed()
    first, second, fifth, sixth = (seen(1, number, town) for number in (1, 2, 5, 6))
    assert machine.heard(first, None, 0) == [first]  # totals begin with the first round that is seen
    assert machine.heard(second, (1, 1), 0) == [second]
    assert machine.heard(first, (1, 2), 0) == [first]  # whoever keeps it knows it
    assert machine.heard(fifth, (1, 2), 0) == [Recall("street", 1, 3)]
    assert machine.heard(sixth, (1, 2), 1) == []
    third, fourth = seen(1, 3, town), seen(1, 4, town)
    assert machine.told(third, 0, 2) == [third, Recall("street", 1, 4)]
    assert machine.told(third, 0, 2) == []  # twice
    assert machine.tick(4.9) == [] and machine.tick(5) == [Recall("street", 1, 4)]
    assert machine.told(fourth, 2, 6) == [fourth]
    assert machine.told(fifth, 1, 6) == [fifth]
    assert machine.told(sixth, 0, 6) == [sixth]
    assert machine.told(seen(1, 7, town), 0, 6) == [] and machine.tick(1e9) == []
    begun = seen(2, 0, town)
    assert machine.heard(begun, (1, 6), 0) == [Recall("street", 1, 7)]  # the former epoch may have had more
    assert [machine.tick(3.0 * turn) for turn in (1, 2, 3)] == [[Recall("street", 1, 7)]] * 2 + [[begun]]
    next_one = seen(2, 1, town)
    assert machine.heard(next_one, (2, 0), 9) == [next_one]


class Reading:
    """A gateway that reads past rounds of a town."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.key = p256.generate(os.urandom)
        self.watch = Watch(town.access, self.key)
        self.past = Past(town.access, self.watch)

    @property
    def public(self) -> bytes:
        return p256.public_key(self.key)

    def take(self, topic: str, payload: bytes) -> PastRound | str | None:
        """Return what comes of a message, or why it is refused."""
        before = dict(self.past.refused)
        found = self.past.take(topic, payload)
        new = [reason for reason, count in self.past.refused.items() if count != before.get(reason, 0)]
        return new[0] if new else found


def test_nobody_but_the_coordinator_can_tell_a_round(tmp_path: Path) -> None:
    town = Town(tmp_path / "town")
    coordinator = Coordinator(tmp_path, town)
    for _ in range(3):
        coordinator.close()
    former = town.roster()
    town.sign("street")
    coordinator.adopt()
    reading = Reading(town)
    topic = channel.topic("town", "street", channel.PAST)
    roster_topic = channel.topic("town", "street", channel.PAST_ROSTER)
    assert reading.past.recall("street", 1, 0) is None
    assert reading.take(roster_topic, former) == "unknown-group" == reading.take(topic, b"x")
    reading.watch.take(town.topic("roster"), town.roster())
    send: Any = reading.past.recall("street", 1, 1)
    told, refused = coordinator.hear(reading.public, send.payload)
    assert [one.topic for one in told] == [roster_topic, topic, topic] and not refused
    assert reading.take(topic, told[1].payload) == "wrong-epoch"  # its roster was not told yet
    forged = bytearray(former)
    forged[-1] ^= 1
    assert reading.take(roster_topic, bytes(forged)) == "bad-signature"
    assert reading.take(roster_topic, bytes(9000)) == "oversized"
    assert reading.take(told[0].topic, told[0].payload) is None
    found = [reading.take(one.topic, one.payload) for one in told[1:]]
    assert [(one.result.round, one.left) for one in found if isinstance(one, PastRound)] == [(1, 1), (2, 0)]
    changed = bytearray(told[1].payload)
    changed[-1] ^= 1
    assert reading.take(topic, bytes(changed)) == "bad-tag"
    assert reading.take(topic.replace("street", "lane"), told[1].payload) == "unknown-group"
    assert reading.take("hum/v1/town/g/street/past/other", b"x") == "wrong-topic"
    gate = Channel("town", town.private, reading.public, is_gateway=False)
    for plain, reason in ((b"\xa0", "malformed"), (payloads.Past(0, 0, 0, b"x").encode(), "malformed")):
        assert reading.take(topic, gate.seal(channel.PAST, "street", 2, plain)) == reason
    stale = payloads.Past(0, 0, 0, coordinator.newest).encode()
    assert reading.take(topic, gate.seal(channel.PAST, "street", 2, stale)) == "wrong-epoch"


def test_what_is_no_recall_of_this_gateway_is_refused_by_name(tmp_path: Path) -> None:
    town = Town(tmp_path / "town")
    coordinator = Coordinator(tmp_path, town)
    coordinator.close()
    reading, other = Reading(town), Reading(town)
    for one in (reading, other):
        one.watch.take(town.topic("roster"), town.roster())
    send: Any = other.past.recall("street", 1, 0)
    assert coordinator.hear(reading.public, send.payload) == ([], ["bad-tag"])
    assert coordinator.hear(reading.public, b"x") == ([], ["malformed"])
    assert coordinator.hear(reading.public, bytes(9000)) == ([], ["oversized"])
    send = reading.past.recall("street", 7, 0)
    assert coordinator.hear(reading.public, send.payload) == ([], [])
