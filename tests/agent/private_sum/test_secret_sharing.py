"""Secret sharing: which shares go to whom and how often, what is held before it is acknowledged,
and the mail that is refused."""

from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import blinding, integer_shares
from agent.protocols.private_sum.mail import ASK, BLINDING, HELD, KEY_SHARE, MAIL_MOST, mail_nonce
from agent.protocols.private_sum.secret_sharing import ASK_FROM, BATCHES_AHEAD, RESEND_MOST
from agent.wire import cbor, envelope, messages, topics
from agent.wire.envelope import Envelope
from tests.support.street_of_boards import (
    CHOSEN,
    ONE,
    ROSTER,
    ROUND,
    SCOPE,
    Device,
    Street,
    active,
    carry,
    digest_of,
    mailbox,
    private,
    refuses,
    roster,
    set_digest_of,
)

ME = "meter-a"
PEER = "meter-b"
THIRD = "meter-c"
BATCH = 32  # rounds, for the slots of the street
SHARES = (mail_nonce(KEY_SHARE, 4, 0), mail_nonce(BLINDING, 5, 0), mail_nonce(BLINDING, 5, BATCH))
_joined = []


def street():
    """Three boards that have their keys and have dealt nothing."""
    if not _joined:
        _joined.append(Street(3))
    return _joined[0]


def device(name=ME):
    return Device(name, street().devices[name].flash.copy())


def keys_of(name):
    """The mail keys of `name`, by (sender, receiver)."""
    record = street().devices[name].flash.records["key"]
    keys = {}
    for index, other in enumerate(street().names):
        at = 64 + CHOSEN.exponent_bytes + 32 * index
        keys[(name, other)] = record[at : at + 16]
        keys[(other, name)] = record[at + 16 : at + 32]
    return keys


def mail(kind, payload, number=None, round=0, sender=PEER, **changes):
    """Mail to this board as `sender` makes it, or makes it wrongly."""
    nonce = changes.get(
        "nonce", mail_nonce({"key-share": 4, "blinding": 5, "held": 6, "ask": ASK}[kind], number, round)
    )
    receiver, of_set = changes.get("receiver", ME), changes.get("set_number")
    context = street().context(kind, round, sender, receiver, changes.get("epoch", 1), of_set)
    return envelope.seal(changes.get("key", keys_of(ME)[(PEER, ME)]), nonce, context, payload)


def key_share(size=None, **changes):
    share = bytes(device().machine._standing.sharing.share_bytes) if size is None else bytes(size)
    return mail("key-share", messages.share(share), 4, **changes)


def blind_share(batch=0, share=bytes(512), **changes):
    return mail("blinding", messages.share(share), 5, batch * BATCH, **changes)


def held(number=KEY_SHARE, round=0, **changes):
    return mail("held", messages.nothing(), number, round, **changes)


def ask(**changes):
    return mail("ask", changes.pop("payload", messages.nothing()), ASK, **changes)


def nonces(payloads):
    return tuple(Envelope(payload).nonce for payload in payloads)


# -- what is sent


def test_each_of_the_cohort_is_sent_its_share_of_the_key_and_of_two_batches_of_blinding():
    board = device()
    deeds = board.idle()
    assert deeds == ["publish"] * 6 and board.unloads
    seeds = [
        hkdf_sha256(private(ME), street().set_of(ME), cbor.encode(["hum/v1/" + use]), 32)
        for use in ("key-shares", "blinding")
    ]
    record = board.flash.records["key"]
    sharing = integer_shares.Sharing(3, 3, 3, CHOSEN)
    field = board.machine.member.field
    for x, name in ((2, PEER), (3, THIRD)):
        sent = board.take(name)
        assert nonces(sent) == SHARES
        plain = []
        for payload, kind, round in zip(sent, ("key-share", "blinding", "blinding"), (0, 0, BATCH)):
            context = street().context(kind, round, ME, name)
            plain.append(Envelope(payload).open(keys_of(name)[(ME, name)], context))
        steps = integer_shares.share_steps(seeds[0], int.from_bytes(record[64:577], "big"), x, sharing)
        assert messages.read_share(plain[0], sharing.share_bytes) == finish(steps)
        for batch in (0, 1):
            shares = messages.read_share(plain[1 + batch], BATCH * field.size)
            for at in (0, 1, BATCH - 1):
                element = int.from_bytes(shares[at * field.size : (at + 1) * field.size], "big")
                assert element == blinding.share(seeds[1], batch * BATCH + at, x, 3, field)
    assert board.sent == []


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_shares_are_the_same_bytes_however_often_they_are_made():
    board = device()
    board.idle()
    first = board.sent
    again = device()  # after a reboot
    again.step()
    again.machine.rest()  # memory was short: the share is begun anew
    again.idle()
    assert again.sent == first
    board.sent = []
    board.machine.retry()
    board.idle()
    assert board.sent == first


