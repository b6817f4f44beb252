"""Roll calls: what a board answers, when, with which bytes; and every reason for which it does
not."""

from agent.joye_libert import blinding, masks, pairs
from agent.protocols.base import Refused
from agent.protocols.base.identity import CLOSE_WINDOW, Identity
from agent.protocols.base.policy import Policy
from agent.protocols.private_sum import entering, joining
from agent.protocols.private_sum.answers import ROLL_MOST, RollCall
from agent.protocols.private_sum.membership import nonce
from agent.protocols.private_sum.unmasking import REPEATS_MOST
from agent.wire import coordination, envelope, topics
from agent.wire.envelope import Envelope
from tests.support.expect import raises
from tests.support.street_of_boards import (
    CHOSEN,
    ROLL,
    ROSTER,
    ROUND,
    SCOPE,
    Device,
    dealt,
    everything,
    lax,
    mailbox,
    name_of,
    private,
    public,
    reboot,
    refuses,
    roster,
    up,
)

ME = "meter-a"
ALL = [name_of(index) for index in range(4)]  # of whom three recover
WITHOUT_D = ALL[:3]
WITHOUT_C = ["meter-a", "meter-b", "meter-d"]
FEW = 5  # in identity of a key share, an exponent whose power takes a moment


def street():
    return dealt(4)


def board(policy=None, rounds=(0, 1), few=True, name=ME):
    """A board that has dealt all. `few`: the key shares that it holds are FEW, FEW + 1 ... by
    member."""
    device = reboot(street(), name, policy)
    one = device.flash.masks[0]
    device.flash.masks = dict.fromkeys(rounds, one)
    size = device.machine._standing.sharing.share_bytes
    for peer in range(4):
        if few and (None, peer) in device.flash.shares:
            device.flash.shares[(None, peer)] = (FEW + peer).to_bytes(size, "big")
    return Device(name, device.flash, policy)


def contributed(device, round=0, absent=()):
    """Let the board contribute to a round; return it."""
    device.hear(ROUND, street().opening(round, absent, device.flash.mark))
    assert len(device.take("contribution")) == 1
    device.hear(ROUND, b"")
    return device


def answer(device, round, present, **changes):
    """Call the roll and let the board work; return the answer's bytes, None without one."""
    device.hear(ROLL, street().roll(round, present, **changes))
    device.idle()
    sent = device.take("answer")
    assert len(sent) <= 1
    return sent[0] if sent else None


def base(round):
    x0, x1 = masks.base(CHOSEN, SCOPE[0], SCOPE[1], 1, round, 0, street().set_of(ME))
    return x0 + CHOSEN.n * x1


def power(round, exponent):
    return pow(base(round), exponent, CHOSEN.n**2).to_bytes(512, "big")


# -- answers


def test_three_answers_give_the_sum_of_the_blinds_of_those_listed():
    field = street().devices[ME].machine.member.field
    total = 0
    for x, name in ((1, "meter-a"), (2, "meter-b"), (3, "meter-c")):
        device = contributed(board(name=name))
        sealed = answer(device, 0, ALL)
        assert Envelope(sealed).nonce == nonce(3, 0)
        summed, recovery = street().answer(name, sealed, 0)
        assert recovery is None and device.machine._own.workspace is None  # nobody is missing: no power at all
        total += {1: 3, 2: -3, 3: 1}[x] * int.from_bytes(summed, "big")  # Lagrange at 0 over 1, 2, 3
    blinds = [street().devices[name].machine._standing.sharing.blinding_seed for name in ALL]
    assert total % field.p == sum([blinding.blind(seed, 0, field) for seed in blinds]) % field.p


def test_the_members_who_are_missing_are_not_in_the_sum_and_their_key_share_is_the_exponent():
    device = contributed(board(few=False))
    summed, recovery = street().answer(ME, answer(device, 0, WITHOUT_D), 0)
    shares = device.flash.shares
    assert recovery == power(0, int.from_bytes(shares[(None, 3)], "big"))
    field = device.machine.member.field
    own = blinding.share(device.machine._standing.sharing.blinding_seed, 0, 1, 3, field)
    held = [int.from_bytes(shares[(0, peer)][: field.size], "big") for peer in (1, 2)]
    assert int.from_bytes(summed, "big") == (own + sum(held)) % field.p


