"""What a gateway is told of members and rounds: the same as `hum status` shows, only what has
changed, and nothing that is not authentic, of this deployment, or new."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.wire import messages
from broker.client import identity
from broker.client.access import Access, ClientError
from broker.client.members import GroupMembers, GroupProgress, GroupReports, Member, News, Watch
from broker.coordinator.actions import Publish
from broker.coordinator.gateway import tables
from broker.coordinator.gateway.view import PUBLISH_S, REPORT_S
from broker.coordinator.home import HomeError
from broker.wire import channel, views
from broker.wire.channel import MESSAGE_MOST, Channel
from broker.wire.views import Order, Progress, Report, Standing
from tests.broker.gateway.office import Office
from tests.support.hand_made import ROLL, ROUND, World, published


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Sums:
    """A group of sums with its coordinator's machine, and the gateway that is told of it."""

    def __init__(self, folder: Path, members: int = 4) -> None:
        self.world = World(folder, members)
        self.key = p256.generate(os.urandom)
        gateway = self.world.home.gateway(p256.public_key(self.key))
        assert gateway
        self.gateway = gateway
        self.watch = Watch(Access("test", bytes.fromhex(self.world.authority)), self.key)
        self.watch.take("hum/v1/test/g/main/roster", self.world.roster)
        self.said: list[Publish] = []
        self.now = 0.0

    def look(self, seconds: float = PUBLISH_S) -> list[News]:
        """Let time pass, and return what is new to the gateway."""
        self.now += seconds
        self.gateway.view.changed("main")
        self.said = [one for one in self.gateway.turn({"main": self.world.machine}, self.now) if hasattr(one, "topic")]
        return [news for one in self.said for news in self.watch.take(one.topic, one.payload)]

    def members(self) -> dict[str, Member]:
        return {one.name: one for news in self.look() if isinstance(news, GroupMembers) for one in news.members}


@pytest.fixture
def sums(tmp_path: Path) -> Iterator[Sums]:
    found = Sums(tmp_path)
    yield found
    found.world.close()


def test_members_are_told_with_the_reason_and_a_board_that_dies_is_seen_as_such(sums: Sums) -> None:
    assert {one.state for one in sums.members().values()} == {"unheard"}
    sums.world.first_set()
    for name in sums.world.names:
        sums.gateway.view.presence(name, True)
    assert {one.state for one in sums.members().values()} == {"joining"}
    sums.world.all_ready()
    assert {one.state for one in sums.members().values()} == {"ready"}
    opening = published(sums.world.online("b3", False), ROUND)[-1]
    sums.gateway.view.presence("b3", False)
    there = sums.members()
    assert (there["b3"].state, there["b3"].online, there["b0"].state) == ("offline", False, "ready")
    sent = sums.world.contributions(opening, ["b0", "b1", "b2"])
    roll = published(sums.world.send("contribution", sent), ROLL)[0]
    sums.world.send("answer", sums.world.answers(roll), 1.25)
    gone = sums.members()["b3"]
    assert (gone.state, gone.why, gone.since_round) == ("offline", "no-link", 0) and gone.since


def test_a_round_unfolds_member_by_member(sums: Sums) -> None:
    opening = sums.world.open()
    (first,) = [one for one in sums.look() if isinstance(one, GroupProgress)]
    assert [(one.round, one.status, one.sent, one.listed) for one in first.rounds] == [(0, "open", (), None)]
    sent = sums.world.contributions(opening)
    sums.world.send("contribution", {"b1": sent.pop("b1")})
    (second,) = [one for one in sums.look() if isinstance(one, GroupProgress)]
    assert second.rounds[0].sent == ("b1",) and second.at >= first.at
    called = published(sums.world.send("contribution", sent), ROLL)
    (third,) = [one for one in sums.look() if isinstance(one, GroupProgress)]
    assert third.rounds[0].listed == ("b0", "b1", "b2", "b3") and third.rounds[0].answered == ()
    sums.world.send("answer", sums.world.answers(called[0]), 1.25)
    (last,) = [one for one in sums.look() if isinstance(one, GroupProgress)]
    (over,) = last.rounds
    assert (over.status, over.missing, over.why) == ("complete", (), None)
    assert over.closed_at and set(over.answered) <= set(sums.world.names) and len(over.answered) >= 3


