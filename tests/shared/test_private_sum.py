"""The board's machine of a private sum, on both interpreters: what it does, what it refuses and under which name."""

import json
import random
from hashlib import sha256

from expect import raises

from agent.joye_libert import masks, pairs, parameters, zero_sum
from agent.protocols import UnknownProtocol, load
from agent.protocols.private_sum import PrivateSum, nonce
from agent.protocols.provision import Provision
from agent.wire import coordination, envelope, messages, topics
from agent.wire.envelope import Context, Envelope


def vectors(name):
    with open("tests/vectors/%s.json" % name) as file:
        return json.load(file)


GROUP = vectors("group")
KEYS = vectors("keys")["members"]
READY = vectors("keys")["ready"]
ROUNDS = [vectors("round-0"), vectors("round-1")]
PLACE = ("test-street", "north")
ME = "meter-a"
SLOTS = [("power", -20000, 20000), ("energy", 0, 1000000)]
SIGNED = bytes.fromhex(GROUP["signed_roster"])
DIGEST = bytes.fromhex(GROUP["roster_digest"])
ROSTER, ROUND, MAIL = [topics.group(PLACE[0], PLACE[1], kind) for kind in ("roster", "round")] + [
    topics.mail(PLACE[0], PLACE[1], ME, topics.COORDINATOR)
]
UP = topics.up(PLACE[0], PLACE[1], ME, "contribution")
VALUES = [1450, 31000]


def private(name):
    return bytes.fromhex(GROUP["identities"][name]["private"])


def public(name):
    return bytes.fromhex(GROUP["identities"][name]["public"])


MEMBERS = [(name, public(name)) for name in ("meter-a", "meter-b", "meter-c")]
ROUND_KEY = bytes.fromhex(KEYS[ME]["round_key"])
OPENING_KEY = bytes.fromhex(KEYS[ME]["opening_key"])
KEY_RECORD = DIGEST + ROUND_KEY + OPENING_KEY + bytes.fromhex(KEYS[ME]["exponent"])
SHORT_KEY = KEY_RECORD[:64] + (5).to_bytes(513, "big")  # an exponent whose masks take a moment


