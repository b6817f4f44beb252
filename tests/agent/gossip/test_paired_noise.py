"""Paired noise: who is paired with whom, that it cancels, what a crash leaves, and that no number
comes twice."""

from hashlib import sha256

from agent.protocols.base import overlay
from agent.protocols.gossip.privacy.paired_noise import TooFew, pair_noise, partners, reach_of, record_noise
from tests.support.expect import raises

SCALE = (50, 1)
BOUND = 1200
SIZES = ((3, 3), (3, 5), (9, 11), (12, 13), (10, 13), (14, 19), (23, 29))  # members, n


def key(sender, receiver):
    return sha256(b"pair %d %d" % (sender, receiver)).digest()


def keys_of(own):
    return lambda peer, outgoing: key(own, peer) if outgoing else key(peer, own)


def noised(values, start, n, absent=(), context=b"query 1", reach=1):
    """Return the records {member: value with noise} of the members that are not absent."""
    records = {}
    for own in range(len(values)):
        if own not in absent:
            pair = partners(own, start, len(values), n, reach, absent)
            records[own] = values[own] + record_noise(keys_of(own), pair, own, context, SCALE, BOUND)
    return records


def nearest(own, start, members, n):
    receivers, senders = partners(own, start, members, n)
    return receivers[0], senders[0]


def test_the_pairs_of_every_round_are_one_circle_through_all_members():
    for members, n in SIZES:
        for start in range(n - 1):
            at = 0
            seen = []
            while at not in seen:
                seen.append(at)
                receiver, sender = nearest(at, start, members, n)
                assert nearest(receiver, start, members, n)[1] == at
                assert nearest(sender, start, members, n)[0] == at
                at = receiver
            assert sorted(seen) == list(range(members))


def test_without_second_ids_the_pairs_are_those_of_the_overlays_round():
    for start in (0, 1, 5, 11, 12, 40):
        for own in range(13):
            expected = (overlay.partner(own, start, 13), overlay.predecessor(own, start, 13))
            assert nearest(own, start, 13, 13) == expected


def test_second_ids_are_stepped_over():
    # n = 13, step 4: 11 and 12 belong to the members 0 and 1, so 7 sends to 11 + 4 - 13 = 2.
    assert nearest(7, 2, 11, 13)[0] == 2 and nearest(2, 2, 11, 13)[1] == 7
    assert nearest(8, 2, 11, 13)[0] == 3 and nearest(0, 2, 11, 13)[1] == 9


def test_a_wider_reach_takes_the_next_ones_on_the_circle_and_all_agree():
    for members, n in ((9, 11), (12, 13), (14, 19)):
        for start in range(n - 1):
            for reach in (2, 3, 4):
                all_pairs = [partners(own, start, members, n, reach) for own in range(members)]
                for own, (receivers, senders) in enumerate(all_pairs):
                    at = own
                    for receiver in receivers:
                        at = nearest(at, start, members, n)[0]
                        assert receiver == at and own in all_pairs[receiver][1]
                    assert len(set(receivers + senders + [own])) == 2 * reach + 1


def test_colluders_are_never_all_neighbours():
    for tolerate in range(10):
        assert 2 * reach_of(tolerate) > tolerate


def test_the_absent_are_stepped_over_and_the_noise_still_cancels():
    values = [7 * index for index in range(10)]
    for start in range(12):
        for absent, reach in (((), 4), ((3,), 4), ((3, 4, 9), 3), ((0, 1, 2, 3, 4, 5, 6), 1), ((12, 5), 2)):
            records = noised(values, start, 13, absent, b"q", reach)
            assert sum(records.values()) == sum([values[own] for own in records])
            for own in records:
                receivers, senders = partners(own, start, 10, 13, reach, absent)
                assert not [one for one in receivers + senders if one in absent]


def test_too_few_others_give_no_pairs():
    raises(TooFew, partners, 4, 0, 10, 13, 1, (0, 1, 2, 3, 5, 6, 7, 8, 9))
    raises(TooFew, partners, 4, 0, 10, 13, 1, (0, 1, 2, 3, 5, 6, 7, 8))
    raises(TooFew, partners, 4, 0, 10, 13, 5)
    assert len(partners(4, 0, 10, 13, 4)[0]) == 4


def test_noise_cancels_in_the_sum_and_hides_each_record():
    values = [100] * 12
    for start in range(12):
        records = noised(values, start, 13)
        assert sum(records.values()) == sum(values)
        assert len([own for own in records if records[own] == values[own]]) <= 2
        assert max(abs(records[own] - 100) for own in records) <= 2 * BOUND


def test_a_crash_leaves_exactly_the_two_noises_of_the_pairs_it_was_in():
    values = [1000 + index for index in range(12)]
    for start in range(12):
        for dead in (0, 5, 11):
            records = noised(values, start, 13)
            del records[dead]
            receiver, sender = nearest(dead, start, 12, 13)
            left = pair_noise(key(sender, dead), b"query 1", sender, dead, SCALE, BOUND)
            left -= pair_noise(key(dead, receiver), b"query 1", dead, receiver, SCALE, BOUND)
            assert sum(records.values()) - sum(values) + values[dead] == left


def test_a_crash_leaves_all_the_noises_of_a_wider_reach_and_no_others():
    values = [0] * 12
    records = noised(values, 4, 13, (), b"q", 3)
    del records[7]
    receivers, senders = partners(7, 4, 12, 13, 3)
    left = 0
    for index in range(3):
        left += pair_noise(key(senders[index], 7), b"q", senders[index], 7, SCALE, BOUND)
        left -= pair_noise(key(7, receivers[index]), b"q", 7, receivers[index], SCALE, BOUND)
    assert sum(records.values()) == left


def test_two_neighbours_that_crash_leave_two_noises_not_four():
    values = [0] * 13
    records = noised(values, 0, 13)
    del records[5], records[6]
    left = pair_noise(key(4, 5), b"query 1", 4, 5, SCALE, BOUND) - pair_noise(key(6, 7), b"query 1", 6, 7, SCALE, BOUND)
    assert sum(records.values()) == left


def test_noise_is_fresh_for_each_query_direction_and_key():
    seen = []
    for context in (b"query 1", b"query 2", b"query 3"):
        for pair in ((0, 1), (1, 0), (1, 2)):
            for secret in (bytes(32), bytes(31) + b"\x01"):
                seen.append(pair_noise(secret, context, pair[0], pair[1], (1 << 60, 1), 1 << 70))
    assert len(set(seen)) == len(seen) == 18


def test_noise_is_the_same_number_on_every_interpreter():
    found = [pair_noise(key(0, 1), b"query %d" % number, 0, 1, SCALE, BOUND) for number in range(8)]
    assert found == VECTOR
    assert noised([0] * 9, 3, 11) == VECTOR_RECORDS


VECTOR = [-132, 94, -66, 12, 98, 0, -114, -136]
VECTOR_RECORDS = {0: -104, 1: -8, 2: 99, 3: 4, 4: -75, 5: -25, 6: 6, 7: 7, 8: 96}