def test_a_later_round_of_the_batch_takes_its_own_elements():
    device = contributed(board(rounds=(7, 8)), 7)
    field = device.machine.member.field
    summed, _ = street().answer(ME, answer(device, 7, ALL), 7)
    held = [device.flash.shares[(0, peer)][7 * 16 : 8 * 16] for peer in (1, 2, 3)]
    own = blinding.share(device.machine._standing.sharing.blinding_seed, 7, 1, 3, field)
    assert int.from_bytes(summed, "big") == (own + sum([int.from_bytes(each, "big") for each in held])) % field.p


def test_shares_of_several_missing_members_are_added_before_the_power():
    device = board()
    machine = device.machine
    calls = machine._standing.answers()
    for _ in play(device, calls.recovery_steps(machine.member, machine._standing.sharing, 0, [1, 3], machine._own)):
        continue
    assert calls._recovery[-1] == power(0, 2 * FEW + 4)


def play(device, generator):
    for actions in generator:
        device.perform(actions or [])
        yield


# -- refusals


def test_roll_calls_that_are_not_for_this_board_now_are_refused():
    device = contributed(board())
    machine, calls = device.machine, street()
    good = calls.roll(0, ALL)
    without_tags = envelope.sign(
        private("coordinator"), calls.context("roll", 0, number=0), coordination.roll(calls.sets, 0b1111, [])
    )
    sealed = envelope.seal(
        bytes(16), bytes(13), calls.context("roll", 0, number=0), coordination.roll(calls.sets, 15, [])
    )
    for reason, raw in (
        ("malformed", b"\x00"),
        ("malformed", good[:-1]),
        ("malformed", sealed),
        ("malformed", envelope.sign(private("coordinator"), calls.context("roll", 0, number=0), b"\xa0")),
        ("oversized", bytes(ROLL_MOST + 1)),
        ("wrong-epoch", calls.roll(0, ALL, epoch=2)),
        ("other-active", calls.roll(0, ALL, sets=bytes(32))),
        ("other-active", calls.roll(0, ALL, sets=calls.digest)),
        ("bad-tag", calls.roll(0, ALL, wrong_tags=True)),
        ("bad-tag", without_tags),
        ("bad-tag", good.replace(b"\x02\x0f\x03", b"\x02\x07\x03")),  # another list under the same tags
        ("not-contributed", calls.roll(1, ALL)),
        ("unknown-member", calls.roll(0, (), bits=0b11111)),
        ("unknown-member", calls.roll(0, (), bits=1 << 63 | 0b1111)),
        ("absent", calls.roll(0, ALL[1:])),
        ("too-few", calls.roll(0, ALL[:2])),
        ("too-few", calls.roll(0, [ME])),
    ):
        refuses(machine, reason, machine.message, ROLL, raw)
    assert device.idle() == [] and answer(device, 0, ALL)


def test_a_round_that_this_board_did_not_contribute_to_is_not_answered():
    device = board()
    refuses(device.machine, "not-contributed", device.machine.message, ROLL, street().roll(0, ALL))
    device.hear(ROUND, street().opening(0)[:-1])
    refuses(device.machine, "not-contributed", device.machine.message, ROLL, street().roll(0, ALL))
    contributed(device, 1)  # and an earlier one than the last not any more
    refuses(device.machine, "not-contributed", device.machine.message, ROLL, street().roll(0, ALL))


def test_a_policy_may_ask_for_more_contributors_than_it_takes():
    device = contributed(board(Policy(3, 4)))
    refuses(device.machine, "too-few", device.machine.message, ROLL, street().roll(0, WITHOUT_D))
    assert answer(device, 0, ALL)


def test_without_a_share_that_it_needs_a_board_does_not_answer():
    for about, present in (((0, 1), ALL), ((None, 3), WITHOUT_D)):
        device = contributed(board())
        kept = device.flash.shares.pop(about)
        assert answer(device, 0, present) is None
        assert device.machine.refused == {"no-share": 1} and device.flash.answer is None
        device.effects.shares.keep(about[0], about[1], kept)
        assert answer(device, 0, present)  # the round is not lost for that


# -- once


