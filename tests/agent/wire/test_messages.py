"""The payloads, on both interpreters: what is made is read back, and every other payload is refused
by the one error."""

import random

from agent.protocols.gossip.roster_part import query_part
from agent.protocols.gossip.roster_part import read_part as read_query_part
from agent.protocols.private_sum.roster_part import SPREAD_MOST, SumPart
from agent.protocols.private_sum.roster_part import read_part as read_sum_part
from agent.wire import active_sets, cbor, coordination, messages, rosters
from agent.wire.envelope import Context
from agent.wire.messages import EVERYONE, LEAD_MOST, OFF_GRID, UNITS_MOST, MessageError
from agent.wire.rosters import Roster
from tests.support.expect import raises

PUBLIC = b"\x04" + bytes(64)
DIGEST = bytes(range(32))
SETS = DIGEST + bytes(32)  # the second unit has none
MEMBERS = [("meter-a", PUBLIC), ("meter-b", PUBLIC)]
ROSTER = Roster(
    "private-sum", "hum-2048", [("power", -5, 5), ("energy", 0, 9)], PUBLIC, MEMBERS, SumPart(8, 1, 1).fields()
).encode()
OPENING = coordination.opening(1, 0, SETS, [b"t" * 16, b"u" * 16], 2, [bytes(8), coordination.counted(1, 9)], 1234)
ROLL_CALL = coordination.roll(SETS, 3, [b"t" * 16, b"u" * 16])
OF_AN_INSTANT = coordination.opening(1, 0, SETS, [b"t" * 16], 2, [bytes(8)], 1234, 1260)
CONTRIBUTION = messages.contribution(bytes(512), 9, 3, 5)
ANSWER = messages.answer(bytes(16), bytes(512))
SHARE = messages.share(bytes(40))
COMPLETE = coordination.result(DIGEST, coordination.COMPLETE, [], b"sealed", SETS)
INCOMPLETE = coordination.result(DIGEST, coordination.INCOMPLETE, ["meter-b"], None, SETS)
DIAGNOSTICS = messages.diagnostics("keys", 1, 3, 0, 50000, {"replayed": 2})


def read_contribution(payload):
    return coordination.read_contribution(payload, 512)


def read_answer(payload):
    return coordination.read_answer(payload, 16, 512)


def read_share(payload):
    return messages.read_share(payload, 40)


BYTES = (b"", b"x", bytes(31), bytes(33), bytes(1025))
BITMAPS = (1 << 32, EVERYONE)


# (reader, a good payload, for each field the hostile values that are nevertheless right)
def read_sum_roster(payload):
    """Read a roster and its part, as a board does that joins a sum."""
    read_sum_part(rosters.read_roster(payload).part)


READERS = (
    (read_sum_roster, ROSTER, ((), (), (), (), (), (), (), (), (b"",))),
    (messages.read_opening, OPENING, ((), (), (), (), BITMAPS, (), (1 << 31,))),
    (messages.read_roll, ROLL_CALL, ((), BITMAPS, (b"",))),
    (read_contribution, CONTRIBUTION, ((), (), BITMAPS, BITMAPS)),
    (coordination.read_ready, messages.ready(3, 5), (BITMAPS, BITMAPS)),
    (active_sets.read_active, active_sets.active(DIGEST, 0, 7), ((), (), BITMAPS)),
    (active_sets.read_here, active_sets.here(9), ((),)),
    (active_sets.read_coming, active_sets.coming(1, 9, bytes(16)), ((), (), ())),
    (read_answer, ANSWER, ((), (None,))),
    (read_share, SHARE, ((),)),
    (messages.read_receipt, coordination.receipt(DIGEST), ((),)),
    (coordination.read_result, COMPLETE, ((), (), ([],), BYTES, ())),
    (coordination.read_result, INCOMPLETE, ((), (), (), (None,), ())),
    (coordination.read_sums, coordination.sums([1, -2]), ((),)),
    (messages.read_nothing, messages.nothing(), ()),
    (coordination.read_diagnostics, DIAGNOSTICS, ((), (), (), (), (), ({},))),
    (coordination.read_presence, messages.presence(True), ((True, False),)),
)
HOSTILE = [
    None,
    True,
    False,
    -1,
    1 << 32,
    (1 << 64) - 1,
    -(1 << 64),
    "",
    "UPPER",
    "x" * 33,
    "a/b",
    [],
    [[]],
    [None],
    [1 << 63],
    ["UPPER"],
    [["x"]],
    {},
    {1: 2},
    {"x": -1},
    {"": 1},
]
HOSTILE += [cbor.Tag(18, []), [[[[]]]], list(range(100)), ["m%d" % i for i in range(65)]] + list(BYTES)


