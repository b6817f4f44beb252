"""The coordinator's machine for anonymous queries: what it takes, what it refuses, and what is
durable before it is said."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.protocols.gossip.inquiry import aggregate_nonce
from agent.protocols.gossip.plan import Plan
from agent.protocols.gossip.privacy.terms import FOLDS, MILLION
from agent.protocols.gossip.query_function import function_of
from agent.wire import answers, cbor, messages, queries
from agent.wire.envelope import Context, Envelope, seal
from broker.coordinator.actions import Publish
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.gossip import queries as requests
from broker.coordinator.protocols.gossip import records
from broker.coordinator.protocols.gossip.machine import GRACE_S, Gossip
from broker.coordinator.protocols.gossip.records import CloseQuery, OpenQuery, Request, Saved
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from broker.storage.migrations import FILE_VERSION
from broker.storage.storage import Storage
from tests.support.street_of_askers import DEPLOYMENT, GROUP, Street

RESULT_KEY = bytes(range(16))
QUERY, RESULT, ROSTER = (f"hum/v1/test/g/street/{kind}" for kind in ("query", "result", "roster"))


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def request(number: int = 1, function: str = "sum", **other: Any) -> Request:
    fields: dict[str, Any] = {"group": GROUP, "slot": "load", "parameters": [], "between": None, "period": 1000} | other
    return Request(number, function=function, **fields)


class World:
    """A street of boards and the coordinator's machine; what boards send up waits in
    `street.up`."""

    def __init__(
        self,
        count: int = 5,
        saved: Saved | None = None,
        patience: float = 60,
        protocol: str = "gossip",
        tolerate: int = 1,
    ) -> None:
        self.street = Street(count, tolerate, protocol)
        self.street.start()
        self.ready = list(self.street.up)
        del self.street.up[:]
        street = self.street
        self.scope = Scope(DEPLOYMENT, GROUP, 1, street.digest, street.signed, street.roster)
        self.machine = self.new_machine(saved or Saved(), patience)

    def new_machine(self, saved: Saved, patience: float = 60) -> Gossip:
        schedule = Schedule(1, 1, patience)
        return Gossip(self.scope, self.street.coordinator, RESULT_KEY, schedule, saved, lambda: 1700000000, bytes)

    def begin(self, but: tuple[str, ...] = ()) -> None:
        """All but some say that they are ready."""
        self.machine.link_up(0.0)
        for device, kind, payload in self.ready:
            if device not in but:
                assert self.machine.message(device, kind, payload, 0.0) == []

    def open(self, asked: Request) -> tuple[OpenQuery, bytes]:
        self.machine.ask([asked])
        record, said = self.machine.tick(1.0)
        assert isinstance(record, OpenQuery) and isinstance(said, Publish)
        assert (said.topic, said.retain) == (QUERY, False) and record.message == said.payload
        return record, said.payload

    def run(self, message: bytes) -> list[tuple[str, str, bytes]]:
        """Have the boards answer; return what they send up."""
        self.street.ask(message)
        self.street.run()
        sent, self.street.up[:] = list(self.street.up), []
        return sent


@pytest.fixture(scope="module")
def answered() -> tuple[World, list[tuple[str, str, bytes]]]:
    """A street that was asked its first query, and the aggregates."""
    accelerate.use_host_libraries()
    world = World()
    world.begin()
    _, message = world.open(request())
    return world, world.run(message)


def answer_of(closed: CloseQuery, function: str) -> Any:
    """What the recorded state tells."""
    asked = function_of(function, [], None)
    return asked.result(asked.decode(closed.state))[function]


def test_a_query_is_recorded_before_it_is_asked_and_its_answer_is_for_the_clients_alone() -> None:
    world = World()
    world.begin()
    assert world.machine.phase == "idle" and len(world.machine.ready) == 5 and not world.machine.finished
    record, message = world.open(request(7))
    assert (record.number, record.request, world.machine.phase, world.machine.next_round) == (1, 7, "open", 1)
    sent = world.run(message)
    assert len(sent) == 2
    assert world.machine.message(*sent[0], 2.0) == []
    closed, said = world.machine.message(*sent[1], 3.0)
    total = sum(board.value for board in world.street.boards)
    assert isinstance(closed, CloseQuery) and isinstance(said, Publish)
    assert (closed.request, closed.status, closed.count, closed.outside) == (7, records.COMPLETE, 5, 0)
    assert closed.latency_ms == 2000 and closed.message == said.payload and (said.topic, said.retain) == (RESULT, True)

    def context(kind: str, receiver: str) -> Context:
        return Context(DEPLOYMENT, kind, GROUP, 1, 1, "coordinator", receiver)

    signed = Envelope(said.payload).verify(p256.public_key(world.street.coordinator), context("outcome", ""))
    digest, status, sealed = answers.read_outcome(signed)
    assert (digest, status) == (world.street.digest, answers.COMPLETE)
    answer = answers.read_answer(Envelope(sealed).open(RESULT_KEY, context("answer", "clients")))
    assert (answer.number, answer.slot, answer.function, answer.count) == (1, "load", "sum", 5)
    assert answer.state == closed.state and answer_of(closed, "sum") == total
    assert world.machine.link_up(9.0)[1] == Publish(RESULT, said.payload, retain=True)
    assert world.machine.phase == "idle" and world.machine.next_round == 2


def test_a_group_that_floods_answers_around_boards_that_are_dead_and_not_announced() -> None:
    world = World(13, protocol="gossip-flood", tolerate=2)
    world.begin()
    _, message = world.open(request(1, "max"))
    for at in (0, 5):  # one of them leads a group
        world.street.boards[at].die()
    actions = []
    for sent in world.run(message):
        actions += world.machine.message(*sent, 2.0)
    closed, _ = actions
    assert isinstance(closed, CloseQuery)
    assert (closed.status, closed.reason, closed.count) == (records.COMPLETE, None, 11)
    told = answer_of(closed, "max")
    assert told == max(board.value for board in world.street.boards if board.alive)


def test_requests_wait_for_their_turn_and_each_has_a_number_of_its_own() -> None:
    world = World()
    world.begin()
    world.machine.ask([request(3), request(4, "max")])
    numbers = []
    now = 1.0
    while True:
        actions = world.machine.tick(now)
        numbers += [(a.request, a.number) for a in actions if isinstance(a, OpenQuery)]
        if not actions and world.machine.phase == "idle":
            break
        now += 100.0  # nobody answers
    assert numbers == [(3, 1), (4, 2)]


def test_a_request_whose_asker_gave_up_while_it_waited_is_not_asked() -> None:
    """The answer is for nobody, and it would cost the boards of their budget."""
    world = World()
    world.begin()
    world.machine.ask([request(3), request(4)])
    (first, _) = world.machine.tick(1.0)
    assert isinstance(first, OpenQuery) and first.request == 3
    world.machine.ask([request(5)])  # what still waits
    world.machine.tick(1000.0)
    (second, _) = world.machine.tick(1000.0)
    assert isinstance(second, OpenQuery) and (second.request, second.number) == (5, 2)


def test_who_is_offline_or_not_ready_is_announced_absent_after_the_patience() -> None:
    world = World(count=6, patience=10)
    world.begin(but=("b001",))
    world.machine.presence("b004", False, 0.0)
    world.machine.presence("stranger", False, 0.0)
    world.machine.ask([request()])
    assert world.machine.tick(9.0) == []  # b001 may still make its keys
    record, _ = world.machine.tick(10.0)
    assert isinstance(record, OpenQuery)
    query, _, _ = queries.read_query(record.message)
    assert query.absent == 0b10010
    world.machine.presence("b004", True, 11.0)
    assert len(world.machine.ready) == 5


def test_what_cannot_be_asked_is_refused_with_a_reason_and_takes_no_number() -> None:
    world = World()
    world.begin()
    for number, (asked, reason) in enumerate(
        (
            (request(1, slot="power"), "unknown-slot"),
            (request(2, "median"), "unknown-function"),
            (request(3, "top-k"), "bad-parameters"),
            (request(4, parameters=[1]), "bad-parameters"),
            (request(5, "max", epsilon=1), "not-linear"),
            (request(6, between=[200000, 300000], epsilon=1), "range"),
            (request(7, "count", record_epsilon=1), "not-linear"),
            (request(8, epsilon=100000001), "epsilon"),
        )
    ):
        world.machine.ask([asked])
        assert world.machine.tick(1.0) == [CloseQuery(number + 1, records.REFUSED, reason)]
    for device in ("b000", "b001"):  # three are left: one may collude, and three are to be honest
        world.machine.presence(device, False, 1.0)
    world.machine.ask([request(9)])
    assert world.machine.tick(1.0) == [CloseQuery(9, records.REFUSED, "too-few")]
    assert world.machine.next_round == 1


def test_without_enough_tuples_or_any_result_there_is_no_answer() -> None:
    world = World()
    world.begin()
    _, message = world.open(request())
    for board in world.street.boards[2:]:
        board.alive = False
    for device, kind, payload in world.run(message):
        world.machine.message(device, kind, payload, 2.0)
    (closed, said) = world.machine.tick(1000.0)
    assert isinstance(closed, CloseQuery) and isinstance(said, Publish)
    assert (closed.status, closed.state, closed.count) == (records.INCOMPLETE, None, None)
    assert closed.reason in ("too-many-failed", "no-result")
    assert answers.read_outcome(Envelope(said.payload).unverified())[1:] == (answers.INCOMPLETE, None)


def test_a_query_is_over_when_its_schedule_has_run_out() -> None:
    world = World()
    world.begin()
    world.open(request())
    ends = 1.0 + Plan("gossip", 1, 5, 1, function_of("sum", [], None)).deadlines + GRACE_S
    assert world.machine.tick(ends - 0.01) == []
    (closed, _) = world.machine.tick(ends)
    assert isinstance(closed, CloseQuery) and (closed.status, closed.reason) == (records.INCOMPLETE, "no-result")


def test_leaders_of_as_many_tuples_that_contradict_each_other_are_believed_neither(
    answered: tuple[World, list[tuple[str, str, bytes]]],
) -> None:
    world, sent = answered
    machine = world.new_machine(Saved())
    world.machine = machine
    world.begin()
    world.open(request())
    machine.message(*sent[0], 2.0)
    closed, _ = machine.message(sent[1][0], "aggregate", forged(world, sent[1], add=1), 2.0)
    assert isinstance(closed, CloseQuery) and (closed.status, closed.reason) == (records.INCOMPLETE, "leaders-disagree")


def forged(world: World, sent: tuple[str, str, bytes], add: int = 0, **other: Any) -> bytes:
    """What a leader sent, made anew with its key and something else in it."""
    device, _, payload = sent
    index = [board.name for board in world.street.boards].index(device)
    key = world.street.query_keys()[index][0]
    context = Context(DEPLOYMENT, "aggregate", GROUP, 1, 1, device, "coordinator")
    fields = cbor.decode(Envelope(payload).open(key, context))
    leader, data = other.get("leader", fields[1]), other.get("data", fields[2])
    data = data[:-1] + bytes([data[-1] + add & 255])
    nonce = other.get("nonce", aggregate_nonce(leader, 1))
    return bytes(seal(key, nonce, context, queries.aggregate(leader, data, other.get("text", fields[3]))))


def test_aggregates_that_are_not_a_leaders_own_first_word_are_refused(
    answered: tuple[World, list[tuple[str, str, bytes]]],
) -> None:
    world, sent = answered
    machine = world.new_machine(Saved())
    world.machine = machine
    world.begin()
    first = sent[0]
    device = first[0]
    other = next(board.name for board in world.street.boards if board.name not in [name for name, _, _ in sent])

    def refused(reason: str, sender: str, kind: str, payload: bytes) -> None:
        before = machine.refused.get(reason, 0)
        assert machine.message(sender, kind, payload, 2.0) == []
        assert machine.refused[reason] == before + 1, machine.refused

    refused("late", *first)  # nothing is asked yet
    world.open(request())
    refused("wrong-topic", device, "contribution", first[2])
    refused("not-a-member", "stranger", "aggregate", first[2])
    refused("oversized", device, "aggregate", bytes(9000))
    refused("bad-tag", other, "aggregate", first[2])
    refused("bad-tag", device, "aggregate", first[2][:-1] + bytes([first[2][-1] ^ 1]))
    refused("malformed", device, "aggregate", first[2][:-1])
    refused("malformed", device, "aggregate", b"")
    refused("malformed", device, "aggregate", forged(world, first, nonce=bytes(13)))
    refused("malformed", device, "aggregate", forged(world, first, data=b"short"))
    refused("malformed", device, "aggregate", forged(world, first, data=b"\xff\xff" + bytes(16)))
    refused("other-text", device, "aggregate", forged(world, first, text=bytes(32)))
    refused("not-a-leader", device, "aggregate", forged(world, first, leader=4))
    refused("not-a-leader", device, "aggregate", forged(world, first, leader=99))
    assert machine.message(*first, 2.0) == []
    refused("duplicate", *first)
    refused("conflict", device, "aggregate", forged(world, first, add=1))
    refused("malformed", device, "ready", first[2])
    assert machine.phase == "open"


def test_a_restart_in_the_middle_of_a_query_ends_it_without_an_answer_and_goes_on_counting() -> None:
    world = World(saved=Saved(last_number=6, open_request=41, last_outcome=b"outcome"))
    assert Publish(RESULT, b"outcome", retain=True) in world.machine.link_up(0.0)
    assert world.machine.tick(0.0) == [CloseQuery(41, records.INCOMPLETE, "restarted")]
    world.begin()
    assert world.open(request(42))[0].number == 7


# -- storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = Storage(tmp_path / "coordinator.db", registry.schemas())
    yield storage
    storage.close()


def test_a_request_waits_is_open_and_over_and_its_number_outlives_the_process(storage: Storage, tmp_path: Path) -> None:
    asked = storage.write(requests.ask, request(0, "top-k", parameters=[3], between=[1, 5]))
    again = storage.write(requests.ask, request(0))
    waiting = storage.read(requests.waiting)
    assert [one.id for one in waiting] == [asked, again]
    assert waiting[0] == request(asked, "top-k", parameters=[3], between=[1, 5])
    opened = OpenQuery(GROUP, 1, 5, asked, b"message")
    storage.commit([opened, opened], {})
    assert [one.id for one in storage.read(requests.waiting)] == [again]
    other = Storage(tmp_path / "coordinator.db", registry.schemas())
    assert other.read(requests.saved, GROUP, 1) == Saved(5, asked, None)
    assert other.read(requests.saved, GROUP, 2) == Saved(0, asked, None)  # the next roster's machine ends it
    assert other.read(requests.saved, "main", 1) == Saved()
    other.close()
    closed = CloseQuery(asked, records.COMPLETE, None, 3, 1, b"state", b"outcome", 12.5)
    storage.commit([closed, CloseQuery(asked, records.INCOMPLETE, "late")], {})
    row = storage.read(requests.row, asked)
    assert (row["status"], row["count"], row["outside"], row["state"]) == (records.COMPLETE, 3, 1, b"state")
    assert row["parameters"] == [3] and row["closed_at"] <= time.time()
    assert storage.read(requests.saved, GROUP, 1) == Saved(5, None, b"outcome")


def test_who_gives_up_is_not_asked_for_unless_it_was_asked_already(storage: Storage) -> None:
    asked = storage.write(requests.ask, request(0))
    storage.write(requests.give_up, asked)
    assert storage.read(requests.waiting) == [] and storage.read(requests.row, asked)["reason"] == "given-up"
    storage.commit([OpenQuery(GROUP, 1, 1, asked, b"message")], {})  # it was about to be published
    assert storage.read(requests.saved, GROUP, 1).last_number == 1
    storage.write(requests.give_up, asked)
    assert storage.read(requests.row, asked)["status"] == records.OPEN


def test_a_database_without_queries_gets_the_table(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    Storage(path, registry.schemas()).close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE queries")
        database.execute("DROP TABLE versions")
        database.execute("PRAGMA user_version=3")
    database.close()
    storage = Storage(path, registry.schemas())
    assert storage.write(requests.ask, request(0)) == 1
    storage.close()
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (FILE_VERSION,)
    database.close()


def test_a_database_without_noise_gets_its_columns_and_keeps_its_queries(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    storage = Storage(path, registry.schemas())
    asked = storage.write(requests.ask, request(0))
    storage.commit([OpenQuery(GROUP, 1, 5, asked, b"message")], {})
    storage.close()
    for there in ((), ("epsilon",)):  # the second time the process was killed in between
        with sqlite3.connect(path) as database:
            for column in {"epsilon", "record_epsilon", "cost"} - set(there):
                database.execute(f"ALTER TABLE queries DROP COLUMN {column}")
            database.execute("DROP TABLE versions")
            database.execute("PRAGMA user_version=4")
        database.close()
        storage = Storage(path, registry.schemas())
        row = storage.read(requests.row, asked)
        assert (row["number"], row["epsilon"], row["record_epsilon"], row["cost"]) == (5, 0, 0, None)
        storage.close()
    storage = Storage(path, registry.schemas())
    again = storage.write(requests.ask, request(0, epsilon=7, record_epsilon=3))
    assert storage.read(requests.waiting)[-1] == request(again, epsilon=7, record_epsilon=3)
    storage.close()


def test_two_processes_that_open_an_old_database_at_once_both_can(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    Storage(path, registry.schemas()).close()
    first = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    columns = ("epsilon INTEGER NOT NULL DEFAULT 0", "record_epsilon INTEGER NOT NULL DEFAULT 0", "cost INTEGER")
    for column in columns:
        first.execute(f"ALTER TABLE queries DROP COLUMN {column.split()[0]}")
    first.execute("DROP TABLE versions")
    first.execute("PRAGMA user_version=4")
    first.execute("BEGIN IMMEDIATE")  # it is at it when the second comes

    def finish() -> None:
        for column in columns:
            first.execute(f"ALTER TABLE queries ADD COLUMN {column}")
        first.execute("PRAGMA user_version=5")  # it is of the program before this one
        first.execute("COMMIT")

    timer = threading.Timer(0.3, finish)
    timer.start()
    second = Storage(path, registry.schemas())
    timer.join()
    assert second.read(requests.row, second.write(requests.ask, request(0, epsilon=7)))["epsilon"] == 7
    second.close()
    first.close()


def test_what_queries_cost_is_summed_by_group_whether_there_was_an_answer_or_not(storage: Storage) -> None:
    ids = [storage.write(requests.ask, request(0, group=group)) for group in (GROUP, GROUP, GROUP, GROUP, "other")]
    for number, (asked, cost) in enumerate(zip(ids[:2] + ids[3:], (5, None, 30, 100), strict=True), 1):
        group = "other" if asked == ids[-1] else GROUP
        storage.commit([OpenQuery(group, 1, number, asked, b"message", cost)], {})
    storage.commit(
        [CloseQuery(ids[0], records.COMPLETE), CloseQuery(ids[3], records.INCOMPLETE, "too-many-failed")], {}
    )
    storage.commit([CloseQuery(ids[2], records.REFUSED, "not-linear")], {})
    assert storage.read(requests.spent, GROUP) == 35 and storage.read(requests.spent, "other") == 100
    assert storage.read(requests.spent, "none") == 0


def test_a_noised_query_costs_its_epsilon_for_each_group_and_is_answered_within_the_noises_bound() -> None:
    world = World()
    world.begin()
    record, message = world.open(request(1, epsilon=MILLION, record_epsilon=MILLION // 2))
    assert record.cost == 2 * MILLION + MILLION // 2
    query, _, _ = queries.read_query(message)
    assert (query.epsilon, query.record_epsilon) == (MILLION, MILLION // 2)
    actions = []
    for sent in world.run(message):
        actions += world.machine.message(*sent, 2.0)
    closed = actions[0]
    assert isinstance(closed, CloseQuery)
    assert (closed.status, closed.reason, closed.count) == (records.COMPLETE, None, 5)
    off = answer_of(closed, "sum") - sum(board.value for board in world.street.boards)
    assert 0 != abs(off) < FOLDS * 100000  # 0 once in 200,000 times
    assert all(board.costs == [record.cost] for board in world.street.boards)


def test_nothing_that_is_asked_can_be_read_as_something_else() -> None:
    with pytest.raises(messages.MessageError):
        queries.read_query(answers.query(cbor.encode({}), []))
