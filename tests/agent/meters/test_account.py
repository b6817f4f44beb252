"""Which readings of a register are believed: falls, leaps, other meters, and what comes back."""

from agent.meters.account import AGED, GONE, JUMP_MOST, LEAP_MOST, STAYS
from agent.meters.register import REGISTER_MOST, RegisterMeter
from tests.agent.meters.test_register import Register, restarted

HIGH = 100000
LOAD = [("load", 0, HIGH)]
STEP = 150


def play(values, reboots=(), counted=True):
    """Each round counts; the register reads `values` in turn, of the meter b"one", or (value, name).
    The board is reset before the rounds `reboots`. Return (what was published, events)."""
    source = Register(0, b"one")
    meter = RegisterMeter(source)
    meter.restore(b"")
    published, events = [], {}
    for number, value in enumerate(values):
        source.wh, source.name = value if isinstance(value, tuple) else (value, b"one")
        if number in reboots:
            meter = restarted(meter, source)
        published.append(meter.read(number, True, True, LOAD)[0])
        meter.bookmark()
        for event, times in meter.events.items():
            events[event] = events.get(event, 0) + times
        meter.events.clear()
    return published, events


def rising(start, count=20):
    return [start + STEP * number for number in range(count)]


def test_a_register_that_is_low_once_counts_what_flowed_and_nothing_else():
    for start, low in ((13423700, 0), (2000000, 0), (25000000, 0), (5000000, 3000000), (5000000, 4999999), (900, 0)):
        for times in range(1, STAYS):
            for reboots in ((), (3, 4), (4, 5, 6, 7)):
                values = rising(start)
                for at in range(4, 4 + times):
                    values[at] = low
                published, events = play(values, reboots)
                assert sum(published) == 19 * STEP, (start, low, times, reboots)
                assert published[4 : 4 + times] == [0] * times
                assert published[4 + times] == (times + 1) * STEP
                assert events == {"register-doubted": 1}


def test_a_register_that_often_reads_low_publishes_less_never_more():
    for often in (2, 3, 5, 7):
        true = rising(5000000, 100)
        values = list(true)
        for at in range(3, 100):
            if at % often == 0:
                values[at] = 3000000 if at % 2 else 0
        published, _ = play(values)
        assert 0 < sum(published) <= true[-1] - true[0]


def test_a_fall_that_stays_is_a_new_register_from_where_it_was_met():
    for reboots in ((), (5, 6, 7), range(30)):
        values = rising(13423700, 4) + rising(0, 8)
        published, events = play(values, reboots)
        assert published == [0, STEP, STEP, STEP, 0, 0, 0, 3 * STEP, STEP, STEP, STEP, STEP]
        assert events == {"register-doubted": 1, "register-fell": 1}


def test_a_fall_must_stay_in_different_rounds():
    source = Register(13423700)
    meter = RegisterMeter(source)
    for number in range(3):
        meter.read(number, True, True, LOAD)
    source.wh = 0
    for _ in range(10):
        assert meter.read(3, True, True, LOAD) == [0]
        assert meter.trouble() == "register-doubted"
    source.wh = 13423700
    assert meter.read(4, True, True, LOAD) == [0] and meter.trouble() == ""
    assert meter.events == {"register-doubted": 1}


def test_lows_that_differ_are_no_register():
    values = rising(13423700, 4) + [0, 5000000, 0, 300000, 7, 6, 5, 4] + [13423700 + 12 * STEP]
    published, events = play(values)
    assert sum(published) == 12 * STEP and "register-fell" not in events


def test_a_register_that_had_fallen_and_comes_back_counts_what_the_other_has_not():
    for low in (0, 3000000):
        for stays in (STAYS, STAYS + 5):
            true = rising(5000000, 30)
            values = list(true)
            for number in range(stays):
                values[6 + number] = low + (number * 50 if low else 0)  # a tariff goes on, a nought does not
            published, events = play(values, (9, 16))
            assert sum(published) == true[-1] - true[0], low
            assert events == {"register-doubted": 1, "register-fell": 1, "register-back": 1}


def test_a_register_that_had_fallen_and_rises_to_less_than_it_was_invents_nothing():
    true = rising(5000000, 40)
    values = true[:6] + [0] * 6 + [2000000] * 6 + true[18:]
    published, events = play(values)
    assert sum(published) == true[-1] - true[0]
    assert events["register-jumped"] == events["register-back"] == 1


