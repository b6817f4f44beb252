"""Active sets at a board: what it checks before it takes one up, in which order; that nothing of one
set is of use in another; and that a power cut at any write leaves it in the one or in the other."""

from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import cohorts, masks, zero_sum
from agent.protocols.base.policy import Policy
from agent.protocols.private_sum import active_sets as part
from agent.protocols.private_sum import entering, mail
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import StoreError
from agent.wire import active_sets, cbor, topics
from agent.wire.envelope import Context, Envelope
from tests.support.street_of_boards import (
    CHOSEN,
    NUMBER,
    ROLL,
    ROSTER,
    ROUND,
    SCOPE,
    Device,
    Flash,
    Street,
    active,
    mailbox,
    private,
    refuses,
    roster,
    set_digest_of,
)

ME = "meter-a"
TOPIC = topics.active(SCOPE[0], SCOPE[1], 0)
ALL = 0b1111
WITHOUT_D = 0b0111
_made = {}


def street():
    """Four boards, of whom three recover, that have dealt all under the set NUMBER."""
    if "street" not in _made:
        _made["street"] = Street(4)
        _made["street"].deliver()
    return _made["street"]


def moved():
    """The same boards, without what they dealt, under the set with the next number."""
    if "moved" not in _made:
        _made["moved"] = Street(4)
        _made["moved"].enter(NUMBER + 1)
    return _made["moved"]


def board(policy=None, name=ME):
    """One of them, switched on again."""
    return Device(name, street().devices[name].flash.copy(), policy, 2)


def proposed(members=ALL, number=NUMBER + 1, **changes):
    return active(street().signed, members, number, **changes)


def enter(device, signed):
    """Let a board take up a set, up to its keys."""
    device.hear(TOPIC, signed)
    while device.machine.member.set_digest != set_digest_of(signed) or not device.machine._standing.sharing:
        assert device.step(), device.machine.refused
    return device


def passed(device, minutes):
    for _ in range(minutes):
        device.machine.passed()


# -- what is checked, and in which order


def test_a_board_says_that_it_is_here_and_enters_the_set_that_names_it():
    device = board()
    device.perform(device.machine.link_up())
    (said,) = device.take("here")
    secret_of = Context(SCOPE[0], "here", SCOPE[1], 1, 0, ME, topics.COORDINATOR)
    key = device.flash.records["secrets"][32:48]
    parsed = Envelope(said)
    assert parsed.nonce == b"\x09" + NUMBER.to_bytes(4, "big") + bytes(8) and parsed.number == 0
    assert active_sets.read_here(parsed.open(key, secret_of)) == NUMBER
    signed = proposed(WITHOUT_D)
    enter(device, signed)
    member = device.machine.member
    assert (member.number, member.active, member.cohort) == (NUMBER + 1, WITHOUT_D, [0, 1, 2])
    assert member.threshold == 3
    (again,) = device.take("here")
    assert active_sets.read_here(Envelope(again).open(key, secret_of)) == NUMBER + 1
    assert device.machine.refused == {}