def refused(reader, payload):
    assert raises(MessageError, reader, payload).args == ("malformed",)


def same(one, other):
    return type(one) is type(other) and one == other


def test_what_is_made_is_read_back():
    roster = rosters.read_roster(ROSTER)
    assert (roster.protocol, roster.parameters, roster.coordinator) == ("private-sum", "hum-2048", PUBLIC)
    assert roster.slots == [("power", -5, 5), ("energy", 0, 9)] and roster.members == MEMBERS
    assert roster.names() == ["meter-a", "meter-b"] and roster.encode() == ROSTER
    assert roster.part == {6: 8, 7: 1, 8: 1, 9: b""}
    counted = bytes(8) + b"\x00\x00\x00\x01\x00\x00\x00\x09"
    assert messages.read_opening(OPENING) == (1, 0, SETS, b"t" * 16 + b"u" * 16, 2, counted, 1234, 0)
    assert messages.read_opening(OF_AN_INSTANT)[6:] == (1234, 1260)
    assert messages.read_roll(ROLL_CALL) == (SETS, 3, b"t" * 16 + b"u" * 16)
    assert coordination.read_contribution(CONTRIBUTION, 512) == (bytes(512), 9, 3, 5)
    assert coordination.read_ready(messages.ready(EVERYONE, 2)) == (EVERYONE, 2)
    assert coordination.read_ready(messages.ready(0, EVERYONE)) == (0, EVERYONE)
    assert coordination.read_answer(ANSWER, 16, 512) == (bytes(16), bytes(512))
    assert coordination.read_answer(messages.answer(bytes(248), None), 248, 512) == (bytes(248), None)
    assert messages.read_share(SHARE, 40) == bytes(40)
    assert messages.read_receipt(coordination.receipt(DIGEST)) == DIGEST
    assert coordination.read_result(COMPLETE) == (DIGEST, coordination.COMPLETE, [], b"sealed", SETS, 0)
    assert coordination.read_result(INCOMPLETE) == (DIGEST, coordination.INCOMPLETE, ["meter-b"], None, SETS, 0)
    assert coordination.read_sums(coordination.sums([0, -(1 << 63), (1 << 63) - 1])) == [0, -(1 << 63), (1 << 63) - 1]
    assert messages.read_nothing(messages.nothing()) is None
    assert coordination.read_diagnostics(DIAGNOSTICS) == ("keys", 1, 3, 0, 50000, {"replayed": 2}, {})
    assert coordination.read_presence(messages.presence(True)) is True
    assert coordination.read_presence(messages.presence(False)) is False
    assert active_sets.read_active(active_sets.active(DIGEST, UNITS_MOST - 1, EVERYONE)) == (DIGEST, 15, EVERYONE)
    assert [active_sets.read_here(active_sets.here(number)) for number in (0, 0xFFFFFFFF)] == [0, 0xFFFFFFFF]
    assert active_sets.read_coming(active_sets.coming(1, 9, b"t" * 16)) == (1, 9, b"t" * 16)


def test_every_field_with_a_hostile_value_is_refused():
    for reader, good, right in READERS:
        reader(good)
        fields = cbor.decode(good)
        for key in fields:
            for value in HOSTILE:
                changed = dict(fields)
                changed[key] = value
                if any(same(value, allowed) for allowed in right[key - 1]):
                    reader(cbor.encode(changed))
                else:
                    refused(reader, cbor.encode(changed))


def test_a_missing_an_additional_or_a_renamed_field_is_refused():
    for reader, good, _ in READERS:
        fields = cbor.decode(good)
        for key in fields:
            fewer = dict(fields)
            value = fewer.pop(key)
            refused(reader, cbor.encode(fewer))
            for other in (0, -1, 100, str(key)):
                fewer[other] = value
                refused(reader, cbor.encode(fewer))
                fewer.pop(other)
        for other in (0, -1, 100, "1", ""):
            more = dict(fields)
            more[other] = 1
            refused(reader, cbor.encode(more))