def test_what_nobody_acknowledges_is_sent_again_at_growing_intervals():
    board = device()
    board.idle()
    waits, wait = [], 0
    while len(waits) < 9:
        board.sent = []
        board.machine.retry()
        board.idle()
        wait += 1
        if board.sent:
            assert nonces(board.take(PEER)) == nonces(board.take(THIRD)) == SHARES
            waits.append(wait)
            wait = 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 64, 64] and RESEND_MOST == 64
    board.machine.link_up()
    board.idle()
    assert nonces(board.take(PEER)) == SHARES  # a new link: at once
    board.machine.retry()
    board.idle()
    assert nonces(board.take(PEER)) == SHARES  # and the intervals begin anew
    board.sent = []
    for _ in range(5):  # links that come and go have nothing made again
        board.machine.link_up()
        board.idle()
    assert board.sent == []


def test_what_was_acknowledged_is_not_sent_again():
    board = device()
    board.idle()
    board.sent = []
    board.hear(mailbox(ME, PEER), held())
    board.hear(mailbox(ME, PEER), held(BLINDING, BATCH))
    board.machine.retry()
    board.idle()
    assert nonces(board.take(PEER)) == SHARES[1:2] and nonces(board.take(THIRD)) == SHARES


def test_a_board_that_was_not_ready_gets_its_shares_when_it_deals_itself():
    early, late = device(), device(PEER)
    early.idle()
    early.sent = []  # the other board was not there
    late.idle()
    for payload in late.take(ME):
        assert early.hear(mailbox(ME, PEER), payload) == ["hold", "publish"]
    early.idle()
    assert nonces(early.take(PEER)) == tuple(mail_nonce(HELD, n[0], r) for n, r in zip(SHARES, (0, 0, BATCH))) + SHARES


def test_three_boards_have_dealt_when_nobody_has_more_to_say_and_say_so():
    whole = Street(3)
    whole.deliver()
    for index, name in enumerate(whole.names):
        board = whole.devices[name]
        others = 0b111 & ~(1 << index)
        assert board.machine.refused == {} and board.machine.progress()[0] == "ready"
        assert board.flash.held() == (others, {0: others, 1: others})
        readies = board.take("ready")
        assert Envelope(readies[-1]).round == 1 and len(board.take("here")) == 2 and board.sent == []
        assert Device(name, board.flash.copy()).machine.progress()[0] == "ready"


# -- what is held


def test_a_share_is_acknowledged_when_it_is_durable_and_not_before():
    board = device()
    board.failing = ("hold",)
    for raw in (key_share(), blind_share()):
        assert board.hear(mailbox(ME, PEER), raw) == [] and board.sent == [] and board.flash.shares == {}
    board.failing = ()
    assert board.hear(mailbox(ME, PEER), key_share()) == ["hold", "publish"]
    assert board.flash.shares == {(None, 1): bytes(board.machine._standing.sharing.share_bytes)}
    ((topic, payload),) = board.sent
    assert topic == mailbox(PEER, ME)
    context = street().context("held", 0, ME, PEER)
    assert messages.read_nothing(Envelope(payload).open(keys_of(PEER)[(ME, PEER)], context)) is None
    assert nonces([payload]) == (mail_nonce(HELD, KEY_SHARE, 0),)


def test_a_share_heard_twice_is_acknowledged_again_and_not_stored_again():
    board = device()
    for raw, other, about in (
        (key_share(), mail("key-share", messages.share(b"\x01" * 600), 4), (None, 1)),
        (blind_share(1), blind_share(1, b"\x01" * 512), (1, 1)),
    ):
        board.hear(mailbox(ME, PEER), raw)
        first = board.take(PEER)
        kept = board.flash.shares[about]
        assert board.hear(mailbox(ME, PEER), raw) == ["publish"] and board.take(PEER) == first
        board.machine.retry()
        assert board.hear(mailbox(ME, PEER), other) == ["publish"] and board.take(PEER) == first
        assert board.flash.shares[about] == kept
        rebooted = Device(ME, board.flash)
        assert rebooted.hear(mailbox(ME, PEER), raw) == ["publish"] and rebooted.take(PEER) == first


