"""The consistency check: a cohort compares the lists that its members were shown before any of them
answers."""

from agent.protocols.base import overlay
from agent.protocols.private_sum import mail
from agent.protocols.private_sum.consistency_check import ASKED_MOST, PATIENCE, RETRIES_MOST, ConsistencyCheck
from agent.protocols.private_sum.mail import SPLIT, VOUCH, mail_nonce
from agent.wire import messages
from agent.wire.envelope import Context, Envelope, seal
from tests.support.street_of_boards import (
    ROLL,
    ROUND,
    SCOPE,
    Device,
    dealt,
    everything,
    mailbox,
    name_of,
    reboot,
    refuses,
)

ALL = [name_of(index) for index in range(4)]  # of whom three recover
A, B, C, D = ALL
WITHOUT_D = ALL[:3]


def street():
    return dealt(4, audit=1)


def boards():
    """The four boards, which have contributed to round 0."""
    return {name: contributed(board(name)) for name in ALL}


def board(name, audit=1):
    """A board that has dealt all, and holds key shares whose powers take a moment only."""
    device = reboot(street(), name)
    size = device.machine._standing.sharing.share_bytes
    for key in device.flash.shares:
        if key[0] is None:
            device.flash.shares[key] = (5 + key[1]).to_bytes(size, "big")
    device = reboot_of(device)
    device.machine.member.audit = audit
    return device


def reboot_of(device):
    return Device(device.name, device.flash.copy(), None, 2)


def contributed(device, round=0):
    device.hear(ROUND, street().opening(round, (), device.flash.mark))
    device.hear(ROUND, b"")
    device.sent = []
    return device


def show(devices, present, round=0, **changes):
    """Show these boards a list."""
    for device in devices:
        device.hear(ROLL, street().roll(round, present, **changes))


def exchange(devices, arrives=lambda sender, receiver, payload: True):
    """Let all boards work and carry the letters that arrive, until there are no more; return all
    (sender, receiver, payload)."""
    seen = []
    while True:
        letters = []
        for name in sorted(devices):
            devices[name].idle()
            letters += [(name, topic.split("/")[-2], raw) for topic, raw in devices[name].sent if "/mail/" in topic]
            devices[name].sent = [message for message in devices[name].sent if "/mail/" not in message[0]]
        if not letters:
            return seen
        for sender, receiver, raw in letters:
            if receiver in devices and arrives(sender, receiver, raw):
                devices[receiver].hear(mailbox(receiver, sender), raw)
        seen += letters


def answered(devices):
    """The names of those that have sent an answer since the last time."""
    return [name for name in sorted(devices) if devices[name].take("answer")]


def retried(devices, times):
    for _ in range(times):
        for device in devices.values():
            device.perform(device.machine.retry())
        exchange(devices)


def mail_key(sender, receiver):
    """The key of the letters from one to the other."""
    member = street().devices[sender].machine.member
    return member.mail_key(ALL.index(receiver), True)


def vouch(sender, receiver, present, round=0, kind=VOUCH, epoch=1, data=None, nonce=None, key=None, bound=None):
    """A letter that `sender` could write."""
    data = messages.share(street().bitmap(present).to_bytes(8, "big")) if data is None else data
    context = Context(SCOPE[0], bound or mail.KINDS[kind], SCOPE[1], epoch, round, sender, receiver, street().number)
    return seal(key or mail_key(sender, receiver), nonce or mail_nonce(kind, kind, round), context, data)


# -- all is well


def test_all_answer_when_all_were_shown_the_same_and_each_has_told_each_once():
    devices = boards()
    show(devices.values(), ALL)
    letters = exchange(devices)
    assert sorted([(sender, to) for sender, to, _ in letters]) == [(a, b) for a in ALL for b in ALL if a != b]
    assert len({len(raw) for _, _, raw in letters}) == 1
    assert answered(devices) == ALL
    assert all(device.machine.refused == {} for device in devices.values())


