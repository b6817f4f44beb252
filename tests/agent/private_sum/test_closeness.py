"""Close lists: what a board remembers of its answers, by name, in its own contributions."""

import struct

from agent.protocols.base import Refused, closeness
from agent.protocols.base.closeness import LISTS_MOST, Lists, pack, unpack
from agent.protocols.base.identity import CLOSE_WINDOW, Identity, Policy
from agent.protocols.private_sum import entering, joining
from agent.protocols.private_sum.answers import RollCall
from agent.runtime.flash.shares import ShareStock
from agent.wire import coordination, envelope, topics
from tests.support.expect import raises
from tests.support.street_of_boards import ROLL, SCOPE, Device, private, public, roster

NAMES = ["board-%02d" % index for index in range(12)]
NEVER = Policy(close_most=0)


def without(*indices):
    return [name for index, name in enumerate(NAMES) if index not in indices]


class Memory:
    """A board's answers, from its record each time; `total` counts its contributions."""

    def __init__(self, policy, record=b""):
        self.policy = policy
        self.record = record
        self.total = 0

    def answers(self, listed, own=None, skipped=0):
        """Contribute `skipped` times and once more; tell whether the list is answered."""
        self.total += 1 + skipped
        lists = Lists(self.record)
        try:
            lists.answer(self.total, listed, own, self.policy)
        except Refused as error:
            assert error.args == ("differencing",)
            return False
        self.record = lists.record()
        return True


def test_a_list_is_close_to_any_of_those_before_and_not_only_to_the_last():
    board = Memory(NEVER)
    assert board.answers(without()) and board.answers(without(3, 4))
    for one in (5, 3, 4):
        assert not board.answers(without(one))
    lists = Lists(board.record)
    del lists._lists[1:]
    forgetful = Memory(NEVER, lists.record())
    assert forgetful.answers(without(5))  # the control: who knows the last list only is led around it


def test_back_to_an_earlier_list_is_close_however_much_has_changed():
    far = without(*range(6))
    board = Memory(NEVER)
    assert board.answers(without()) and board.answers(far)
    assert not board.answers(without())
    assert board.answers(far) and board.answers(without(8, 9))
    free = Memory(Policy(close_most=1))
    assert free.answers(without()) and free.answers(far) and free.answers(without())
    assert not free.answers(far) and free.answers(without())
    lax = Memory(Policy(close=1, close_most=0))
    assert lax.answers(without()) and lax.answers(far) and lax.answers(without()) and lax.answers(without(1))


def test_eight_lists_are_remembered_and_no_more():
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (0, 2), (1, 3), (4, 6)]
    for others, close in ((LISTS_MOST - 1, True), (LISTS_MOST, False)):
        board = Memory(NEVER)
        assert board.answers(without())
        for pair in pairs[:others]:
            assert board.answers(without(*pair))
        assert board.answers(without(11)) != close


def test_in_any_48_contributions_of_its_own_a_board_answers_so_many_close_lists():
    for most in (1, 3):
        board = Memory(Policy(close_most=most))
        last = without()
        board.answers(last)
        taken = []
        for step in range(4 * CLOSE_WINDOW):
            listed = without() if step % 2 else without(step % 5)
            if board.answers(listed) and listed != last:
                taken.append(board.total)
                last = listed
        assert len(taken) > most
        for at, one in enumerate(taken[most:]):
            assert one - taken[at] >= CLOSE_WINDOW
    board = Memory(Policy(close_most=1))
    assert board.answers(without()) and board.answers(without(1))
    for _ in range(CLOSE_WINDOW - 1):
        assert not board.answers(without())
    assert board.answers(without())  # free after 48 contributions, answered or not
    assert not board.answers(without(1), skipped=CLOSE_WINDOW - 2) and board.answers(without(1))


def test_a_count_that_went_back_frees_nothing():
    board = Memory(Policy(close_most=1))
    assert board.answers(without(), skipped=500) and board.answers(without(1))
    board.total = 3  # another program has written the record "spent"
    assert not board.answers(without()) and board.answers(without(1))
    for _ in range(CLOSE_WINDOW - 1):
        assert not board.answers(without())
    assert board.answers(without())


def test_lists_are_compared_by_name_and_names_that_no_list_has_are_dropped():
    board = Memory(NEVER)
    assert board.answers(without())
    assert not board.answers(list(reversed(without(4))))  # whatever the order of another roster
    assert board.answers(["other-%d" % index for index in range(12)])
    sizes = []
    for step in range(3 * LISTS_MOST):
        assert board.answers(["member-%d-%d" % (step, index) for index in range(64)])
        sizes.append(len(board.record))
    assert max(sizes) == sizes[-1] == 15 + 4 * 64 * LISTS_MOST + LISTS_MOST * 64 * LISTS_MOST // 8
    assert board.answers(without())  # so long ago that it is forgotten


def test_under_one_seal_the_own_cohort_is_looked_at_besides_all():
    own = NAMES[:4]
    for listed, close in ((without(3), True), (without(3, 9), True), (without(9), True), (without(8, 9), False)):
        board = Memory(NEVER)
        assert board.answers(without(), own)
        assert board.answers(listed, own) != close
    alone = Memory(NEVER)
    assert alone.answers(without()) and alone.answers(without(3, 9))  # the control: as one cohort


