"""A board's policy: what it holds, who may set it, that an older one stays away, and which rosters
it refuses."""

import os

from agent.crypto import p256
from agent.joye_libert import cohorts
from agent.meters.simulated import SimulatedMeter
from agent.protocols.base import Refused, policy
from agent.protocols.base.identity import Identity
from agent.protocols.base.policy import Policy, encode, read_policy
from agent.protocols.private_sum import joining
from agent.protocols.private_sum.roster_part import SumPart
from agent.runtime.flash.store import Corrupt, Store
from agent.runtime.start import SettingsError, assemble
from agent.wire import cbor, envelope, rosters
from agent.wire.envelope import Context, EnvelopeError
from agent.wire.messages import MessageError
from tests.support.expect import raises

AUTHORITY = bytes(31) + b"\x07"
PINNED = p256.public_key(AUTHORITY)
SCOPE = ("test", "main", "b0")
SLOTS = [("load", -5, 1000), ("heat", 0, 0)]
FIELDS = {1: 3, 2: 3, 3: None, 4: 2, 5: 8, 6: None, 7: 86400}
SAFE = (3, 3, None, 2, 8, None, 86400, 0)
SIZES = (2, 3, 4, 5, 6, 7)


def values(policy):
    bounds = (policy.members_least, policy.contributors_least, policy.slots, policy.close, policy.close_most)
    return bounds + (policy.epsilon, policy.epsilon_period, policy.off_grid)


def signed(chosen, serial=1, signer=AUTHORITY, place=SCOPE, kind="policy", epoch=0):
    context = Context(place[0], kind, place[1], epoch, serial, "authority", place[2])
    return envelope.sign(signer, context, chosen if isinstance(chosen, bytes) else encode(chosen))


def key(index):
    return b"\x04" + bytes([index]) * 64


def roster(members=6, slots=SLOTS, cohort=32, parameters="hum-2048"):
    """The signed roster of so many members b00, b01 ... whose keys nobody looks at."""
    named = [("b%02d" % index, key(index)) for index in range(members)]
    payload = rosters.Roster("private-sum", parameters, slots, key(200), named, SumPart(cohort).fields()).encode()
    return envelope.sign(AUTHORITY, Context("test", "roster", "main", 1, 0, "authority", ""), payload)


def accept(raw, chosen, index=0):
    place = Identity("test", "main", "b%02d" % index, None, key(index), PINNED, chosen)
    return joining.accept(place, raw, 1)


def refusal(*arguments):
    return raises(Refused, accept, *arguments).args[0]


class Flash:
    """A board's flash: a new folder, gone at the end."""

    def __enter__(self):
        self.root = (os.getenv("TMPDIR") or "/tmp") + "/hum-policy-%s" % os.urandom(8).hex()
        return self

    def __exit__(self, *_):
        for name in os.listdir(self.root):
            os.remove(self.root + "/" + name)
        os.rmdir(self.root)

    def start(self, text=None):
        """Start a board with `text` as the policy of its settings, none at all for None; return
        what it obeys."""
        settings = {
            "deployment": "test",
            "group": "main",
            "device": "b0",
            "authority": PINNED.hex(),
            "flash": self.root,
        }
        settings.update({"host": "127.0.0.1", "port": 1883})
        if text is not None:
            settings["policy"] = text
        board = assemble(settings, SimulatedMeter([[1, 2]]), lambda event, fields: None)
        return values(board.machine.identity.policy)

    def refuses(self, text=None):
        assert raises(SettingsError, self.start, text).args == ("policy",)


# -- the payload


def test_a_board_without_a_policy_has_the_safe_one():
    assert values(Identity("test", "main", "b0", None, None, None).policy) == SAFE
    assert values(Policy()) == SAFE


def test_a_policy_reads_as_it_was_encoded():
    most = [("s%02d" % index, -(1 << 48), 1 << 48) for index in range(48)]
    for fields in (
        SAFE,
        (2, 2, SLOTS, 1, 0, 0, 1, 0),
        (64, 64, most, 64, 48, 1 << 40, 0xFFFFFFFF, 86400),
        (5, 4, [("a", 3, 3)], 7, 9, 1500000, 3600, 1),
    ):
        assert values(read_policy(encode(Policy(*fields)))) == fields


