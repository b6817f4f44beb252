"""Openings that name an instant, on both interpreters: the board reads then, burns the round, and
sends at its own moment after."""

from hashlib import sha256

from agent.protocols.base.actions import at
from agent.wire import cbor, topics
from tests.support.street_of_boards import (
    ONE,
    ROLL,
    ROUND,
    SCOPE,
    SLOTS,
    TIME,
    Device,
    active,
    dealt,
    reboot,
)

ME = "meter-a"
T = TIME + 30
SPREAD = 60
TAKE = ("take", 1, 0, True, SLOTS)


def street(spread=0):
    return dealt(3, spread=spread)


def board(spread=0, stock=(0, 1), masks_target=None):
    device = reboot(street(spread), ME, masks_target=masks_target)
    device.flash.masks = dict.fromkeys(stock, ONE)
    return Device(ME, device.flash, None, masks_target or 2)


def opening(round=0, spread=0, instant=T):
    return street(spread).opening(round, instant=instant)


def come(device):
    """The time has come that was waited for; return the names of all deeds."""
    start = len(device.done)
    device.perform(device.machine.elapsed(0))
    return [action[0] for action in device.done[start:]]


def names(device):
    return [action[0] for action in device.done]


def test_a_board_waits_for_the_instant_and_then_reads_and_sends():
    device = board()
    device.left = 29500
    assert device.hear(ROUND, opening()) == ["at"] and device.done == [at(T, 30)]
    assert (device.period, device.count) == (29500, 1)
    assert not device.machine.in_round() and device.flash.mark == (0, 0) and device.sent == []
    assert come(device) == ["take", "spend", "publish"] and device.done[1] == TAKE
    assert len(device.take("contribution")) == 1 and device.machine.in_round() and device.flash.mark == (1, 0)
    assert device.machine.refused == {} and come(device) == []


def test_a_clock_that_does_not_know_lets_the_opening_tell_how_long_it_is():
    device = board()
    assert device.hear(ROUND, opening()) == ["at"] and device.period == 30000


def test_an_opening_that_comes_after_its_instant_is_obeyed_at_once_and_counted():
    device = board()
    device.left = -1
    assert device.hear(ROUND, opening()) == ["at"] and device.period == 0
    assert device.machine.refused == {"instant-past": 1}
    assert come(device) == ["take", "spend", "publish"]


def test_without_an_instant_it_answers_at_once_whatever_the_spread():
    device = board(SPREAD)
    assert device.hear(ROUND, opening(0, SPREAD, 0)) == ["take", "spend", "publish"]


def test_what_was_read_is_burnt_at_the_instant_and_leaves_at_the_boards_own_moment():
    device = board(SPREAD)
    device.hear(ROUND, opening(0, SPREAD))
    drawn = sha256(cbor.encode(["hum/v1/delay", street(SPREAD).digest, ME])).digest()
    delay = SPREAD * 1000 * int.from_bytes(drawn[:4], "big") >> 32
    assert come(device) == ["take", "spend", "schedule"] and 0 < delay < 60000
    assert (device.period, device.count) == (delay, 1) and device.flash.mark == (1, 0)
    # Nothing lets it leave before: neither the link, nor time, nor that the opening comes again.
    device.perform(device.machine.link_up())
    device.perform(device.machine.retry())
    device.hear(ROUND, opening(0, SPREAD))
    assert device.take("contribution") == [] and not device.machine._own.receipt
    assert come(device) == ["publish"] and device.machine.in_round()
    (sent,) = device.take("contribution")
    assert sent == device.flash.pending[2]
    device.perform(device.machine.retry())
    assert device.take("contribution") == [sent]


def test_members_have_moments_of_their_own():
    delays = [reboot(street(SPREAD), name).machine.member.delay for name in street().names]
    assert len(set(delays)) == 3 and all(0 <= delay < 60000 for delay in delays)
    assert reboot(street(), ME).machine.member.delay == 0


def test_a_board_that_was_off_meanwhile_hears_the_opening_again_and_waits_anew():
    device = board()
    device.hear(ROUND, opening())
    again = Device(ME, device.flash.copy())
    assert come(again) == [] and again.hear(ROUND, opening()) == ["at"]
    assert come(again) == ["take", "spend", "publish"]


def test_a_board_that_was_off_between_instant_and_moment_sends_the_very_same():
    device = board(SPREAD)
    device.hear(ROUND, opening(0, SPREAD))
    come(device)
    again = Device(ME, device.flash.copy())
    again.perform(again.machine.link_up())
    (sent,) = again.take("contribution")
    assert sent == device.flash.pending[2]
    assert again.hear(ROUND, opening(0, SPREAD)) == ["publish"] and again.take("contribution") == [sent]
    assert come(again) == []