def test_every_truncation_and_other_types_of_payload_are_refused():
    for reader, good, _ in READERS:
        for length in range(len(good)):
            refused(reader, good[:length])
        refused(reader, good + b"\x00")
        for value in HOSTILE:
            if not isinstance(value, dict):
                refused(reader, cbor.encode(value))


def test_random_damage_raises_nothing_else_and_what_is_read_is_canonical():
    random.seed(23)
    for reader, good, _ in READERS:
        for _ in range(200):
            damaged = bytearray(good)
            damaged[random.getrandbits(16) % len(good)] = random.getrandbits(8)
            try:
                reader(bytes(damaged))
            except MessageError as error:
                assert error.args == ("malformed",)
            else:
                assert cbor.encode(cbor.decode(bytes(damaged))) == bytes(damaged)


def roster_with(slots=None, members=None):
    return Roster(
        "private-sum", "hum-2048", slots or [("power", -5, 5)], PUBLIC, members or MEMBERS, SumPart().fields()
    ).encode()


def test_rosters_of_2_to_64_members_in_strict_order_are_read():
    for count in (2, 64):
        members = [("m%02d" % i, PUBLIC) for i in range(count)]
        assert rosters.read_roster(roster_with(members=members)).members == members
    for members in (
        [("a", PUBLIC)],
        [("m%02d" % i, PUBLIC) for i in range(65)],
        [("b", PUBLIC), ("a", PUBLIC)],
        [("a", PUBLIC), ("a", PUBLIC)],
        [("a", PUBLIC), ("b", PUBLIC[:64])],
        [("a", PUBLIC), ("b", PUBLIC + b"x")],
        [("a", PUBLIC), ("b",)],
        [("a", PUBLIC), ("b", PUBLIC, 1)],
        [("a", PUBLIC), (b"b", PUBLIC)],
        [("a", PUBLIC), ("B", PUBLIC)],
        [("a", PUBLIC), ("coordinator", PUBLIC)],
        [("a", PUBLIC), ("client", PUBLIC)],
        [("a", PUBLIC), ("", PUBLIC)],
    ):
        refused(rosters.read_roster, roster_with(members=members))


def test_rosters_of_1_to_48_slots_with_a_range_are_read():
    most = 1 << 48
    for slots in ([("a", 0, 0)], [("s%02d" % i, -most, most) for i in range(48)]):
        assert rosters.read_roster(roster_with(slots=slots)).slots == slots
    for slots in (
        [("s%02d" % i, 0, 1) for i in range(49)],
        [("a", 1, 0)],
        [("a", 0, most + 1)],
        [("a", -most - 1, 0)],
        [("a", False, True)],
        [("a", 0, None)],
        [("a", 0)],
        [("a", 0, 1, 2)],
        [("A", 0, 1)],
        [(1, 0, 1)],
        [("a", 0, 1), ("a", 0, 1)],
    ):
        refused(rosters.read_roster, roster_with(slots=slots))


def test_openings_bound_their_numbers_and_tags():
    top = 0xFFFFFFFF
    for fields in ((1, 0, [], 0, [], 0), (top, top, [bytes(16)] * 64, EVERYONE, [b"\xff" * 8] * 64, top)):
        epoch, number, tags, absent, counted, time = fields
        made = coordination.opening(epoch, number, DIGEST, tags, absent, counted, time)
        joined = b"".join(tags), absent, b"".join(counted)
        assert messages.read_opening(made) == (epoch, number, DIGEST) + joined + (time, 0)
    for epoch, number, tags, absent, counted, time in (
        (0, 0, [], 0, [], 0),
        (top + 1, 0, [], 0, [], 0),
        (1, -1, [], 0, [], 0),
        (1, top + 1, [], 0, [], 0),
        (1, 0, [bytes(15)], 0, [bytes(8)], 0),
        (1, 0, [bytes(16)] * 65, 0, [bytes(8)] * 65, 0),
        (1, 0, [], -1, [], 0),
        (1, 0, [bytes(16)], 0, [], 0),
        (1, 0, [], 0, [bytes(8)], 0),
        (1, 0, [], 0, [], -1),
        (1, 0, [], 0, [], top + 1),
    ):
        refused(messages.read_opening, coordination.opening(epoch, number, DIGEST, tags, absent, counted, time))