def test_sets_that_are_not_for_this_board_are_refused_and_it_stays_where_it_is():
    device = board()
    machine = device.machine
    payload = active_sets.active(street().digest, 0, ALL)
    other = roster(street().names, slots=[("power", 0, 1)])
    cases = [
        ("oversized", bytes(entering.ACTIVE_MOST + 1)),
        ("malformed", b"\x00"),
        ("malformed", payload),
        ("malformed", proposed(0)),
        ("wrong-epoch", proposed(epoch=2)),
        ("other-roster", active(other, ALL, NUMBER + 1)),
        ("wrong-unit", proposed(unit=1)),
        ("stale-active", proposed(WITHOUT_D, NUMBER)),
        ("stale-active", proposed(ALL, NUMBER - 1)),
        ("stale-active", proposed(ALL, 0)),
        ("unknown-member", proposed(0b11111)),
        ("unknown-member", proposed(1 << 63 | ALL)),
        ("not-active", proposed(0b1110)),
        ("too-few", proposed(0b0011)),
        # The order of the checks.
        ("wrong-epoch", active(other, ALL, NUMBER + 1, epoch=2)),
        ("other-roster", active(other, ALL, NUMBER + 1, unit=1)),
        ("wrong-unit", proposed(0b10000, unit=1)),
        ("stale-active", proposed(0b10010, NUMBER)),
        ("unknown-member", proposed(0b10010)),
    ]
    for reason, raw in cases:
        refuses(machine, reason, machine.message, TOPIC, raw)
    before = dict(machine.refused)
    device.hear(TOPIC, street().signed_sets[0])  # that in force, again
    device.hear(TOPIC, b"")
    device.hear(topics.active(SCOPE[0], SCOPE[1], 3), proposed())  # another unit's
    assert machine.refused == before and machine.member.number == NUMBER


def test_a_set_that_the_coordinator_has_not_signed_is_refused_before_anything_is_changed():
    device = board()
    flash = dict(device.flash.records)
    device.hear(TOPIC, proposed(signer="authority"))
    device.idle()
    assert device.machine.refused == {"bad-signature": 1} and device.machine.member.number == NUMBER
    assert device.flash.records == flash
    enter(device, proposed())  # the control


def test_a_forged_set_does_not_keep_a_board_from_the_genuine_one():
    genuine = proposed(WITHOUT_D, NUMBER + 2)
    forged = [proposed(ALL, NUMBER + 3, signer="stranger"), genuine[:-1] + bytes([genuine[-1] ^ 1])]
    forged.append(proposed(ALL, NUMBER + 2, signer="stranger"))
    for at in range(4):
        device = board()
        for signed in forged[:at] + [genuine] + forged[at:]:
            device.hear(TOPIC, signed)
        assert len(device.machine._standing.sets.waiting) == 4
        for _ in range(4):
            passed(device, part.TOKEN_MINUTES)
            device.idle()
        assert device.machine.member.set_digest == set_digest_of(genuine)
        assert device.machine._standing.sets.waiting == []
        # Those below the genuine one, or of its number, are not looked at any more.
        assert 1 <= device.machine.refused["bad-signature"] <= 3


def test_what_came_before_the_roster_keeps_no_genuine_set_out():
    for forged in (bytes(100), proposed(ALL, NUMBER + 2, signer="stranger"), bytes(entering.ACTIVE_MOST + 1)):
        device = Device(ME, Flash(), None, 2)
        for signed in (forged, street().signed_sets[0], forged):
            device.hear(TOPIC, signed)
        device.hear(ROSTER, street().signed)
        for _ in range(2):
            device.idle()
        assert device.machine.member.number == NUMBER, device.machine.refused


def test_no_more_than_a_few_sets_wait():
    device = board()
    device.machine._standing.sets.tokens = 0
    for number in range(2, 20):
        device.hear(TOPIC, proposed(ALL, NUMBER + number, signer="stranger"))
    waiting = device.machine._standing.sets.waiting
    assert [number - NUMBER for number, _ in waiting] == [19, 18, 17, 16]


def test_a_policy_may_ask_for_more_in_a_set():
    device = board(Policy(4, 4))
    refuses(device.machine, "too-few", device.machine.message, TOPIC, proposed(WITHOUT_D))
    enter(device, proposed(ALL, NUMBER + 2))


def test_in_a_round_a_set_waits_until_it_is_over():
    device = board()
    device.hear(ROUND, street().opening(0))
    device.hear(TOPIC, proposed())
    device.idle()
    assert device.machine.refused == {"too-soon": 1} and device.machine.member.number == NUMBER
    device.hear(ROLL, b"")
    device.idle()
    assert device.machine.member.number == NUMBER + 1


