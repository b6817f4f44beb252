"""Pulses: what counts as one, energy without rounding, and the pin with its durable count."""

import asyncio

from agent.meters.pulse import PulseRegister, Pulses, pulses_since
from agent.meters.s0_pin import SAVE_S, S0Pin
from agent.runtime.flash.store import Store, StoreError
from agent.runtime.system.ticks import ticks_diff, ticks_ms
from tests.agent.runtime.test_store import FailingStore, flip
from tests.support.expect import raises
from tests.support.files_at_hand import Folder

try:
    from micropython import heap_lock, heap_unlock
except ImportError:  # CPython cannot lock its heap

    def heap_lock():
        pass

    def heap_unlock():
        pass


TURN = 1 << 30


def counted(*spans, start=1000, on_ms=30):
    """Play on, off, on, off, ... of so many ms each, after a long time off; return (pulses,
    glitches)."""
    pulses = Pulses(start % TURN, False, on_ms)
    now = start + 5000
    on = True
    for span in spans + (5000,):
        pulses.edge(now % TURN, on)
        now += span
        on = not on
    return pulses.count, pulses.glitches


def test_a_contact_closed_for_thirty_milliseconds_is_a_pulse():
    assert counted(30) == (1, 0)
    assert counted(29) == (0, 1)
    assert counted(30, 30, 30, 30, 30) == (3, 0)
    assert counted(120, 5000, 90) == (2, 0)
    assert counted(20, on_ms=20) == (1, 0)


def test_bouncing_makes_neither_more_pulses_nor_fewer():
    assert counted(1, 1, 2, 1, 40)[0] == 1  # when it closes
    assert counted(40, 1, 1, 2, 1)[0] == 1  # when it opens
    assert counted(40, 2, 40)[0] == 1  # in between: no meter opens for 2 ms
    assert counted(2, 1, 40, 1, 2, 60, 1, 1, 35, 1, 3)[0] == 2
    assert counted(*[10] * 99)[0] == 0  # 50 Hz picked up


def test_ticks_may_turn_in_the_middle():
    for start in range(TURN - 5100, TURN - 4900, 10):
        assert counted(30, 30, 29, 40, 50, start=start) == (2, 1)


def test_a_contact_that_stays_closed_is_one_pulse():
    pulses = Pulses(0, False)
    pulses.edge(5000, True)
    for now in range(5000, 100000, 1000):
        pulses.edge(now, True)
    assert pulses.count == 1
    pulses.edge(100000, False)
    assert pulses.count == 1 and pulses.glitches == 0


def test_a_pulse_under_way_at_the_start_is_not_counted():
    pulses = Pulses(0, True)
    pulses.edge(50, False)
    assert pulses.count == 0
    pulses.edge(200, True)
    pulses.edge(260, False)
    assert pulses.count == 1


def test_silence_longer_than_the_ticks_turn_is_no_harm_if_somebody_looks():
    pulses = Pulses(0, False)
    for day in range(1, 40):
        pulses.edge(day * 86400000 % TURN, False)
    now = 40 * 86400000
    pulses.edge(now % TURN, True)
    pulses.edge((now + 30) % TURN, False)
    assert pulses.count == 1


def test_the_count_turns_and_differences_do_not_mind():
    pulses = Pulses(0, False)
    pulses.count = TURN - 1
    pulses.edge(100, True)
    pulses.edge(150, False)
    assert pulses.count == 0
    assert pulses_since(0, TURN - 1) == 1 and pulses_since(7, 7) == 0 and pulses_since(3, TURN - 2) == 5


def test_the_shortest_pause_can_be_set():
    for off_ms, gap, count in ((10, 9, 1), (10, 10, 2), (5, 5, 2), (40, 30, 1)):
        pulses = Pulses(0, False, 30, off_ms)
        now = 5000
        for on, span in ((True, 30), (False, gap), (True, 30), (False, 5000)):
            pulses.edge(now, on, True)
            now += span
        assert pulses.count == count, (off_ms, gap)