def mask_of(number):
    """The vectors' mask of this board, as the board keeps it."""
    n = parameters.load("hum-2048").n
    mask = int(ROUNDS[number]["members"][ME]["mask"], 16)
    return pairs.to_bytes(mask % n, mask // n, 256)


def new_machine(members_least=3):
    place = Provision(PLACE[0], PLACE[1], ME, private(ME), public(ME), public("authority"), members_least, 2)
    return PrivateSum(place)


def ready_machine(key=KEY_RECORD, stock=(0, 1), high_water=(0, 0), pending=None):
    machine = new_machine()
    assert machine.restore(SIGNED, key, lambda epoch: list(stock) if epoch == 1 else [], high_water, pending) == []
    assert machine.refused == {} and machine.epoch == 1
    return machine


def state(machine):
    """All that a machine knows, but for its counts of refusals."""
    known = {}
    for name in dir(machine):
        value = getattr(machine, name)
        if not name.startswith("__") and name not in ("refused", "provision") and not callable(value):
            known[name] = list(value) if isinstance(value, list) else value
    assert "_stock" in known and "pending" in known
    return known


def refuses(machine, reason, event, *arguments):
    """The event gives no action, changes nothing, and counts one refusal under its name."""
    before, counted = state(machine), dict(machine.refused)
    assert event(*arguments) == []
    assert state(machine) == before, reason
    counted[reason] = counted.get(reason, 0) + 1
    assert machine.refused == counted, (reason, machine.refused)


def run_idle(machine):
    """Do all idle work; return the actions."""
    actions = []
    while True:
        more = machine.idle()
        if more is None:
            return actions
        actions += more


def roster(
    epoch=1,
    signer="authority",
    round=0,
    kind="roster",
    place=PLACE,
    members=None,
    slots=None,
    names=("private-sum", "hum-2048"),
):
    payload = messages.Roster(names[0], names[1], slots or SLOTS, public("coordinator"), members or MEMBERS).encode()
    return envelope.sign(private(signer), Context(place[0], kind, place[1], epoch, round, "authority", ""), payload)


def opening(round, epoch=1, digest=DIGEST, key=OPENING_KEY, receiver=ME, own=True):
    """An opening whose tag is for this board, as the first of three, or for another place."""
    context = Context(PLACE[0], "round", PLACE[1], epoch, round, topics.COORDINATOR, receiver)
    tag = envelope.opening_tag(key, context, digest)
    tags = [tag, bytes(16), bytes(16)] if own else [bytes(16), tag, bytes(16)]
    return coordination.opening(epoch, round, digest, tags)


def receipt(sent, round=0, epoch=1, signer="coordinator", device=ME, kind="receipt"):
    context = Context(PLACE[0], kind, PLACE[1], epoch, round, topics.COORDINATOR, device)
    return envelope.sign(private(signer), context, coordination.receipt(sha256(sent).digest()))


def contribute(machine, round=0, values=VALUES):
    """Open a round and go as far as spent(); return the envelope."""
    assert machine.message(ROUND, opening(round)) == [("take", 1, round)]
    actions = machine.taken(1, round, mask_of(round), values)
    assert len(actions) == 1 and actions[0][:3] == ("spend", 1, round)
    sent = actions[0][3]
    assert machine.spent(1, round, sent) == [("publish", UP, sent, 1, False)]
    return sent


# -- as it should be


def test_the_published_round_is_reproduced_from_roster_to_receipts():
    machine = new_machine()
    assert machine.subscriptions() == [ROSTER, ROUND, MAIL]
    assert machine.progress() == ("waiting", 0, 0) and machine.idle() is None
    assert machine.message(ROSTER, SIGNED) == [("put", "roster", SIGNED), ("drop", 1, 1)]
    actions = []
    while not actions:
        assert machine.progress()[0] == "keys"
        actions = machine.idle()
    assert actions == [("put", "key", KEY_RECORD)]
    machine = ready_machine()
    assert machine.progress() == ("ready", 2, 2)
    ready = ("publish", topics.up(PLACE[0], PLACE[1], ME, "ready"), bytes.fromhex(READY[ME]), 1, True)
    assert machine.link_up() == [ready]
    for number in (0, 1):
        published = ROUNDS[number]
        assert machine.message(ROUND, bytes.fromhex(published["opening"])) == [("take", 1, number)]
        sent = bytes.fromhex(published["members"][ME]["contribution"])
        actions = machine.taken(1, number, mask_of(number), published["members"][ME]["reading"])
        assert actions == [("spend", 1, number, sent)]
        assert machine.spent(1, number, sent) == [("publish", UP, sent, 1, False)]
        assert machine.message(ROUND, b"") == []
        assert machine.message(MAIL, bytes.fromhex(published["members"][ME]["receipt"])) == []
        while machine.pending:
            actions = machine.idle()
        assert actions == [("settle", 1, number)]
    assert machine.refused == {}


def test_the_machine_is_found_by_its_name_only():
    assert load("private-sum") is PrivateSum
    for name in ("", "private_sum", "..", None):
        raises(UnknownProtocol, load, name)


def test_nonces_name_kind_and_round():
    assert nonce(1, 0) == b"\x01" + bytes(12) and nonce(2, 0x01020304) == b"\x02" + bytes(8) + b"\x01\x02\x03\x04"


def test_masks_are_made_one_after_the_other_until_the_stock_is_full_and_then_announced():
    machine = ready_machine(SHORT_KEY, ())
    assert machine.progress() == ("masks", 0, 2)
    actions = run_idle(machine)
    assert [action[:3] for action in actions[:2]] == [("mask", 1, 0), ("mask", 1, 1)]
    n = parameters.load("hum-2048").n
    for action in actions[:2]:
        x0, x1 = masks.base(parameters.load("hum-2048"), PLACE[0], PLACE[1], 1, action[2], 0)
        power = pow(x0 + n * x1, 5, n * n)
        assert action[3] == pairs.to_bytes(power % n, power // n, 256)
    assert len(actions) == 3 and actions[2][2] == bytes.fromhex(READY[ME])
    assert machine.progress() == ("ready", 2, 2) and machine.masks() == 2


def test_no_idle_work_while_a_round_is_open():
    machine = ready_machine(SHORT_KEY, (0,))
    machine.message(ROUND, opening(0))
    assert machine.idle() is None
    machine.message(ROUND, b"")
    assert machine.idle() == []
    machine.message(ROUND, opening(0))
    assert machine.idle() is None
    machine.retry()
    assert machine.idle() == []


# -- rosters


def test_rosters_that_are_not_ours_or_not_right_are_refused():
    machine = new_machine()
    stranger = [MEMBERS[0], ("meter-b", public("coordinator")), MEMBERS[2]]
    wide = [("s%02d" % i, -(1 << 48), 1 << 48) for i in range(48)]
    foreign = envelope.sign(private("authority"), Context(PLACE[0], "roster", PLACE[1], 1, 0, "authority", ""), b"\xa0")
    sealed = envelope.seal(bytes(16), bytes(13), Context(PLACE[0], "roster", PLACE[1], 1, 0, "authority", ""), b"hi")
    for reason, raw in (
        ("malformed", b""),
        ("malformed", b"\xff"),
        ("malformed", SIGNED[:-1]),
        ("malformed", foreign),
        ("oversized", bytes(8193)),
        ("oversized", SIGNED + bytes(8192)),
        ("stale-roster", roster(epoch=0)),
        ("stale-roster", roster(round=1)),
        ("bad-signature", roster(signer="coordinator")),
        ("bad-signature", roster(signer=ME)),
        ("bad-signature", roster(kind="result")),
        ("bad-signature", roster(place=("test-street", "south"))),
        ("bad-signature", roster(place=("other-street", "north"))),
        ("bad-signature", SIGNED[:-1] + bytes([SIGNED[-1] ^ 1])),
        ("bad-signature", sealed),
        ("not-a-member", roster(members=MEMBERS[1:])),
        ("not-a-member", roster(members=[(ME, public("meter-b"))] + MEMBERS[1:])),
        ("group-too-small", roster(members=MEMBERS[:2])),
        ("unknown-protocol", roster(names=("public-sum", "hum-2048"))),
        ("unknown-parameters", roster(names=("private-sum", "paper-1024"))),
        ("unknown-parameters", roster(names=("private-sum", "hum-512"))),
        ("slots-too-wide", roster(slots=wide)),
    ):
        refuses(machine, reason, machine.message, ROSTER, raw)
    assert machine.message(ROSTER, roster(members=stranger))[0][0] == "put"


def test_a_board_in_a_larger_group_than_its_policy_asks_for_joins():
    machine = new_machine(4)
    refuses(machine, "group-too-small", machine.message, ROSTER, SIGNED)
    machine = new_machine(2)
    assert machine.message(ROSTER, roster(members=MEMBERS[:2]))[0][0] == "put"


def test_an_epoch_is_never_taken_up_twice_nor_after_a_later_one():
    machine = ready_machine()
    before = state(machine)
    assert machine.message(ROSTER, SIGNED) == [] and machine.refused == {} and state(machine) == before
    refuses(machine, "stale-roster", machine.message, ROSTER, roster(slots=[("power", 0, 1)]))
    assert machine.message(ROSTER, roster(epoch=3)) == [("put", "roster", roster(epoch=3)), ("drop", 3, 1)]
    refuses(machine, "stale-roster", machine.message, ROSTER, roster(epoch=2))
    refuses(machine, "stale-roster", machine.message, ROSTER, SIGNED)


def test_an_epoch_before_the_last_burnt_round_is_refused_even_if_the_roster_was_lost():
    machine = new_machine()
    machine.restore(None, None, lambda epoch: [], (2, 7), None)
    refuses(machine, "stale-roster", machine.message, ROSTER, SIGNED)
    assert machine.message(ROSTER, roster(epoch=2))[0][0] == "put"


def test_a_new_epoch_forgets_keys_masks_and_openings():
    machine = ready_machine()
    sent = contribute(machine)
    machine.message(ROSTER, roster(epoch=2))
    assert machine.epoch == 2 and machine.progress() == ("keys", 0, 3) and machine.masks() == 0
    refuses(machine, "wrong-epoch", machine.message, ROUND, opening(1))
    later = envelope.Envelope(roster(epoch=2)).digest(Context(PLACE[0], "roster", PLACE[1], 2, 0, "authority", ""))
    refuses(machine, "not-ready", machine.message, ROUND, opening(0, 2, later))
    refuses(machine, "replayed", machine.taken, 1, 1, mask_of(1), VALUES)
    assert machine.retry() == machine.link_up() == []  # what belongs to the epoch before is not sent again
    assert machine.pending == (1, 0, sent)


def test_what_waits_for_a_receipt_of_the_epoch_before_does_not_stand_in_for_a_round_of_this_one():
    sent = contribute(ready_machine())
    signed = roster(epoch=2)
    digest = Envelope(signed).digest(Context(PLACE[0], "roster", PLACE[1], 2, 0, "authority", ""))
    machine = new_machine()
    machine.restore(signed, digest + KEY_RECORD[32:], lambda epoch: [0, 1], (1, 0), (1, 0, sent))
    assert machine.retry() == []
    assert machine.message(ROUND, opening(0, 2, digest)) == [("take", 2, 0)]


def test_a_member_whose_key_is_no_point_ends_the_epoch():
    machine = new_machine()
    bad = roster(members=[MEMBERS[0], ("meter-b", b"\x04" + bytes(64)), MEMBERS[2]])
    assert machine.message(ROSTER, bad)[0][0] == "put"
    assert run_idle(machine) == []
    assert machine.refused == {"bad-member-key": 1} and machine.progress() == ("waiting", 0, 0)
    refuses(machine, "wrong-epoch", machine.message, ROUND, opening(0))
    assert machine.message(ROSTER, roster(epoch=2))[0][0] == "put"


# -- openings


def test_openings_that_are_not_for_this_board_now_are_refused():
    machine = new_machine()
    refuses(machine, "wrong-epoch", machine.message, ROUND, opening(0))
    machine.message(ROSTER, SIGNED)
    refuses(machine, "not-ready", machine.message, ROUND, opening(0))
    machine = ready_machine(high_water=(1, 4), stock=(5, 6))
    good = opening(5)
    for reason, raw in (
        ("malformed", b"\x00"),
        ("malformed", good[:-1]),
        ("malformed", good + b"\x00"),
        ("malformed", coordination.opening(0, 5, DIGEST, [bytes(16)])),
        ("wrong-epoch", opening(5, epoch=2)),
        ("other-roster", opening(5, digest=bytes(32))),
        ("replayed", opening(4)),
        ("replayed", opening(0)),
        ("bad-tag", opening(5, key=ROUND_KEY)),
        ("bad-tag", opening(5, key=bytes.fromhex(KEYS["meter-b"]["opening_key"]))),
        ("bad-tag", opening(5, receiver="meter-b")),
        ("bad-tag", opening(5, own=False)),
        ("bad-tag", coordination.opening(1, 5, DIGEST, [])),
        ("bad-tag", good.replace(b"\x02\x05\x03", b"\x02\x06\x03")),
    ):
        refuses(machine, reason, machine.message, ROUND, raw)
    assert machine.message(ROUND, good) == [("take", 1, 5)]


def test_each_member_looks_at_the_tag_in_its_own_place_and_at_no_other():
    published = bytes.fromhex(ROUNDS[0]["opening"])
    epoch, round, digest, tags = messages.read_opening(published)
    for i, (name, own) in enumerate(MEMBERS):
        machine = PrivateSum(Provision(PLACE[0], PLACE[1], name, private(name), own, public("authority")))
        keys = DIGEST
        for field in ("round_key", "opening_key", "exponent"):
            keys += bytes.fromhex(KEYS[name][field])
        machine.restore(SIGNED, keys, lambda epoch: [0], (0, 0), None)
        assert machine.message(ROUND, published) == [("take", 1, 0)]
        others = bytes(16 * i) + tags[16 * i : 16 * i + 16] + bytes(32 - 16 * i)
        assert machine.message(ROUND, coordination.opening(epoch, round, digest, [others])) == [("take", 1, 0)]
        without = tags[: 16 * i] + bytes(16) + tags[16 * i + 16 :]
        refuses(machine, "bad-tag", machine.message, ROUND, coordination.opening(epoch, round, digest, [without]))


def test_without_mask_or_reading_or_out_of_range_nothing_is_burnt():
    for reason, mask, values in (
        ("no-mask", None, VALUES),
        ("no-mask", b"", VALUES),
        ("no-mask", mask_of(0)[:-1], VALUES),
        ("no-reading", mask_of(0), None),
        ("out-of-range", mask_of(0), [20001, 0]),
        ("out-of-range", mask_of(0), [0, -1]),
        ("out-of-range", mask_of(0), [0]),
    ):
        machine = ready_machine()
        machine.message(ROUND, opening(0))
        assert machine.taken(1, 0, mask, values) == []
        assert machine.refused == {reason: 1} and machine.pending is None
        contribute(machine)  # the same round is still to be had


def test_a_board_that_missed_rounds_makes_masks_for_those_to_come():
    machine = ready_machine(SHORT_KEY)
    assert machine.message(ROUND, opening(50)) == [("take", 1, 50)]
    assert machine.taken(1, 50, None, VALUES) == [] and machine.refused == {"no-mask": 1}
    assert machine.message(ROUND, opening(20)) == [("take", 1, 20)]  # an old one, replayed: leads no further back
    assert machine.taken(1, 20, None, VALUES) == []
    machine.message(ROUND, b"")
    made = [action[2] for action in run_idle(machine) if action[0] == "mask"]
    assert made == [51, 52]
    assert machine.message(ROUND, opening(51)) == [("take", 1, 51)]


def test_the_last_round_of_all_is_no_accident():
    machine = ready_machine(SHORT_KEY)
    last = 0xFFFFFFFF
    assert machine.message(ROUND, opening(last)) == [("take", 1, last)]
    assert machine.taken(1, last, None, VALUES) == []
    machine.message(ROUND, b"")
    assert run_idle(machine) == []


# -- one ciphertext a round


def test_nothing_is_published_before_the_burn_is_durable():
    machine = ready_machine()
    machine.message(ROUND, opening(0))
    actions = machine.taken(1, 0, mask_of(0), VALUES)
    assert [action[0] for action in actions] == ["spend"]
    assert machine.retry() == []
    assert [action[1].split("/")[-1] for action in machine.link_up()] == ["ready"]
    # The burn failed, say: the round is lost, and never tried again.
    refuses(machine, "replayed", machine.message, ROUND, opening(0))
    refuses(machine, "replayed", machine.taken, 1, 0, mask_of(0), VALUES)


def test_a_round_has_one_ciphertext_however_often_it_is_opened():
    machine = ready_machine()
    assert machine.message(ROUND, opening(0)) == machine.message(ROUND, opening(0)) == [("take", 1, 0)]
    sent = machine.taken(1, 0, mask_of(0), VALUES)[0][3]
    refuses(machine, "replayed", machine.taken, 1, 0, mask_of(0), [7, 7])
    machine.spent(1, 0, sent)
    again = [("publish", UP, sent, 1, False)]
    for _ in range(3):
        assert machine.message(ROUND, opening(0)) == again
        assert machine.retry() == again
        assert machine.link_up()[-1:] == again
    refuses(machine, "replayed", machine.taken, 1, 0, mask_of(0), [7, 7])
    settle(machine, sent)
    refuses(machine, "replayed", machine.message, ROUND, opening(0))
    assert machine.retry() == []


def test_a_contribution_opens_for_the_coordinator_alone_and_says_how_far_masks_reach():
    machine = ready_machine(stock=(0, 1))
    for number, horizon in ((0, 1), (1, 1)):
        parsed = Envelope(contribute(machine, number))
        context = Context(PLACE[0], "contribution", PLACE[1], 1, number, ME, topics.COORDINATOR)
        assert parsed.nonce == nonce(1, number)
        assert coordination.read_contribution(parsed.open(ROUND_KEY, context), 512)[1] == horizon


def test_an_earlier_round_is_not_to_be_had_after_a_later_one():
    machine = ready_machine()
    contribute(machine, 1)
    refuses(machine, "replayed", machine.message, ROUND, opening(0))
    refuses(machine, "replayed", machine.taken, 1, 0, mask_of(0), VALUES)


# -- receipts


def settle(machine, sent, round=0):
    machine.message(ROUND, b"")
    assert machine.message(MAIL, receipt(sent, round)) == []
    assert ("settle", 1, round) in run_idle(machine)
    assert machine.pending is None


def test_receipts_for_nothing_that_waits_are_refused():
    machine = new_machine()
    refuses(machine, "replayed", machine.message, MAIL, receipt(b"x"))
    machine = ready_machine(stock=(0, 1, 2, 3))
    refuses(machine, "replayed", machine.message, MAIL, receipt(b"x"))
    sent = contribute(machine)
    for raw in (receipt(sent, 1), receipt(sent, 0, 2)):
        refuses(machine, "replayed", machine.message, MAIL, raw)
    for raw in (b"", b"\x00", sent[:-1], receipt(sent)[:-1]):
        refuses(machine, "malformed", machine.message, MAIL, raw)
    settle(machine, sent)
    refuses(machine, "replayed", machine.message, MAIL, receipt(sent))


def test_receipts_that_are_wrong_or_forged_settle_nothing():
    machine = ready_machine(stock=(0, 1, 2, 3))
    sent = contribute(machine)
    machine.message(ROUND, b"")
    not_a_receipt = envelope.sign(
        private("coordinator"), Context(PLACE[0], "receipt", PLACE[1], 1, 0, topics.COORDINATOR, ME), b"\xa0"
    )
    for reason, raw in (
        ("wrong-receipt", receipt(sent + b"\x00")),
        ("bad-signature", receipt(sent, signer="authority")),
        ("bad-signature", receipt(sent, signer=ME)),
        ("bad-signature", receipt(sent, device="meter-b")),
        ("bad-signature", receipt(sent, kind="result")),
        ("bad-signature", bytes.fromhex(ROUNDS[0]["members"]["meter-b"]["receipt"])),
        ("bad-signature", sent),  # a sealed envelope of the same round: no signature at all
        ("malformed", not_a_receipt),
    ):
        before, counted = state(machine), machine.refused.get(reason, 0)
        assert machine.message(MAIL, raw) == []
        assert run_idle(machine) == []
        assert machine.refused[reason] == counted + 1 and state(machine) == before, reason
        assert machine.retry() == [("publish", UP, sent, 1, False)]
    settle(machine, sent)


def test_a_receipt_under_check_does_not_hold_back_the_next_rounds_contribution():
    machine = ready_machine(SHORT_KEY)
    first = contribute(machine)
    machine.message(MAIL, receipt(first))
    second = contribute(machine, 1)
    assert machine.pending == (1, 1, second)
    assert machine.retry() == [("publish", UP, second, 1, False)]
    settle(machine, second, 1)
    assert machine.refused == {}


# -- flash


def test_records_restore_the_state_that_they_were_put_in():
    live = ready_machine(SHORT_KEY, (0, 1, 2))
    sent = contribute(live)
    live.message(ROUND, b"")
    again = ready_machine(SHORT_KEY, (1, 2), (1, 0), (1, 0, sent))
    assert live.link_up() == again.link_up()
    forget = ("roster", "_packing", "_parameters", "_workspace", "_opened", "_making", "_refilling")
    one, other = state(live), state(again)
    for name in one:
        assert name in forget or one[name] == other[name], name
    for machine in (live, again):
        refuses(machine, "replayed", machine.taken, 1, 0, mask_of(0), VALUES)
        assert machine.message(ROUND, opening(0)) == [("publish", UP, sent, 1, False)]
        settle(machine, sent)
        assert machine.message(ROUND, opening(1)) == [("take", 1, 1)]


def test_a_key_record_that_is_lost_damaged_or_of_another_roster_is_made_again():
    for record in (None, b"", KEY_RECORD[:-1], KEY_RECORD + b"\x00", bytes(32) + KEY_RECORD[32:]):
        machine = ready_machine(record)
        assert machine.progress() == ("keys", 0, 3)
        refuses(machine, "not-ready", machine.message, ROUND, opening(0))
        assert machine.link_up() == machine.retry() == []
    actions = run_idle(machine)
    assert actions[0] == ("put", "key", KEY_RECORD)
    assert actions[1][2] == bytes.fromhex(READY[ME]) and len(actions) == 2


def test_a_damaged_roster_record_is_refused_and_the_next_roster_taken():
    machine = new_machine()
    assert machine.restore(SIGNED[:-1] + b"\x00", KEY_RECORD, lambda epoch: [0], (0, 0), None) == []
    assert machine.refused == {"bad-signature": 1} and machine.progress() == ("waiting", 0, 0)
    assert machine.message(ROSTER, SIGNED)[0] == ("put", "roster", SIGNED)


def test_stock_at_or_below_the_last_burnt_round_is_not_counted():
    machine = ready_machine(stock=(0, 1, 2, 3), high_water=(1, 2))
    assert machine.masks() == 1
    assert zero_sum.exponent_bytes(parameters.load("hum-2048")) == 513


# -- anything at all


def test_messages_on_other_topics_are_refused():
    machine = ready_machine()
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


def test_random_bytes_on_any_topic_raise_nothing_and_change_nothing():
    random.seed(29)
    machine = ready_machine()
    contribute(machine)
    for topic in (ROSTER, ROUND, MAIL, UP):
        for _ in range(150):
            noise = bytes([random.getrandbits(8) for _ in range(1 + random.getrandbits(6))])
            refuses(machine, "wrong-topic" if topic == UP else "malformed", machine.message, topic, noise)


def test_damaged_messages_on_any_topic_raise_nothing_and_change_nothing():
    random.seed(31)
    machine = ready_machine()
    sent = contribute(machine)
    machine.message(ROUND, b"")
    # In the opening, the tags of the others, at the end, are not this board's to judge.
    for topic, good, length in ((ROSTER, roster(epoch=2), 0), (ROUND, opening(1), 32), (MAIL, receipt(sent), 0)):
        before = state(machine)
        for _ in range(150 if topic == ROUND else 60):
            damaged = bytearray(good)
            damaged[random.getrandbits(16) % (len(good) - length)] ^= 1 << random.getrandbits(3)
            count = sum(machine.refused.values())
            assert machine.message(topic, bytes(damaged)) == []
            assert run_idle(machine) == []  # the signature of a receipt is checked here
            assert state(machine) == before and sum(machine.refused.values()) == count + 1
    assert machine.message(ROUND, opening(1)) == [("take", 1, 1)]


def test_messages_of_one_topic_on_another_are_refused():
    machine = ready_machine()
    sent = contribute(machine)
    machine.message(ROUND, b"")
    ready = bytes.fromhex(READY[ME])
    later = roster(epoch=2)
    for topic, raw, reason in (
        (ROSTER, opening(1), "malformed"),
        (ROSTER, receipt(sent, epoch=2), "bad-signature"),
        (ROSTER, sent, "stale-roster"),
        (ROUND, later, "malformed"),
        (ROUND, receipt(sent), "malformed"),
        (ROUND, sent, "malformed"),
        (MAIL, later, "replayed"),
        (MAIL, opening(0), "malformed"),
        (MAIL, ready, "replayed"),
    ):
        refuses(machine, reason, machine.message, topic, raw)