def opening_of(instant, time):
    """An opening whose instant is written down whatever it is, as no sender of ours does."""
    made = cbor.decode(coordination.opening(1, 0, DIGEST, [], 0, [], time))
    made[8] = instant
    return cbor.encode(made)


def test_an_instant_is_not_before_its_opening_and_an_hour_after_it_at_most():
    top = 0xFFFFFFFF
    for time, instant in ((1000, 1000), (1000, 1000 + LEAD_MOST), (0, 1), (top, top), (top - 5, top)):
        assert messages.read_opening(opening_of(instant, time))[6:] == (time, instant)
        assert coordination.opening(1, 0, DIGEST, [], 0, [], time, instant) == opening_of(instant, time)
    for time, instant in (
        (1000, 999),
        (1000, 1001 + LEAD_MOST),
        (1000, None),
        (1000, "1000"),
        (1000, True),
        (0, 0),
        (0, -2),
        (top, top + 1),
    ):
        refused(messages.read_opening, opening_of(instant, time))
    more = cbor.decode(opening_of(1000, 1000))
    more[9] = 0
    refused(messages.read_opening, cbor.encode(more))
    del more[8]
    refused(messages.read_opening, cbor.encode(more))


def test_an_opening_and_a_result_may_be_off_the_grid_in_the_place_of_an_instant():
    for time in (0, 1000, 0xFFFFFFFF):
        assert messages.read_opening(opening_of(OFF_GRID, time))[6:] == (time, OFF_GRID)
        assert coordination.opening(1, 0, DIGEST, [], 0, [], time, OFF_GRID) == opening_of(OFF_GRID, time)
    made = coordination.result(DIGEST, coordination.COMPLETE, [], b"sealed", SETS, OFF_GRID)
    assert coordination.read_result(made)[5] == OFF_GRID == -1


def test_a_result_has_an_instant_or_none():
    for instant in (1, 0xFFFFFFFF):
        made = coordination.result(DIGEST, coordination.INVALID, [], None, SETS, instant)
        assert coordination.read_result(made)[5] == instant
    for instant in (-2, 0x100000000, True, "1", b"1"):
        refused(coordination.read_result, coordination.result(DIGEST, coordination.INVALID, [], None, SETS, instant))
    for instant in (0, None):
        made = cbor.decode(coordination.result(DIGEST, coordination.INVALID, [], None, SETS))
        made[6] = instant
        refused(coordination.read_result, cbor.encode(made))


def test_a_bitmap_names_64_members_at_most():
    beyond = b"\xc2\x49\x01" + bytes(8)  # a bignum, 2^64, which no sender of ours can make
    assert messages.read_roll(coordination.roll(DIGEST, EVERYONE, []))[1] == EVERYONE
    for reader, good, at in (
        (messages.read_roll, coordination.roll(DIGEST, EVERYONE, []), b"\x02\x1b"),
        (messages.read_opening, coordination.opening(1, 0, DIGEST, [], EVERYONE, [], 0), b"\x05\x1b"),
        (coordination.read_ready, messages.ready(EVERYONE, 0), b"\x01\x1b"),
        (coordination.read_ready, messages.ready(0, EVERYONE), b"\x02\x1b"),
        (read_contribution, messages.contribution(bytes(512), 9, EVERYONE, 0), b"\x03\x1b"),
        (read_contribution, messages.contribution(bytes(512), 9, 0, EVERYONE), b"\x04\x1b"),
        (active_sets.read_active, active_sets.active(DIGEST, 0, EVERYONE), b"\x03\x1b"),
    ):
        reader(good)
        refused(reader, good.replace(at + b"\xff" * 8, at[:1] + beyond))


def with_sets(sets):
    """A message of each kind that carries the digests of the units' active sets, with its reader."""
    return (
        (messages.read_opening, coordination.opening(1, 0, sets, [], 0, [], 0), 2),
        (messages.read_roll, coordination.roll(sets, 3, []), 0),
        (coordination.read_result, coordination.result(DIGEST, coordination.INVALID, [], None, sets), 4),
    )


