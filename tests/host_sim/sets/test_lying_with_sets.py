"""A coordinator that lies with active sets: split, left behind, alternating, changed in mid-round,
replayed, across a reboot and a power cut. What it opens covers all honest members of a set that all
of them have taken up, or nothing; each attack has its control.

The attacker is that of test_lying_coordinator.py.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from agent.joye_libert import cohorts
from agent.protocols.base.identity import Policy
from agent.wire import topics
from broker.coordinator.protocols.private_sum.arithmetic.recovery import WrongShares
from broker.coordinator.protocols.private_sum.roll_call import bitmap, members
from broker.coordinator.protocols.private_sum.sets.in_force import InForce
from tests.host_sim.test_lying_coordinator import EVERYONE, READINGS, VICTIM, C, Knowledge, World
from tests.support.quick_arithmetic import remembered

COLLUDERS = [5, 6]
ACTIVE = topics.active("sim", "main", 0)
TOKEN_S = 900.0


@pytest.fixture(scope="module", autouse=True)
def arithmetic_is_quick() -> Iterator[None]:
    with remembered():
        yield


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def numbers(world: World) -> list[int]:
    """The numbers of the sets that are in force at the boards."""
    return [board.machine.member.number for board in world.boards]


def nothing_opens(world: World, number: int, present: int) -> None:
    with pytest.raises(WrongShares):
        world.total(number, present)


def answers(world: World, number: int) -> set[int]:
    return {world.names.index(name) for name in world.answers(number)}


# -- the threshold's edge


def split_lists(active: int, t: int, colluders: int, silent: int = 0) -> Knowledge:
    """What is known when the honest members of a set are shown two lists, with and without the
    first of them, in the best way there is. The last `silent` honest ones never took up the set."""
    there = range(active - colluders, active)
    known = Knowledge(active, t, there, 65_537)
    honest = active - colluders - silent
    everyone, without = (1 << active) - 1, (1 << active) - 2
    for member in range(honest):
        known.ciphertext(member)
    with_it = max(1, t - colluders)  # so many answer the whole list, the first of them included
    for member in range(honest):
        known.answer(member, everyone if member < with_it else without)
    return known


@pytest.mark.parametrize("c", range(4, 20))
def test_at_the_edge_of_the_threshold_f_colluders_learn_nothing_under_any_set(c: int) -> None:
    t = cohorts.threshold(c)
    for active in range(t, c + 1):
        assert not split_lists(active, t, c - t).tells(0)
    # The control: a set that is whole, and more colluders or a smaller threshold by what it takes.
    beyond = 2 * t - c
    assert beyond > c - t
    assert split_lists(c, t, beyond).tells(0)
    assert split_lists(c, (c + c - t) // 2, c - t).tells(0)


# -- split sets


def test_where_one_honest_member_never_takes_up_the_set_nothing_opens(world: World) -> None:
    world.enter(EVERYONE, 2, to=[0, 1, 2, 3, 5, 6])
    assert numbers(world) == [2, 2, 2, 2, 1, 2, 2]
    world.open(0)
    for present in (EVERYONE, EVERYONE & ~(1 << 4)):
        world.call(0, present)
        nothing_opens(world, 0, EVERYONE & ~(1 << 4))
    assert not answers(world, 0) & set(world.honest())  # nobody holds a share of the fifth's key


def test_once_all_have_taken_it_up_the_same_set_opens_its_sum(world: World) -> None:
    """The control."""
    world.enter(EVERYONE, 2, to=[0, 1, 2, 3, 5, 6])
    world.enter(EVERYONE, 2, to=[4])
    world.clock.run(world.clock.now + 60)
    world.open(0)
    world.call(0, EVERYONE & ~(1 << 4))
    assert world.total(0, EVERYONE & ~(1 << 4)) == sum(READINGS[:C]) - READINGS[4]


@pytest.mark.parametrize("second", [2, 3], ids=["the same number", "consecutive"])
def test_two_sets_shown_to_two_parts_open_nothing_of_either(world: World, second: int) -> None:
    one = world.enter(EVERYONE, 2, to=[0, 1, 5])
    other = world.enter(EVERYONE & ~1, second, to=[1, 2, 3, 4, 6])
    assert numbers(world) == [2, max(2, second if second > 2 else 2), second, second, second, 2, second]
    for number, found, there in ((0, one, [0]), (1, other, [2, 3, 4])):
        world.use(found)
        world.open(number)
        world.call(number, found.members)
        present = bitmap([*there, *COLLUDERS])
        assert not any(knowledge(world, number, found, there).tells(member) for member in there)
        with pytest.raises((WrongShares, KeyError)):
            world.total(number, present)


def knowledge(world: World, number: int, found: InForce, there: Iterable[int]) -> Knowledge:
    """All that is known of a round under a set that `there` of its honest members took up: of the
    others no share was ever dealt."""
    active = members(found.members)
    known = Knowledge(len(active), world.threshold, [], world.field.p)
    for index in there:
        known.ciphertext(active.index(index))
        for x in (active.index(colluder) for colluder in COLLUDERS if colluder in active):
            known.blinding_share(x, active.index(index))
    return known


# -- left behind


def test_a_set_that_was_left_behind_stays_shut(world: World) -> None:
    """Board 2 contributed under the first and has moved on: two honest members and two colluders
    are one too few."""
    left = bitmap([0, 1, 2, 5, 6])
    first = world.enter(left, 2, to=members(left))
    world.open(0)
    assert {world.names.index(name) for name in world.ciphertexts(0)} == {0, 1, 2, 5, 6}
    own = {x: world.own_answer(index, 0, left) for index, x in ((5, 4), (6, 5))}  # they keep all that they had
    newest = world.enter(bitmap([2, 3, 4, 5, 6]), 3, to=[2, 3, 4, 5, 6])
    assert numbers(world) == [2, 2, 3, 3, 3, 3, 3]
    world.use(first)
    world.call(0, left)
    assert answers(world, 0) == {0, 1}
    blinded = {x: answer[0] for x, answer in own.items()} | given(world, 0, [0, 1])
    with pytest.raises(WrongShares, match="too-few-answers"):
        world.total(0, left, (blinded, {}))
    # Under the newest all is well, and what it opens is all of it.
    world.use(newest)
    world.open(1)
    world.call(1, newest.members)
    assert world.total(1, newest.members) == sum(READINGS[2:C])


def test_had_nobody_moved_the_set_would_open(world: World) -> None:
    """The control: one more answer."""
    left = bitmap([0, 1, 2, 5, 6])
    world.enter(left, 2, to=members(left))
    world.open(0)
    world.call(0, left)
    assert world.total(0, left) == sum(READINGS[index] for index in members(left))


def given(world: World, number: int, who: Iterable[int]) -> dict[int, int]:
    """The blinding that these have answered, by position."""
    from agent.wire.envelope import Envelope

    found = {}
    for index in who:
        raw = world.answers(number)[world.names[index]]
        blinded, _ = world.uploads.answer(world.names[index], index, Envelope(raw), False)
        found[world.position(index)] = int.from_bytes(blinded, "big")
    return found


# -- changed in mid-round


def test_a_set_that_comes_in_mid_round_waits_and_the_round_is_of_the_one_before(world: World) -> None:
    before = world.current
    world.open(0)
    world.call(0, EVERYONE, to=[0, 1])
    after = world.enter(EVERYONE & ~(1 << 4), 2, to=[0, 1, 2, 3])  # the colluders stay as well
    world.use(before)
    world.call(0, EVERYONE)
    answered = answers(world, 0)
    if len(answered & set(world.honest())) >= world.threshold - len(COLLUDERS):
        assert world.total(0, EVERYONE) == sum(READINGS[:C])
    else:
        nothing_opens(world, 0, EVERYONE)
    world.clock.run(world.clock.now + 60)
    # Under the new one the round before is nobody's any more, whichever list is called.
    world.use(after)
    for present in (after.members, EVERYONE):
        world.call(0, present)
    assert answers(world, 0) == answered
    assert all(number in (1, 2) for number in numbers(world))


def test_a_round_spent_under_one_set_is_never_opened_under_the_next(world: World) -> None:
    world.open(0)
    world.call(0, EVERYONE, to=[])
    after = world.enter(EVERYONE, 2)
    world.clock.run(world.clock.now + 60)
    assert numbers(world) == [2] * C
    for index in range(C):
        world.refused(index)
    world.open(0)
    world.call(0, after.members)
    assert answers(world, 0) == set() and world.ciphertexts(0) == {}
    nothing_opens_at_all(world, 0, after.members)
    world.open(1)  # the control: the next round is theirs
    world.call(1, after.members)
    assert world.total(1, EVERYONE) == sum(READINGS[:C])


def nothing_opens_at_all(world: World, number: int, present: int) -> None:
    with pytest.raises((WrongShares, KeyError)):
        world.total(number, present)


# -- replayed, across a reboot and a power cut


def test_an_old_set_replayed_changes_nothing_also_after_a_reboot(world: World) -> None:
    old = world.current
    new = world.enter(EVERYONE, 2)
    for reboot in (False, True):
        for board in world.boards if reboot else ():
            world.reboot(board)
        world.say(world.outgoing.retained_active(0, old.record.message))
        world.clock.run(world.clock.now + 30)
        assert numbers(world) == [2] * C
        assert all("stale-active" in world.refused(index) for index in range(C))
    world.use(new)
    world.open(0)
    world.call(0, EVERYONE)
    assert world.total(0, EVERYONE) == sum(READINGS[:C])


@pytest.mark.parametrize("kind", ["enter", "use", "put", "publish", "mask", "hold"])
def test_a_power_cut_while_a_set_is_taken_up_leaves_a_board_in_one_of_two(world: World, kind: str) -> None:
    victim = world.boards[VICTIM]
    world.open(0)
    world.call(0, EVERYONE, to=[])
    spent = world.ciphertexts(0)
    cuts = []

    def cut(found: str) -> bool:
        cuts.append(found)
        return cuts.count(kind) == 1 and found == kind

    victim.cut = cut
    new = world.enter(EVERYONE, 2)
    world.clock.run(world.clock.now + 5)
    assert kind in cuts and not victim.running
    victim.cut = lambda found: False
    world.reboot(victim)
    world.clock.run(world.clock.now + 120)
    assert numbers(world) == [2] * C  # the retained set is there for who comes back
    world.open(1)
    world.call(1, EVERYONE)
    assert world.total(1, EVERYONE) == sum(READINGS[:C])
    assert world.current is new and len(spent) == C
    world.call(0, EVERYONE)
    assert world.answers(0) == {}


# -- alternation


@pytest.mark.proof
def test_alternating_by_one_member_is_a_close_list_whatever_the_sets_are_called(tmp_path: Path) -> None:
    """All, all but one, all, ... : each change is a close list, and the policy's few are all that
    anybody answers."""
    most = 3
    world = World(tmp_path, policy=Policy(close_most=most))
    opened = []
    for number in range(most + 4):
        world.clock.run(world.clock.now + 2 * TOKEN_S)
        active = EVERYONE if number % 2 == 0 else EVERYONE & ~(1 << 4)
        found = world.enter(active, number + 2, to=members(active))
        world.clock.run(world.clock.now + 60)
        world.open(number)
        world.call(number, active)
        try:
            opened.append(world.total(number, active))
        except (WrongShares, KeyError):
            assert any("differencing" in world.refused(index) for index in range(C))
            break
        assert opened[-1] == sum(READINGS[index] for index in members(found.members))
    assert len(opened) == most + 1


@pytest.mark.proof
def test_the_same_set_again_and_again_is_no_close_list(tmp_path: Path) -> None:
    """The control."""
    world = World(tmp_path, policy=Policy(close_most=0))
    for number in range(5):
        world.clock.run(world.clock.now + 2 * TOKEN_S)
        world.enter(EVERYONE, number + 2)
        world.clock.run(world.clock.now + 60)
        world.open(number)
        world.call(number, EVERYONE)
        assert world.total(number, EVERYONE) == sum(READINGS[:C])


def test_more_sets_than_tokens_are_not_taken_up_until_there_is_one(world: World) -> None:
    for number in range(2, 8):
        world.enter(EVERYONE, number)
    assert numbers(world) == [4] * C  # the first, and three more
    world.clock.run(world.clock.now + TOKEN_S + 60)
    assert numbers(world) == [7] * C  # the newest that came