def entered(board, number):
    """Let the board enter the set of all three with this number; return the board."""
    board.hear(topics.active(SCOPE[0], SCOPE[1], 0), active(street().signed, 0b111, number))
    while board.machine.member.number != number or not board.machine._standing.sharing:
        assert board.step()
    return board


def test_a_share_of_the_set_before_is_not_held_in_this_one():
    board = device()
    for raw in (key_share(), blind_share()):
        board.hear(mailbox(ME, PEER), raw)
    assert board.machine._standing.sharing.holds(None) == board.machine._standing.sharing.holds(0) == 0b011
    board.hear(mailbox(ME, PEER), held())
    assert board.machine._standing.sharing.holders(None) == 0b011
    board.hear(topics.active(SCOPE[0], SCOPE[1], 0), active(street().signed, 0b111, street().number + 1))
    while board.machine.progress()[0] != "set":
        assert board.step()
    assert board.machine.held(None, 1) == board.machine.held(0, 1) == []  # nothing is acknowledged without keys
    assert board.flash.store.names("share-") == board.flash.store.names("blind-") == []
    entered(board, street().number + 1)
    for each in (board, Device(ME, board.flash.copy())):
        sharing = each.machine._standing.sharing
        assert sharing.holds(None) == sharing.holds(0) == sharing.holders(None) == 0b001


def test_batches_that_are_over_are_forgotten():
    board = device()
    for batch in (0, 1, 2):
        board.hear(mailbox(ME, PEER), blind_share(batch))
        board.hear(mailbox(ME, PEER), held(BLINDING, batch * BATCH))
    board.hear(mailbox(ME, PEER), key_share())
    board.hear(ROUND, street().opening(2 * BATCH))  # too few hold its shares: it does not take part
    assert board.machine.refused == {"not-shared": 1}
    assert "discard" in board.idle()
    assert sorted([(batch or 0) for batch, _ in board.flash.shares]) == [0, 2]
    sharing = board.machine._standing.sharing
    assert sharing.holders(0) == sharing.holders(1) == 0b001 and sharing.holders(2) == 0b011
    refuses(board.machine, "wrong-batch", board.machine.message, mailbox(ME, PEER), blind_share(1))


def test_a_batch_is_dealt_before_a_mask_of_it_is_made_however_few_masks_there_are():
    """Where masks are made no faster than rounds come there are never enough."""
    flash = street().devices[ME].flash.copy()
    key = flash.records["key"]
    flash.records["key"] = key[:64] + (5).to_bytes(513, "big") + key[577:]
    board = Device(ME, flash, None, 4)
    own = board.machine._own
    own.stock, own.refilling = [BATCH - 2], True
    board.idle()
    done = [(action[0], action[2]) if action[0] == "mask" else action[0] for action in board.done]
    dealt = ["publish"] * 2  # to each of the two others
    assert done == dealt * 2 + [("mask", BATCH - 1)] + dealt + [("mask", BATCH), ("mask", BATCH + 1)]
    for name in (PEER, THIRD):
        assert nonces(board.take(name)) == SHARES


# -- acknowledgements


def test_acknowledgements_are_kept_when_there_are_enough_and_outlive_a_reboot():
    board = device()
    others = (PEER, THIRD)
    assert board.machine.progress() == ("shares", 1, 3)
    for number, round in ((KEY_SHARE, 0), (BLINDING, 0)):
        deeds = []
        for name in others:
            key = keys_of(ME)[(name, ME)]
            deeds.append(board.hear(mailbox(ME, name), held(number, round, sender=name, key=key))[:1])
            assert board.hear(mailbox(ME, name), held(number, round, sender=name, key=key)) == []
        assert deeds == [[], ["put"]]
    rebooted = Device(ME, board.flash.copy())
    for each in (board, rebooted):
        assert each.machine._standing.sharing.holders(None) == each.machine._standing.sharing.holders(0) == 0b111
        assert each.machine._standing.sharing.holders(1) == 0b001 and each.machine.progress()[0] == "ready"
    rebooted.idle()
    assert nonces(rebooted.take(PEER)) == SHARES[2:]
    record = board.flash.records["acks"]
    assert len(record) == 32 + 2 * 12
    for lost, holders in (
        (None, 1),
        (b"", 1),
        (bytes(32) + record[32:], 1),
        (record[:-1], None),
        (record[:32] + bytes(4) + b"\xff" * 8, 7),  # only of the cohort, whatever the flash says
    ):
        board.flash.records["acks"] = lost
        sharing = Device(ME, board.flash).machine._standing.sharing
        if holders is None:
            assert sorted([sharing.holders(None), sharing.holders(0)]) == [1, 7]
        else:
            assert sharing.holders(None) == holders and sharing.holders(0) == 1