def test_there_is_a_digest_of_32_bytes_for_each_of_1_to_16_units():
    for count in (1, 2, UNITS_MOST):
        for reader, raw, place in with_sets(DIGEST * count):
            assert reader(raw)[place] == DIGEST * count
    for sets in (b"", DIGEST[:31], DIGEST + b"x", DIGEST * 17, None, "x" * 32, [DIGEST]):
        for reader, raw, _ in with_sets(sets):
            refused(reader, raw)


def test_each_unit_finds_the_digest_of_its_own_set():
    sets = b"".join([bytes([unit]) * 32 for unit in range(UNITS_MOST)])
    for unit in range(UNITS_MOST):
        assert messages.digest_of(sets, unit) == bytes([unit]) * 32
    assert messages.digest_of(sets, UNITS_MOST) == b""


def test_an_active_set_is_of_a_unit_that_there_can_be_and_has_a_member():
    for unit, members in ((UNITS_MOST, 1), (-1, 1), (0, 0), (0, -1), (None, 1), (0, None), (True, 1), (0, True)):
        refused(active_sets.read_active, active_sets.active(DIGEST, unit, members))
    for digest in (DIGEST[:31], DIGEST + b"x", None, 7):
        refused(active_sets.read_active, active_sets.active(digest, 0, 1))


def test_what_comes_next_is_of_an_epoch_and_has_a_tag():
    for epoch, round, tag in (
        (0, 1, bytes(16)),
        (1, -1, bytes(16)),
        (1, 1, bytes(15)),
        (1, 1, bytes(17)),
        (1, 1, None),
    ):
        refused(active_sets.read_coming, active_sets.coming(epoch, round, tag))


def test_the_tag_of_what_comes_next_depends_on_key_and_context():
    fields = ["street", "coming", "north", 3, 7, "coordinator", "meter-a", 9]
    tags = {active_sets.coming_tag(bytes(16), Context(*fields)), active_sets.coming_tag(b"k" * 16, Context(*fields))}
    for place, other in enumerate(("road", "round", "south", 4, 8, "client", "meter-b", 10)):
        tags.add(active_sets.coming_tag(bytes(16), Context(*(fields[:place] + [other] + fields[place + 1 :]))))
    assert len(tags) == 10 and all(len(tag) == 16 for tag in tags)


def test_roll_calls_bound_their_tags():
    assert messages.read_roll(coordination.roll(DIGEST, 0, [bytes(16)] * 64)) == (DIGEST, 0, bytes(1024))
    for tags in ([bytes(15)], [bytes(16)] * 65):
        refused(messages.read_roll, coordination.roll(DIGEST, 0, tags))


def test_a_ciphertext_of_another_size_is_refused():
    for size in (0, 511, 513):
        refused(read_contribution, messages.contribution(bytes(size), 9, 3, 3))


def test_an_answer_or_a_share_of_another_size_is_refused():
    for size in (0, 15, 17):
        refused(read_answer, messages.answer(bytes(size), None))
    for size in (0, 511, 513):
        refused(read_answer, messages.answer(bytes(16), bytes(size)))
    for size in (0, 39, 41):
        refused(read_share, messages.share(bytes(size)))


def parted(part):
    """The part of a roster that was made with `part`, and read."""
    return rosters.read_roster(Roster("p", "q", [("a", 0, 1)], PUBLIC, MEMBERS, part).encode()).part


