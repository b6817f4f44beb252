"""Joining: which rosters a board takes up, and the keys that it makes for them; on both
interpreters."""

from agent.crypto import p256
from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import parameters, zero_sum
from agent.protocols import UnknownProtocol, registry
from agent.protocols.base.policy import Policy
from agent.protocols.private_sum.active_sets import TOKENS_MOST
from agent.protocols.private_sum.machine import PrivateSum
from agent.wire import active_sets, cbor, coordination, envelope, topics
from agent.wire.envelope import Context, Envelope
from tests.support.expect import raises
from tests.support.street_of_boards import (
    NUMBER,
    ROSTER,
    ROUND,
    SCOPE,
    Device,
    Flash,
    active,
    digest_of,
    everything,
    private,
    public,
    refuses,
    roster,
    set_digest_of,
)

ME = "meter-a"
NAMES = ["meter-a", "meter-b", "meter-c"]
SIGNED = roster(NAMES)


def new_device(policy=None):
    return Device(ME, Flash(), policy)


def test_the_machine_is_found_by_its_name_only():
    identity = new_device().machine.identity
    assert type(registry.make("private-sum", identity)) is PrivateSum
    for name in ("", "private_sum", "..", None):
        raises(UnknownProtocol, registry.make, name, identity)
        assert not registry.known(name)


def test_a_board_listens_to_its_group_and_to_its_own_mail():
    machine = new_device().machine
    assert machine.subscriptions() == ["hum/v1/test-street/g/north/" + end for end in TOPICS]
    assert machine.progress() == ("waiting", 0, 0) and machine.idle() is None and machine.link_up() == []


TOPICS = ("roster", "round", "roll", "mail/meter-a/+", "active/+")


def test_rosters_that_are_not_ours_or_not_right_are_refused():
    machine = new_device().machine
    wide = [("s%02d" % i, -(1 << 48), 1 << 48) for i in range(48)]
    context = Context(SCOPE[0], "roster", SCOPE[1], 1, 0, "authority", "")
    for reason, raw in (
        ("malformed", b"\xff"),
        ("malformed", SIGNED[:-1]),
        ("malformed", envelope.sign(private("authority"), context, b"\xa0")),
        ("oversized", bytes(8193)),
        ("oversized", SIGNED + bytes(8192)),
        ("stale-roster", roster(NAMES, epoch=0)),
        ("stale-roster", roster(NAMES, round=1)),
        ("bad-signature", roster(NAMES, signer="coordinator")),
        ("bad-signature", roster(NAMES, signer=ME)),
        ("bad-signature", roster(NAMES, kind="result")),
        ("bad-signature", roster(NAMES, scope=("test-street", "south"))),
        ("bad-signature", roster(NAMES, scope=("other-street", "north"))),
        ("bad-signature", SIGNED[:-1] + bytes([SIGNED[-1] ^ 1])),
        ("bad-signature", envelope.seal(bytes(16), bytes(13), context, b"hi")),
        ("not-a-member", roster(NAMES[1:])),
        ("not-a-member", roster([(ME, public("meter-b"))] + NAMES[1:])),
        ("cohort-too-small", roster(NAMES[:2])),
        ("unknown-protocol", roster(NAMES, names=("public-sum", "hum-2048"))),
        ("unknown-parameters", roster(NAMES, names=("private-sum", "paper-1024"))),
        ("unknown-parameters", roster(NAMES, names=("private-sum", "hum-512"))),
        ("slots-too-wide", roster(NAMES, slots=wide)),
    ):
        refuses(machine, reason, machine.message, ROSTER, raw)
    stranger = [ME, ("meter-b", public("coordinator")), "meter-c"]
    assert machine.message(ROSTER, roster(stranger))[0][0] == "put"


def test_a_roster_is_kept_and_what_belongs_to_earlier_ones_forgotten():
    device = new_device()
    machine = device.machine
    device.hear(ROSTER, SIGNED)
    assert device.done == [("put", "roster", SIGNED), ("use", b"")]
    assert machine.epoch == 1 and machine.progress() == ("keys", 0, 2) and machine.refused == {}


def test_a_policy_decides_about_sizes_and_slots():
    machine = new_device(Policy(4)).machine
    refuses(machine, "cohort-too-small", machine.message, ROSTER, SIGNED)
    machine = new_device(Policy(2)).machine
    assert machine.message(ROSTER, roster(NAMES[:2]))[0][0] == "put"
    machine = new_device(Policy(3, 3, [("power", -20000, 20000)])).machine
    refuses(machine, "slot-not-allowed", machine.message, ROSTER, SIGNED)
    assert machine.message(ROSTER, roster(NAMES, slots=[("power", 0, 5)]))[0][0] == "put"