def test_acknowledgements_of_batches_that_are_far_away_are_refused():
    """One that answers for every batch there can be would fill the heap of the others."""
    board = device()
    machine = board.machine
    for batch in (BATCHES_AHEAD + 1, 1000, 0x7FFFFFF):
        refuses(machine, "wrong-batch", machine.message, mailbox(ME, PEER), held(BLINDING, batch * BATCH))
    assert board.hear(mailbox(ME, PEER), held(BLINDING, BATCHES_AHEAD * BATCH)) == []
    assert machine._standing.sharing.holders(BATCHES_AHEAD) == 0b011


# -- work that others cause


def test_a_share_that_comes_again_makes_no_share_due_and_is_acknowledged_once_a_retry():
    board = device()
    board.hear(mailbox(ME, PEER), key_share())
    board.idle()
    assert nonces(board.take(PEER)) == (mail_nonce(HELD, KEY_SHARE, 0),) + SHARES
    for _ in range(3):
        deeds = []
        for _ in range(20):
            deeds += board.hear(mailbox(ME, PEER), key_share()) + board.idle()
        assert deeds == ["publish"]
        assert nonces(board.take(PEER)) == (mail_nonce(HELD, KEY_SHARE, 0),)
        board.machine._standing.sharing._repeated = {}
    late = device()  # the control: what is new makes this board's own due, whenever it comes
    late.idle()
    late.sent = []
    late.hear(mailbox(ME, PEER), key_share())
    late.idle()
    assert nonces(late.take(PEER)) == (mail_nonce(HELD, KEY_SHARE, 0), SHARES[0])


def test_a_member_that_repeats_a_valid_letter_keeps_no_board_from_making_masks():
    starved, quiet = masks_made(True), masks_made(False)
    assert starved == quiet == 2


def masks_made(attacked):
    """How many masks a board has made after so many steps, if a member that acknowledges nothing
    sends its key share again whenever it hears from the board."""
    board = device()
    board.flash.masks = {}
    board = Device(ME, board.flash)
    for name in (PEER, THIRD):
        key = keys_of(ME)[(name, ME)]
        for number in (KEY_SHARE, BLINDING):
            if name == THIRD or not attacked:
                board.hear(mailbox(ME, name), held(number, 0, sender=name, key=key))
    sharing = board.machine._standing.sharing
    sharing._member.threshold = 2  # two of three are enough, or the silent one would stop it anyhow
    for _ in range(4000):
        if not board.step():
            break
        if board.take(PEER) and attacked:
            board.hear(mailbox(ME, PEER), key_share())
    return sum(action[0] == "mask" for action in board.done)


# -- shares that were lost


def lost(street, name):
    """A board of the street that has its key and what is retained, and nothing else."""
    flash = street.devices[name].flash.copy()
    for record in list(flash.records):
        if record not in ("roster", "secrets", "active", "key"):
            flash.records.pop(record)
    for round in range(2):
        flash.masks[round] = ONE
    return Device(name, flash)


def retry(devices, times=1):
    for _ in range(times):
        for board in devices.values():
            board.perform(board.machine.retry())
        carry(devices)