def test_a_roll_call_is_answered_once_and_the_same_list_again_gives_identical_bytes():
    device = contributed(board())
    machine = device.machine
    again = [("publish", up(ME, "answer"), answer(device, 0, WITHOUT_D), 1, False)]
    assert machine.message(ROLL, street().roll(0, WITHOUT_D)) == again
    assert again[0] in machine.link_up()
    for _ in range(3 * REPEATS_MOST):  # whoever repeats it has this board say it a few times more
        device.hear(ROLL, street().roll(0, WITHOUT_D))
    assert len(device.take("answer")) == REPEATS_MOST - 1
    machine.retry()
    assert machine.message(ROLL, street().roll(0, WITHOUT_D)) == again
    for present in (ALL, WITHOUT_C):
        refuses(machine, "replayed", machine.message, ROLL, street().roll(0, present))
    rebooted = Device(ME, device.flash.copy()).machine
    for present in (ALL, WITHOUT_C):
        refuses(rebooted, "replayed", rebooted.message, ROLL, street().roll(0, present))
    assert rebooted.message(ROLL, street().roll(0, WITHOUT_D)) == again
    contributed(device, 1)
    refuses(machine, "replayed", machine.message, ROLL, street().roll(0, ALL))
    assert machine.message(ROLL, street().roll(0, WITHOUT_D)) == []  # a round that is over: not even that


def test_an_answer_leaves_when_its_record_is_durable_and_not_before():
    device = contributed(board())
    device.hear(ROLL, street().roll(0, ALL))
    assert device.idle() == ["fetch", "fetch", "fetch", "answer", "publish"]
    epoch, round, record = device.flash.answer
    assert (epoch, round) == (1, 0) and record.endswith(device.take("answer")[0])


def test_without_the_record_there_is_no_answer_to_that_round_nor_a_second_list():
    device = contributed(board())
    device.failing = ("answer",)
    assert answer(device, 0, ALL) is None and device.machine.refused == {"flash": 1}
    device.failing = ()
    assert answer(device, 0, ALL) is None
    refuses(device.machine, "replayed", device.machine.message, ROLL, street().roll(0, WITHOUT_D))
    assert device.machine.retry() == device.machine.retry() != []  # the contribution, and nothing else
    device.machine.link_up()
    device.idle()
    assert device.take("answer") == []
    assert answer(contributed(device, 1), 1, ALL)


def test_a_second_roll_call_while_the_first_is_being_answered_is_refused():
    device = contributed(board())
    device.hear(ROLL, street().roll(0, ALL))
    device.step()
    for present in (ALL, WITHOUT_D):
        refuses(device.machine, "replayed", device.machine.message, ROLL, street().roll(0, present))
    device.idle()
    assert len(device.take("answer")) == 1


def test_the_next_rounds_roll_call_takes_the_place_of_one_that_took_too_long():
    device = contributed(board())
    device.hear(ROLL, street().roll(0, ALL))
    device.step()
    contributed(device, 1)
    device.hear(ROLL, street().roll(1, WITHOUT_D))
    device.idle()
    sent = device.take("answer")
    assert [Envelope(each).round for each in sent] == [1] and device.machine.refused == {}
    assert street().answer(ME, sent[0], 1)[1] == power(1, FEW + 3)


def test_an_answer_under_way_when_memory_runs_short_is_still_made():
    expected = answer(contributed(board()), 0, WITHOUT_D)
    for steps in range(1, 40):
        device = contributed(board())
        device.hear(ROLL, street().roll(0, WITHOUT_D))
        for _ in range(steps):
            device.step()
        finished = device.take("answer")
        device.machine.rest()
        device.idle()
        assert set(finished + device.take("answer")) == {expected}
        if finished:
            break
    assert finished and steps > 4
    assert device.flash.answer[2].endswith(expected)


def test_what_an_interrupted_job_fetched_is_not_taken_for_another_share():
    device = contributed(board())
    device.hear(ROLL, street().roll(0, ALL))
    device.step()  # the first share is fetched
    device.machine.rest()
    device.failing = ("fetch",)
    device.idle()
    assert device.take("answer") == [] and device.machine.refused == {"flash": 1, "no-share": 1}


# -- lists that differ by a few