def test_the_payload_is_the_map_that_the_protocol_describes():
    assert cbor.decode(encode(Policy())) == FIELDS
    allowing = cbor.decode(encode(Policy(off_grid=24)))
    assert allowing.pop(8) == 24 and allowing == FIELDS
    slots = [["load", -5, 1000], ["heat", 0, 0]]
    assert cbor.decode(encode(Policy(4, 5, SLOTS, 6, 7, 8, 9))) == {1: 4, 2: 5, 3: slots, 4: 6, 5: 7, 6: 8, 7: 9}


def test_a_field_out_of_its_range_or_type_is_malformed():
    wrong = {
        1: (0, 1, 65, -3, True, None, "3", 1 << 40),
        2: (0, 1, 65, -3, True, None, b"3"),
        3: (
            [],
            {},
            0,
            False,
            "load",
            [["load", 0]],
            [["load", 1, 0]],
            [["Load", 0, 1]],
            [["load", 0, 1, 2]],
            [["load", 0, (1 << 48) + 1]],
            [["load", True, 1]],
            [["load", 0, 1], ["load", 0, 1]],
            [["s%d" % index, 0, 1] for index in range(49)],
        ),
        4: (0, 65, -1, True, None, []),
        5: (-1, 49, True, False, None),
        6: (-1, (1 << 40) + 1, True, "1", b""),
        7: (0, 1 << 32, -1, True, None),
        8: (0, 86401, -1, True, None, "1"),
    }
    for field, found in wrong.items():
        for value in found:
            fields = dict(FIELDS)
            fields[field] = value
            assert raises(MessageError, read_policy, cbor.encode(fields)).args == ("malformed",), (field, value)


def test_a_missing_field_one_too_many_or_no_map_is_malformed():
    short, long = dict(FIELDS), dict(FIELDS)
    del short[3]
    long[8] = 0
    for found in (short, long, {}, list(SAFE), None):
        raises(MessageError, read_policy, cbor.encode(found))
    for data in (b"", encode(Policy())[:-1], encode(Policy()) + b"\x00"):
        raises(MessageError, read_policy, data)


def test_slots_are_allowed_by_name_and_inside_the_range():
    chosen = Policy(3, 3, SLOTS)
    for slots in (SLOTS, SLOTS[:1], SLOTS[1:], [("load", 0, 999)], [("load", -5, -5)]):
        assert chosen.allows(slots)
    for slots in (
        [("load", -6, 1000)],
        [("load", -5, 1001)],
        [("heat", 0, 1)],
        [("water", 0, 0)],
        SLOTS + [("x", 0, 0)],
    ):
        assert not chosen.allows(slots)
        assert Policy().allows(slots)


# -- the signature


def test_a_policy_of_the_authority_for_this_device_is_verified():
    for serial in (1, 2, 0xFFFFFFFF):
        found, chosen = policy.verify(signed(Policy(4, 5, SLOTS, 6, 7), serial), PINNED, *SCOPE)
        assert found == serial and values(chosen) == (4, 5, SLOTS, 6, 7, None, 86400, 0)


def test_a_policy_of_another_signer_or_for_another_place_is_refused():
    others = [signed(Policy(), signer=bytes(31) + b"\x08")]
    for place in (("other", "main", "b0"), ("test", "other", "b0"), ("test", "main", "b1"), ("test", "main", "")):
        others.append(signed(Policy(), place=place))
    others.append(signed(Policy(), kind="roster"))
    others.append(signed(Policy(), epoch=1))
    for other in others:
        assert raises(EnvelopeError, policy.verify, other, PINNED, *SCOPE).args == ("bad-signature",)


def test_a_policy_without_a_serial_or_too_large_is_malformed():
    assert raises(EnvelopeError, policy.verify, signed(Policy(), 0), PINNED, *SCOPE).args == ("malformed",)
    large = signed(bytes(policy.POLICY_MOST))
    assert raises(EnvelopeError, policy.verify, large, PINNED, *SCOPE).args == ("malformed",)
    most = signed(Policy(64, 64, [("s" * 30 + "%02d" % index, -(1 << 48), 1 << 48) for index in range(48)], 64, 48))
    assert policy.verify(most, PINNED, *SCOPE)[0] == 1


