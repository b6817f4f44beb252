"""Readings as differences of a register: what is counted once, what comes again, and what happens
to the flash and the meter."""

import struct
from hashlib import sha256

from agent.meters import played
from agent.meters.played import PlayedError, PlayedRegister
from agent.meters.register import RegisterMeter
from tests.support.expect import raises
from tests.support.files_at_hand import Folder

LOAD = [("load", 0, 1000)]


class Register:
    """A meter that a test turns: it has the slot "load", and what `others` says."""

    def __init__(self, total=0, identity=b""):
        self.wh = total
        self.name = identity
        self.others = {}
        self.why = ""

    def total(self, slot):
        return self.wh if slot == "load" else self.others.get(slot)

    def power(self, slot):
        return self.others.get(slot)

    def identity(self, slot):
        return self.name if slot == "load" else b""

    def counters(self):
        return {"refused": 2}

    def trouble(self):
        return self.why


class FullRegister(Register):
    """One that tells its power, and counts by itself."""

    def __init__(self, total=0, identity=b"one"):
        Register.__init__(self, total, identity)
        self.others["power"] = 230
        self.resumed = []

    def resume(self, slot, total):
        self.resumed.append((slot, total))


def started(source, slots=LOAD):
    """A meter whose first two readings, of 0 Wh, were spent and counted."""
    meter = RegisterMeter(source)
    meter.restore(b"")
    for round in (98, 99):
        assert meter.read(round, True, True, slots) is not None
        meter.bookmark()
    return meter


def gain(meter, source, wh):
    """Let the register rise by so much, in rounds that the board reads and sits out."""
    while wh:
        step = min(wh, LOAD[0][2])
        source.wh += step
        wh -= step
        assert meter.read(0, False, True, LOAD) is not None


def restarted(meter, source):
    """The meter after a reset: all that it knows is the last bookmark."""
    again = RegisterMeter(source)
    again.restore(meter.bookmark())
    return again


def test_counting_begins_with_the_first_reading():
    source = Register(123456)
    meter = RegisterMeter(source)
    meter.restore(b"")
    assert meter.bookmark() == b""
    assert meter.read(0, True, True, LOAD) == [0]
    assert len(meter.bookmark()) == 17
    source.wh += 7
    assert meter.read(1, True, True, LOAD) == [7]


def test_what_was_counted_is_not_counted_again_and_what_was_not_comes_again():
    source = Register(100)
    meter = started(source)
    source.wh += 10
    assert meter.read(1, True, True, LOAD) == [10]
    meter.bookmark()
    source.wh += 5
    assert meter.read(2, False, True, LOAD) == [15]
    meter.bookmark()
    source.wh += 1
    assert meter.read(3, True, True, LOAD) == [1]
    assert meter.read(4, True, True, LOAD) == [1]  # the reading of round 3 was never spent


def test_a_reading_that_was_not_spent_leaves_no_trace():
    source = Register()
    meter = started(source)
    source.wh = 10
    assert meter.read(1, True, True, LOAD) == [10]
    meter.bookmark()
    source.wh = 30
    assert meter.read(2, False, True, LOAD) == [30]  # not spent
    source.wh = 35
    assert meter.read(3, True, True, LOAD) == [25]  # so `counted` is about round 1
    meter.restore(b"")
    assert meter.read(4, True, True, LOAD) == [0]


def test_a_spend_that_failed_goes_back_to_the_one_before():
    source = Register()
    meter = started(source)
    source.wh = 10
    meter.read(1, True, True, LOAD)
    spent = meter.bookmark()
    source.wh = 30
    assert meter.read(2, False, True, LOAD) == [30]
    meter.bookmark()
    meter.restore(spent)  # as the supervisor does
    source.wh = 31
    assert meter.read(3, True, True, LOAD) == [21]


def test_a_reset_changes_nothing():
    for counted in (True, False):
        source = Register()
        meter = started(source)
        source.wh = 10
        meter.read(1, True, True, LOAD)
        meter = restarted(meter, source)
        source.wh = 25
        assert meter.read(2, counted, True, LOAD) == [15 if counted else 25]
        meter = restarted(meter, source)
        assert meter.read(3, False, True, LOAD) == [15 if counted else 25]
        assert meter.events == {}


