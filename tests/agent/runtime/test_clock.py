"""The clock: what it believes, what it keeps, and that it outlives the ticks' wrapping around."""

from agent.runtime.flash.store import Store, StoreError
from agent.runtime.system import clock
from agent.runtime.system.clock import (
    BACK_MOST,
    DOUBT_MOST,
    DOUBT_S,
    EARLIEST,
    KEEP_S,
    LATEST,
    UNTIL_MOST,
    Clock,
    calendar,
)
from tests.agent.runtime.test_store import FailingStore
from tests.support.files_at_hand import Folder

NOW = 1800000000
DAY = 86400


class Rtc:
    """What machine.RTC is to a Clock."""

    def __init__(self):
        self.set = []

    def datetime(self, fields):
        self.set.append(fields)


class Ticks:
    """Ticks that wrap around at 2^30 ms, as on a board, in the place of the interpreter's own;
    `pass_s` lets time go by."""

    PERIOD = 1 << 30

    def __init__(self, start=PERIOD - 5000):
        self.now = start

    def pass_s(self, seconds):
        self.now = (self.now + int(seconds * 1000)) % self.PERIOD

    def diff(self, later, earlier):
        return (later - earlier + self.PERIOD // 2) % self.PERIOD - self.PERIOD // 2

    def __enter__(self):
        self.saved = clock.ticks_ms, clock.ticks_diff
        clock.ticks_ms, clock.ticks_diff = lambda: self.now, self.diff
        return self

    def __exit__(self, *_):
        clock.ticks_ms, clock.ticks_diff = self.saved


def test_a_clock_that_was_told_nothing_knows_nothing():
    with Folder() as folder:
        mine = Clock(Store(folder))
        assert mine.now() == 0 and mine.uptime() == 0


def test_the_time_goes_on_from_what_was_told():
    with Folder() as folder, Ticks() as ticks:
        mine = Clock(Store(folder))
        assert mine.set(1, NOW)
        ticks.pass_s(90)
        assert mine.now() == NOW + 90


def test_uptime_outlives_the_ticks_wrapping_around():
    with Folder() as folder, Ticks() as ticks:
        mine = Clock(Store(folder))
        assert mine.set(1, NOW)
        for day in range(1, 41):
            ticks.pass_s(DAY + 0.25)
            assert mine.uptime() == int(day * (DAY + 0.25))
        assert mine.now() == NOW + 40 * DAY + 10


def test_within_an_epoch_it_goes_back_a_little_and_not_again_and_again():
    with Folder() as folder, Ticks():
        mine = Clock(Store(folder))
        assert mine.set(3, NOW) and mine.set(3, NOW - BACK_MOST) and mine.set(3, NOW - BACK_MOST)
        assert mine.now() == NOW - BACK_MOST
        assert not mine.set(3, NOW - BACK_MOST - 1) and not mine.set(2, NOW + DAY)
        assert mine.now() == NOW - BACK_MOST
        assert mine.set(3, NOW + 60) and not mine.set(3, NOW - BACK_MOST + 59)
        assert mine.now() == NOW + 60


def test_a_message_that_was_long_on_its_way_puts_no_clock_back():
    with Folder() as folder, Ticks() as ticks:
        mine = Clock(Store(folder))
        assert mine.set(1, NOW)
        ticks.pass_s(900.5)
        assert mine.set(1, NOW + 830)  # retained for 70 seconds
        assert mine.now() == NOW + 900 and mine.until(NOW + 901) == 500
        ticks.pass_s(900)
        assert mine.set(1, NOW + 1799) and mine.now() == NOW + 1799  # what oscillators differ by, and the way here
        assert mine.set(1, NOW + 1900) and mine.now() == NOW + 1900


def test_two_that_say_so_put_it_back_and_by_no_more_than_both_of_them_say():
    with Folder() as folder, Ticks() as ticks:
        mine = Clock(Store(folder))
        for first, second, after in ((300, 100, 100), (100, 300, 100), (60, 60, 60)):
            assert mine.set(1, NOW + 600)
            assert mine.set(1, NOW + 600 - first) and mine.now() == NOW + 600
            assert mine.set(1, NOW + 600 - second) and mine.now() == NOW + 600 - after
        ticks.pass_s(7200)
        assert mine.set(1, NOW + 7737) and mine.now() == NOW + 7737  # wrong by three seconds in two hours, at most
        assert mine.set(1, NOW + 7700) and mine.set(1, NOW + 7738) and mine.set(1, NOW + 7700)
        assert mine.now() == NOW + 7738  # one of each is none in a row


def test_it_tells_how_long_it_is_until_an_instant():
    with Folder() as folder, Ticks() as ticks:
        mine = Clock(Store(folder), NOW)
        assert mine.until(NOW) is None  # nothing was told
        ticks.pass_s(0.25)
        assert mine.set(1, NOW) and mine.until(NOW + 30) == 30000 and mine.until(NOW) == 0
        ticks.pass_s(30.9)
        assert mine.until(NOW + 30) == -900 and mine.until(NOW + 31) == 100
        assert mine.until(NOW + 31 - BACK_MOST) == -1000 * BACK_MOST + 100
        assert mine.until(NOW + 30 - BACK_MOST) is None and mine.until(NOW + 32 + UNTIL_MOST) is None


def test_the_next_epoch_may_correct_it():
    with Folder() as folder, Ticks():
        mine = Clock(Store(folder))
        assert mine.set(3, NOW + 1000 * DAY) and not mine.set(3, NOW)
        assert mine.set(4, NOW) and mine.now() == NOW
        assert not mine.set(4, NOW - DAY)


def test_a_coordinator_without_a_clock_tells_nothing():
    with Folder() as folder:
        mine = Clock(Store(folder))
        for seconds in (0, 1234, EARLIEST - 1, LATEST + 1, 0xFFFFFFFF):
            assert mine.set(1, seconds) and mine.now() == 0


def test_it_is_kept_once_a_day_at_most():
    with Folder() as folder, Ticks():
        store = Store(folder)
        mine = Clock(store, NOW)
        mine.keep()
        assert store.puts == 0
        for minute in range(3 * 24 * 60):
            mine.set(1, NOW + 60 * minute)
            mine.keep()
        assert store.puts == 2


def test_a_board_that_starts_again_believes_what_it_kept():
    with Folder() as folder, Ticks():
        mine = Clock(Store(folder), NOW)
        mine.set(5, NOW + KEEP_S)
        mine.keep()
        rtc = Rtc()
        after = Clock(Store(folder), NOW, rtc)
        assert rtc.set == [calendar(NOW + KEEP_S)] and after.now() == 0
        assert not after.set(4, NOW + 2 * KEEP_S) and not after.set(5, NOW)
        assert after.set(5, NOW + KEEP_S + 1)


def test_provisioning_anew_forgets_a_wrong_time():
    with Folder() as folder, Ticks():
        mine = Clock(Store(folder), NOW)
        mine.set(5, NOW + 3000 * DAY)
        mine.keep()
        rtc = Rtc()
        after = Clock(Store(folder), NOW + DAY, rtc)
        assert rtc.set == [calendar(NOW + DAY)] and after.set(5, NOW + DAY + 60)


def test_a_damaged_record_is_none():
    with Folder() as folder:
        store = Store(folder)
        for record in (b"", bytes(11), bytes(12), b"\xff" * 12):
            store.put("clock", record)
            rtc = Rtc()
            mine = Clock(store, NOW, rtc)
            assert rtc.set == [calendar(NOW)] and mine.set(1, NOW)


def test_a_flash_that_cannot_be_read_or_written_changes_no_time():
    with Folder() as folder:
        store = FailingStore(folder)
        store.fail = ("get", "put")
        mine = Clock(store)
        assert mine.set(1, NOW) and mine.now() >= NOW
        try:
            mine.keep()
            raise AssertionError("kept")
        except StoreError:
            assert mine.now() >= NOW


def test_doubt_tries_month_after_month_until_the_time_is_told():
    with Folder() as folder, Ticks():
        rtc = Rtc()
        mine = Clock(Store(folder), NOW, rtc)
        for _ in range(DOUBT_MOST + 1):
            mine.doubt()
        months = list(range(1, DOUBT_MOST + 1)) + [1]
        assert rtc.set[1:] == [calendar(NOW + month * DOUBT_S) for month in months]
        mine.set(1, NOW + 5)
        mine.doubt()
        assert rtc.set[-2:] == [calendar(NOW + 5), calendar(NOW + 5 + DOUBT_S)]


def test_calendar():
    assert calendar(0) == (1970, 1, 1, 3, 0, 0, 0, 0)
    assert calendar(951782399) == (2000, 2, 28, 0, 23, 59, 59, 0)
    assert calendar(951782400) == (2000, 2, 29, 1, 0, 0, 0, 0)
    assert calendar(951868800) == (2000, 3, 1, 2, 0, 0, 0, 0)
    assert calendar(1735689599) == (2024, 12, 31, 1, 23, 59, 59, 0)
    assert calendar(1800000000) == (2027, 1, 15, 4, 8, 0, 0, 0)
    assert calendar(2147483648) == (2038, 1, 19, 1, 3, 14, 8, 0)
    assert calendar(LATEST) == (2100, 1, 1, 4, 0, 0, 0, 0)