def test_close_lists_are_answered_a_few_times_in_the_boards_own_48_contributions():
    policy = Policy(3, 3, None, 2, 1)
    device = board(policy, range(CLOSE_WINDOW + 2))
    assert answer(contributed(device), 0, ALL)
    assert answer(contributed(device, 1), 1, WITHOUT_D)  # one less: the one time
    contributed(device, 2)
    for each in (device, Device(ME, device.flash.copy(), policy)):
        refuses(each.machine, "differencing", each.machine.message, ROLL, street().roll(2, ALL))
        refuses(each.machine, "differencing", each.machine.message, ROLL, street().roll(2, WITHOUT_C))
        assert answer(each, 2, WITHOUT_D)  # the same as before gives nothing away
    for round in range(3, CLOSE_WINDOW + 1):
        contributed(device, round)
        refuses(device.machine, "differencing", device.machine.message, ROLL, street().roll(round, ALL))
    assert answer(contributed(device, CLOSE_WINDOW + 1), CLOSE_WINDOW + 1, ALL)


def test_a_policy_says_how_close_is_close():
    for close, present, reason in ((3, WITHOUT_C, "differencing"), (2, WITHOUT_C, None), (1, ALL, None)):
        device = board(Policy(3, 3, None, close, 0))
        assert answer(contributed(device), 0, WITHOUT_D)  # there is none before it
        contributed(device, 1)
        if reason:
            refuses(device.machine, reason, device.machine.message, ROLL, street().roll(1, present))
        else:
            assert answer(device, 1, present)


def membership(seal):
    """This board's place in a roster of eight in two cohorts, with keys of nobody."""
    names = [name_of(index) for index in range(8)]
    identity = Identity(SCOPE[0], SCOPE[1], ME, private(ME), public(ME), public("authority"), Policy(3, 4, None, 2, 0))
    member = joining.accept(identity, roster(NAMES_AND_KEYS, cohort=4, seal=seal), 1)
    member.enter(9, b"e" * 32, 0xFF, (0, 0))
    entering.take_keys(member, member.set_digest + bytes(16) + b"k" * 16 + bytes(513) + bytes(128))
    assert member.names == names and len(member.cohort) == 4
    return member


NAMES_AND_KEYS = [(name_of(i), public(ME) if i == 0 else b"\x04" + bytes([i]) * 64) for i in range(8)]


def hear_of_eight(member, calls, round, absent):
    """Call the roll of a membership(): all but the members with the indices `absent`; return the
    bitmap heard."""
    present = 0xFF & ~sum([1 << index for index in absent])
    context = member.context("roll", round, topics.COORDINATOR, ME)
    tag = envelope.roll_tag(b"k" * 16, context, member.set_digest, present)
    sets = bytes(32 * member.unit) + member.set_digest
    payload = coordination.roll(sets, present, [tag] + [bytes(16)] * 7)
    raw = envelope.sign(private("coordinator"), member.context_of_all("roll", round), payload)
    return calls.hear(member, raw, (1, round))[1]


def one():
    return 1


def refusal_of_eight(*arguments):
    return raises(Refused, hear_of_eight, *arguments).args[0]


def test_with_cohorts_of_its_own_a_board_looks_at_its_cohort_and_under_a_fleet_seal_at_all():
    last = RollCall((1, 0, bytes(7) + b"\xff" + bytes(5) + b"an answer"), one)  # of all eight
    for seal in (0, 1):
        member = membership(seal)
        mine = [index for index in member.cohort if index != 0]
        others = [index for index in range(8) if index not in member.cohort]
        assert hear_of_eight(member, RollCall(None, one), 0, []) == 0xFF
        assert (
            refusal_of_eight(member, RollCall(None, one), 0, mine[:2]) == "too-few"
        )  # for the threshold of the cohort
        # The policy wants four in a sum that opens: of the cohort's, or of all.
        if seal:
            assert hear_of_eight(member, RollCall(None, one), 0, mine[:1] + others[:3])
            assert refusal_of_eight(member, RollCall(None, one), 0, mine[:1] + others) == "too-few"
            assert refusal_of_eight(member, last, 1, others[:1]) == "differencing"
        else:
            assert hear_of_eight(member, RollCall(None, one), 0, others)
            assert refusal_of_eight(member, RollCall(None, one), 0, mine[:1]) == "too-few"
            assert hear_of_eight(member, last, 1, others[:1])  # members of another cohort are in another sum
        assert hear_of_eight(member, last, 1, others[:2])