def test_a_register_that_had_fallen_and_comes_back_by_steps_invents_nothing():
    for part in (HIGH // 2, HIGH * 3 // 4, HIGH, HIGH * 2):
        true = rising(5000000, 40)
        values = true[:6] + [value - 2 * part for value in true[6:12]] + [value - part for value in true[12:18]]
        published, _ = play(values + true[18:], (13, 19))
        assert sum(published) <= true[-1] - true[0]


def test_a_register_that_has_passed_where_the_old_one_was_goes_on():
    values = rising(900000, 8) + list(range(0, 2000000, HIGH // 2))
    published, events = play(values)
    assert sum(published[8:]) == values[-1] and "register-back" not in events


def test_a_register_that_has_fallen_is_expected_back_for_a_month_or_while_the_other_stands_still():
    for low, goes_on in ((0, False), (100000, True)):
        for stays in (GONE - 10, GONE + 10):
            fallen = [low + 5 * number * goes_on for number in range(stays)]
            back = 700000 + 8 * STEP + fallen[-1] - low
            published, events = play(rising(700000, 8) + fallen + rising(back, 8))
            if stays < GONE or not goes_on:
                assert events.get("register-back") == 1 and sum(published) == back - 700000 + 7 * STEP
            else:
                assert "register-back" not in events


def test_a_reading_that_was_too_high_is_waited_for():
    for reboots in ((), range(3, 40)):
        true = rising(5000000, 40)
        values = list(true)
        values[5] += 3000  # within the slot's range: nobody can know
        published, events = play(values, reboots)
        assert sum(published) == true[-1] - true[0]
        assert published[6:24] == [0] * 18 and events == {"register-doubted": 1, "register-too-high": 1}


def test_a_leap_that_does_not_stay_is_none():
    for high in (5000000 + HIGH * 2, 13000000, 99999999, REGISTER_MOST):
        true = rising(5000000)
        values = list(true)
        values[6] = high
        assert play(values) == ([0] + [STEP] * 5 + [0, 2 * STEP] + [STEP] * 12, {"register-doubted": 1})


def leap(known, missed, rise):
    """A register that was believed `known` times rises by `rise` while so many rounds are missed;
    return (what is published of it, events)."""
    source = Register(5000000)
    meter = RegisterMeter(source)
    for number in range(known):
        meter.read(number, True, True, LOAD)
        meter.bookmark()
    source.wh += rise
    published, number = 0, known + missed
    for _ in range(STAYS + rise // HIGH + 3):
        published += meter.read(number, True, True, LOAD)[0]
        meter = restarted(meter, source)
        number += 1
    return published, meter.events


def test_a_leap_that_stays_counts_as_far_as_it_can_be():
    for known, missed, rise, counts in (
        (AGED, 0, LEAP_MOST, True),
        (AGED, 0, LEAP_MOST + 1, False),
        (AGED - 1, 0, STAYS * HIGH, True),
        (AGED - 1, 0, STAYS * HIGH + 1, False),
        (AGED - 1, 50, (STAYS + 50) * HIGH, True),
        (AGED - 1, 50, (STAYS + 50) * HIGH + 1, False),
        (AGED, 10000, JUMP_MOST, True),
        (AGED, 10000, JUMP_MOST + 1, False),
    ):
        assert leap(known, missed, rise)[0] == (rise if counts else 0), (known, missed, rise)


def test_another_meter_counts_from_where_it_was_met():
    for total in (3, 5000450, 9000000):
        for reboots in ((), range(30)):
            values = rising(5000000, 4) + [(value, b"two") for value in rising(total, 8)]
            published, events = play(values, reboots)
            assert published == [0, STEP, STEP, STEP, 0, 0, 0, 3 * STEP, STEP, STEP, STEP, STEP]
            assert events == {"register-doubted": 1, "meter-exchanged": 1}


def test_another_name_that_does_not_stay_costs_nothing():
    values = rising(5000000)
    values[7] = values[7], b"two"
    assert sum(play(values)[0]) == 19 * STEP


def test_a_meter_that_says_its_name_late_is_the_same():
    values = rising(5000000)
    for number, name in ((0, b""), (1, b""), (5, b"")):
        values[number] = values[number], name
    assert play(values) == ([0] + [STEP] * 19, {})


def test_the_first_reading_may_be_wrong():
    assert play([0] + rising(13423700)) == ([0, 0] + [STEP] * 19, {"register-unsteady": 1})
    published, events = play([0, 0, 0] + rising(13423700))
    assert sum(published) == 16 * STEP + 3 * STEP and events == {"register-doubted": 1, "register-jumped": 1}


def test_a_total_that_is_none_is_no_reading():
    source = Register(REGISTER_MOST + 1)
    meter = RegisterMeter(source)
    assert meter.read(0, True, True, LOAD) is None
    source.wh = -1
    assert meter.read(1, True, True, LOAD) is None and meter.present(1, LOAD) == [None]
    assert meter.counters() == {"refused": 2, "register-range": 2}
    source.why = "silent"
    assert meter.trouble() == "silent"
