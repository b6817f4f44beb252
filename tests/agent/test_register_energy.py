"""Energy in is energy out, for every order of readings, failed spends, lost envelopes, resets and
exchanged meters.

The board's side is the real RegisterMeter, the real MaskStock with its record "spent" and, where
the source counts pulses, the real S0Pin with a real store. The rest is a model of what stands
around them: the order of calls in effects.py, and a coordinator that counts an envelope or not.
"""

import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.meters.account import AGED, STAYS
from agent.meters.register import RegisterMeter
from agent.meters.s0_pin import S0Pin
from agent.protocols.base.identity import CLOSE_WINDOW
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.store import Store, StoreError
from agent.runtime.system.ticks import ticks_diff
from host_sim.virtual.memory_store import MemoryStore

HIGH = 50
SLOTS = [("load", 0, HIGH)]

# What becomes of a round, in the supervisor's order: opening, read, bookmark, record, publish,
# result.
ROUNDS = st.sampled_from(
    [
        "counted",  # all went well
        "lost",  # the envelope left and is in no sum
        "refused",  # read, and then no spend: no mask, no memory
        "failed",  # the flash refused: the record is the old one
        "half-failed",  # the flash failed after the record was there; the board runs on, and after a reset believes the record
        "cut-before",  # power cut before the record
        "cut-after-counted",  # ... after it: the restarted board sends the envelope
        "cut-after-lost",
        "no-link",  # the opening never came
    ]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(0, 130)),
        st.tuples(st.just("round"), ROUNDS),
        st.tuples(st.just("reset"), st.none()),
        st.tuples(st.just("exchange"), st.integers(0, 5000)),
    ),
    max_size=40,
)


def alive() -> None:
    """The flash takes what is put."""


def dead() -> None:
    """It does not."""
    raise StoreError("put", 5)


class Meter:
    """A meter of the house, whose register no board can harm."""

    def __init__(self) -> None:
        self.wh = 1000
        self.name = 0
        self.shown: int | None = None  # instead of what it is

    def total(self, slot: str) -> int | None:
        return self.shown if self.shown is not None else self.wh

    def power(self, slot: str) -> None:
        return None

    def identity(self, slot: str) -> bytes:
        return b"meter %d" % self.name

    def counters(self) -> dict[str, int]:
        return {}

    def trouble(self) -> str:
        return ""


class House:
    """One board and its coordinator. `store` is the flash, `stock` what the running board has of
    it; `published` is what the sums say; `left` has for each contribution that left the board
    whether it had energy that one before it had. `most`: of 48 contributions so many may."""

    def __init__(self, most: int) -> None:
        self.source = Meter()
        self.store = MemoryStore()
        self.most = most
        self.published: dict[int, int] = {}
        self.sent: dict[int, int] = {}
        self.resent: dict[int, bool] = {}
        self.left: list[bool] = []
        self.round = 1
        self.stock = MaskStock(self.store)
        self.reset()

    def reset(self) -> None:
        before = self.stock.sent()
        self.stock = MaskStock(self.store)
        last = self.stock.sent()[1]
        if self.stock.sent() != before:
            # A half-failed spend: the restarted board sends its envelope, and every other is in
            # time.
            self.left.append(self.resent[last])
            if last % 2:
                self.count(last)
        self.meter = RegisterMeter(self.source)
        self.meter.restore(self.stock.bookmark())

    def use(self, wh: int) -> None:
        self.source.wh += wh

    def count(self, round: int) -> None:
        self.published[round] = self.sent[round]

    def play(self, fate: str) -> None:
        """One round, in the order of Board._do_take and _do_spend."""
        round = self.round
        self.round += 1
        if fate == "no-link":
            return
        last = self.stock.sent()[1]
        resend = self.stock.resends() < self.most
        values = self.meter.read(round, last == 0 or last in self.published, resend, SLOTS)
        assert values is not None and 0 <= values[0] <= HIGH
        if fate == "refused":
            return
        if fate == "cut-before":
            self.meter.bookmark()
            self.reset()
            return
        bookmark, resent = self.meter.bookmark(), self.meter.resent()
        self.sent[round], self.resent[round] = values[0], resent
        self.store.fail = dead if fate == "failed" else alive
        self.store.fail_late = dead if fate == "half-failed" else alive
        try:
            self.stock.spend(1, round, b"envelope", bookmark, resent)
        except StoreError:
            self.meter.restore(self.stock.bookmark())
            return
        finally:
            self.store.fail = self.store.fail_late = alive
        self.left.append(resent)
        if fate.startswith("cut-after"):
            self.reset()
        if fate.endswith("counted"):
            self.count(round)

    def owed(self) -> int:
        """Return what was denied and waits, as the flash has it."""
        meter = RegisterMeter(self.source)
        meter.restore(MaskStock(self.store).bookmark())
        return sum(account.owed for account in meter._accounts.values())

    def settle(self) -> int:
        """Let good rounds pass until nothing is left; return all energy that was ever published."""
        for _ in range(5000):
            self.play("counted")
            if self.sent[self.round - 1] == 0 and not self.meter.trouble() and not (self.most and self.owed()):
                return sum(self.published.values())
        raise AssertionError("the backlog does not end")

    def check_resends(self) -> None:
        """Of any 48 contributions at most so many had energy that had been sent before."""
        for start in range(len(self.left)):
            assert sum(self.left[start : start + CLOSE_WINDOW]) <= self.most


