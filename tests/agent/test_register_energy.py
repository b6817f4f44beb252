"""Energy in is energy out, for every order of readings, failed spends, lost envelopes, resets and
exchanged meters.

The board's side is the real RegisterMeter and, where the source counts pulses, the real S0Pin with
a real store. The rest is a model of what stands around them: the atomic record "spent" of
mask_stock, the supervisor's order of calls, and a coordinator that counts an envelope or does not.
"""

import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.meters.register import RegisterMeter
from agent.meters.s0_pin import S0Pin
from agent.runtime.flash.store import Store
from agent.runtime.system.ticks import ticks_diff

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


class Meter:
    """A meter of the house, whose register no board can harm."""

    def __init__(self) -> None:
        self.wh = 1000
        self.name = 0

    def total(self) -> int:
        return self.wh

    def identity(self) -> bytes:
        return b"meter %d" % self.name


class House:
    """One board and its coordinator. `flash` and `running` are (sent round, bookmark); `published`
    is what the sums say."""

    def __init__(self) -> None:
        self.source = Meter()
        self.flash: tuple[int, bytes] = (-1, b"")
        self.running = self.flash
        self.published: dict[int, int] = {}
        self.sent: dict[int, int] = {}
        self.round = 0
        self.reset()

    def reset(self) -> None:
        if self.flash != self.running and self.flash[0] % 2:
            self.count(
                self.flash[0]
            )  # a half-failed spend: the restarted board sends its envelope, and every other is in time
        self.running = self.flash
        self.meter = RegisterMeter(self.source)
        self.meter.restore(self.running[1])

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
        last = self.running[0]
        values = self.meter.read(round, last < 0 or last in self.published, True, SLOTS)
        assert values is not None and 0 <= values[0] <= HIGH
        if fate == "refused":
            return
        if fate == "cut-before":
            self.meter.bookmark()
            self.reset()
            return
        record = (round, self.meter.bookmark())
        if fate in ("failed", "half-failed"):
            self.meter.restore(self.running[1])
            if fate == "half-failed":
                self.flash = record
                self.sent[round] = values[0]
            return
        self.flash = self.running = record
        self.sent[round] = values[0]
        if fate.startswith("cut-after"):
            self.reset()
        if fate.endswith("counted"):
            self.count(round)

    def settle(self) -> int:
        """Let good rounds pass until nothing is left; return all energy that was ever published."""
        for _ in range(1000):
            self.play("counted")
            if self.sent[self.round - 1] == 0:
                return sum(self.published.values())
        raise AssertionError("the backlog does not end")


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_energy_in_is_energy_out(steps: list[tuple[str, object]]) -> None:
    house = House()
    house.play("counted")  # the board is installed
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
            house.play("lost")  # what the board has not seen in a durable reading goes with the old meter
            house.source.wh = what
            house.source.name += 1
            house.play("lost")  # and counting of the new one begins with a durable reading
    assert house.settle() == used


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
        super().__init__()

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
        house = PulseHouse(folder, now)
        house.play("counted")
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