# -- ahead of time, and afterwards


def test_the_recovery_share_for_those_known_dead_is_made_ahead_and_is_the_one_that_is_sent():
    device = contributed(board(), 0, ["meter-d"])
    assert device.machine.idle() is None  # while the round is open the time is the round's
    device.hear(ROLL, b"")
    assert device.idle()[:1] == ["fetch"]
    assert device.machine._standing.answers().has_recovery(device.machine.member, 0, [3])
    first = answer(device, 0, WITHOUT_D)
    device.hear(ROLL, b"")
    device.idle()
    contributed(device, 1, ["meter-d"])
    assert device.machine._standing.answers().has_recovery(device.machine.member, 1, [3])
    device.flash.shares.pop((None, 3))  # it is not needed any more
    start = len(device.done)
    second = answer(device, 1, WITHOUT_D)
    assert [action[0] for action in device.done[start:]] == ["fetch", "fetch", "answer", "publish"]
    for round, sealed in ((0, first), (1, second)):
        assert street().answer(ME, sealed, round)[1] == power(round, FEW + 3)


def test_what_was_made_ahead_for_others_or_for_another_round_is_not_sent():
    device = contributed(board(), 0, ["meter-d"])
    device.hear(ROLL, b"")
    device.idle()
    assert street().answer(ME, answer(device, 0, WITHOUT_C), 0)[1] == power(0, FEW + 2)
    contributed(device, 1, ["meter-d"])
    assert street().answer(ME, answer(device, 1, WITHOUT_C), 1)[1] == power(1, FEW + 2)
    whole = contributed(board(), 0, ["meter-d"])
    whole.hear(ROLL, b"")
    whole.idle()
    assert street().answer(ME, answer(whole, 0, ALL), 0)[1] is None


def test_what_was_made_ahead_in_one_epoch_is_not_sent_in_the_next():
    device = contributed(board(), 0, ["meter-d"])
    device.hear(ROLL, b"")
    device.idle()
    machine = device.machine
    assert machine._standing.answers().has_recovery(machine.member, 0, [3])
    device.hear(ROSTER, roster(ALL, epoch=2))
    assert machine.epoch == 2 and not machine._standing.answers().has_recovery(machine.member, 0, [3])


def test_a_share_that_is_missing_for_work_ahead_is_noted_once():
    device = contributed(board(), 0, ["meter-d"])
    device.flash.shares.pop((None, 3))
    device.hear(ROLL, b"")
    device.idle()
    device.idle()
    assert device.machine.refused == {"no-share": 1}


def test_a_bad_signature_is_counted_after_the_answer():
    device = contributed(board())
    assert answer(device, 0, ALL, signer="authority") and device.machine.refused == {}
    device.hear(ROLL, b"")
    device.idle()
    assert device.machine.refused == {"bad-signature": 1}
    good = contributed(board())
    assert answer(good, 0, ALL)
    good.hear(ROLL, b"")
    good.idle()
    assert good.machine.refused == {}


def test_a_mask_given_up_for_an_answer_is_made_again_and_right():
    device = board(rounds=(0,))
    exponent = (1 << 90) + 12345
    record = device.flash.records["key"]
    device.flash.records["key"] = record[:64] + exponent.to_bytes(513, "big") + record[577:]
    device = contributed(Device(ME, device.flash))
    device.machine.retry()  # some seconds without a word: idle work goes on
    for _ in range(20):
        device.step()
    assert device.machine._making and not device.flash.stock(1)
    assert street().answer(ME, answer(device, 0, WITHOUT_D), 0)[1] == power(0, FEW + 3)
    device.hear(ROLL, b"")
    device.idle()
    for round in (1, 2):
        mask = pow(base(round), exponent, CHOSEN.n**2)
        assert device.flash.masks[round] == pairs.to_bytes(mask % CHOSEN.n, mask // CHOSEN.n, 256)


def test_the_policy_that_allows_all_still_wants_a_threshold():
    device = contributed(board(lax()))
    refuses(device.machine, "too-few", device.machine.message, ROLL, street().roll(0, ALL[:2]))
    before = everything(device.machine)
    assert device.machine.message(mailbox(ME, "meter-b"), b"") == [] and everything(device.machine) == before