def test_a_board_that_lost_its_flash_asks_for_its_shares_and_holds_them_again():
    whole = Street(3)
    whole.deliver()
    devices = dict(whole.devices)
    before = devices[PEER].flash.shares == {}
    devices[PEER] = lost(whole, PEER)
    retry(devices)
    sharing = devices[PEER].machine._standing.sharing
    assert not before and sharing.all_hold(None) and devices[PEER].flash.shares == {}
    assert devices[ME].machine._standing.sharing.all_hold(None)  # the others think that it has what it had
    retry(devices, 2 * ASK_FROM)
    assert devices[PEER].flash.held() == (0b101, {0: 0b101, 1: 0b101})
    for name in (ME, THIRD):
        assert devices[name].machine._standing.sharing.all_hold(None) and devices[
            name
        ].machine._standing.sharing.all_hold(0)
        assert devices[name].flash.shares == whole.devices[name].flash.shares
    seen = []
    for board in devices.values():
        board.sent = []
    for _ in range(RESEND_MOST):
        for board in devices.values():
            board.perform(board.machine.retry())
        carry(devices, lambda topic, payload: seen.append(payload))
    assert seen == []  # and nobody has more to say


def test_who_holds_all_and_who_was_dealt_nothing_yet_asks_for_nothing():
    whole = Street(3)
    whole.deliver()
    seen = []
    for _ in range(RESEND_MOST):
        for board in whole.devices.values():
            board.perform(board.machine.retry())
        carry(whole.devices, lambda topic, payload: seen.append(payload))
    assert seen == []
    board = device()  # nobody has acknowledged: the others may have no keys yet
    board.idle()
    for _ in range(RESEND_MOST):
        board.machine.retry()
        board.idle()
    assert ASK not in {nonce[0] for nonce in nonces(payload for _, payload in board.sent)}


def test_who_asks_is_dealt_to_again_once_in_a_while_and_costs_no_flash():
    board = device()
    board.idle()
    topics = ((PEER, KEY_SHARE, 0), (THIRD, KEY_SHARE, 0), (PEER, BLINDING, 0), (THIRD, BLINDING, 0))

    def acknowledge():
        return [
            "put" in board.hear(mailbox(ME, name), held(number, round, sender=name, key=keys_of(ME)[(name, ME)]))
            for name, number, round in topics
        ]

    assert acknowledge() == [False, True, False, True]
    sharing = board.machine._standing.sharing
    for _ in range(2):
        board.idle()
        board.sent = []
        assert board.hear(mailbox(ME, PEER), ask()) == []
        assert sharing.holders(None) == sharing.holders(0) == 0b101
        board.idle()
        assert nonces(board.take(PEER)) == SHARES and board.take(THIRD) == []
        assert acknowledge() == [False] * 4 and sharing.holders(None) == sharing.holders(0) == 0b111
        for _ in range(5):  # the same letter, replayed
            board.hear(mailbox(ME, PEER), ask())
            board.idle()
        assert sharing.holders(None) == 0b111 and KEY_SHARE not in {nonce[0] for nonce in nonces(board.take(PEER))}
        for _ in range(3 * RESEND_MOST):
            board.machine.retry()
    assert Device(ME, board.flash).machine._standing.sharing.holders(None) == 0b111


# -- mail that is refused