def test_a_round_without_a_sum_is_told_with_what_it_takes_and_who_came(sums: Sums) -> None:
    opening = sums.world.open()
    sums.world.send("contribution", sums.world.contributions(opening, ["b0", "b1"]))
    sums.world.tick(5.5)
    (told,) = [one for one in sums.look() if isinstance(one, GroupProgress)]
    (over,) = told.rounds
    assert (over.status, over.why, over.sent, over.missing) == (
        "incomplete",
        "too-few-sent",
        ("b0", "b1"),
        ("b2", "b3"),
    )
    assert over.needed == 3


def test_only_what_has_changed_is_told_and_no_more_often_than_once_a_second(sums: Sums) -> None:
    sums.look()
    assert sums.look() == [] == sums.said
    sums.world.first_set()
    sums.gateway.view.presence("b0", True)
    assert sums.look(PUBLISH_S / 10) == [] == sums.said
    assert len(sums.look()) == 1 and len(sums.said) == 1
    sums.gateway.view.link_up()
    assert sums.look() == [] or all(isinstance(one, GroupReports) for one in sums.look())
    assert len(sums.watch.refused) == 0


def test_what_boards_say_of_themselves_is_told_apart_and_less_often(sums: Sums) -> None:
    sums.look()
    said = {"phase": "ready", "masks": 7, "version": 3, "rssi_dbm": -61, "heap_free": 90_000, "trouble": "no-telegram"}
    sums.gateway.view.report("b2", said | {"link_ends": {"reset": 2, "timeout": 1}, "counters": {"p1": {"crc": 9}}})
    assert sums.look() == []
    (told,) = sums.look(REPORT_S)
    assert isinstance(told, GroupReports)
    board = told.reports[2]
    assert (board.name, board.masks, board.firmware, board.rssi_dbm, board.link_losses) == ("b2", 7, 3, -61, 3)
    assert (board.trouble, board.seen is not None, told.reports[0].seen) == ("no-telegram", True, None)
    assert sums.look(REPORT_S) == []