def test_nothing_is_released_before_the_last_on_the_list_has_vouched():
    devices = boards()
    show([devices[A], devices[B], devices[C]], ALL)
    exchange(devices)
    assert answered(devices) == []  # D has not seen a list yet
    assert not any(action[0] == "answer" for device in devices.values() for action in device.done)
    assert all(device.machine.idle() is None for device in devices.values())  # and nobody is busy with waiting
    show([devices[D]], ALL)
    exchange(devices)
    assert answered(devices) == ALL


def test_who_is_not_on_the_list_is_not_waited_for_nor_written_to():
    devices = boards()
    del devices[D]
    show(devices.values(), WITHOUT_D)
    letters = exchange(devices)
    assert len(letters) == 6 and not [to for _, to, _ in letters if to == D]
    assert answered(devices) == WITHOUT_D


def test_a_letter_is_what_the_protocol_says():
    device = contributed(board(A))
    show([device], ALL)
    device.idle()
    (raw,) = device.take(C)
    assert raw == vouch(A, C, ALL)
    assert Envelope(raw).nonce == b"\x07" + bytes(7) + b"\x07" + bytes(4)


def test_letters_go_out_in_the_order_of_the_overlays_rounds():
    for round in (0, 1):
        device = contributed(board(B), round)
        show([device], ALL, round)
        device.idle()
        found = [topic.split("/")[-2] for topic, _ in device.sent if "/mail/" in topic]
        n = overlay.suitable_size(4)
        expected = [overlay.partner(1, round + j, n) % 4 for j in range(n - 1)]
        expected = [ALL[index] for at, index in enumerate(expected) if index != 1 and index not in expected[:at]]
        assert found == expected and sorted(found) == [A, C, D]


def test_the_code_leaves_the_memory_when_the_round_is_over():
    for over in ((ROLL, b""), (ROUND, street().opening(1, (), (1, 0)))):
        device = contributed(board(A))
        show([device], ALL)
        before = device.unloads
        device.hear(*over)
        assert device.unloads == before + 1 and device.machine._standing.unmasking._check is None
        assert not device.machine.in_round() or over[0] == ROUND
        device.idle()
        assert device.take("answer") == []


def test_without_the_consistency_check_boards_answer_at_once_and_take_no_vouch():
    device = contributed(board(A, 0))
    refuses(device.machine, "not-audited", device.machine.message, mailbox(A, B), vouch(B, A, ALL))
    show([device], ALL)
    device.idle()
    assert len(device.take("answer")) == 1


# -- two lists


def test_who_was_shown_different_lists_answers_none_of_them():
    for first in ([A], [A, B], [A, B, C]):
        devices = boards()
        show([devices[name] for name in first], ALL)
        show([devices[name] for name in ALL if name not in first], [B, C, D])
        exchange(devices)
        retried(devices, RETRIES_MOST + 1)
        assert answered(devices) == []
        for name in ALL:
            refused = devices[name].machine.refused
            assert refused["split-roll"] == 1, (first, name, refused)
            assert not devices[name].machine.in_round()


def test_a_member_shown_two_lists_by_the_coordinator_answers_none():
    devices = boards()
    show([devices[A]], ALL)
    show([devices[A]], [A, B, C])
    exchange(devices)
    show([devices[name] for name in (B, C, D)], ALL)
    exchange(devices)
    retried(devices, RETRIES_MOST + 1)
    assert answered(devices) == []  # the alarm came to all
    assert all(device.machine.refused["split-roll"] == 1 for device in devices.values())


def test_without_the_consistency_check_the_same_lists_would_have_been_answered():
    """The control: three of four were shown one list, and three are enough."""
    devices = {name: contributed(board(name, 0)) for name in ALL}
    show([devices[name] for name in (A, B, C)], ALL)
    show([devices[D]], [A, B, D])
    assert exchange(devices) == [] and answered(devices) == ALL


def asked_again(devices, shown):
    """Let `shown` say its list at all of its retries; return what the others wrote in the end."""
    letters = []
    for _ in range(RETRIES_MOST - 1):
        devices[shown].perform(devices[shown].machine.retry())
        letters += exchange(devices)
    return [(sender, to, raw) for sender, to, raw in letters if sender != shown]