def test_mail_that_is_not_for_this_board_now_is_refused_by_name():
    board = device()
    machine = board.machine
    machine.message(ROSTER, roster(street().names))
    p = machine.member.field.p
    size = machine._standing.sharing.share_bytes
    top = (p).to_bytes(16, "big")
    box = mailbox(ME, PEER)
    changed = bytearray(mail_nonce(KEY_SHARE, 4, 0))
    changed[3] = 1
    not_canonical = b"\xa1\x18\x01" + cbor.encode(bytes(size))
    for reason, topic, raw in (
        ("malformed", box, b"\x00"),
        ("malformed", box, b"\xa0"),
        ("oversized", box, bytes(MAIL_MOST + 1)),
        ("not-in-cohort", mailbox(ME, "meter-x"), key_share()),
        ("not-in-cohort", mailbox(ME, ME), key_share()),
        ("not-in-cohort", mailbox(ME, ""), key_share()),
        ("not-in-cohort", box + "/more", key_share()),
        ("wrong-epoch", box, key_share(epoch=2)),
        ("bad-tag", mailbox(ME, THIRD), key_share()),  # of another member
        ("bad-tag", box, key_share(receiver=THIRD)),
        ("bad-tag", box, key_share(sender=THIRD)),
        ("bad-tag", box, key_share(key=keys_of(ME)[(ME, PEER)])),  # sent back to its sender
        ("bad-tag", box, key_share(key=bytes(16))),
        ("bad-tag", box, mail("held", messages.share(bytes(size)), 4, nonce=mail_nonce(KEY_SHARE, 4, 0))),
        ("malformed", box, mail("key-share", b"\xa0", 4)),
        ("malformed", box, mail("key-share", messages.share(bytes(size)), 5)),  # a number that is not its kind's
        ("malformed", box, key_share(nonce=bytes(changed))),
        ("malformed", box, key_share(nonce=mail_nonce(0, 0, 0))),
        ("malformed", box, key_share(nonce=mail_nonce(11, 11, 0))),
        ("malformed", box, key_share(round=BATCH)),
        ("malformed", box, key_share(nonce=mail_nonce(KEY_SHARE, 4, 1))),
        ("malformed", box, key_share(size - 1)),
        ("malformed", box, key_share(size + 1)),
        ("malformed", box, key_share(0)),
        ("malformed", box, mail("key-share", not_canonical, 4)),
        ("malformed", box, blind_share(0, bytes(511))),
        ("malformed", box, blind_share(0, bytes(528))),
        ("malformed", box, blind_share(0, top + bytes(496))),
        ("malformed", box, blind_share(0, bytes(496) + b"\xff" * 16)),
        ("malformed", box, mail("blinding", messages.share(bytes(512)), 5, 1)),  # in the middle of a batch
        ("malformed", box, mail("blinding", messages.share(bytes(512)), 5, BATCH - 1)),
        ("wrong-batch", box, blind_share(BATCHES_AHEAD + 1)),
        ("wrong-batch", box, blind_share(0x7FFFFFF)),
        ("malformed", box, mail("held", messages.share(b""), 4)),
        ("malformed", box, ask(payload=messages.share(b""))),
        ("malformed", box, ask(round=BATCH)),
        ("malformed", box, ask(nonce=mail_nonce(ASK, KEY_SHARE, 0))),
        ("malformed", box, held(HELD)),
        ("malformed", box, held(ASK)),
        ("malformed", box, held(0)),
        ("malformed", box, held(KEY_SHARE, BATCH)),
        ("malformed", box, held(BLINDING, 1)),
    ):
        refuses(machine, reason, machine.message, topic, raw)
    assert board.hear(box, blind_share(0, (p - 1).to_bytes(16, "big") * BATCH)) == ["hold", "publish"]
    assert board.hear(box, key_share()) == ["hold", "publish"]


def test_damaged_mail_changes_nothing():
    board = device()
    good = blind_share()
    for at in range(0, len(good), 7):
        damaged = bytearray(good)
        damaged[at] ^= 1 << at % 8
        count = sum(board.machine.refused.values())
        assert board.hear(mailbox(ME, PEER), bytes(damaged)) == []
        assert sum(board.machine.refused.values()) == count + 1
    assert board.flash.shares == {} and board.sent == []


def test_mail_of_an_earlier_epoch_does_not_open_in_a_later_one():
    """The keys of the mail are of one roster: what was recorded is of no use, even with another
    epoch on it."""
    board = device()
    signed = roster(street().names, epoch=2)
    records = board.flash.records
    set_digest = set_digest_of(active(signed, 0b111))
    records["roster"] = signed
    records["secrets"] = digest_of(signed) + records["secrets"][32:]
    records["active"] = set_digest + (2).to_bytes(4, "big") + records["active"][36:]
    records["key"] = set_digest + bytes(16) + records["key"][48:577] + bytes(96)
    later = Device(ME, board.flash)
    assert later.machine.epoch == 2 and later.machine.progress()[0] == "shares"
    refuses(later.machine, "wrong-epoch", later.machine.message, mailbox(ME, PEER), key_share())
    refuses(later.machine, "bad-tag", later.machine.message, mailbox(ME, PEER), key_share(epoch=2))


def test_mail_of_an_earlier_set_does_not_open_in_a_later_one():
    """Its keys are of one set, and so is its header: neither what was recorded nor the same under
    the next number is of use; and shares are others."""
    before = device()
    before.idle()
    board = entered(device(), street().number + 1)
    board.idle()
    recorded, made = before.take(PEER), board.take(PEER)
    assert nonces(recorded) == nonces(made) == SHARES and not set(recorded) & set(made)
    for raw in (key_share(), blind_share(), held(), recorded[0]):
        refuses(board.machine, "other-active", board.machine.message, mailbox(ME, PEER), raw)
    for raw in (key_share(set_number=street().number + 1), held(set_number=street().number + 1)):
        refuses(board.machine, "bad-tag", board.machine.message, mailbox(ME, PEER), raw)
    assert board.flash.shares == {}
