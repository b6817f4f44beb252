"""The consistency check on whole cohorts of real machines: what a lying coordinator no longer gets,
and what honest ones still do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.protocols.private_sum import mail
from agent.wire import messages, topics
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.schedule import Schedule
from host_sim.bench import consistency_check
from host_sim.virtual.network import Network, VirtualClock
from host_sim.virtual.street import SimulatedBoard, Street
from tests.host_sim.test_lying_coordinator import EVERYONE, READINGS, WITHOUT, C, World, nothing_comes_out, split
from tests.support.quick_arithmetic import remembered, small_modulus

SCHEDULE = Schedule(interval=60, window=10, patience=10, rounds=3, answers=40)
MEMBERS = 12
THRESHOLD = 9


@pytest.fixture(scope="module", autouse=True)
def arithmetic_is_quick() -> Iterator[None]:
    """A consistency check is about lists. The boards of all worlds have the same keys."""
    with remembered(), small_modulus():
        yield


# -- two lists


def settle(world: World) -> None:
    """Let the boards have their retries."""
    world.clock.run(world.clock.now + 60)


def test_two_lists_to_two_parts_of_a_cohort_get_no_answer_and_without_the_consistency_check_all(tmp_path: Path) -> None:
    found = {}
    for audit in (True, False):
        world = World(tmp_path / str(audit), colluders=0, audit=audit)
        for number in range(3):
            split(world, number, list(range(1, 2 + number)))  # one, two and three of seven; five are the threshold
            settle(world)
            found[audit, number] = len(world.answers(number))
            refused = [world.refused(index).get("split-roll", 0) for index in range(C)]
            assert refused == [int(audit)] * C
        nothing_comes_out(world, 0)
    assert found == {(True, 0): 0, (True, 1): 0, (True, 2): 0, (False, 0): C, (False, 1): C, (False, 2): C}


def test_after_a_split_the_next_round_with_one_list_is_answered(tmp_path: Path) -> None:
    world = World(tmp_path, colluders=0, audit=True)
    split(world, 0, [1, 2, 3])
    settle(world)
    world.open(1)
    world.call(1, EVERYONE)
    assert (len(world.answers(0)), len(world.answers(1))) == (0, C)
    assert world.total(1, EVERYONE) == sum(READINGS[:C])


def lie(world: World, liar: int, number: int, present: int, to: list[int]) -> None:
    """Have a colluder vouch for a list."""
    member = world.boards[liar].machine.member
    for index in to:
        content = messages.share(present.to_bytes(8, "big"))
        _, topic, payload, *_ = mail.letter(member, index, mail.VOUCH, mail.VOUCH, number, content)
        world.network.publish(world.names[liar], topic, payload)


def answered_lists(world: World, number: int, sides: tuple[list[int], list[int]]) -> int:
    """Split the honest into `sides`, keep their mail apart, and have the colluders vouch to each
    for its list; return how many of the two lists some honest board answered."""
    side_of = {world.names[index]: sides[0] if index in sides[0] else sides[1] for index in world.honest()}

    def fate(receiver: str, topic: str) -> list[float]:
        sender = topic.rsplit("/", maxsplit=1)[-1]
        held_back = "/mail/" in topic and side_of.get(sender) is not side_of.get(receiver)
        return [] if held_back and sender in side_of and receiver in side_of else [0.001]

    world.network.fate = fate
    world.open(number)
    for index in world.colluders:
        world.network.disconnect(world.names[index])
    for present, side in zip((EVERYONE, WITHOUT), sides, strict=True):
        for liar in world.colluders:
            lie(world, liar, number, present, side)
        world.call(number, present, to=side)
        world.told |= {(number, world.names[index]): present for index in side}
    settle(world)
    answers = set(world.answers(number))
    return sum(any(world.names[index] in answers for index in side) for side in sides)


LONG = [pytest.param(*each, marks=pytest.mark.proof) for each in ((1, 1), (2, 1))]


@pytest.mark.parametrize(("colluders", "lists"), [(0, 1), *LONG, (3, 2)])
def test_a_broker_and_liars_get_answers_to_one_list_and_to_two_only_from_the_edge_on(
    tmp_path: Path, colluders: int, lists: int
) -> None:
    """Of seven two may collude. Three are the edge: 2t - c."""
    most = 0
    for size in range(1, C - colluders):
        world = World(tmp_path / str(size), colluders=colluders, audit=True)
        honest = world.honest()
        most = max(most, answered_lists(world, 0, (honest[:size], honest[size:])))
        if colluders < 3:
            assert not any(world.knowledge(0).tells(member) for member in honest)
    assert most == lists


def test_one_liar_denies_the_sum_and_all_name_it(tmp_path: Path) -> None:
    world = World(tmp_path, colluders=1, audit=True)
    (liar,) = world.colluders
    world.open(0)
    lie(world, liar, 0, WITHOUT, [0, 1, 2])
    world.call(0, EVERYONE)
    settle(world)
    assert world.answers(0).keys() <= {world.names[liar]}
    named = f"split-by-{world.names[liar]}"
    assert [index for index in range(C) if named in world.boards[index].machine.refused] == [0, 1, 2]


def test_what_was_vouched_in_one_round_does_not_count_in_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, colluders=0, audit=True)
    world.open(0)
    world.call(0, EVERYONE)
    letters = [(sender, topic, raw) for sender, topic, raw in world.network.log if "/mail/" in topic]
    world.open(1)
    world.network.fate = lambda receiver, topic: [] if "/mail/" in topic else [0.001]
    world.call(1, EVERYONE)
    world.network.fate = lambda receiver, topic: [0.001]
    for sender, topic, raw in letters:
        if raw[0] == 0xD0 and topic.endswith("/b001"):
            world.network.publish(sender, topic, raw)
    world.clock.run(world.clock.now + 1)
    assert world.answers(1) == {}
    assert world.refused(0)["not-audited"] == 1


# -- honest rounds


class Group:
    """A street of twelve boards and its coordinator, through the rounds of SCHEDULE."""

    def __init__(self, folder: Path, audit: bool | None = None, members: int = MEMBERS) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock)
        self.rows = [[1000 + 7 * index + number for number in range(4)] for index in range(members)]
        self.street = Street(self.network, folder, self.rows, SCHEDULE, audit=audit)
        self.boards = self.street.boards
        self.results: list[tuple[int, list[int] | None, list[str], float]] = []

    def run(self, until: float = 250.0) -> None:
        self.street.start()
        self.clock.run(until)
        storage = self.street.coordinator.home.storage
        rows = sorted(storage.read(reading.results, "main", 10), key=lambda row: int(row["round"]))
        for row in rows:
            self.results.append((row["round"], row["sums"], row["missing"], row["latency_ms"]))
        storage.close()

    def expected(self, number: int, missing: list[str]) -> list[int]:
        left = [row for row, board in zip(self.rows, self.boards, strict=True) if board.name not in missing]
        return [sum(row[number] for row in left)]

    def vouches(self, number: int) -> list[tuple[str, str]]:
        """Return (sender, topic) of the letters of the consistency check of a round."""
        found = []
        for sender, topic, raw in self.network.log:
            if "/mail/" in topic and sender != topics.COORDINATOR:
                parsed = mail.Envelope(raw)
                if parsed.round == number and parsed.nonce[0] in (mail.VOUCH, mail.SPLIT):
                    found.append((sender, topic))
        return found


def test_an_honest_cohort_opens_every_sum_for_one_letter_from_each_to_each(tmp_path: Path) -> None:
    group = Group(tmp_path)
    group.run()
    assert [sums for _, sums, _, _ in group.results] == [group.expected(number, []) for number in range(3)]
    for number in range(3):
        assert len(group.vouches(number)) == len(set(group.vouches(number))) == MEMBERS * (MEMBERS - 1)
    assert all(board.machine.refused == {} for board in group.boards)
    assert all(board.machine._standing.unmasking._check is None for board in group.boards)


@pytest.mark.proof
def test_groups_below_8_do_without_unless_told(tmp_path: Path) -> None:
    for audit, letters in ((None, 0), (True, 5 * 4)):
        group = Group(tmp_path / str(audit), audit, 5)
        group.run()
        assert [sums for _, sums, _, _ in group.results] == [group.expected(number, []) for number in range(3)]
        assert len(group.vouches(0)) == letters


def when(group: Group, kind: str, number: int, count: int, then: Callable[[], None]) -> None:
    """Call `then` when so many messages of the kind have been sent in the round."""
    seen = 0
    publish = group.network.publish

    def watch(sender: str, topic: str, payload: bytes, retain: bool = False) -> None:
        nonlocal seen
        publish(sender, topic, payload, retain)
        if topic.endswith("/" + kind) and payload and mail.Envelope(payload).round == number:
            seen += 1
            if seen == count:
                then()

    group.network.publish = watch  # type: ignore[method-assign]


@pytest.mark.proof
def test_boards_that_die_after_they_were_listed_do_not_stop_the_round(tmp_path: Path) -> None:
    group = Group(tmp_path)
    dead = group.boards[2], group.boards[5], group.boards[11]

    def die() -> None:
        for board in dead:
            board.crash()

    when(group, "contribution", 1, MEMBERS, die)
    group.run()
    (_, first, _, _), (_, second, missing, late), (_, third, gone, _) = group.results
    assert first == group.expected(0, [])
    assert (second, missing) == (group.expected(1, []), [])  # they had contributed
    assert late < 15_000  # a retry, and the waiting for the dead ones' answers
    assert (third, sorted(gone)) == (group.expected(2, gone), [board.name for board in dead])
    assert {sender for sender, _ in group.vouches(2)} == {board.name for board in group.boards if board not in dead}
    assert len(group.vouches(2)) == THRESHOLD * (THRESHOLD - 1)  # nobody waits for who is not on the list


@pytest.mark.proof
def test_a_quarter_of_the_letters_may_be_lost(tmp_path: Path) -> None:
    group = Group(tmp_path)
    count = 0

    def fate(receiver: str, topic: str) -> list[float]:
        nonlocal count
        count += 1
        return [] if "/mail/" in topic and group.clock.now > 9 and count % 4 == 0 else [0.001]

    group.network.fate = fate
    group.run()
    assert [sums for _, sums, _, _ in group.results] == [group.expected(number, []) for number in range(3)]
    assert all(len(group.vouches(number)) <= 3 * MEMBERS * (MEMBERS - 1) for number in range(3))


def byzantine(group: Group, board: SimulatedBoard, number: int, kind: int, content: bytes) -> None:
    """When the round's roll is called, `board` writes `content` to all others and nothing that it
    should."""

    def write() -> None:
        member = board.machine.member
        for index in member.cohort:
            if index != member.index:
                _, topic, payload, *_ = mail.letter(member, index, kind, kind, number, content)
                group.network.publish(board.name, topic, payload)
        board.crash()

    when(group, "roll", number, 1, write)


def test_garbage_from_a_member_is_refused_and_the_round_goes_on(tmp_path: Path) -> None:
    group = Group(tmp_path)
    byzantine(group, group.boards[4], 1, mail.VOUCH, b"\xa1\x01\x41\xff")
    group.run()
    assert [sums for _, sums, _, _ in group.results[:2]] == [group.expected(number, []) for number in range(2)]
    assert [board.machine.refused.get("malformed", 0) for board in group.boards] == [1] * 4 + [0] + [1] * 7


@pytest.mark.parametrize("kind", [mail.VOUCH, pytest.param(mail.SPLIT, marks=pytest.mark.proof)])
def test_a_false_list_or_alarm_from_a_member_denies_one_sum_and_no_more(tmp_path: Path, kind: int) -> None:
    group = Group(tmp_path)
    liar = group.boards[4]
    byzantine(group, liar, 1, kind, messages.share((1 << MEMBERS >> 1).to_bytes(8, "big")))
    group.run()
    (_, first, _, _), (_, second, _, _), (_, third, gone, _) = group.results
    assert (first, second) == (group.expected(0, []), None)
    assert gone == [liar.name] and third is not None
    others = [board.machine.refused for board in group.boards if board is not liar]
    assert all(refused["split-roll"] == 1 for refused in others)
    if kind == mail.VOUCH:  # an alarm may be another's
        assert any(refused.get(f"split-by-{liar.name}") for refused in others)


# -- its cost


@pytest.mark.proof
def test_the_bench_counts_one_letter_to_each_other_member_and_one_more_message_time() -> None:
    (figures,) = consistency_check.measure([5], lambda phase: None).values()
    assert figures["letters, one to each other member"] == 4
    assert (figures["messages: without"], figures["messages: with the audit"]) == (2, 6)
    assert figures["bytes: with the audit"] > figures["bytes: without"] + 4 * 80
    assert 0.7 < figures["message times: with the audit"] - figures["message times: without"] < 1.5


def test_the_bench_takes_no_round_for_good_whose_sum_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consistency_check, "ROUNDS", 4)  # the schedule has three
    with pytest.raises(consistency_check.WrongSum, match="3 members"):
        consistency_check.measure([3], lambda phase: None)