def test_a_pulse_that_is_over_when_the_interrupt_comes_is_counted_as_missed():
    pulses = Pulses(0, False)
    pulses.edge(5000, False, True)  # it came and went
    assert (pulses.count, pulses.missed) == (0, 1)
    pulses.edge(5001, False, True)  # and bounces
    pulses.edge(5020, False)  # nobody called
    assert pulses.missed == 1
    pulses.edge(6000, True, True)
    pulses.edge(6040, True)
    pulses.edge(6100, True, True)  # open and closed again: two pulses in one
    pulses.edge(6200, False, True)
    assert (pulses.count, pulses.glitches, pulses.missed) == (1, 0, 2)
    pulses.edge(6202, False, True)
    assert pulses.missed == 2


def test_an_edge_takes_no_memory():
    pulses = Pulses(0, False)
    heap_lock()
    try:
        pulses.edge(100, True)
        pulses.edge(150, False)
        pulses.edge(200, True)
        pulses.edge(205, False)
        pulses.edge(TURN - 1, False)
    finally:
        heap_unlock()
    assert (pulses.count, pulses.glitches) == (1, 1)


def test_no_pulse_is_rounded_away():
    for impulses in (1, 3, 7, 375, 1000, 1600, 2000, 100000):
        register = PulseRegister(impulses)
        pulses = 0
        for step in range(1, 400):
            register.add(step)
            pulses += step
            assert register.wh == pulses * 1000 // impulses
            register = PulseRegister(impulses, register.pack())


def test_a_register_is_for_one_to_a_hundred_thousand_impulses():
    for impulses in (0, -1, 100001, 1.5, "1000", None):
        raises(ValueError, PulseRegister, impulses)


def test_another_number_of_impulses_keeps_the_energy():
    register = PulseRegister(3)
    register.add(4)
    assert register.wh == 1333
    assert PulseRegister(3, register.pack()).pack() == register.pack()
    other = PulseRegister(2000, register.pack())
    other.add(1)
    assert other.wh == 1333
    other.add(1)
    assert other.wh == 1334


def test_a_record_that_is_none_begins_at_zero():
    good = PulseRegister(3).pack()
    for record in (None, b"", good[:-1], good + b"x", b"\x02" + good[1:], b"\x01" + b"\xff" * 16):
        assert PulseRegister(3, record).wh == 0


def test_a_register_goes_on_from_what_was_told_of_it():
    register = PulseRegister(1000)
    register.add(10)
    register.resume(7)
    assert register.wh == 10
    register.resume(25)
    register.add(1)
    assert register.wh == 26


class Contact:
    """A pin that a test closes and opens, and that calls its handler as machine.Pin does: `hard` as
    an RP2040's, else an ESP32's."""

    IRQ_FALLING = 1
    IRQ_RISING = 2

    def __init__(self, hard=True, level=1):
        self._hard = hard
        self._level = level
        self._handler = None
        self.at_value = None

    def value(self):
        level = self._level
        if self.at_value:
            change, self.at_value = self.at_value, None
            change()
        return level

    def irq(self, handler, trigger, **options):
        if options and not self._hard:
            raise TypeError("extra keyword arguments given")
        assert trigger == 3 and options == ({"hard": True} if self._hard else {})
        self._handler = handler

    def turn(self, level):
        self._level = level
        self._handler(self)


class Clock:
    """A board's clock, set by hand."""

    def __init__(self):
        self.now = 1000

    def source(self, contact, store, impulses, **options):
        return S0Pin(contact, store, lambda: self.now, ticks_diff, impulses, **options)

    def pulse(self, contact, on=50, off=50, closed=0):
        self.now += off
        contact.turn(closed)
        self.now += on
        contact.turn(1 - closed)