def test_an_epoch_is_never_taken_up_twice_nor_after_a_later_one():
    machine = new_device().machine
    machine.message(ROSTER, SIGNED)
    before = everything(machine)
    assert machine.message(ROSTER, SIGNED) == [] and machine.refused == {} and everything(machine) == before
    refuses(machine, "stale-roster", machine.message, ROSTER, roster(NAMES, slots=[("power", 0, 1)]))
    assert machine.message(ROSTER, roster(NAMES, epoch=3))[1:2] == [("use", b"")]
    refuses(machine, "stale-roster", machine.message, ROSTER, roster(NAMES, epoch=2))
    refuses(machine, "stale-roster", machine.message, ROSTER, SIGNED)


def test_an_epoch_before_the_last_burnt_or_answered_round_is_refused_even_if_the_roster_was_lost():
    for burnt in (True, False):
        flash = Flash()
        if burnt:
            flash.mark = (2, 7)
        else:
            flash.answer = (2, 7, bytes(13) + b"an answer")
        machine = Device(ME, flash).machine
        refuses(machine, "stale-roster", machine.message, ROSTER, SIGNED)
        assert machine.message(ROSTER, roster(NAMES, epoch=2))[0][0] == "put"


def test_a_member_whose_key_is_no_point_ends_the_epoch():
    device = new_device()
    assert device.hear(ROSTER, roster([ME, ("meter-b", b"\x04" + bytes(64)), "meter-c"])) == ["put", "use"]
    assert device.idle() == []
    assert device.machine.refused == {"bad-member-key": 1} and device.machine.progress() == ("waiting", 0, 0)
    refuses(
        device.machine,
        "wrong-epoch",
        device.machine.message,
        ROUND,
        coordination.opening(1, 0, bytes(32), [], 0, [], 0),
    )
    assert device.hear(ROSTER, roster(NAMES, epoch=2)) == ["put", "use"]


def test_a_damaged_roster_record_is_refused_and_the_next_roster_taken():
    flash = Flash()
    flash.records["roster"] = SIGNED[:-1] + b"\x00"
    flash.records["key"] = bytes(700)
    machine = Device(ME, flash).machine
    assert machine.refused == {"bad-signature": 1} and machine.progress() == ("waiting", 0, 0)
    assert machine.message(ROSTER, SIGNED)[0] == ("put", "roster", SIGNED)


def enter(device, number=NUMBER):
    """The coordinator proposes the set of all three; return its digest."""
    signed = active(SIGNED, 0b111, number)
    device.hear(topics.active(SCOPE[0], SCOPE[1], 0), signed)
    return set_digest_of(signed)


def make_keys(device):
    """Let the board make the keys of its set, in at most so many steps."""
    for _ in range(10000):
        if "key" in [action[1] for action in device.done if action[0] == "put"]:
            return
        device.step()
    raise AssertionError("no keys")


def secrets_of_b():
    """What meter-b shares with each, by ECDH."""
    return {other: p256.ecdh(private("meter-b"), public(other)) for other in ("meter-a", "meter-c", "coordinator")}


def test_the_roster_alone_gives_secrets_and_the_key_of_here():
    """A round, a roll call or a share waits for the keys of a set."""
    flash = Flash()
    flash.records.update({"roster": SIGNED})
    device = Device("meter-b", flash)
    digest = digest_of(SIGNED)
    opening = coordination.opening(1, 0, digest, [bytes(16)] * 3, 0, [bytes(8)] * 3, 0)

    def refuses_all():
        refuses(device.machine, "not-ready", device.machine.message, ROUND, opening)
        refuses(device.machine, "not-ready", device.machine.message, ROUND.replace("round", "roll"), opening)
        mail = ROUND.replace("round", "mail/meter-b/")
        refuses(device.machine, "not-ready", device.machine.message, mail + "meter-a", b"\x00")
        coming = active_sets.coming(1, 5, bytes(16))
        refuses(device.machine, "not-ready", device.machine.message, mail + "coordinator", coming)

    refuses_all()
    phases = []
    while "secrets" not in flash.records:
        phases.append(device.machine.progress()[:2])
        device.step()
    assert phases[0] == ("keys", 0) and ("keys", 1) in phases and ("keys", 2) in phases
    secrets = secrets_of_b()
    info = cbor.encode(["hum/v1/round", "meter-b"])
    here_key = hkdf_sha256(secrets["coordinator"], digest, info, 32)[:16]
    record = digest + here_key + secrets["meter-a"] + secrets["meter-c"] + secrets["coordinator"]
    assert flash.records["secrets"] == record and "key" not in flash.records
    device.step()  # what the flash has is loaded, and compared
    assert device.machine.member.members is None  # a tenth of a small heap
    assert device.machine.progress() == ("set", 0, 0) and device.idle() == [] and device.unloads
    refuses_all()
    (here,) = device.take("here")
    context = Context(SCOPE[0], "here", SCOPE[1], 1, 0, "meter-b", "coordinator")
    assert Envelope(here).nonce == b"\x09" + bytes(12)
    assert active_sets.read_here(Envelope(here).open(here_key, context)) == 0

    rebooted = Device("meter-b", flash.copy())
    assert rebooted.machine.progress()[0] == "set" and rebooted.done == []
    for damaged in (None, b"", record[:-1], record + b"\x00", bytes(32) + record[32:]):
        other = flash.copy()
        other.records["secrets"] = damaged
        device = Device("meter-b", other)
        assert device.machine.progress() == ("keys", 0, 2)
    while other.records["secrets"] != record:
        assert other.records["secrets"] == damaged and device.step()