def test_nobody_vouches_for_a_list_that_it_was_not_shown_itself():
    devices = boards()
    show([devices[A]], WITHOUT_D)
    letters = exchange(devices) + asked_again(devices, A)
    assert [sender for sender, _, _ in letters if sender != A] == []
    assert answered(devices) == []
    retried(devices, 1)
    assert devices[A].machine.refused == {"not-vouched": 1}


def test_who_is_shown_the_list_late_vouches_for_it_to_who_had_asked():
    """The control: the same, but all are shown the list in the end."""
    devices = boards()
    show([devices[A]], WITHOUT_D)
    exchange(devices)
    asked_again(devices, A)
    show([devices[B], devices[C]], WITHOUT_D)
    letters = exchange(devices)
    assert sorted((sender, to) for sender, to, _ in letters) == [(B, A), (B, C), (C, A), (C, B)]
    assert answered(devices) == WITHOUT_D


def test_who_was_shown_another_list_than_it_heard_of_vouches_for_neither():
    devices = boards()
    show([devices[A]], WITHOUT_D)
    exchange(devices)
    show([devices[B], devices[C]], ALL)
    letters = exchange(devices)
    kinds = {Envelope(raw).nonce[0] for sender, _, raw in letters if sender in (B, C)}
    assert kinds == {SPLIT} and answered(devices) == []


def test_the_alarm_reaches_those_who_would_not_have_seen_the_other_list():
    devices = boards()
    show([devices[name] for name in (A, B, C)], ALL)
    show([devices[D]], [A, B, D])
    # The broker holds back what D says of itself, but to A.
    letters = exchange(devices, lambda sender, receiver, raw: sender != D or receiver == A)
    assert [raw for sender, _, raw in letters if sender == A and Envelope(raw).nonce[0] == SPLIT]
    retried(devices, PATIENCE + 1)
    assert answered(devices) == []
    assert all(devices[name].machine.refused["split-roll"] == 1 for name in (A, B, C))


def test_an_alarm_looks_like_a_vouch_in_size_and_is_passed_on_once():
    devices = boards()
    show(devices.values(), ALL)
    alarm = vouch(D, A, [], kind=SPLIT)
    assert len(alarm) == len(vouch(D, A, ALL))
    for _ in range(3):
        devices[A].hear(mailbox(A, D), alarm)
    letters = exchange(devices, lambda sender, receiver, raw: sender != D)
    floods = [(sender, to) for sender, to, raw in letters if Envelope(raw).nonce[0] == SPLIT]
    assert len(floods) == len(set(floods)) == 12
    assert answered(devices) == []


def test_who_was_shown_a_list_names_the_member_with_another_and_no_other():
    devices = boards()
    show([devices[name] for name in (A, B, C)], ALL)
    exchange(devices, lambda sender, receiver, raw: True)
    for name in (A, B):
        devices[name].hear(mailbox(name, D), vouch(D, name, [A, B, D]))
        devices[name].idle()
        assert devices[name].machine.refused == {"split-roll": 1, "split-by-" + D: 1}
    late = contributed(board(A))
    late.hear(mailbox(A, D), vouch(D, A, [A, B, D]))
    late.hear(mailbox(A, B), vouch(B, A, ALL))  # which of the two is false it cannot know
    show([late], ALL)
    late.idle()
    assert late.machine.refused == {"split-roll": 1}
    late = contributed(board(A))
    late.hear(mailbox(A, D), vouch(D, A, [A, B, D]))
    show([late], ALL)
    late.idle()
    assert late.machine.refused == {"split-roll": 1, "split-by-" + D: 1}


def test_an_answer_that_is_being_made_is_given_up_at_the_alarm():
    device = contributed(board(A))
    show([device], ALL)
    for name in (B, C, D):
        device.hear(mailbox(A, name), vouch(name, A, ALL))
    while device.done[-1][0] != "fetch":  # shares are being added up
        assert device.step()
    device.hear(mailbox(A, B), vouch(B, A, [], kind=SPLIT))
    device.idle()
    assert device.take("answer") == [] and device.machine.refused == {"split-roll": 1}


# -- members that fail, letters that are lost


def test_a_member_that_died_after_it_was_listed_is_waited_for_until_a_retry_and_no_more():
    devices = boards()
    dead = devices.pop(D)
    show(devices.values(), ALL)
    exchange(devices)
    retried(devices, PATIENCE - 1)
    assert answered(devices) == [] and dead.sent == []
    retried(devices, 1)
    assert answered(devices) == [A, B, C]


