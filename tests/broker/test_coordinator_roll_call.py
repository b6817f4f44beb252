"""Whom a roll call lists, against trying all lists of small cohorts."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from agent.joye_libert.cohorts import threshold
from broker.coordinator.protocols.private_sum.roll_call import bitmap, choose, helpers, members

SIZE = 6  # members of a cohort at most, here
Held = dict[int, int]


@st.composite
def cohort_states(draw: st.DrawFn, first: int = 0) -> tuple[list[int], Held, Held]:
    """A cohort whose members have the indices from `first` on: who contributed with which holders,
    whose keys who holds."""
    cohort = list(range(first, first + draw(st.integers(2, SIZE))))
    everyone = bitmap(cohort)
    full = st.just(everyone)
    some = st.integers(0, (1 << len(cohort)) - 1).map(lambda bits: bits << first)
    held = st.one_of(full, full, some)
    contributed = {i: draw(held) | 1 << i for i in cohort if draw(st.integers(0, 4))}
    return cohort, contributed, {i: draw(held) for i in cohort if draw(st.integers(0, 6))}


def works(cohort: list[int], listed: tuple[int, ...], contributed: Held, key_held: Held, least: int) -> bool:
    """The rule, word by word."""
    able = [
        h
        for h in listed
        if all(contributed[u] >> h & 1 for u in listed)
        and all(key_held.get(v, 0) >> h & 1 for v in cohort if v not in listed)
    ]
    return len(able) >= threshold(len(cohort)) and len(listed) >= least


def largest(cohort: list[int], contributed: Held, key_held: Held, least: int) -> int:
    """The most members that can be listed, 0 if none."""
    for count in range(len(contributed), 0, -1):
        if any(works(cohort, some, contributed, key_held, least) for some in combinations(sorted(contributed), count)):
            return count
    return 0


@given(st.lists(st.integers(0, 63), unique=True))
def test_bitmaps_and_lists_of_members_are_the_same(indices: list[int]) -> None:
    assert members(bitmap(indices)) == sorted(indices)


@given(cohort_states(), st.integers(2, 4))
def test_what_is_listed_can_be_opened_and_is_the_largest_list_if_that_lacks_at_most_one_contributor(
    state: tuple[list[int], Held, Held], least: int
) -> None:
    cohort, contributed, key_held = state
    present, (able,) = choose([(cohort, threshold(len(cohort)))], contributed, key_held, least)
    listed = tuple(members(present))
    best = largest(cohort, contributed, key_held, least)
    assert len(listed) <= best
    if best and best >= len(contributed) - 1:
        assert len(listed) == best
    assert able == set(members(helpers(cohort, present, contributed, key_held))) if listed else able == set()
    if listed:
        assert set(listed) <= set(contributed)
        assert works(cohort, listed, contributed, key_held, least)


@given(cohort_states(), cohort_states(first=SIZE), st.booleans())
def test_cohorts_are_chosen_each_by_itself_and_together_all_or_none(
    one: tuple[list[int], Held, Held], two: tuple[list[int], Held, Held], together: bool
) -> None:
    apart = [
        choose([(cohort, threshold(len(cohort)))], contributed, held, 3) for cohort, contributed, held in (one, two)
    ]
    both = choose(
        [(one[0], threshold(len(one[0]))), (two[0], threshold(len(two[0])))],
        one[1] | two[1],
        one[2] | two[2],
        3,
        together,
    )
    if together and not all(present for present, _ in apart):
        assert both == (0, [set(), set()])
    else:
        assert both == (apart[0][0] | apart[1][0], [apart[0][1][0], apart[1][1][0]])


@given(cohort_states(), st.data())
def test_everybody_is_listed_when_some_hold_nothing_and_enough_hold_all(
    state: tuple[list[int], Held, Held], data: st.DataObject
) -> None:
    cohort, _, key_held = state
    everyone = bitmap(cohort)
    # Everybody contributed; at most c - t members hold nobody's shares but their own.
    deaf = data.draw(st.lists(st.sampled_from(cohort), unique=True, max_size=len(cohort) - threshold(len(cohort))))
    contributed = {index: everyone & ~bitmap(deaf) | 1 << index for index in cohort}
    present, (able,) = choose([(cohort, threshold(len(cohort)))], contributed, key_held, 2)
    assert present == everyone
    assert able == set(cohort) - set(deaf)


def test_a_contributor_that_only_few_can_stand_in_for_is_dropped_if_its_key_is_held_and_not_otherwise() -> None:
    cohort, everyone = [0, 1, 2, 3], 0b1111
    contributed = {0: 0b0011, 1: everyone, 2: everyone, 3: everyone}
    assert choose([(cohort, threshold(len(cohort)))], contributed, {0: everyone}, 3) == (0b1110, [{1, 2, 3}])
    assert choose([(cohort, threshold(len(cohort)))], contributed, {}, 3) == (0, [set()])


def test_a_cohort_of_64_with_many_gaps_is_chosen_in_a_moment() -> None:
    cohort = list(range(64))
    everyone = (1 << 64) - 1
    poor = range(20)  # their shares reached half of the cohort
    contributed = {index: everyone >> 32 | 1 << index if index in poor else everyone for index in cohort}
    present, (able,) = choose([(cohort, threshold(len(cohort)))], contributed, dict.fromkeys(cohort, everyone), 3)
    assert present == everyone & ~bitmap(poor)
    assert len(able) == 44