def test_a_signed_payload_that_is_no_policy_is_malformed():
    raises(MessageError, policy.verify, signed(cbor.encode({1: 3})), PINNED, *SCOPE)


def test_a_policy_with_a_byte_changed_is_refused():
    good = signed(Policy())
    for at in range(0, len(good), 7):
        changed = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        raises(EnvelopeError, policy.verify, changed, PINNED, *SCOPE)


# -- at the start of a board


def test_a_board_obeys_the_policy_of_its_settings():
    with Flash() as flash:
        for serial, fields in enumerate(((4, 5, SLOTS, 6, 7, None, 1, 9), (2, 2, None, 1, 0, 3000000, 3600, 0)), 1):
            assert flash.start(signed(Policy(*fields), serial).hex()) == fields


def test_a_board_without_a_policy_in_its_settings_keeps_the_empty_record_of_its_birth():
    with Flash() as flash:
        assert flash.start() == SAFE
        assert Store(flash.root).get("policy") == bytes(4)


def test_an_older_policy_does_not_come_back_and_neither_does_none():
    old, new = signed(Policy(2, 2), 4).hex(), signed(Policy(5, 5), 300).hex()
    with Flash() as flash:
        flash.start(old)
        flash.start(new)
        flash.refuses(old)
        flash.refuses()
        assert flash.start(new) == (5, 5) + SAFE[2:]


def test_a_policy_that_is_refused_leaves_the_record_as_it_was():
    with Flash() as flash:
        flash.start(signed(Policy(), 2).hex())
        for text in (signed(Policy(), 9, signer=bytes(31) + b"\x08").hex(), signed(cbor.encode({}), 9).hex()):
            flash.refuses(text)
        assert flash.start(signed(Policy(), 2).hex()) == SAFE


def test_what_is_no_signed_policy_is_refused_by_the_settings_name():
    with Flash() as flash:
        for text in ("", "zz", "0", "00", 5, [], True, signed(Policy()).hex()[:-2], "00" * 5000):
            flash.refuses(text)


def test_a_damaged_record_stops_the_board_instead_of_letting_an_older_policy_in():
    with Flash() as flash:
        flash.start(signed(Policy(5, 5), 2).hex())
        with open(flash.root + "/policy", "r+b") as file:
            file.write(b"\xff")
        assert raises(Corrupt, flash.start, signed(Policy(2, 2), 1).hex()).args == ("policy",)


# -- rosters


def test_a_roster_whose_cohort_is_smaller_than_the_policy_allows_is_refused():
    for size in SIZES:
        raw = roster(size)
        for least in (2, 3, 5, 7):
            if size < least:
                assert refusal(raw, Policy(least)) == "cohort-too-small"
            else:
                assert accept(raw, Policy(least)).every == [list(range(size))]


def test_it_is_the_boards_own_cohort_that_counts_and_not_the_group():
    raw = roster(9, cohort=4)
    found = []
    for index in range(9):
        accepted = accept(raw, Policy(3), index)
        (cohort,) = accepted.every
        assert index in cohort
        assert refusal(raw, Policy(4), index) == "cohort-too-small"
        if cohort not in found:
            found.append(cohort)
    assert sorted(found) == sorted(cohorts.assign(accepted.names, accepted.digest, 4))
    raw = roster(5, cohort=4)  # a cohort of three and one of two
    refused = 0
    for index in range(5):
        try:
            assert len(accept(raw, Policy(3), index).every[0]) == 3
        except Refused as error:
            assert error.args == ("cohort-too-small",)
            refused += 1
    assert refused == 2


def test_a_roster_that_asks_for_more_than_the_policy_allows_is_refused():
    assert accept(roster(), Policy(3, 3, SLOTS)).packing.slots == SLOTS
    for slots in ([("load", -5, 1001)], [("load", -6, 0)], SLOTS + [("water", 0, 1)]):
        assert refusal(roster(slots=slots), Policy(3, 3, SLOTS)) == "slot-not-allowed"
        assert accept(roster(slots=slots), Policy()).packing.slots == slots


def test_no_policy_lets_the_parameters_of_tests_in():
    assert refusal(roster(parameters="paper-1024"), Policy(2, 2)) == "unknown-parameters"