def works(device):
    """Let a board do its idle work, but for masks."""
    while not device.machine._own.workspace and device.step():
        continue
    device.machine.rest()


def test_sets_cost_tokens_and_the_highest_that_came_is_taken_up_with_the_next():
    device = board()
    for number in range(1, part.TOKENS_MOST + 1):
        enter(device, proposed(ALL, NUMBER + number))
    at = NUMBER + part.TOKENS_MOST
    device.hear(TOPIC, proposed(ALL, at + 7))
    device.hear(TOPIC, proposed(ALL, at + 3))
    works(device)
    assert device.machine.member.number == at and device.machine.refused == {"too-soon": 2}
    passed(device, part.TOKEN_MINUTES - 1)
    works(device)
    assert device.machine.member.number == at
    passed(device, 1)
    works(device)
    assert device.machine.member.number == at + 7
    # A day later there are no more than the bucket holds.
    passed(device, 1440)
    for number in range(1, part.TOKENS_MOST + 2):
        device.hear(TOPIC, proposed(ALL, at + 7 + number))
        works(device)
    assert device.machine.member.number == at + 7 + part.TOKENS_MOST


def without_tokens():
    """A board that has spent its tokens, in the set NUMBER + TOKENS_MOST."""
    device = board()
    for number in range(1, part.TOKENS_MOST + 1):
        enter(device, proposed(ALL, NUMBER + number))
    return device


def test_a_roster_fills_the_bucket_as_the_coordinator_reckons():
    device = without_tokens()
    again = roster(street().names, epoch=2)
    device.hear(ROSTER, again)
    for number in range(1, part.TOKENS_MOST + 1):
        device.hear(TOPIC, active(again, ALL, number))
        works(device)
        assert device.machine.member.number == number, device.machine.refused
    device.hear(TOPIC, active(again, ALL, part.TOKENS_MOST + 1))
    works(device)
    assert device.machine.member.number == part.TOKENS_MOST and device.machine.refused == {"too-soon": 1}


def test_a_set_that_a_later_one_without_this_board_has_superseded_costs_it_nothing():
    device = without_tokens()
    at = NUMBER + part.TOKENS_MOST
    device.hear(TOPIC, proposed(ALL, at + 1))
    device.hear(TOPIC, proposed(0b1110, at + 2))
    passed(device, part.TOKEN_MINUTES)
    works(device)
    assert device.machine.member.number == at and device.machine._standing.sets.waiting == []
    assert device.machine.refused == {"too-soon": 1, "not-active": 1}
    device.hear(TOPIC, proposed(ALL, at + 3))
    works(device)
    assert device.machine.member.number == at + 3


def test_a_forged_set_without_this_board_keeps_it_from_nothing():
    device = without_tokens()
    at = NUMBER + part.TOKENS_MOST
    device.hear(TOPIC, proposed(ALL, at + 1))
    device.hear(TOPIC, proposed(0b1110, at + 2, signer="stranger"))
    for _ in range(2):
        passed(device, part.TOKEN_MINUTES)
        works(device)
    assert device.machine.member.number == at + 1 and device.machine.refused["bad-signature"] == 1


def test_no_more_than_one_check_of_a_superseded_set_is_free_in_a_quarter_of_an_hour():
    device = board()
    for number in range(1, 40):
        device.hear(TOPIC, proposed(ALL, NUMBER + 2 * number))
        device.hear(TOPIC, proposed(0b1110, NUMBER + 2 * number + 1))
        works(device)
    sets = device.machine._standing.sets
    assert device.machine.member.number == NUMBER and sets.tokens == 0 and len(sets.waiting) == part.WAITING_MOST
    assert device.machine.refused["too-soon"] == 40 - 1 - 1 - part.TOKENS_MOST


# -- replays