def test_the_last_list_once_more_leaves_the_record_that_a_comparison_leaves():
    policy = Policy(close_most=8)
    record = b""
    assert not closeness.has_lists(record) and not closeness.has_lists(unpack(struct.pack(">QIBH", 7, 3, 1, 0))[1])
    for total, names in ((1, NAMES), (2, NAMES[:8]), (3, NAMES), (4, NAMES[1:]), (9, NAMES[:9]), (70, NAMES)):
        lists = Lists(record)
        lists.answer(total, names, None, policy)
        record = lists.record()
        assert closeness.has_lists(record)
        for later in (total, total + 1, total + 47, total + 48, total + 1000, max(total - 1, 0)):
            for own in (None, names[:3]):
                lists = Lists(record)
                lists.answer(later, names, own, policy)
                assert closeness.again(record, later) == lists.record()


def test_a_state_is_told_from_the_form_before_it():
    record = Lists(b"").record()
    assert unpack(pack(0x8001, record) + b"envelope") == (0x8001, record, b"envelope")
    for close in (0, 3, 48):
        old = struct.pack(">QIB", 0xFF, 17, close) + b"an envelope"
        present, kept, sealed = unpack(old)
        assert (present, sealed) == (0xFF, b"an envelope")
        lists = Lists(kept)
        assert lists.empty and lists._register == (1 << close) - 1


# -- a board with its roster


def member_of(epoch, names, policy=NEVER):
    identity = Identity(SCOPE[0], SCOPE[1], NAMES[0], private(NAMES[0]), public(NAMES[0]), public("authority"), policy)
    pairs = [(name, public(NAMES[0]) if name == NAMES[0] else b"\x04" + name.encode() * 9) for name in names]
    member = joining.accept(identity, roster([(name, key[:65]) for name, key in pairs], epoch=epoch), 1)
    member.enter(9, b"e" * 32, (1 << len(names)) - 1, (0, 0))
    entering.take_keys(member, member.set_digest + bytes(16) + b"k" * 16 + bytes(513) + bytes(32 * len(names)))
    return member


def hear(member, calls, round, listed):
    """Call the roll of `listed`; the board has contributed to the round."""
    present = sum([1 << member.names.index(name) for name in listed])
    me = member.names.index(NAMES[0])
    context = member.context("roll", round, topics.COORDINATOR, NAMES[0])
    tags = [bytes(16)] * len(member.names)
    tags[me] = envelope.roll_tag(b"k" * 16, context, member.set_digest, present)
    payload = coordination.roll(member.set_digest, present, tags)
    raw = envelope.sign(private("coordinator"), member.context_of_all("roll", round), payload)
    return calls.hear(member, raw, (member.epoch, round))


def test_the_next_roster_frees_nothing():
    before = member_of(1, NAMES)
    for names in (NAMES, ["a-new-one"] + NAMES, NAMES[:6] + ["board-05x"] + NAMES[6:]):
        after = member_of(2, names)
        for listed, refused in ((without(5), True), (without(), False), (without(5, 6), False)):
            calls = RollCall(None, lambda: 1)
            hear(before, calls, 0, NAMES)
            state = pack((1 << 12) - 1, calls._lists_with(before, (1 << 12) - 1, 1))
            again = RollCall((1, 0, state + b"an answer"), lambda: 2)
            if refused:
                assert raises(Refused, hear, after, again, 7, listed).args == ("differencing",)
            else:
                assert hear(after, again, 7, listed)


def test_a_record_in_the_form_before_is_read_as_it_is():
    member = member_of(1, NAMES, Policy(close_most=3))
    for close, refused in ((2, False), (3, True)):
        old = struct.pack(">QIB", (1 << 12) - 1, 0, close) + b"its answer"
        for listed in (without(3), without()):
            calls = RollCall((1, 4, old), lambda: 0)
            assert calls._envelope == b"its answer"
            assert raises(Refused, hear, member, calls, 4, without(8, 9)).args == ("replayed",)
            if refused and listed != without():
                assert raises(Refused, hear, member, calls, 5, listed).args == ("differencing",)
            else:
                assert hear(member, calls, 5, listed)


def test_what_is_in_the_flash_is_what_was_answered():
    from tests.agent.private_sum.test_roll_call import ALL, ME, WITHOUT_D, answer, board, contributed, street

    policy = Policy(close_most=1)
    device = board(policy, (0, 30, 31, 32))
    assert answer(contributed(device), 0, ALL)
    assert answer(contributed(device, 30), 30, WITHOUT_D)  # the one close list; 29 numbers were skipped
    contributed(device, 31)
    for each in (device, Device(ME, device.flash.copy(), policy)):
        assert each.machine.message(ROLL, street().roll(31, ALL)) == []
        assert each.machine.refused == {"differencing": 1}
    present, record, sealed = unpack(ShareStock(device.flash.store).answered()[2])
    lists = Lists(record)
    assert present == 0b0111 and sealed and lists._at == 2 and lists._register == 0b1 and len(lists._lists) == 2
    assert closeness.Lists(record).record() == record
