"""What a gateway asks: taken once, done once, told step by step, whatever is repeated or restarted
in between."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.crypto import accelerate, p256
from broker.client.access import Access, ClientError
from broker.client.asking import LOOK_S, RETRY_S, Wanted, check, cost_of, next_number
from broker.client.members import Watch
from broker.coordinator.gateway import tables
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.gossip import queries
from broker.coordinator.protocols.gossip.records import Request
from broker.storage.migrations import StorageError
from broker.storage.storage import Storage
from broker.wire import channel, requests
from broker.wire.channel import Channel
from tests.broker.gateway.office import Asker, Office
from tests.support.street_of_askers import DEPLOYMENT, GROUP

SUM = Wanted("load", "sum")
LATE_S = 30.0  # a query of the street is over long before


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def asked_of_boards(office: Office) -> int:
    """Return how many queries the coordinator has ever opened."""
    return office.machine.next_round - (office.machine.phase == "idle")


def test_a_request_is_told_when_it_is_accepted_when_it_is_open_and_when_it_has_an_answer(office: Office) -> None:
    asker = Asker(office, SUM)
    assert asker.ask() == []
    assert asker.hear(office.news()) == [("accepted", None)]
    assert asker.hear(office.turn()) == [("open", None)]
    opened = asker.news[-1]
    assert (opened.attempt, opened.epoch, opened.query, opened.absent) == (1, 1, 1, ())
    office.answer()
    assert asker.hear(office.news()) == [("complete", None)]
    assert asker.machine.over and asker.news[-1].query == 1
    assert asker.do(asker.machine.link_up(office.now)) == [] and len(asker.payloads) == 1


def test_the_cost_is_told_before_it_is_spent_and_what_is_spent_afterwards(office: Office) -> None:
    asker = Asker(office, replace(SUM, epsilon=0.5))
    asker.ask()
    asker.hear(office.news())
    groups = asker.news[0].cost
    assert groups and groups >= 0.5 and asker.news[0].spent == 0
    asker.hear(office.turn())
    assert asker.news[1].cost == asker.news[1].spent == groups
    office.answer()
    asker.hear(office.news())
    again = Asker(office, replace(SUM, epsilon=0.5), 1_001)
    again.ask()
    again.hear(office.news())
    assert again.news[0].spent == groups
    free = Asker(office, SUM, 1_002)
    free.ask()
    free.hear(office.news())
    assert free.news[0].cost is None and free.news[0].spent == groups


def test_who_asks_again_with_the_same_number_is_told_how_it_stands_and_it_is_done_once(office: Office) -> None:
    asker = Asker(office, SUM)
    asker.ask()
    assert office.hear(asker.payloads[0]) == ["duplicate"]
    assert asker.hear(office.news()) == [("accepted", None)]
    asker.hear(office.turn())
    for _ in range(3):
        assert asker.do(asker.machine.link_up(office.now)) == ["duplicate"]
    assert asker.hear(office.news()) == []
    office.answer()
    office.news()  # the news of the answer is lost
    assert asker.do(asker.machine.tick(office.now + LOOK_S + 1, office.unix())) == ["duplicate"]
    assert asker.hear(office.news()) == [("complete", None)]
    assert office.hear(asker.payloads[0]) == ["duplicate"]  # whoever recorded it says it once more
    office.turn(LATE_S)
    assert asked_of_boards(office) == 1


def test_another_request_under_a_number_that_was_used_is_refused(office: Office) -> None:
    Asker(office, SUM).ask()
    office.news()
    other = Asker(office, Wanted("load", "max"))
    assert other.ask() == ["conflict"]
    assert other.hear(office.news()) == [("refused", "conflict")]
    office.turn()
    assert asked_of_boards(office) == 1


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Wanted("water", "sum"), "unknown-slot"),
        (Wanted("load", "median"), "unknown-function"),
        (Wanted("load", "histogram", (0, 0, 3)), "bad-parameters"),
        (Wanted("load", "max", epsilon=1), "not-linear"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name_and_stays_so(office: Office, wanted: Wanted, reason: str) -> None:
    asker = Asker(office, wanted)
    assert asker.ask() == [reason]
    assert asker.hear(office.news()) == [("refused", reason)]
    assert office.hear(asker.payloads[0]) == ["duplicate"]
    office.turn()
    assert asked_of_boards(office) == 0


def test_a_group_that_is_not_there_or_answers_no_queries_is_said_to_be_so(office: Office) -> None:
    gate = office.watch.channel_of(GROUP)
    assert gate
    ask = requests.Ask(5, int(office.unix()) + 60, "load", "sum", [], None, 1000, 0, 0, 1)
    assert office.hear(gate.seal(channel.ASK, "lane", 0, ask.encode()), "lane") == ["unknown-group"]
    office.machine.scope = replace(office.scope, roster=_of_sums(office))
    ask = replace(ask, number=6)
    assert office.hear(gate.seal(channel.ASK, GROUP, 0, ask.encode())) == ["no-queries"]
    assert [one.reason for one in office.news()] == ["no-queries"]  # of a group that the gateway knows


def _of_sums(office: Office):
    roster = type(office.scope.roster)(*(getattr(office.scope.roster, name) for name in vars(office.scope.roster)))
    roster.protocol = "private-sum"
    return roster


def test_no_more_wait_than_a_group_may_have(office: Office) -> None:
    for number in range(4):
        assert Asker(office, SUM, 10 + number).ask() == []
    fifth = Asker(office, SUM, 20)
    assert fifth.ask() == ["busy"]
    assert ("refused", "busy") in fifth.hear(office.news())


def test_a_request_whose_time_is_over_is_refused_and_nobody_is_asked(office: Office) -> None:
    late = Asker(office, SUM, 10, seconds=-1)
    assert late.ask() == ["too-late"]
    early = Asker(office, SUM, 11, seconds=4000)
    assert early.ask() == ["too-far-ahead"]
    office.news()
    first, second = Asker(office, SUM, 12), Asker(office, SUM, 13, seconds=10)
    first.ask(), second.ask()
    first.hear(office.turn())
    assert first.machine.told and first.machine.told.state == "open"
    assert second.hear(office.turn(11)) == [("refused", "too-late")]
    office.answer()
    office.turn(LATE_S)
    assert asked_of_boards(office) == 1


def test_what_was_recorded_long_ago_is_refused_when_it_is_said_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "KEPT", 3)
    old = Asker(office, Wanted("water", "sum"), 10)
    old.ask()
    for number in range(11, 15):
        Asker(office, Wanted("water", "sum"), number).ask()
    assert office.hear(old.payloads[0]) == ["replayed"]
    assert office.storage.read(tables.by_number, 10) is None
    assert office.storage.read(tables.by_number, 14) is not None


def test_it_is_asked_again_without_who_vanished_each_try_is_told_and_then_it_is_refused(office: Office) -> None:
    asker = Asker(office, replace(SUM, tries=2))
    asker.ask()
    asker.hear(office.turn())
    office.presence("b004", False)
    assert asker.hear(office.turn(LATE_S) + office.turn()) == [("again", "no-result"), ("open", None)]
    assert [one.attempt for one in asker.news] == [1, 1, 1, 2]
    assert asker.news[-1].absent == ("b004",) and asker.news[-1].query == 2
    assert asker.hear(office.turn(LATE_S)) == [("refused", "no-result")]
    office.turn(LATE_S)
    assert asked_of_boards(office) == 2


def test_a_second_try_that_succeeds_has_its_own_number(office: Office) -> None:
    asker = Asker(office, SUM)
    asker.ask()
    asker.hear(office.turn())
    office.presence("b004", False)
    office.street.boards[4].die()
    asker.hear(office.turn(LATE_S) + office.turn())
    office.answer()
    assert asker.hear(office.news()) == [("complete", None)]
    assert (asker.news[-1].attempt, asker.news[-1].query) == (2, 2)


def test_without_enough_members_it_is_refused_and_says_so(office: Office) -> None:
    for name in ("b001", "b002", "b003"):
        office.presence(name, False)
    asker = Asker(office, SUM)
    assert asker.ask() == []
    assert asker.hear(office.turn()) == [("accepted", None), ("refused", "too-few")]


@pytest.mark.parametrize("opened", [False, True])
def test_a_coordinator_that_is_started_again_goes_on_with_what_it_accepted(office: Office, opened: bool) -> None:
    asker = Asker(office, SUM)
    asker.ask()
    asker.hear(office.turn() if opened else office.news())
    office.start()
    expected = [("again", "restarted"), ("open", None)] if opened else [("open", None)]
    assert asker.hear(office.turn()) + asker.hear(office.turn()) == expected
    office.answer()
    assert asker.hear(office.news()) == [("complete", None)]
    assert asked_of_boards(office) == 1 + opened
    office.start()
    assert asker.do(asker.machine.link_up(office.now)) == [] and asker.hear(office.turn(LATE_S)) == []
    assert asked_of_boards(office) == 1 + opened


def test_what_ended_while_nobody_told_is_told_after_the_start(office: Office) -> None:
    """As Home.end_former() ends a query whose roster was replaced meanwhile."""
    asker = Asker(office, replace(SUM, tries=1))
    asker.ask()
    asker.hear(office.turn())
    office.storage.commit([action for action in office.machine.end(office.now) if not hasattr(action, "topic")], {})
    office.start()
    assert asker.hear(office.news()) == [("refused", "no-result")]


def test_a_query_of_hum_query_is_nothing_to_a_gateway(office: Office) -> None:
    office.storage.write(queries.ask, Request(0, GROUP, "load", "sum", [], None, 1000))
    news = office.turn()
    assert asked_of_boards(office) == 1
    office.answer()
    assert not [one for one in (*news, *office.news()) if hasattr(one, "step")]


def test_only_this_deployments_gateway_is_heard(office: Office) -> None:
    ask = requests.Ask(5, int(office.unix()) + 60, "load", "sum", [], None, 1000, 0, 0, 1).encode()
    coordinator = p256.public_key(office.street.coordinator)
    stranger = Channel(DEPLOYMENT, p256.generate(lambda size: bytes(size - 1) + b"\x07"), coordinator, True)
    elsewhere = Channel("other", office.key, coordinator, True)
    own = Channel(DEPLOYMENT, office.key, coordinator, True)
    assert office.hear(stranger.seal(channel.ASK, GROUP, 0, ask)) == ["bad-tag"]
    assert office.hear(elsewhere.seal(channel.ASK, GROUP, 0, ask)) == ["bad-tag"]
    assert office.hear(own.seal(channel.ASK, "lane", 0, ask)) == ["bad-tag"]
    assert office.hear(own.seal(channel.TOLD, GROUP, 0, ask)) == ["bad-tag"]
    assert office.hear(own.seal(channel.ASK, GROUP, 0, b"\xa0")) == ["malformed"]
    assert office.hear(bytes(9000)) == ["oversized"] and office.hear(b"x") == ["malformed"]
    assert office.news() == []  # who is not known is not answered


def test_a_gateway_that_has_another_key_is_refused_until_the_coordinator_knows_it(office: Office) -> None:
    asker = Asker(office, SUM)
    office.start(p256.generate(lambda size: bytes(size - 1) + b"\x07"))
    assert asker.ask() == ["bad-tag"]
    office.turn()
    assert office.watch.refused["bad-tag"] >= 1  # nor does the former one read what is told now
    office.start()
    assert asker.do(asker.machine.tick(office.now + RETRY_S + 1, office.unix())) == []
    assert asker.hear(office.turn()) == [("accepted", None), ("open", None)]


def test_a_gateway_with_a_new_key_is_not_held_to_the_numbers_of_the_former(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever broke into a gateway may have used up all numbers that there are."""
    monkeypatch.setattr(tables, "KEPT", 2)
    for number in range(2):
        Asker(office, Wanted("water", "sum"), (1 << 53) - 1 - number).ask()
    assert Asker(office, SUM, 2_000).ask() == ["replayed"]
    office.start()
    assert Asker(office, SUM, 2_000).ask() == ["replayed"]
    office.key = p256.generate(lambda size: bytes(size - 1) + b"\x07")
    office.watch = Watch(Access(DEPLOYMENT, office.street.authority), office.key)
    office.watch.take(office.scope.topic("roster"), office.street.signed)
    office.start()
    assert Asker(office, SUM, 2_000).ask() == []