def test_a_reading_is_capped_and_the_rest_stays():
    source = Register()
    meter = started(source)
    gain(meter, source, 2500)
    for value in (1000, 1000, 500, 0):
        assert meter.read(1, True, True, LOAD) == [value]
        meter = restarted(meter, source)
    gain(meter, source, 1600)
    assert meter.read(5, True, True, LOAD) == [1000]
    meter.bookmark()
    assert meter.read(6, False, True, LOAD) == [1000]
    meter.bookmark()
    assert meter.read(7, True, True, LOAD) == [600]


def test_what_was_denied_waits_until_it_may_come_again_and_comes_first():
    source = Register()
    meter = started(source)
    for _ in range(3):
        source.wh += 10
        assert meter.read(1, False, False, LOAD) == [10] and not meter.resent()  # the fresh alone
        meter = restarted(meter, source)
    source.wh += 5
    assert meter.read(4, False, True, LOAD) == [35] and meter.resent()
    meter = restarted(meter, source)
    assert meter.read(5, False, False, LOAD) == [0] and not meter.resent()
    meter = restarted(meter, source)
    source.wh += 990
    assert meter.read(6, True, True, LOAD) == [1000] and meter.resent()  # as far as the slot holds it
    meter = restarted(meter, source)
    assert meter.read(7, True, True, LOAD) == [25] and not meter.resent()
    meter.bookmark()
    assert meter.read(8, True, True, LOAD) == [0] and not meter.resent()


def test_more_than_the_slot_holds_is_resent_bit_by_bit():
    source = Register()
    meter = started(source)
    gain(meter, source, 2500)
    for owed in (1000, 2000, 2500):
        assert meter.read(1, False, False, LOAD) == [500 if owed == 2500 else 1000]
        meter = restarted(meter, source)
        account = meter._accounts["load"]
        assert account.owed + account.carried == owed
    counted = False
    for value, resent in ((1000, True), (1000, True), (500, True), (0, False)):
        assert meter.read(2, counted, True, LOAD) == [value] and meter.resent() == resent
        counted = True
        meter = restarted(meter, source)


def test_a_denied_nothing_is_not_sent_again():
    source = Register()
    meter = started(source)
    meter.read(1, True, True, LOAD)
    meter.bookmark()
    source.wh += 4
    assert meter.read(2, False, True, LOAD) == [4] and not meter.resent()


def test_a_bookmark_in_the_form_before_is_read_as_it_is():
    for settled, spent, denied in ((100, 130, 40), (130, 130, 10)):
        body = struct.pack(">Bqqq4s", 1, settled, spent, 135, bytes(4))
        source = Register(140)
        for counted in (True, False):
            meter = RegisterMeter(source)
            meter.restore(body + sha256(body).digest()[:4])
            assert meter.read(1, counted, True, LOAD) == [10 if counted else denied] and meter.events == {}
            assert meter.bookmark()[0] == 3


def test_a_slot_whose_low_is_not_reached_has_no_reading():
    source = Register()
    meter = started(source)
    source.wh = 7
    assert meter.read(1, True, True, [("load", 8, 100)]) is None
    source.wh = 8
    assert meter.read(2, True, True, [("load", 8, 100)]) == [8]
    assert meter.read(3, True, True, [("load", -50, -10)]) is None
    assert meter.read(4, True, True, [("load", -50, 10)]) == [8]


def test_slots_are_answered_by_name():
    source = FullRegister(5)
    slots = [("count", 0, 1), ("power", 0, 20000), ("load", 0, 1000)]
    meter = started(source, slots)
    source.wh = 9
    assert meter.read(1, True, True, slots) == [1, 230, 4]
    source.others["power"] = None
    assert meter.read(2, True, True, slots) is None
    assert meter.read(3, True, True, [("load", 0, 1000), ("gas", 0, 1)]) is None
    assert meter.read(4, True, True, [("load", 0, 1000), ("weather", 0, 1)]) is None
    assert RegisterMeter(Register()).read(0, True, True, [("power", 0, 1)]) is None


def test_no_reading_means_nothing_is_offered():
    source = FullRegister()
    meter = started(source)
    source.wh = 10
    meter.read(1, True, True, LOAD)
    meter.bookmark()
    source.wh = 11
    assert meter.read(2, False, True, LOAD) == [11]  # not spent
    source.wh = None
    assert meter.read(3, False, True, LOAD) is None
    source.wh = 12
    again = restarted(meter, source)
    assert again.read(3, True, True, LOAD) == meter.read(4, True, True, LOAD) == [2]