def test_an_old_set_is_refused_also_after_a_reboot_and_in_a_new_epoch():
    old = street().signed_sets[0]
    device = enter(board(), proposed())
    refuses(device.machine, "stale-active", device.machine.message, TOPIC, old)
    again = Device(ME, device.flash.copy(), None, 2)
    assert again.machine.member.number == NUMBER + 1
    refuses(again.machine, "stale-active", again.machine.message, TOPIC, old)
    again.hear(ROSTER, roster(street().names, epoch=2))
    again.idle()
    assert again.machine.member.number == 0
    refuses(again.machine, "wrong-epoch", again.machine.message, TOPIC, old)
    refuses(again.machine, "wrong-epoch", again.machine.message, TOPIC, proposed(ALL, NUMBER + 9))


def test_letters_of_another_set_are_refused():
    device, peer = enter(board(), proposed()), board(name="meter-b")
    peer.machine._standing.sharing.restart()
    for kind in (mail.KEY_SHARE, mail.BLINDING, mail.HELD, mail.VOUCH):
        _, topic, raw, _, _ = mail.letter(peer.machine.member, 0, kind, kind, 0, b"")
        assert topic == mailbox(ME, "meter-b")
        refuses(device.machine, "other-active", device.machine.message, topic, raw)
    enter(peer, proposed())
    _, topic, raw, _, _ = mail.letter(peer.machine.member, 0, mail.VOUCH, mail.VOUCH, 0, b"")
    refuses(device.machine, "not-audited", device.machine.message, topic, raw)  # the control: it opens


def test_a_round_spent_under_one_set_is_not_opened_or_answered_under_the_next():
    device = board()
    device.hear(ROUND, street().opening(0))
    device.hear(ROLL, b"")
    assert device.flash.mark == (1, 0)
    control = Device(ME, device.flash.copy(), None, 2)
    control.hear(ROUND, street().opening(0))  # it has contributed to it
    control.hear(ROLL, street().roll(0, street().names))
    assert "answer" in control.idle()
    enter(device, proposed())
    refuses(device.machine, "replayed", device.machine.message, ROUND, moved().opening(0))
    refuses(device.machine, "not-contributed", device.machine.message, ROLL, moved().roll(0, moved().names))
    refuses(device.machine, "other-active", device.machine.message, ROUND, street().opening(1))
    refuses(device.machine, "other-active", device.machine.message, ROLL, street().roll(0, street().names))
    again = Device(ME, device.flash.copy(), None, 2)
    refuses(again.machine, "not-contributed", again.machine.message, ROLL, moved().roll(0, moved().names))


def test_a_roll_call_with_a_member_outside_the_set_is_refused():
    left = Street(4, left_out=("meter-d",))
    left.deliver()
    device = left.devices[ME]
    device.hear(ROUND, left.opening(0))
    refuses(device.machine, "not-active", device.machine.message, ROLL, left.roll(0, left.names))
    device.hear(ROLL, left.roll(0, left.names[:3]))  # the control
    assert "answer" in device.idle()


# -- nothing of one set is of use in another


def test_keys_seeds_and_bases_are_of_one_set():
    one, other = board(), enter(board(), proposed())
    a, b = one.machine.member, other.machine.member
    assert a.digest == b.digest and a.set_digest != b.set_digest
    for mine, its in (
        (a.round_key, b.round_key),
        (a.opening_key, b.opening_key),
        (a.exponent, b.exponent),
        (a.mail_key(1, True), b.mail_key(1, True)),
        (a.mail_key(1, False), b.mail_key(1, False)),
        (one.machine._standing.sharing.blinding_seed, other.machine._standing.sharing.blinding_seed),
        (one.machine._standing.sharing._key_seed, other.machine._standing.sharing._key_seed),
        (masks.base(CHOSEN, "d", "g", 1, 0, 0, a.set_digest), masks.base(CHOSEN, "d", "g", 1, 0, 0, b.set_digest)),
    ):
        assert mine != its
    # The control: the same set again gives the same keys.
    same = enter(board(), proposed())
    assert same.flash.records["key"] == other.flash.records["key"]