def test_pulses_at_a_pin_become_energy():
    clock = Clock()
    with Folder() as path:
        for hard in (True, False):
            contact = Contact(hard)
            source = clock.source(contact, Store(path), 800)
            for _ in range(7):
                clock.pulse(contact)
            clock.pulse(contact, on=5)
            assert source.total("load") == 7 * 1000 // 800
            assert source.glitches() == 1
            assert source.counters() == {"pulses": 7, "too-short": 1, "too-late": 0, "unsaved": 0}
            assert source.total("export") is None and source.power("power") is None
            assert source.identity("load") == b"" and source.trouble() == ""
        contact = Contact(level=0)
        source = clock.source(contact, Store(path), 1000, closed=1, on_ms=10)
        clock.pulse(contact, on=12, closed=1)
        assert source.total("load") == 1


def test_a_level_that_changes_while_the_task_looks_is_not_missed():
    clock = Clock()
    with Folder() as path:
        contact = Contact()
        source = clock.source(contact, Store(path), 1000)
        clock.now += 100
        contact.at_value = lambda: contact.turn(0)  # the interrupt comes when the level has just been read
        assert source.total("load") == 0
        clock.now += 40
        contact.at_value = lambda: contact.turn(1)
        source.total("load")
        assert source.total("load") == 1


def test_an_edge_without_an_interrupt_is_seen_at_the_next_look():
    clock = Clock()
    with Folder() as path:
        contact = Contact()
        source = clock.source(contact, Store(path), 1000)
        clock.pulse(contact)
        clock.now += 100
        contact.turn(0)
        clock.now += 50
        contact._level = 1  # and nobody was told
        clock.now += 500
        assert source.total("load") == 2
        clock.now += 500
        clock.pulse(contact)
        assert source.total("load") == 3


def test_what_was_saved_is_there_after_a_reset_and_no_more():
    clock = Clock()
    with Folder() as path:
        contact = Contact()
        source = clock.source(contact, Store(path), 3)
        for _ in range(10):
            clock.pulse(contact)
        source.save()
        clock.pulse(contact)
        assert source.total("load") == 11000 // 3
        source = clock.source(Contact(), Store(path), 3)  # the power was cut
        assert source.total("load") == 10000 // 3
        source.resume("load", 3600)
        source.resume("load", 100)
        assert source.total("load") == 3600


def test_the_task_saves_every_quarter_of_an_hour_and_only_what_is_new():
    clock = Clock()
    with Folder() as path:
        store = FailingStore(path)
        contact = Contact()
        source = clock.source(contact, store, 1000)

        def saved():
            return clock.source(Contact(), Store(path), 1000).total("load")

        clock.pulse(contact)
        source.tend()
        assert saved() == 0
        clock.now += SAVE_S * 1000
        source.tend()
        assert saved() == 1
        store.fail = ("put",)
        clock.now += SAVE_S * 1000
        source.tend()
        assert source.unsaved == 0  # nothing new: nothing to write
        clock.pulse(contact)
        clock.now += SAVE_S * 1000
        source.tend()
        source.tend()
        assert source.unsaved == 1 and saved() == 1
        raises(StoreError, source.save)  # when a run ends, the supervisor wants to know why
        assert source.unsaved == 1
        store.fail = ()
        clock.now += SAVE_S * 1000
        source.tend()
        assert saved() == 2


def test_a_damaged_record_is_no_record():
    clock = Clock()
    with Folder() as path:
        contact = Contact()
        source = clock.source(contact, Store(path), 1000)
        clock.pulse(contact)
        source.save()
        flip(path + "/pulses", 12)
        assert clock.source(Contact(), Store(path), 1000).total("load") == 0


def test_the_handler_takes_no_memory():
    with Folder() as path:
        contact = Contact()
        source = S0Pin(contact, Store(path), ticks_ms, ticks_diff, 1000)
        contact._level = 0
        heap_lock()
        try:
            contact._handler(contact)
            contact._handler(contact)
        finally:
            heap_unlock()
        assert source.total("load") == 0


def test_the_task_says_that_it_is_alive():
    async def scenario():
        with Folder() as path:
            source = S0Pin(Contact(), Store(path), ticks_ms, ticks_diff, 1000)
            alive = asyncio.Event()
            task = asyncio.create_task(source.run(alive.set))
            await asyncio.wait_for(alive.wait(), 60)
            task.cancel()

    asyncio.run(scenario())