def test_sums_of_cohorts_from_4_to_64_under_one_of_two_seals_are_read():
    for cohort in (4, 32, 64):
        for seal in (0, 1):
            for audit in (0, 1):
                read = read_sum_part(parted(SumPart(cohort, seal, audit).fields()))
                assert (read.cohort, read.seal, read.audit) == (cohort, seal, audit)
    for cohort, seal in ((3, 0), (65, 0), (0, 0), (-4, 0), (32, 2), (32, -1), (32, None), (None, 0), (32, True)):
        refused(read_sum_part, parted(SumPart(cohort, seal).fields()))
    for audit in (2, -1, None, True):
        refused(read_sum_part, parted(SumPart(32, 0, audit).fields()))
    for spread in (1, SPREAD_MOST):
        assert read_sum_part(parted(SumPart(32, 0, 0, spread).fields())).spread == spread
    for spread in (-1, SPREAD_MOST + 1, True, "1", b"1"):
        refused(read_sum_part, parted(SumPart(32, 0, 0, spread).fields()))
    for spread in (0, None):
        refused(read_sum_part, parted({6: 32, 7: 0, 8: 0, 9: b"", 10: spread}))
    assert 10 not in SumPart(32, 0, 0, 0).fields()  # a roster of before
    for last in (b"\x80" + bytes(254) + b"\x01", None, "", 0):
        refused(read_sum_part, parted({6: 32, 7: 0, 8: 0, 9: last}))
    read = read_sum_part(rosters.read_roster(roster_with()).part)
    assert (read.cohort, read.seal, read.audit) == (32, 0, 0)


def test_a_query_roster_names_an_odd_modulus_of_2048_bits_or_none():
    modulus = b"\x80" + bytes(254) + b"\x01"
    for signer in (b"", modulus):
        assert read_query_part(parted(query_part(signer))) == signer
    for signer in (modulus[1:], b"\x80" + modulus, b"\x7f" + modulus[1:], modulus[:255] + b"\x02", "", None, 3):
        refused(read_query_part, parted(query_part(signer)))
    for place, values in ((6, (3, 65, None, True)), (7, (2, -1, None)), (8, (2, -1, None))):
        for value in values:
            part = query_part()
            part[place] = value
            refused(read_query_part, parted(part))


def test_a_roster_has_as_many_fields_of_its_protocol_as_there_may_be_and_no_gap():
    for count in (0, 1, rosters.PART_MOST):
        part = {6 + place: place for place in range(count)}
        assert parted(part) == part
        if count != 4:
            refused(read_sum_part, part)
            refused(read_query_part, part)
    for part in ({7: 0}, {6: 0, 8: 0}, {"6": 0}, {0: 0}, {6 + place: 0 for place in range(rosters.PART_MOST + 1)}):
        made = Roster("p", "q", [("a", 0, 1)], PUBLIC, MEMBERS, part).encode()
        refused(rosters.read_roster, made)
    for reader in (read_sum_part, read_query_part):
        refused(reader, {6: 32, 7: 0, 8: 0, 10: b""})


def test_a_result_has_sums_only_when_complete_and_names_somebody_when_incomplete():
    for missing in ([], ["a"], ["m%02d" % i for i in range(64)]):
        made = coordination.result(DIGEST, coordination.COMPLETE, missing, b"sealed", SETS)
        assert coordination.read_result(made)[2] == missing
        made = coordination.result(DIGEST, coordination.INVALID, missing, None, SETS)
        assert coordination.read_result(made) == (DIGEST, coordination.INVALID, missing, None, SETS, 0)
    for status, missing, sealed in (
        (coordination.COMPLETE, [], None),
        (coordination.INCOMPLETE, [], None),
        (coordination.INCOMPLETE, ["a"], b"sealed"),
        (coordination.INCOMPLETE, ["coordinator"], None),
        (coordination.INVALID, [], b"sealed"),
        (3, [], None),
        (-1, [], None),
    ):
        refused(coordination.read_result, coordination.result(DIGEST, status, missing, sealed, SETS))


def test_sums_are_1_to_48_integers_of_64_bits():
    assert coordination.read_sums(coordination.sums([1] * 48)) == [1] * 48
    for values in ([], [1] * 49, [1 << 63], [-(1 << 63) - 1], [None], [True], ["1"], [[1]]):
        refused(coordination.read_sums, coordination.sums(values))


def test_diagnostics_send_96_reasons_at_most():
    many = {"reason-%02d" % i: i for i in range(100)}
    read = coordination.read_diagnostics(messages.diagnostics("keys", 0, 0, 0, 0, many))[5]
    assert sorted(read) == ["other"] + sorted(many)[:95]
    fields = {1: "keys", 2: 0, 3: 0, 4: 0, 5: 0, 6: many}
    refused(coordination.read_diagnostics, cbor.encode(fields))