def test_keys_follow_from_the_rosters_secrets_and_the_digest_of_the_set():
    device = enter(board(), proposed(WITHOUT_D))
    member, secrets = device.machine.member, device.flash.records["secrets"][48:]
    total = zero_sum.offset(4, CHOSEN)
    for at, index in enumerate(member.peers()):
        secret, name = secrets[32 * at : 32 * at + 32], member.names[index]
        if index != 3:  # who is not in the set has no key
            total -= zero_sum.pair_key(secret, member.set_digest, ME, name, CHOSEN)
            info = cbor.encode(["hum/v1/mail", ME, name])
            assert member.mail_key(index, True) == hkdf_sha256(secret, member.set_digest, info, 16)
    total += zero_sum.pair_key(secrets[-32:], member.set_digest, ME, "coordinator", CHOSEN)
    assert int.from_bytes(member.exponent, "big") == total
    label = cbor.encode(["hum/v1/blinding"])
    assert device.machine._standing.sharing.blinding_seed == hkdf_sha256(private(ME), member.set_digest, label, 32)


def test_two_words_of_readiness_have_two_nonces():
    device = board()
    seen = []
    device.perform(device.machine.link_up())
    seen += device.take("ready")
    device.machine._standing.sharing._held[None] &= ~2  # it has lost a share
    device.perform(device.machine.link_up())
    seen += device.take("ready")
    nonces = {Envelope(raw).nonce for raw in seen}
    assert len(nonces) == len(set(seen)) > 1


# -- durable, or not at all


def test_a_set_that_the_flash_does_not_take_is_not_entered_and_no_round_is_taken_part_in():
    device = board()
    stock = device.flash.stock(1)
    device.failing = ("enter",)
    device.hear(TOPIC, proposed())
    device.idle()
    assert device.machine.refused == {"flash": 1} and device.machine.member.number == NUMBER
    assert device.flash.stock(1) == stock != []
    refuses(device.machine, "not-ready", device.machine.message, ROUND, street().opening(0))
    device.failing = ()
    device.perform(device.machine.retry())
    device.idle()
    assert device.machine.member.number == NUMBER + 1


def test_a_power_cut_at_every_write_leaves_a_board_in_one_set_without_anything_of_another():
    cuts = {}
    for when in ("fail", "fail_late"):  # before the write, or just after it
        at = 0
        while cut(when, at):
            at += 1
        cuts[when] = at
    assert cuts["fail"] >= 8 and cuts["fail_late"] >= 3, cuts  # the set, masks, shares, keys ...


def cut(when, at):
    """Cut the power at the write number `at` of entering a set; return whether there was one."""
    device = board()
    left = [at]

    def fail():
        left[0] -= 1
        if left[0] < 0:
            raise StoreError("power")

    setattr(device.flash.store, when, fail)
    device.hear(TOPIC, proposed(WITHOUT_D))
    while left[0] >= 0 and not device.machine.masks() - (device.machine.member.number == NUMBER) * 2:
        assert device.step()
    setattr(device.flash.store, when, lambda: None)
    one_set_only(Device(ME, device.flash.copy(), None, 2))
    return left[0] < 0


def one_set_only(device):
    """The board is in one of the two sets, and what it has is of this one."""
    member, records = device.machine.member, device.flash.records
    assert member.number in (NUMBER, NUMBER + 1) and device.machine.refused == {}
    name = member.set_digest[:8].hex()
    for record in records:
        if record[:5] in ("mask-", "share", "blind"):
            assert record.split("-")[1] == name
    if member.number == NUMBER:
        assert records["key"][:32] == member.set_digest and device.flash.stock(1) == [0, 1]
    else:
        assert device.machine._own.stock == device.flash.stock(1)
        assert not member.round_key or records["key"][:32] == member.set_digest
        assert not member.round_key or device.machine._standing.sharing.holders(None) == 1  # nobody has acknowledged
    enter(device, proposed(ALL, NUMBER + 5))