def test_fewer_than_the_threshold_answer_never_and_give_the_round_up():
    devices = boards()
    del devices[C], devices[D]
    show(devices.values(), ALL)
    exchange(devices)
    retried(devices, RETRIES_MOST - 1)
    assert all(device.machine.in_round() for device in devices.values())
    retried(devices, 1)
    assert answered(devices) == []
    for device in devices.values():
        assert device.machine.refused == {"not-vouched": 1} and not device.machine.in_round()
        device.perform(device.machine.retry())
        assert device.machine.idle() is None  # and it bothers nobody any more
    devices[A].sent = []
    devices[A].hear(ROUND, street().opening(1, (), (1, 0)))
    assert len(devices[A].take("contribution")) == 1  # the next round goes on


def test_letters_that_are_lost_are_asked_for_again():
    devices = boards()
    show(devices.values(), ALL)
    exchange(devices, lambda sender, receiver, raw: receiver != A)  # A hears nobody
    assert answered(devices) == [B, C, D]
    devices[A].perform(devices[A].machine.retry())
    letters = exchange(devices)
    assert sorted([(sender, to) for sender, to, _ in letters]) == [(A, B), (A, C), (A, D), (B, A), (C, A), (D, A)]
    assert answered(devices) == [A]
    devices = boards()
    show(devices.values(), ALL)
    exchange(devices, lambda sender, receiver, raw: False)
    assert answered(devices) == []
    retried(devices, 1)
    assert answered(devices) == ALL


def test_letters_that_come_before_the_roll_call_count():
    devices = boards()
    show([devices[A]], ALL)
    for name in (B, C, D):
        show([devices[name]], ALL)
    first = exchange({name: devices[name] for name in (B, C, D)})
    late = contributed(board(A))
    for sender, receiver, raw in first:
        if receiver == A:
            late.hear(mailbox(A, sender), raw)
    assert late.machine.idle() is None and late.sent == []
    show([late], ALL)
    late.idle()
    assert len(late.take("answer")) == 1


def test_a_board_that_was_switched_off_between_vouches_for_nothing_and_answers_nothing():
    device = contributed(board(A))
    show([device], ALL)
    device.idle()
    again = reboot_of(device)
    again.hear(ROLL, street().roll(0, [A, B, D]))
    again.hear(mailbox(A, B), vouch(B, A, ALL))
    again.idle()
    assert again.machine.refused == {"not-audited": 2}
    assert not [topic for topic, _ in again.sent if "/mail/" in topic or topic.endswith("/answer")]
    contributed(again, 1)  # the next round is none of that
    show([again], ALL, 1)
    again.idle()
    assert len(again.take(B)) == 1


def test_who_had_answered_before_it_was_switched_off_says_the_same_again():
    devices = boards()
    show(devices.values(), ALL)
    exchange(devices)
    (sent,) = devices[A].take("answer")
    again = reboot_of(devices[A])
    again.hear(ROLL, street().roll(0, ALL))
    assert again.take("answer") == [sent]


def test_a_list_is_vouched_for_once_a_round_whatever_is_cleared_in_between():
    device = contributed(board(A))
    show([device], ALL)
    device.idle()
    device.hear(ROLL, b"")
    device.sent = []
    refuses(device.machine, "not-audited", device.machine.message, ROLL, street().roll(0, [A, B, D]))
    device.idle()
    assert device.sent == []


# -- hostile letters