def installed(house: House) -> House:
    """Let the board meet its register, which is then known well."""
    for _ in range(AGED):
        house.play("counted")
    return house


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([0, 1, 2, 8, 48]))
def test_energy_in_is_energy_out(steps: list[tuple[str, object]], most: int) -> None:
    house = installed(House(most))
    used = 0
    for kind, what in steps:
        if kind == "use":
            house.use(what)
            used += what
        elif kind == "round":
            house.play(what)
        elif kind == "reset":
            house.reset()
        else:
            for _ in range(STAYS):
                house.play("lost")  # what the board has not seen in a durable reading goes with the old meter
            house.source.wh = what
            house.source.name += 1
            for _ in range(AGED):
                house.play("lost")  # and then the new one is known
    assert house.settle() + house.owed() == used
    assert most == 0 or house.owed() == 0
    house.check_resends()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=60, max_size=200), st.sampled_from([1, 2, 8]))
def test_a_long_denial_doubles_few_readings_and_loses_none(denied: list[bool], most: int) -> None:
    house = installed(House(most))
    for number, lost in enumerate(denied):
        house.use(7)
        if number % 13 == 5:
            house.reset()
        house.play("lost" if lost else "counted")
    assert house.settle() == 7 * len(denied)
    house.check_resends()


DIPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(0, HIGH)),
        st.tuples(st.just("round"), ROUNDS),
        st.tuples(st.just("shows"), st.sampled_from([0, 5, 999, 1000, 10**6, 10**9])),
        st.tuples(st.just("reset"), st.none()),
        st.tuples(st.just("exchange"), st.integers(0, 5000)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(DIPS)
def test_never_is_more_published_than_flowed(steps: list[tuple[str, object]]) -> None:
    house = installed(House(8))
    used = 0
    for kind, what in steps:
        house.source.shown = None
        if kind == "use":
            house.use(what)
            used += what
        elif kind == "round":
            house.play(what)
        elif kind == "shows":
            house.source.shown = what if abs(what - house.source.wh) > STAYS * HIGH else None
            house.play("counted")
        elif kind == "reset":
            house.reset()
        else:
            house.source.wh = what
            house.source.name += 1
        assert sum(house.published.values()) <= used
    house.source.shown = None
    assert house.settle() <= used


def test_whose_limit_a_reboot_resets_resends_more() -> None:
    """The control: what the tests above hold against is seen."""
    house = installed(House(2))
    for _ in range(20):
        house.use(7)
        house.reset()
        house.stock._counts = (house.stock.total(), 0)
        house.play("lost")
    with pytest.raises(AssertionError):
        house.check_resends()


class Contact:
    """A pin with a hard interrupt."""

    IRQ_FALLING = 1
    IRQ_RISING = 2
    level = 1

    def value(self) -> int:
        return self.level

    def irq(self, handler, trigger, hard) -> None:
        self.handler = handler

    def turn(self, level: int) -> None:
        self.level = level
        self.handler(self)


class PulseHouse(House):
    """A house whose energy is pulses at a pin, 1 Wh each: only the board counts them."""

    def __init__(self, folder: str, now: list[int]) -> None:
        self.folder = folder
        self.now = now
        super().__init__(8)

    def reset(self) -> None:
        self.contact = Contact()
        self.source = S0Pin(self.contact, Store(self.folder), lambda: self.now[0], ticks_diff, 1000)
        super().reset()

    def use(self, wh: int) -> None:
        for _ in range(wh):
            for level in (0, 1):
                self.now[0] += 40
                self.contact.turn(level)


PULSE_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(0, 60)),
        st.tuples(st.just("round"), ROUNDS.filter(lambda fate: fate != "half-failed")),
        st.tuples(st.sampled_from(["reset", "save"]), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(PULSE_STEPS)
def test_a_cut_takes_the_pulses_since_the_last_record_and_nothing_else(steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        now = [1000]
        house = installed(PulseHouse(folder, now))
        used = kept = 0  # all pulses that count; those of them that a record or a bookmark holds
        for kind, what in steps:
            if kind == "use":
                house.use(what)
                used += what
            elif kind == "save":
                house.source.save()
                kept = used
            elif kind == "reset":
                house.reset()
                used = kept
            else:
                if what in ("counted", "lost", "cut-after-counted", "cut-after-lost"):
                    kept = used
                house.play(what)
                if what == "cut-before":
                    used = kept
        assert house.settle() == used