def test_what_another_set_has_left_on_the_flash_counts_as_absent():
    device = board()
    other = enter(board(), proposed())
    store = device.flash.store
    assert device.flash.stock(1) and device.flash.held() != (0, {})
    store.records["active"] = other.flash.records["active"]
    masks_of, shares_of = MaskStock(store), ShareStock(store)
    masks_of._set = other.machine.member.set_digest[:8].hex()
    shares_of.use(other.machine.member.set_digest)
    assert masks_of.rounds(1) == [] and masks_of.load(1, 0) is None
    assert shares_of.held() == (0, {}) and shares_of.load(None, 1) is None
    masks_of.use(other.machine.member.set_digest)
    assert store.names("mask-") == store.names("share-") == store.names("blind-") == []


def test_old_masks_that_the_flash_does_not_let_go_of_keep_no_old_share_in_use():
    device = board()
    store, failures = device.flash.store, [1]

    def fail_once():
        if device.flash.records["active"][:32] != street().set_of(ME) and failures:
            failures.pop()
            raise StoreError("delete")

    store.fail = fail_once
    enter(device, proposed())
    assert failures == [] and device.machine.refused == {"flash": 1}
    assert device.effects.shares.held() == (0, {}) and device.effects.shares.load(None, 1) is None
    assert device.effects.masks.rounds(1) == []
    refuses(device.machine, "other-active", device.machine.message, ROUND, street().opening(0))


def test_who_lost_only_its_keys_derives_them_and_holds_what_it_held():
    device = board()
    before = device.machine._standing.sharing
    key = device.flash.records.pop("key")
    again = Device(ME, device.flash.copy(), None, 2)
    again.idle()
    after = again.machine._standing.sharing
    assert after.holds(None) == before.holds(None) == ALL and after.holders(None) == before.holders(None) == ALL
    assert again.flash.records["key"] == key


# -- which round comes next


def coming(device, round, key=None, epoch=1):
    member = device.machine.member
    context = Context(SCOPE[0], "coming", SCOPE[1], epoch, round, topics.COORDINATOR, ME, member.number)
    return active_sets.coming(epoch, round, active_sets.coming_tag(key or member.opening_key, context))


def test_who_comes_back_skips_the_rounds_that_are_over():
    device = board()
    topic = mailbox(ME, topics.COORDINATOR)
    device.hear(topic, coming(device, 40))
    assert device.machine._own.opened == 39 and device.machine.masks() == 0
    device.hear(topic, coming(device, 7))  # it is no way back
    assert device.machine._own.opened == 39
    for reason, raw in (
        ("bad-tag", coming(device, 50, bytes(16))),
        ("wrong-epoch", coming(device, 50, epoch=2)),
        ("malformed", b"\xa0"),
        ("malformed", b"\x00"),
    ):
        refuses(device.machine, reason, device.machine.message, topic, raw)


def test_neighbours_on_the_ring_are_active_members_only():
    names = ["meter-%02d" % index for index in range(64)]
    digest = bytes(range(32))
    everybody = (1 << 64) - 1
    order = cohorts._order(names, digest)
    # Who sits around member `own` on the roster's ring is left out: 20 inactive, of whom with 14
    # colluders 34 would cut it off if they were its neighbours still.
    own = order[30]
    gone = sum([1 << order[at] for at in range(20, 41) if at != 30])
    near = cohorts.neighbours(own, names, digest, 64, cohorts.SEAL_FLEET, everybody & ~gone)
    assert len(near) == 34 and not sum([gone >> index & 1 for index in near])
    before = cohorts.neighbours(own, names, digest, 64, cohorts.SEAL_FLEET, everybody)
    assert sum([gone >> index & 1 for index in before]) == 20  # the control