def test_a_group_of_queries_has_members_too(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.presence("b001", False)
    (told,) = [one for one in office.turn(PUBLISH_S) if isinstance(one, GroupMembers)]
    assert [one.state for one in told.members] == ["ready", "offline", "ready", "ready", "ready"]
    office.presence("b001", True)
    (told,) = [one for one in office.turn(PUBLISH_S) if isinstance(one, GroupMembers)]
    assert [one.state for one in told.members] == ["ready"] * 5


def test_what_was_told_before_or_elsewhere_or_by_others_is_refused(sums: Sums) -> None:
    sums.look()
    old = {one.topic: one.payload for one in sums.said}
    sums.world.first_set()
    sums.gateway.view.presence("b0", True)
    sums.look(REPORT_S)
    for one in sums.said:
        assert sums.watch.take(one.topic, one.payload) == []  # retained: it comes again with each link
        assert sums.watch.take(one.topic.replace("/main/", "/other/"), one.payload) == []  # waits for a roster
    assert not sums.watch.refused
    topic = "hum/v1/test/g/main/view/members"
    sums.watch.take(topic, old[topic])
    sums.watch.take(topic.replace("members", "reports"), old[topic])
    sums.watch.take(topic, old[topic][:-1] + bytes([old[topic][-1] ^ 1]))
    sums.watch.take(topic.replace("/test/", "/town/"), old[topic])
    sums.watch.take(topic, bytes(9000))
    sums.watch.take("hum/v1/test/g/main/view/else", b"x")
    assert sums.watch.refused == {"replayed": 1, "bad-tag": 2, "wrong-topic": 2, "oversized": 1}
    stranger = Watch(Access("test", bytes.fromhex(sums.world.authority)), p256.generate(os.urandom))
    stranger.take("hum/v1/test/g/main/roster", sums.world.roster)
    assert stranger.take(topic, old[topic]) == [] and stranger.refused == {"bad-tag": 1}
    assert sums.watch.take(topic, b"") == []


def test_what_comes_before_its_roster_waits_for_it(sums: Sums) -> None:
    sums.look()
    early = Watch(Access("test", bytes.fromhex(sums.world.authority)), sums.key)
    assert [news for one in sums.said for news in early.take(one.topic, one.payload)] == []
    news = early.take("hum/v1/test/g/main/roster", sums.world.roster)
    assert {type(one) for one in news} == {GroupMembers, GroupProgress, GroupReports}


def test_each_life_of_a_coordinator_is_later_than_the_one_before_whatever_its_clock_says(sums: Sums) -> None:
    public = p256.public_key(sums.key).hex()
    first = sums.world.home.storage.write(tables.begin, public, 5_000)
    assert sums.world.home.storage.write(tables.begin, public, 4_000) == first + 1
    assert sums.world.home.storage.write(tables.begin, public, first + 900) == first + 900


def test_a_group_that_is_no_more_is_taken_back(sums: Sums) -> None:
    sums.look()
    sums.gateway.view.link_up()  # it ended while there was no link
    said = [one for one in sums.gateway.turn({}, sums.now + 1) if isinstance(one, Publish)]
    assert {(one.topic.rpartition("/")[2], one.payload, one.retain) for one in said} == {
        (kind, b"", True) for kind in channel.VIEWS
    }


def test_the_largest_group_fits_into_what_a_broker_takes() -> None:
    order, top = Order(views.ORDER_MOST, views.ORDER_MOST), views.TIME_MOST
    gate = Channel("d" * 32, p256.generate(os.urandom), p256.public_key(p256.generate(os.urandom)), False)
    standing = [Standing("left-out", False, "w" * views.WHY_MOST, top, top)] * 64
    said: dict[str, Any] = dict.fromkeys(views.REPORT, top) | {"rssi_dbm": -127}
    said |= {name: "p" * most for name, most in views.WORD_MOST.items()}
    everyone = messages.EVERYONE
    times = (top, top, top)
    rounds = [Progress(top, "invalid", *times, everyone, everyone, everyone, everyone, "w" * views.WHY_MOST, 64)] * 2
    for kind, payload, read in (
        (channel.MEMBERS, views.members(order, top, standing), views.read_members),
        (channel.REPORTS, views.reports(order, top, [Report(top, said)] * 64), views.read_reports),
        (channel.PROGRESS, views.progress(order, top, rounds), views.read_progress),
    ):
        assert len(gate.seal(kind, "g" * 32, top, payload)) < MESSAGE_MOST
        assert read(payload)[:2] == (order, top)
    assert views.read_members(views.members(order, top, standing))[2] == standing
    assert views.read_progress(views.progress(order, top, rounds))[2] == rounds


def test_the_gateways_key_pair_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    assert identity.make(folder) and not identity.make(folder)
    key = identity.private_key(folder)
    assert (folder / "gateway.key").stat().st_mode & 0o077 == 0
    assert (folder / "gateway.pub").read_text().strip() == p256.public_key(key).hex()
    (folder / "gateway.pub").unlink()
    assert identity.make(folder) and identity.private_key(folder) == key
    (folder / "gateway.key").write_bytes(b"short")
    with pytest.raises(ClientError, match="damaged"):
        identity.make(folder)
    with pytest.raises(ClientError, match="hum init"):
        identity.private_key(tmp_path / "nowhere")


def test_a_coordinator_knows_one_gateway_or_none(sums: Sums) -> None:
    storage = sums.world.home.storage
    sums.look()
    sums.world.do(sums.gateway.turn({"main": sums.world.machine}, sums.now + 100))
    told = storage.read(tables.status)
    assert told and told["public"] == p256.public_key(sums.key).hex()
    assert sums.world.home.gateway(None) is None and storage.read(tables.status) is None
    with pytest.raises(HomeError, match=r"gateway\.pub"):
        sums.world.home.gateway(b"\x04" + bytes(64))


def test_no_message_has_a_field_for_a_reading_or_a_sum(sums: Sums) -> None:
    sums.world.whole_round()
    told = sums.look(REPORT_S)
    named = {name for one in told for name in vars(one)} | {
        name
        for one in told
        for many in vars(one).values()
        if isinstance(many, tuple)
        for each in many
        for name in vars(each)
    }
    assert not named & {"sum", "sums", "reading", "value", "count", "ciphertext"}
