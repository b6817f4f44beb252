"""The board's machine of a private sum, on both interpreters: openings, contributions, receipts,
and its records in flash."""

import random
import sys
from hashlib import sha256

from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import blinding, masks, pairs
from agent.protocols.private_sum.membership import ROUND_MOST, nonce
from agent.protocols.private_sum.unmasking import REPEATS_MOST
from agent.wire import active_sets, cbor, coordination, envelope, messages, topics
from agent.wire.envelope import Envelope
from tests.support.street_of_boards import (
    CHOSEN,
    ONE,
    ROLL,
    ROSTER,
    ROUND,
    SCOPE,
    SLOTS,
    TIME,
    VALUES,
    Device,
    active,
    dealt,
    digest_of,
    everything,
    mailbox,
    private,
    reboot,
    refuses,
    roster,
    set_digest_of,
    up,
)

ME = "meter-a"
NAMES = ["meter-a", "meter-b", "meter-c"]
MAIL = mailbox(ME, topics.COORDINATOR)
UP = up(ME, "contribution")
ACTIVE = topics.active(SCOPE[0], SCOPE[1], 0)
BATCH = 32  # rounds, for the slots of the street
TRIES = 8 if sys.implementation.name == "micropython" else 25  # each is a signature to check, or a look at all


def street():
    return dealt(3)


def ready_board(stock=(0, 1), mark=(0, 0), pending=None, short=False):
    """A board that has dealt all. `short`: with an exponent of 5, whose masks take a moment."""
    device = reboot(street(), ME)
    flash = device.flash
    flash.masks = dict.fromkeys(stock, ONE)
    flash.mark, flash.pending = mark, pending
    if short:
        key = flash.records["key"]
        flash.records["key"] = key[:64] + (5).to_bytes(513, "big") + key[577:]
    device = Device(ME, flash)
    assert device.machine.refused == {} and device.machine.epoch == 1 and device.done == []
    return device


def opening(round, **changes):
    """An opening in which something may be another, with the tag that goes with it in this board's
    place."""
    epoch, digest = changes.get("epoch", 1), changes.get("digest", street().set_of(ME))
    key = changes.get("key", street().keys(ME)[1])
    absent = changes.get("absent", 0)
    number = changes.get("number")
    context = street().context("round", round, receiver=changes.get("receiver", ME), epoch=epoch, number=number)
    counted = coordination.counted(*changes.get("counted", (0, 0)))
    tag = envelope.opening_tag(key, context, digest, absent, counted, TIME)
    tags = [tag, bytes(16), bytes(16)] if changes.get("own", True) else [bytes(16), tag, bytes(16)]
    return coordination.opening(epoch, round, digest, tags, absent, [counted, bytes(8), bytes(8)], TIME)


def takes(round, epoch=1, counted=True, news=True):
    """What an opening makes the board do; one that is no `news` tells no time."""
    return [("clock", TIME)] * news + [("take", epoch, round, counted, SLOTS)]


def receipt(sent, round=0, **changes):
    return street().receipt(sent, changes.pop("device", ME), round, **changes)


def contribute(device, round=0):
    """Open a round; return what was sent."""
    device.hear(ROUND, opening(round))
    (sent,) = device.take("contribution")
    return sent


def settle(device, sent, round=0):
    device.hear(ROUND, b"")
    device.hear(ROLL, b"")
    assert device.hear(MAIL, receipt(sent, round)) == []
    assert ("settle", 1, round) in device.done or "settle" in device.idle()
    assert device.machine._own.pending is None


# -- as it should be


def test_nonces_name_kind_payload_and_round():
    assert nonce(1, 0) == b"\x01" + bytes(12) and nonce(2, 0x01020304) == b"\x02" + bytes(8) + b"\x01\x02\x03\x04"
    assert nonce(2, 5, b"payload") == b"\x02" + sha256(b"payload").digest()[:8] + b"\x00\x00\x00\x05"


