"""Cohorts and neighbours: every member once, balanced, by a rule that anyone can follow, on both
interpreters."""

from hashlib import sha256

from agent.crypto import CryptoError
from agent.joye_libert import cohorts
from agent.joye_libert.cohorts import SEAL_COHORT, SEAL_FLEET
from tests.support.expect import raises

DIGEST = sha256(b"roster").digest()
OTHER = sha256(b"another roster").digest()


def names(count):
    return ["board-%d" % index for index in range(count)]


def rank(index, members, digest):
    """The rank by the definition, without sorting: how many hashes are smaller."""
    own = sha256(digest + members[index].encode()).digest()
    return len([name for name in members if sha256(digest + name.encode()).digest() < own])


def everyone(members):
    return (1 << len(members)) - 1


def graph(members, size, seal, active=None):
    """The neighbours of each active member, none of the others; all are active unless told
    otherwise."""
    active = everyone(members) if active is None else active
    return [
        cohorts.neighbours(index, members, DIGEST, size, seal, active) if active >> index & 1 else []
        for index in range(len(members))
    ]


def reached(edges):
    """The members that member 0 reaches."""
    seen = [0]
    for member in seen:
        seen += [other for other in edges[member] if other not in seen]
    return seen


def test_threshold_is_the_least_number_above_two_thirds():
    for size in range(1, 65):
        least = cohorts.threshold(size)
        assert 3 * least > 2 * size >= 3 * (least - 1) and least <= size
    assert [cohorts.threshold(size) for size in (2, 3, 4, 12, 32, 64)] == [2, 3, 3, 9, 22, 43]


def test_every_member_is_in_one_cohort_and_sizes_differ_by_at_most_one():
    for count in list(range(2, 20)) + [31, 32, 33, 34, 47, 63, 64]:
        for size in (4, 5, 7, 16, 32, 63, 64):
            found = cohorts.assign(names(count), DIGEST, size)
            assert len(found) == (count + size - 1) // size
            assert sorted([index for cohort in found for index in cohort]) == list(range(count))
            lengths = [len(cohort) for cohort in found]
            assert max(lengths) <= size and max(lengths) - min(lengths) <= 1 and min(lengths) >= 2


def test_a_cohort_is_in_roster_order_and_follows_the_rank():
    for count, size in ((9, 4), (40, 32), (64, 12)):
        members = names(count)
        found = cohorts.assign(members, DIGEST, size)
        for number, cohort in enumerate(found):
            assert cohort == sorted(cohort)
            for index in cohort:
                assert rank(index, members, DIGEST) % len(found) == number


def test_the_order_depends_on_the_roster_and_on_nothing_else():
    members = names(40)
    first = cohorts.assign(members, DIGEST, 10)
    assert first == cohorts.assign(list(members), bytes(DIGEST), 10)
    assert first != cohorts.assign(members, OTHER, 10)
    assert first != [list(range(at, 40, 4)) for at in range(4)]
    ring = cohorts.neighbours(0, members, DIGEST, 10, SEAL_FLEET, everyone(members))
    assert ring != cohorts.neighbours(0, members, OTHER, 10, SEAL_FLEET, everyone(members))


def test_cohorts_do_not_move_with_a_members_place_in_the_roster():
    members = names(20)
    backwards = members[::-1]

    def named(listed):
        return [sorted([listed[index] for index in cohort]) for cohort in cohorts.assign(listed, DIGEST, 7)]

    assert named(members) == named(backwards)


def test_known_cohorts():
    # Worked out apart from the module, with a command-line SHA-256: a change of the rule would move
    # boards in the field.
    members = ["ada", "bob", "cyd", "dan", "eve", "fay", "\xe9mile"]
    assert cohorts.assign(members, bytes(32), 4) == [[0, 1, 2, 4], [3, 5, 6]]


def test_neighbours_under_the_cohort_seal_are_the_rest_of_the_cohort():
    for count, size in ((2, 4), (9, 4), (33, 32), (64, 32)):
        members = names(count)
        edges = graph(members, size, SEAL_COHORT)
        for cohort in cohorts.assign(members, DIGEST, size):
            for index in cohort:
                assert sorted(edges[index] + [index]) == cohort


def test_neighbours_under_the_fleet_seal_are_all_others_up_to_thirty_five_members():
    for count in (2, 3, 34, 35):
        for index, near in enumerate(graph(names(count), 32, SEAL_FLEET)):
            assert sorted(near + [index]) == list(range(count))