def test_a_roster_without_load_lets_the_energy_go():
    source = Register()
    meter = started(source)
    source.wh = 400
    assert meter.read(1, True, True, [("count", 0, 1)]) == [1]
    meter.bookmark()
    assert meter.bookmark() == b""
    source.wh = 403
    assert meter.read(2, True, True, LOAD) == [0]
    source.wh = 407
    assert meter.read(3, True, True, LOAD) == [4]


def test_a_source_that_counts_itself_is_told_how_far_it_was():
    source = FullRegister()
    meter = started(source)
    gain(meter, source, 5000)
    assert meter.read(1, True, True, LOAD) == [1000]
    again = FullRegister()
    restarted(meter, again)
    assert again.resumed == [("load", 5000)]


def test_a_counted_reading_of_the_old_meter_is_not_owed():
    source = FullRegister(5000)
    meter = started(source)
    source.wh += 10
    meter.read(1, True, True, LOAD)
    meter.bookmark()
    source.wh, source.name = 3, b"two"
    assert meter.read(2, False, True, LOAD) == [10]
    assert meter.read(3, True, True, LOAD) == [0]  # told late that round 1 was counted: round 2 was not spent


def test_a_damaged_bookmark_begins_anew_and_is_counted():
    source = Register(700)
    meter = started(source)
    good = meter.bookmark()
    damaged = [good[:-1], good + b"x", b"x", good[:1] * 41, bytes(41), bytes(5), good[:5]]
    damaged += [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(len(good))]
    source.wh += 9
    for bookmark in damaged:
        meter = RegisterMeter(source)
        meter.restore(bookmark)
        assert meter.events == {"bookmark-damaged": 1}
        assert meter.read(1, False, True, LOAD) == [0]
    meter.restore(good)
    assert meter.read(1, False, True, LOAD) == [9]


def test_a_played_register_is_the_sum_of_the_steps_that_are_over():
    steps = 0
    source = PlayedRegister([5, 0, 7], lambda: steps)
    totals = []
    for steps in range(8):  # noqa: B007
        totals.append(source.total("load"))
    assert totals == [0, 5, 5, 12, 17, 17, 24, 29]
    steps = 0
    source.resume("load", 100)
    source.resume("load", 50)
    assert source.total("load") == 100
    steps = 2
    assert source.total("load") == 105 and source.total("export") is None and source.power("power") is None
    assert source.identity("load") == b"" and source.counters() == {} and source.trouble() == ""


def test_a_played_register_is_read_from_a_file_and_bounded():
    with Folder() as path:
        name = path + "/day.txt"

        def refusal(text):
            with open(name, "w") as file:
                file.write(text)
            return raises(PlayedError, played.read, name).args

        with open(name, "w") as file:
            file.write("12\n0\n10000000\n")
        assert played.read(name) == [12, 0, 10000000]
        assert refusal("") == ("empty", None)
        for line in ("", "-1", "1.5", "x", "10000001", "100000000", "1 2"):
            assert refusal("1\n" + line + "\n") == ("number", 2), line
        assert refusal("1\n" * (played.VALUES_MOST + 1)) == ("too-long", played.VALUES_MOST + 1)
    for values in ([], [1.5], [-1], [None]):
        raises(PlayedError, PlayedRegister, values, lambda: 0)


def test_what_a_query_reads_changes_nothing_that_sums_depend_on():
    source = FullRegister(100)
    meter = started(source, [("load", 0, 1000), ("power", 0, 5000)])
    asked = [("load", 0, 1000), ("power", 0, 5000), ("count", 1, 1), ("gas", 0, 1)]
    source.wh = 130
    assert meter.present(1, asked) == [30, 230, 1, None]
    assert meter.present(2, asked) == [30, 230, 1, None]
    assert meter.read(1, True, True, LOAD) == [30]
    mark = meter.bookmark()
    source.wh = 150
    assert meter.present(3, LOAD) == [20]  # since what was spent last, whether that was counted or not
    assert meter.bookmark() == mark
    assert meter.read(2, False, True, LOAD) == [50]
    source.wh = 1140
    assert meter.present(4, LOAD) == [1000]
    source.wh = 5000  # more than can be believed at once
    assert meter.present(4, LOAD) == [None]
    source.wh = 10  # another meter, or it fell: nothing to tell before read() has seen to it
    assert meter.present(5, LOAD) == [None]
    fresh = RegisterMeter(Register(7))
    fresh.restore(b"")
    assert fresh.present(1, LOAD) == [None]
    source.wh = None
    assert meter.present(6, [("load", 0, 1000), ("power", 0, 5000)]) == [None, 230]