def test_an_asker_gives_up_when_nobody_answers(office: Office) -> None:
    asker = Asker(office, SUM, seconds=60)
    assert asker.machine.tick(0.0, office.unix()) != []
    assert asker.machine.tick(1.0, office.unix()) == []
    assert asker.machine.tick(RETRY_S + 1, office.unix()) != []
    asker.do(asker.machine.tick(100.0, office.unix() + 100))
    assert asker.ended and asker.ended.reason == "unanswered" and asker.machine.over
    assert asker.machine.link_up(200.0) == asker.machine.tick(200.0, office.unix() + 200) == []


def test_numbers_grow_also_when_the_last_one_is_forgotten() -> None:
    assert next_number(0, 1.5) == 1500 and next_number(1500, 1.5) == 1501 and next_number(7, 1.5) == 1500


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("water", "sum"), "slot 'water': street has load, count"),
        (Wanted("load", "median"), "median of load cannot be asked so: unknown-function"),
        (Wanted("load", "sum", tries=9), "tries 9: 1 to 5"),
        (Wanted("load", "sum", between=(5, 1)), "the lower bound first"),
        (Wanted("load", "sum", epsilon=1e-9), "epsilon 1e-09: 0.000001 to 100"),
        (Wanted("load", "sum", period_ms=1), "period 1 ms"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anybody_is(office: Office, wanted: Wanted, said: str) -> None:
    group = office.watch.group(GROUP)
    assert group
    with pytest.raises(ClientError, match=re.escape(said)):
        check(wanted, group)


@pytest.mark.parametrize("epsilon", [0, 0.5])
@pytest.mark.parametrize("record_epsilon", [0, 0.25])
def test_the_cost_that_is_shown_before_asking_is_the_coordinators(
    office: Office, epsilon: float, record_epsilon: float
) -> None:
    wanted, group = replace(SUM, epsilon=epsilon, record_epsilon=record_epsilon), office.watch.group(GROUP)
    assert group
    check(wanted, group)
    asker = Asker(office, wanted)
    asker.ask()
    asker.hear(office.news())
    assert asker.news[0].cost == cost_of(wanted, group)


def test_a_database_of_before_gets_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    Storage(path, registry.schemas()).close()
    with pytest.raises(StorageError, match="hum coordinator"):
        Storage(path, tables.schemas(), read_only=True)
    storage = Storage(path, tables.schemas())
    assert storage.read(tables.status) is None and storage.read(tables.live) == []
    storage.close()
    Storage(path, registry.schemas()).close()  # and a program of before goes on with it