def test_neighbours_under_the_fleet_seal_are_seventeen_on_either_side_of_the_ring():
    for count in (36, 37, 50, 64):
        members = names(count)
        ranks = [rank(index, members, DIGEST) for index in range(count)]
        for index, near in enumerate(graph(members, 32, SEAL_FLEET)):
            assert len(near) == 34 and near == sorted(near)
            for other in range(count):
                apart = (ranks[index] - ranks[other]) % count
                assert (other in near) == (0 < min(apart, count - apart) <= 17)


def test_neighbours_are_mutual_or_zero_sum_keys_would_not_cancel():
    for count, size, seal in ((9, 4, SEAL_COHORT), (64, 10, SEAL_COHORT), (36, 32, SEAL_FLEET), (64, 32, SEAL_FLEET)):
        edges = graph(names(count), size, seal)
        for index, near in enumerate(edges):
            assert index not in near and len(near) > 0
            for other in near:
                assert index in edges[other]


def test_the_fleet_is_connected_and_stays_so_without_any_sixteen_members():
    edges = graph(names(64), 32, SEAL_FLEET)
    assert sorted(reached(edges)) == list(range(64))
    for first in range(1, 49):
        gone = list(range(first, first + 16))
        rest = [[other for other in near if other not in gone] for near in edges]
        assert len(reached(rest)) == 48


def test_neighbours_under_the_cohort_seal_are_the_active_rest_of_the_cohort():
    members = names(20)
    for active in (0b10110111011101111011, 0b11111111111111111110):
        edges = graph(members, 7, SEAL_COHORT, active)
        for cohort in cohorts.assign(members, DIGEST, 7):
            there = [index for index in cohort if active >> index & 1]
            for index in there:
                assert sorted(edges[index] + [index]) == there


def test_neighbours_under_the_fleet_seal_are_on_the_ring_of_the_active_members():
    members = names(64)
    for gone in ((), (0, 5, 63), tuple(range(20)), tuple(range(1, 60, 2))):
        active = everyone(members) - sum([1 << index for index in gone])
        there = [index for index in range(64) if index not in gone]
        order = sorted(there, key=lambda index: rank(index, members, DIGEST))
        edges = graph(members, 32, SEAL_FLEET, active)
        for index in there:
            if len(there) <= 35:
                assert sorted(edges[index] + [index]) == there
                continue
            at = order.index(index)
            ring = [order[(at + step) % len(order)] for step in range(-17, 18) if step]
            assert edges[index] == sorted(ring) and len(ring) == 34
            for other in edges[index]:
                assert index in edges[other]


def test_twenty_inactive_and_fourteen_colluders_do_not_cut_a_board_off():
    # On the ring of all members the 34 nearest of one board would be these very 34: 20 with whom it
    # has no key, 14 whose keys the coordinator knows.
    members = names(64)
    order = sorted(range(64), key=lambda index: rank(index, members, DIGEST))
    victim = order[30]
    near = cohorts.neighbours(victim, members, DIGEST, 32, SEAL_FLEET, everyone(members))
    inactive, colluders = near[:20], near[20:]
    active = everyone(members) - sum([1 << index for index in inactive])
    there = cohorts.neighbours(victim, members, DIGEST, 32, SEAL_FLEET, active)
    assert len(near) == len(there) == 34
    assert len([index for index in there if index not in colluders]) == 20


def test_who_is_not_active_has_no_neighbours():
    members = names(5)
    raises(CryptoError, cohorts.neighbours, 2, members, DIGEST, 4, SEAL_FLEET, 0b11011)
    raises(CryptoError, cohorts.neighbours, 2, members, DIGEST, 4, SEAL_COHORT, 0b11011)


def test_what_is_out_of_range_is_refused():
    members = names(5)
    raises(CryptoError, cohorts.assign, members, DIGEST, 0)
    raises(CryptoError, cohorts.assign, [], DIGEST, 4)
    for index in (-1, 5):
        raises(CryptoError, cohorts.neighbours, index, members, DIGEST, 4, SEAL_FLEET, -1)
    for seal in (-1, 2, None):
        raises(CryptoError, cohorts.neighbours, 0, members, DIGEST, 4, seal, everyone(members))