def test_an_opening_that_comes_again_tells_no_time():
    device = board()
    told = []
    device.set = lambda epoch, seconds: told.append(seconds) or True
    for _ in range(3):
        assert device.hear(ROUND, opening()) == ["at"]
    come(device)
    device.hear(ROUND, opening())
    assert told == [TIME] and names(device).count("spend") == 1


def test_idle_work_goes_on_until_the_instant_and_the_mask_of_the_round_may_still_come():
    device = board(stock=(), masks_target=2)
    key = device.flash.records["key"]
    device.flash.records["key"] = key[:64] + (5).to_bytes(513, "big") + key[577:]
    device = Device(ME, device.flash, None, 2)
    device.hear(ROUND, opening())
    assert [action[2] for action in device.done if action[0] == "mask"] == []
    device.idle()
    assert [action[2] for action in device.done if action[0] == "mask"] == [0, 1]
    assert come(device) == ["take", "spend", "publish"]
    device = board(stock=(), masks_target=2)
    device.hear(ROUND, opening())
    assert come(device) == ["take"] and device.machine.refused == {"no-mask": 1} and come(device) == []


def test_a_round_that_closes_before_its_instant_is_not_contributed_to():
    device = board()
    device.hear(ROUND, opening())
    device.hear(ROUND, b"")
    assert come(device) == [] and device.flash.mark == (0, 0)


def test_the_next_opening_takes_the_place_of_one_that_waits():
    device = board()
    device.hear(ROUND, opening())
    assert device.hear(ROUND, opening(1, instant=T + 5)) == ["at"]
    assert come(device) == ["take", "spend", "publish"] and device.flash.mark == (1, 1)
    assert device.hear(ROUND, opening()) == [] and device.machine.refused == {"replayed": 1}


def test_what_waits_for_its_moment_when_the_next_round_opens_is_sent_again_like_all_without_receipt():
    device = board(SPREAD)
    device.hear(ROUND, opening(0, SPREAD))
    come(device)
    device.hear(ROUND, opening(1, SPREAD, T + 60))
    device.perform(device.machine.retry())
    (sent,) = device.take("contribution")
    assert sent == device.flash.pending[2] and device.flash.mark == (1, 0)
    assert come(device) == ["take", "spend", "schedule"] and come(device) == ["publish"]
    assert device.take("contribution") == [device.flash.pending[2]] and device.flash.mark == (1, 1)


def test_a_roll_call_before_the_instant_is_not_answered():
    device = board()
    device.hear(ROUND, opening())
    assert device.hear(ROLL, street().roll(0, street().names)) == []
    assert device.machine.refused == {"not-contributed": 1}
    assert come(device) == ["take", "spend", "publish"]


def test_a_reading_that_fails_at_the_instant_spends_nothing_and_the_opening_may_come_again():
    device = board()
    device.values = None
    device.hear(ROUND, opening())
    assert come(device) == ["take"] and device.machine.refused == {"no-reading": 1} and device.flash.mark == (0, 0)
    device.values = (1, 2)
    assert come(device) == []
    assert device.hear(ROUND, opening()) == ["at"]


def test_a_dead_flash_at_the_instant_lets_nothing_leave():
    for spread in (0, SPREAD):
        device = board(spread)
        device.hear(ROUND, opening(0, spread))
        device.failing = ("spend",)
        assert come(device) == ["take"] and device.machine.refused == {"flash": 1}
        device.failing = ()
        device.perform(device.machine.retry())
        assert come(device) == [] and device.sent == []


def test_an_active_set_that_is_entered_meanwhile_ends_the_waiting():
    device = board()
    device.hear(ROUND, opening())
    device.hear(topics.active(SCOPE[0], SCOPE[1], 0), active(street().signed, 7, number=street().number + 1))
    while device.machine.member.number == street().number:
        assert device.step()
        if device.machine._standing.sets.entering:
            assert come(device) == []
    assert come(device) == [] and device.flash.mark == (0, 0)


def test_a_heap_that_was_too_small_finds_the_instant_again():
    device = board()
    device.hear(ROUND, opening())
    before = device.machine.elapsed(0)
    assert before == [TAKE] == device.machine.elapsed(0)


def test_the_tag_is_of_the_instant():
    device = board()
    forged = cbor.decode(opening())
    forged[8] += 1
    assert device.hear(ROUND, cbor.encode(forged)) == [] and device.machine.refused == {"bad-tag": 1}
    del forged[8]
    assert device.hear(ROUND, cbor.encode(forged)) == [] and device.machine.refused == {"bad-tag": 2}
    assert device.take("contribution") == []