def test_the_key_record_is_what_the_published_rules_say():
    """Of the middle one of three, so that it adds one key and subtracts the other."""
    flash = Flash()
    flash.records.update({"roster": SIGNED})
    device = Device("meter-b", flash)
    while "secrets" not in flash.records:
        device.step()
    chosen = parameters.load("hum-2048")
    digest = enter(device)
    make_keys(device)
    assert flash.records["active"][:32] == digest
    secrets = secrets_of_b()
    keys = {
        other: zero_sum.pair_key(secrets[other], digest, min(other, "meter-b"), max(other, "meter-b"), chosen)
        for other in ("meter-a", "meter-c")
    }
    own = zero_sum.pair_key(secrets["coordinator"], digest, "meter-b", "coordinator", chosen)
    exponent = 3 * (1 << 4096) + keys["meter-a"] - keys["meter-c"] + own
    mail = b""
    for other in NAMES:
        for sender, receiver in (("meter-b", other), (other, "meter-b")):
            info = cbor.encode(["hum/v1/mail", sender, receiver])
            mail += bytes(16) if other == "meter-b" else hkdf_sha256(secrets[other], digest, info, 16)
    rounds = hkdf_sha256(secrets["coordinator"], digest, cbor.encode(["hum/v1/round", "meter-b"]), 32)
    assert flash.records["key"] == digest + rounds + exponent.to_bytes(513, "big") + mail

    rebooted = Device("meter-b", flash.copy())
    assert rebooted.machine.progress()[0] == "shares" and rebooted.done == []
    record = flash.records["key"]
    for damaged in (None, b"", record[:-1], record + b"\x00", bytes(32) + record[32:]):
        other = flash.copy()
        other.records["key"] = damaged
        device = Device("meter-b", other)
        assert device.machine.progress() == ("set", 0, 0)
        make_keys(device)
        assert other.records["key"] == record


def test_who_lost_its_secrets_makes_them_again_and_stays_in_its_set():
    flash = Flash()
    flash.records.update({"roster": SIGNED})
    device = Device("meter-b", flash)
    while "secrets" not in flash.records:
        device.step()
    enter(device, NUMBER + 1)
    make_keys(device)
    records = dict(flash.records)
    flash.records["secrets"] = None
    device = Device("meter-b", flash)
    topic = topics.active(SCOPE[0], SCOPE[1], 0)
    refuses(device.machine, "stale-active", device.machine.message, topic, active(SIGNED, 0b111))
    while device.machine.progress()[0] == "keys":
        assert device.step()
    assert flash.records == records and device.machine.member.number == NUMBER + 1
    assert device.machine.progress()[0] == "shares"


def test_key_making_begins_anew_when_memory_is_short():
    device = new_device()
    device.hear(ROSTER, SIGNED)
    while device.machine.progress()[1] < 2:
        device.step()
    device.machine.rest()
    assert device.machine.progress() == ("keys", 0, 2)
    while "secrets" not in device.flash.records:
        device.step()
    enter(device)
    for _ in range(3):
        device.step()
    device.machine.rest()
    make_keys(device)
    assert device.machine.refused == {} and device.unloads


def test_a_set_whose_check_is_given_up_halfway_is_taken_up_later():
    """A roll call, or memory that runs short, takes the time or the room; the set is retained, and
    would come again with the next link only."""
    device = new_device()
    device.hear(ROSTER, SIGNED)
    while "secrets" not in device.flash.records:
        device.step()
    device.idle()
    enter(device)
    for _ in range(2 * TOKENS_MOST):
        for _ in range(5):
            assert device.step()
        device.machine.rest()
        assert "active" not in device.flash.records
    make_keys(device)
    assert device.machine.member.number == NUMBER and device.machine.refused == {}


def test_a_set_that_is_not_signed_is_checked_once_and_the_next_is_taken_up():
    device = new_device()
    device.hear(ROSTER, SIGNED)
    while "secrets" not in device.flash.records:
        device.step()
    topic = topics.active(SCOPE[0], SCOPE[1], 0)
    device.hear(topic, active(SIGNED, 0b111, NUMBER + 9, signer="authority"))
    device.idle()
    device.machine.rest()
    assert device.idle() == [] and device.machine.refused == {"bad-signature": 1}
    enter(device)
    make_keys(device)
    assert device.machine.member.number == NUMBER