def test_letters_that_are_forged_replayed_or_malformed_change_nothing_and_are_counted():
    device = contributed(board(A), 1)
    show([device], ALL, 1)
    device.idle()
    box = mailbox(A, B)
    good = vouch(B, A, ALL, 1)
    for reason, raw in (
        ("not-audited", vouch(B, A, ALL, 0)),  # of the round before
        ("not-audited", vouch(B, A, ALL, 2)),
        ("wrong-epoch", vouch(B, A, ALL, 1, epoch=2)),
        ("bad-tag", vouch(C, A, ALL, 1)),  # of another member
        ("bad-tag", vouch(B, C, ALL, 1)),  # to another
        ("bad-tag", vouch(A, B, ALL, 1)),  # the board's own, sent back
        ("bad-tag", vouch(B, A, ALL, 1, key=bytes(16))),
        ("bad-tag", vouch(B, A, ALL, 1, nonce=mail_nonce(SPLIT, SPLIT, 1))),  # a vouch as an alarm
        ("bad-tag", vouch(B, A, ALL, 1, bound="held")),
        ("malformed", vouch(B, A, ALL, 1, nonce=mail_nonce(VOUCH, SPLIT, 1))),
        ("malformed", vouch(B, A, ALL, 1, nonce=mail_nonce(VOUCH, VOUCH, 0))),
        ("malformed", vouch(B, A, ALL, 1, data=b"\xa0")),
        ("malformed", vouch(B, A, ALL, 1, data=messages.share(bytes(7)))),
        ("malformed", vouch(B, A, ALL, 1, data=messages.share(bytes(9)))),
        ("malformed", vouch(B, A, ALL, 1, data=b"garbage")),
        ("malformed", vouch(B, A, ALL, 1, kind=SPLIT, data=messages.nothing())),
        ("malformed", good[:-1]),
        ("malformed", b"\x00"),
    ):
        refuses(device.machine, reason, device.machine.message, box, raw)
    changed = bytearray(good)
    for at in range(len(good) - 27, len(good)):
        changed[at] ^= 1
        refuses(device.machine, "bad-tag", device.machine.message, box, bytes(changed))
        changed[at] ^= 1
    before = everything(device.machine)["_standing"]["unmasking"]["_check"]["_alike"]
    assert device.machine.message(box, good) == []
    assert everything(device.machine)["_standing"]["unmasking"]["_check"]["_alike"] == before | 2


def test_one_member_can_deny_the_sum_and_is_named():
    devices = boards()
    del devices[D]
    show(devices.values(), ALL)
    for name in (A, B, C):
        devices[name].hear(mailbox(name, D), vouch(D, name, [name, D, ALL[0]]))
    exchange(devices)
    retried(devices, RETRIES_MOST)
    assert answered(devices) == []
    assert all(device.machine.refused["split-roll"] == 1 for device in devices.values())
    assert all("split-by-" + D in device.machine.refused for device in devices.values())


def test_letters_again_and_again_are_answered_a_bounded_number_of_times():
    device = contributed(board(A))
    show([device], ALL)
    device.idle()
    device.sent = []
    sent = 0
    for _ in range(3 * ASKED_MOST * 4):
        device.hear(mailbox(A, B), vouch(B, A, ALL))
        device.idle()
        sent += len(device.take(B))
    assert sent == ASKED_MOST
    device.hear(mailbox(A, C), vouch(C, A, ALL))
    device.hear(mailbox(A, C), vouch(C, A, ALL))
    device.idle()
    assert len(device.take(C)) == 1  # what one member has used up is not another's


def test_a_cohort_of_64_is_told_in_63_letters_and_an_alarm_in_few():
    class Member:
        def __init__(self, index):
            self.index, self.cohort = index, list(range(64))

    for index in (0, 5, 63):
        check = ConsistencyCheck(Member(index), 7)
        assert sorted(check._partners(0)) == [i for i in range(64) if i != index]
        flood = check._partners(1)
        # 67 is the size of the overlay: three members act for two ids.
        assert 8 <= len(flood) <= 18 and flood == check._partners(0)[: len(flood)]


def test_a_power_for_the_missing_gets_the_room_of_the_consistency_check():
    devices = {name: contributed(board(name)) for name in WITHOUT_D}
    show(devices.values(), WITHOUT_D)
    for name in (B, C):
        devices[A].hear(mailbox(A, name), vouch(name, A, WITHOUT_D))
    while devices[A].machine._standing.unmasking._check:
        assert devices[A].step() and not devices[A].machine._own.workspace
    assert devices[A].unloads == 1
    devices[A].idle()
    assert len(devices[A].take("answer")) == 1
    refuses(devices[A].machine, "not-audited", devices[A].machine.message, mailbox(A, B), vouch(B, A, WITHOUT_D))