def test_a_contribution_is_the_blinded_reading_under_the_mask_and_says_what_it_reaches():
    device = ready_board()
    seed = hkdf_sha256(private(ME), street().set_of(ME), cbor.encode(["hum/v1/blinding"]), 32)
    field = blinding.field(device.machine.member.packing.bits)
    blinds = []
    for number in (0, 1):
        sent = contribute(device, number)
        assert Envelope(sent).nonce == nonce(1, number)
        ciphertext, masks_until, held, holds = street().contribution(ME, sent, number)
        blinded, rest = divmod(int.from_bytes(ciphertext, "big") - 1, CHOSEN.n)  # the mask is 1
        blind = blinding.blind(seed, number, field)
        assert rest == 0 and (blinded - blind) % field.p == 21450 + (31000 << 17) and blinded < field.p
        assert (masks_until, held, holds) == (1, 0b111, 0b111)
        blinds.append(blind)
    assert blinds[0] != blinds[1] and device.machine.refused == {}


def test_masks_are_made_one_after_the_other_and_the_first_is_announced_and_then_the_full_stock():
    device = ready_board((), short=True)
    assert device.machine.progress() == ("masks", 0, 2)
    assert device.idle() == ["mask", "publish", "mask", "publish"]
    for round in (0, 1):
        x0, x1 = masks.base(CHOSEN, SCOPE[0], SCOPE[1], 1, round, 0, street().set_of(ME))
        power = pow(x0 + CHOSEN.n * x1, 5, CHOSEN.n**2)
        assert device.flash.masks[round] == pairs.to_bytes(power % CHOSEN.n, power // CHOSEN.n, 256)
    assert device.machine.progress() == ("ready", 2, 2) and device.machine.masks() == 2
    assert len(device.sent) == 2
    for until, (topic, ready) in enumerate(device.sent):
        payload = messages.ready(0b111, 0b111)
        assert topic == up(ME, "ready") and Envelope(ready).nonce == nonce(2, until, payload)
        context = street().context("ready", until, ME, topics.COORDINATOR)
        assert Envelope(ready).open(street().keys(ME)[0], context) == payload


def test_no_idle_work_while_a_round_is_open():
    machine = ready_board((0,), short=True).machine
    machine.message(ROUND, opening(0))
    assert machine.idle() is None
    machine.message(ROUND, b"")
    assert machine.idle() == []  # it has not contributed, so nothing more is asked of it
    machine.message(ROUND, opening(0))
    assert machine.idle() is None
    machine.retry()
    assert machine.idle() == []


def test_who_has_contributed_waits_for_the_roll_call():
    device = ready_board((0,), short=True)
    contribute(device)
    device.hear(ROUND, b"")
    assert device.machine.idle() is None
    device.hear(ROLL, b"")  # the coordinator clears it: the round is over
    assert device.machine.idle() == []


def test_a_new_epoch_forgets_keys_masks_shares_and_openings():
    device = ready_board()
    machine = device.machine
    sent = contribute(device)
    device.hear(ROSTER, roster(NAMES, epoch=2))
    assert machine.epoch == 2 and machine.progress() == ("keys", 0, 2) and machine.masks() == 0
    assert device.flash.store.names("mask-") == device.flash.store.names("share-") == []
    assert device.flash.masks == {} and device.flash.shares == {}
    refuses(machine, "wrong-epoch", machine.message, ROUND, opening(1))
    refuses(machine, "not-ready", machine.message, ROUND, opening(0, epoch=2))
    refuses(machine, "replayed", machine.taken, 1, 1, ONE, VALUES)
    assert machine.held(None, 1) == []
    assert machine.retry() == machine.link_up() == []  # what belongs to the epoch before is not sent again
    assert machine._own.pending == (1, 0, sent)


def test_what_waits_for_a_receipt_of_the_epoch_before_does_not_stand_in_for_a_round_of_this_one():
    signed = roster(NAMES, epoch=2)
    device = ready_board()
    contribute(device)
    flash = device.flash
    set_digest = set_digest_of(active(signed, 0b111))
    flash.records["roster"] = signed
    flash.records["secrets"] = digest_of(signed) + flash.records["secrets"][32:]
    flash.records["active"] = set_digest + (2).to_bytes(4, "big") + flash.records["active"][36:]
    for name in ("key", "acks"):
        flash.records[name] = set_digest + flash.records[name][32:]
    device = Device(ME, flash)
    assert device.machine.epoch == 2 and device.machine.retry() == []
    assert device.machine.message(ROUND, opening(0, epoch=2, digest=set_digest)) == takes(0, epoch=2, counted=False)


# -- openings


def test_openings_that_are_not_for_this_board_now_are_refused():
    machine = ready_board(mark=(1, 4), stock=(5, 6)).machine
    good = opening(5)
    for reason, raw in (
        ("malformed", b"\x00"),
        ("malformed", good[:-1]),
        ("malformed", good + b"\x00"),
        ("malformed", coordination.opening(0, 5, street().sets, [bytes(16)], 0, [bytes(8)], TIME)),
        ("wrong-epoch", opening(5, epoch=2)),
        ("other-active", opening(5, digest=bytes(32))),
        ("other-active", opening(5, digest=street().digest)),
        ("bad-tag", opening(5, number=street().number + 1)),
        ("bad-tag", opening(5, number=0)),
        ("replayed", opening(4)),
        ("replayed", opening(0)),
        ("bad-tag", opening(5, key=street().keys(ME)[0])),
        ("bad-tag", opening(5, key=street().keys("meter-b")[1])),
        ("bad-tag", opening(5, receiver="meter-b")),
        ("bad-tag", opening(5, own=False)),
        ("bad-tag", coordination.opening(1, 5, street().sets, [], 0, [], TIME)),
        ("bad-tag", good.replace(b"\x02\x05\x03", b"\x02\x06\x03")),
        ("bad-tag", good.replace(b"\x05\x00\x06", b"\x05\x02\x06")),  # another member is said to be dead
        ("bad-tag", good[:-1] + bytes([TIME + 1 & 255])),  # it is said to be later
        ("bad-tag", good.replace(bytes(24), bytes(7) + b"\x01" + bytes(16))),  # it is said to have been counted
    ):
        refuses(machine, reason, machine.message, ROUND, raw)
    assert machine.message(ROUND, good) == takes(5, counted=False)


def test_an_opening_says_whether_the_reading_that_was_sent_last_is_in_a_published_sum():
    for mark, said, counted in (
        ((0, 0), (0, 0), True),  # nothing was ever sent
        ((1, 4), (1, 4), True),
        ((1, 4), (1, 3), False),
        ((1, 4), (0, 0), False),
    ):
        machine = ready_board(mark=mark, stock=(5, 6)).machine
        assert machine.message(ROUND, opening(5, counted=said)) == takes(5, counted=counted)
        assert machine.message(ROUND, opening(5, counted=said)) == takes(5, counted=counted, news=False)


def test_a_burn_that_failed_is_not_what_the_opening_speaks_of():
    device = ready_board(mark=(1, 4), stock=(5, 6))
    device.failing = ("spend",)
    device.hear(ROUND, opening(5, counted=(1, 4)))
    assert device.machine.message(ROUND, opening(6, counted=(1, 4))) == takes(6)


def test_where_the_flash_has_no_room_for_a_mask_the_board_makes_do_with_those_before_it():
    device = ready_board(stock=(0,), short=True)
    machine = device.machine
    while not any(action[0] == "mask" for action in device.done):
        device.step()
    (made,) = [action[2] for action in device.done if action[0] == "mask"]
    assert machine.masks() == 2
    assert [action[1].split("/")[-1] for action in machine.unkept(1, made)] == ["ready"]
    assert machine.masks() == 1 and "mask" not in device.idle()
    assert machine.unkept(2, 5) == []


def test_each_member_looks_at_the_tag_in_its_own_place_and_at_no_other():
    published = street().opening(0)
    epoch, round, sets, tags = messages.read_opening(published)[:4]
    for i, name in enumerate(NAMES):
        machine = reboot(street(), name).machine
        assert machine.message(ROUND, published) == takes(0)
        others = bytes(16 * i) + tags[16 * i : 16 * i + 16] + bytes(32 - 16 * i)
        rest = (0, [bytes(24)], TIME)
        assert machine.message(ROUND, coordination.opening(epoch, round, sets, [others], *rest)) == takes(0, news=False)
        without = tags[: 16 * i] + bytes(16) + tags[16 * i + 16 :]
        refuses(machine, "bad-tag", machine.message, ROUND, coordination.opening(epoch, round, sets, [without], *rest))


def test_without_mask_or_reading_or_out_of_range_nothing_is_burnt():
    for reason, mask, values in (
        ("no-mask", None, VALUES),
        ("no-mask", b"", VALUES),
        ("no-mask", ONE[:-1], VALUES),
        ("no-reading", ONE, None),
        ("out-of-range", ONE, [20001, 0]),
        ("out-of-range", ONE, [0, -1]),
        ("out-of-range", ONE, [0]),
    ):
        device = ready_board()
        machine = device.machine
        machine.message(ROUND, opening(0))
        assert machine.taken(1, 0, mask, values) == []
        assert machine.refused == {reason: 1} and machine._own.pending is None
        contribute(device)  # the same round is still to be had


def test_a_board_that_missed_rounds_makes_masks_for_those_to_come():
    device = ready_board(short=True)
    machine = device.machine
    assert machine.message(ROUND, opening(50)) == takes(50)
    assert machine.taken(1, 50, None, VALUES) == [] and machine.refused == {"no-mask": 1}
    # An old one, replayed: leads no further back.
    assert machine.message(ROUND, opening(20)) == takes(20, news=False)
    assert machine.taken(1, 20, None, VALUES) == []
    machine.message(ROUND, b"")
    device.idle()
    assert [action[2] for action in device.done if action[0] == "mask"] == [51, 52]
    assert machine.message(ROUND, opening(51)) == takes(51)


def test_a_board_whose_blinding_too_few_hold_sits_the_round_out():
    device = ready_board(stock=(70, 71))
    refuses_but_opens(device.machine, "not-shared", opening(70))
    assert device.machine._own.pending is None and device.machine.progress()[0] == "shares"
    device = ready_board()
    device.flash.records["acks"] = None
    device = Device(ME, device.flash)
    assert device.machine.progress() == ("shares", 1, 3)
    refuses_but_opens(device.machine, "not-shared", opening(0))


def refuses_but_opens(machine, reason, raw):
    """No action, and one refusal; but what the coordinator's word tells of rounds to come is
    heard."""
    assert machine.message(ROUND, raw) == [] and machine.refused == {reason: 1}


def test_the_last_rounds_of_all_are_no_accident():
    for last in (ROUND_MOST, ROUND_MOST - BATCH):
        device = ready_board(short=True)
        refuses_but_opens(device.machine, "not-shared", opening(last))
        device.machine.message(ROUND, b"")
        device.idle()
        assert device.machine.refused == {"not-shared": 1}
        assert all(action[2] > last for action in device.done if action[0] == "mask")


# -- one ciphertext a round


def test_nothing_is_published_before_the_burn_is_durable():
    device = ready_board()
    device.failing = ("spend",)
    machine = device.machine
    assert device.hear(ROUND, opening(0)) == ["take"] and device.sent == []
    assert machine.retry() == []
    assert [action[1].split("/")[-1] for action in machine.link_up()] == ["here", "ready"]
    # The burn failed: the round is lost, and never tried again.
    refuses(machine, "replayed", machine.message, ROUND, opening(0))
    refuses(machine, "replayed", machine.taken, 1, 0, ONE, VALUES)


def test_a_round_has_one_ciphertext_however_often_it_is_opened():
    device = ready_board()
    machine = device.machine
    assert [machine.message(ROUND, opening(0)) for _ in range(2)] == [takes(0), takes(0, news=False)]
    sent = machine.taken(1, 0, ONE, VALUES)[0][3]
    refuses(machine, "replayed", machine.taken, 1, 0, ONE, [7, 7])
    machine.spent(1, 0, sent)
    again = [("publish", UP, sent, 1, False)]
    for _ in range(3):
        assert machine.message(ROUND, opening(0)) == again
        assert machine.retry() == again
        assert machine.link_up()[-1:] == again
    refuses(machine, "replayed", machine.taken, 1, 0, ONE, [7, 7])
    settle(device, sent)
    refuses(machine, "replayed", machine.message, ROUND, opening(0))
    assert machine.retry() == []


def test_an_earlier_round_is_not_to_be_had_after_a_later_one():
    device = ready_board()
    contribute(device, 1)
    refuses(device.machine, "replayed", device.machine.message, ROUND, opening(0))
    refuses(device.machine, "replayed", device.machine.taken, 1, 0, ONE, VALUES)


# -- ready


def test_two_messages_with_one_masks_until_that_say_something_else_have_different_nonces():
    device = reboot(street(), ME)
    blinds = bytes([0, 0, 0, 1]) + bytes(7) + b"\x06"
    sent = []
    for held in (0b110, 0b010):
        device.flash.records["acks"] = street().set_of(ME) + bytes(4) + held.to_bytes(8, "big") + blinds
        machine = Device(ME, device.flash).machine
        machine._standing.sharing._member.threshold = 2  # two of three would do
        sent += [Envelope(action[2]) for action in machine.link_up() if action[1] == up(ME, "ready")]
    context = street().context("ready", 1, ME, topics.COORDINATOR)
    said = [coordination.read_ready(parsed.open(street().keys(ME)[0], context)) for parsed in sent]
    assert said == [(0b111, 0b111), (0b011, 0b111)] and sent[0].nonce != sent[1].nonce


def test_masks_until_does_not_reach_beyond_shared_blinding():
    device = ready_board(stock=(BATCH - 1, 2 * BATCH - 1, 2 * BATCH))  # blinding of two batches is shared
    _, ready = device.machine.link_up()
    assert Envelope(ready[2]).round == 2 * BATCH - 1


# -- receipts


def test_receipts_for_nothing_that_waits_are_refused():
    device = ready_board(stock=(0, 1, 2, 3))
    machine = device.machine
    refuses(machine, "replayed", machine.message, MAIL, receipt(b"x"))
    sent = contribute(device)
    for raw in (receipt(sent, 1), receipt(sent, 0, epoch=2)):
        refuses(machine, "replayed", machine.message, MAIL, raw)
    for raw in (b"\x00", sent[:-1], receipt(sent)[:-1]):
        refuses(machine, "malformed", machine.message, MAIL, raw)
    settle(device, sent)
    refuses(machine, "replayed", machine.message, MAIL, receipt(sent))


def test_receipts_that_are_wrong_or_forged_settle_nothing():
    device = ready_board(stock=(0, 1, 2, 3))
    machine = device.machine
    sent = contribute(device)
    device.hear(ROLL, b"")
    context = street().context("receipt", 0, receiver=ME)
    for reason, raw in (
        ("wrong-receipt", receipt(sent + b"\x00")),
        ("bad-signature", receipt(sent, signer="authority")),
        ("bad-signature", receipt(sent, signer=ME)),
        ("bad-signature", receipt(sent, device="meter-b")),
        ("bad-signature", receipt(sent, kind="result")),
        ("bad-signature", sent),  # a sealed envelope of the same round: no signature at all
        ("malformed", envelope.sign(private("coordinator"), context, b"\xa0")),
    ):
        before, counted = everything(machine), machine.refused.get(reason, 0)
        assert machine.message(MAIL, raw) == [] and device.idle() == []
        assert machine.refused[reason] == counted + 1 and everything(machine) == before, reason
        assert machine.retry() == [("publish", UP, sent, 1, False)]
    settle(device, sent)


def test_forged_receipts_cost_one_check_of_a_signature_between_retries():
    device = ready_board(stock=(0, 1, 2, 3))
    machine = device.machine
    sent = contribute(device)
    device.hear(ROLL, b"")
    forged = receipt(sent, signer=ME)
    for retries in range(1, 4):
        for _ in range(10):
            device.hear(MAIL, forged)
            device.idle()
        assert (machine.refused["bad-signature"], machine.refused["too-soon"]) == (retries, 9 * retries)
        machine.retry()
    settle(device, sent)  # the right one is taken all the same
    next_sent = contribute(device, 1)
    settle(device, next_sent, 1)  # and with no retry in between


def test_a_receipt_that_was_forged_does_not_hold_back_the_next_rounds_receipt():
    device = ready_board(stock=(0, 1, 2, 3))
    device.hear(MAIL, receipt(contribute(device), signer=ME))
    device.hear(ROLL, b"")
    device.idle()
    settle(device, contribute(device, 1), 1)


def test_an_opening_that_comes_again_has_the_contribution_sent_again_a_bounded_number_of_times():
    device = ready_board(stock=(0, 1, 2, 3))
    sent = contribute(device)
    for _ in range(2):
        device.sent = []
        for _ in range(5 * REPEATS_MOST):
            device.hear(ROUND, street().opening(0))
        assert device.take("contribution") == [sent] * REPEATS_MOST
        device.machine.retry()


def test_a_receipt_under_check_does_not_hold_back_the_next_rounds_contribution():
    device = ready_board(short=True)
    first = contribute(device)
    device.hear(MAIL, receipt(first))
    second = contribute(device, 1)
    assert device.machine._own.pending == (1, 1, second)
    assert device.machine.retry() == [("publish", UP, second, 1, False)]
    settle(device, second, 1)
    assert device.machine.refused == {}


# -- flash


def same(one, other, forget):
    """What both know, and their parts, is the same but for what is called as in `forget`."""
    assert set(one) == set(other)
    for name in one:
        if isinstance(one[name], dict) and name not in forget:
            same(one[name], other[name], forget)
        else:
            assert name in forget or one[name] == other[name], name


def test_records_restore_the_state_that_they_were_put_in():
    live = ready_board((0, 1, 2), short=True)
    sent = contribute(live)
    live.hear(ROLL, b"")
    again = Device(ME, live.flash.copy())
    assert live.machine.link_up() == again.machine.link_up() != []
    forget = ("member", "workspace", "opened", "_making", "_flash_holds", "_handlers", "_round_open", "_checked")
    same(everything(live.machine), everything(again.machine), forget)
    for device in (live, again):
        refuses(device.machine, "replayed", device.machine.taken, 1, 0, ONE, VALUES)
        told = [("clock", TIME)] if device is again else []
        assert device.machine.message(ROUND, opening(0)) == told + [("publish", UP, sent, 1, False)]
        settle(device, sent)
        assert device.machine.message(ROUND, opening(1, counted=(1, 0))) == takes(1)


def test_stock_at_or_below_the_last_burnt_round_is_not_counted():
    assert ready_board(stock=(0, 1, 2, 3), mark=(1, 2)).machine.masks() == 1


# -- anything at all


def test_messages_on_other_topics_are_refused():
    machine = ready_board().machine
    for topic in (
        "",
        "hum",
        UP,
        ROSTER + "/",
        MAIL.replace(ME, "meter-b"),
        ROUND.replace("north", "south"),
        "$SYS/x",
        "\x00",
    ):
        refuses(machine, "wrong-topic", machine.message, topic, opening(0))


def test_what_takes_back_a_kept_message_is_no_refusal_and_changes_nothing():
    device = ready_board()
    contribute(device)
    machine = device.machine
    before = dict(machine.refused)
    for topic in (ROSTER, MAIL, mailbox(ME, "meter-b"), mailbox(ME, "nobody"), ACTIVE):
        assert machine.message(topic, b"") == []
    assert machine.refused == before and machine.epoch == device.machine.member.epoch


def test_random_bytes_on_any_topic_raise_nothing_and_change_nothing():
    random.seed(29)
    device = ready_board()
    contribute(device)
    machine = device.machine
    for topic in (ROSTER, ROUND, ROLL, ACTIVE, MAIL, mailbox(ME, "meter-b"), mailbox(ME, ""), UP):
        for _ in range(TRIES):
            noise = bytes([random.getrandbits(8) for _ in range(1 + random.getrandbits(6))])
            refuses(machine, "wrong-topic" if topic == UP else "malformed", machine.message, topic, noise)


def test_damaged_messages_on_any_topic_raise_nothing_and_change_nothing():
    random.seed(31)
    device = ready_board()
    machine = device.machine
    sent = contribute(device)
    device.hear(ROLL, b"")
    # In the opening, what is said to the others is not this board's to judge: their tags, and which
    # of theirs was counted.
    opened = opening(1)
    tags_end, counted_end = opened.index(b"\x05\x00\x06"), len(opened) - 6
    others = list(range(tags_end - 32, tags_end)) + list(range(counted_end - 16, counted_end))
    for topic, good, spared in (
        (ROSTER, roster(NAMES, epoch=2), ()),
        (ROUND, opened, others),
        (MAIL, receipt(sent), ()),
    ):
        before = everything(machine)
        for _ in range(80 if topic == ROUND else TRIES):
            damaged = bytearray(good)
            at = random.choice([at for at in range(len(good)) if at not in spared])
            damaged[at] ^= 1 << random.getrandbits(3)
            count = sum(machine.refused.values())
            assert machine.message(topic, bytes(damaged)) == []
            assert device.idle() == []  # the signature of a receipt is checked here
            machine._own._may_check = True
            assert everything(machine) == before and sum(machine.refused.values()) == count + 1
    assert machine.message(ROUND, opening(1, counted=(1, 0))) == takes(1)


def said(kind):
    """What this board has sent up last as `kind`."""
    return [payload for topic, payload in street().devices[ME].sent if topic == up(ME, kind)][-1]


def test_messages_of_one_topic_on_another_are_refused():
    device = ready_board()
    machine = device.machine
    sent = contribute(device)
    device.hear(ROLL, b"")
    later = roster(NAMES, epoch=2)
    (ready, here) = [said(kind) for kind in ("ready", "here")]
    later_set = active(street().signed, 0b111, street().number + 1)
    roll = street().roll(0, NAMES)
    peer = mailbox(ME, "meter-b")
    for topic, raw, reason in (
        (ROSTER, opening(1), "malformed"),
        (ROSTER, receipt(sent, epoch=2), "bad-signature"),
        (ROSTER, sent, "stale-roster"),
        (ROSTER, roll, "stale-roster"),
        (ROSTER, later_set, "stale-roster"),
        (ROUND, later, "malformed"),
        (ROUND, receipt(sent), "malformed"),
        (ROUND, sent, "malformed"),
        (ROUND, roll, "malformed"),
        (ROUND, later_set, "malformed"),
        (ROLL, opening(1), "malformed"),
        (ROLL, later, "wrong-epoch"),
        (ROLL, receipt(sent), "malformed"),
        (ROLL, sent, "malformed"),
        (ROLL, later_set, "malformed"),
        (ACTIVE, opening(1), "malformed"),
        (ACTIVE, later, "malformed"),
        (ACTIVE, receipt(sent), "malformed"),
        (ACTIVE, roll, "malformed"),
        (ACTIVE, here, "malformed"),
        (ACTIVE, active_sets.coming(1, 1, bytes(16)), "malformed"),
        (MAIL, later, "replayed"),
        (MAIL, opening(0), "malformed"),
        (MAIL, ready, "replayed"),
        (MAIL, later_set, "replayed"),
        (peer, later_set, "other-active"),
        (peer, receipt(sent), "malformed"),
        (peer, sent, "malformed"),
        (peer, roll, "other-active"),
    ):
        refuses(machine, reason, machine.message, topic, raw)
