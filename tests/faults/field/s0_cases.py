"""Pulses of an S0 output that a board loses, or counts twice, without a word.

Interrupts come late: an ESP32's wait for the garbage collector, an RP2040's for the erasure of a
flash block. Fast meters pause for less than the board takes for a pause, heads on an LED give
short pulses, contacts bounce.

What must hold: pulses that are lost are at least counted as such, never is there more energy than
flowed, and the shortest pulse and the shortest pause can be set to the meter's.
"""

import inspect
import random
from collections.abc import Iterable

from agent.meters.s0_pin import S0Pin
from agent.runtime.flash.store import Store
from firmware.device.settings import Reading
from tests.agent.meters.test_pulse import Clock, Contact
from tests.faults.verdict import Verdict
from tests.support.files_at_hand import Folder

START = 6000  # ms
CLOSED, OPEN = 0, 1
# What S0Pin takes today. Whatever else it comes to take is the pause.
KNOWN = {"self", "pin", "store", "ticks_ms", "ticks_diff", "impulses", "closed", "on_ms"}

Edges = list[tuple[int, int]]  # (ms, level)
Spans = list[tuple[int, int]]  # (from, to) in ms


def pause(shortest: int) -> dict[str, int]:
    """Return the argument that sets the shortest pause in ms; none where it cannot be set."""
    return {name: shortest for name in inspect.signature(S0Pin.__init__).parameters if name not in KNOWN}


def drive(edges: Edges, blocked: Spans = (), impulses: int = 1000, **settings: int) -> tuple[int, int]:
    """Play the edges to a pin; return (Wh, glitches).

    In a span of `blocked` no handler runs; it runs once at the end for all edges in it, as a
    latched interrupt does.
    """
    clock = Clock()
    with Folder() as path:
        contact = Contact()
        source = clock.source(contact, Store(path), impulses, **settings)
        events: list[tuple[int, str, int]] = [(at, "edge", level) for at, level in edges]
        events += [(end, "unblocked", 0) for _, end in blocked]
        events += [(at, "look", 0) for at in range(START, edges[-1][0] + 2000, 1000)]
        waiting = False
        for now, kind, level in sorted(
            events, key=lambda event: (event[0], ("edge", "unblocked", "look").index(event[1]))
        ):
            clock.now = now
            held_up = any(begin <= now < end for begin, end in blocked)
            if kind == "edge":
                contact._level = level
                waiting = waiting or held_up
            if (kind == "edge" and not held_up) or (kind == "unblocked" and waiting):
                waiting = False
                contact._handler(contact)
            elif kind == "look" and not held_up:
                source.total("load")
        clock.now += 500
        return source.total("load"), source.glitches()


def pulses(count: int, period: int, on: int, jitter: int = 0) -> Edges:
    rnd = random.Random(1)
    now, made = START, []
    for _ in range(count):
        made += [(now, CLOSED), (now + on, OPEN)]
        now += period + (rnd.randint(-jitter, jitter) if jitter else 0)
    return made


def repeated(spans: Iterable[tuple[int, int]], period: int, count: int = 100) -> Edges:
    """Return pulses closed over the same spans in each period."""
    made: Edges = []
    for number in range(count):
        for begin, end in spans:
            made += [(START + number * period + begin, CLOSED), (START + number * period + end, OPEN)]
    return made


def every(period: int, spans: Iterable[tuple[int, int]], count: int) -> Spans:
    return [(START + period * k + begin, START + period * k + end) for k in range(count) for begin, end in spans]


def untold(case: str, edges: Edges, blocked: Spans) -> Verdict:
    """1 Wh a pulse: what is lost must be counted among the glitches."""
    flowed = len(edges) // 2
    total, glitches = drive(edges, blocked)
    seen = f"{flowed - total} of {flowed} pulses lost, {glitches} of them counted as such"
    return Verdict(total > flowed or flowed - total > glitches, seen, case)


def exact(case: str, flowed: int, total: int) -> Verdict:
    return Verdict(total != flowed, f"{total} Wh counted, {flowed} Wh flowed", case)


def fault() -> list[Verdict]:
    ordinary = pulses(1000, 327, 32)
    assert drive(ordinary) == (1000, 0), "ordinary pulses are not counted"
    late = pulses(1000, 327, 32, jitter=40)
    slow = pulses(2000, 1800, 30, jitter=300)
    erased = every(1800000, [(60 * block, 60 * block + 50) for block in range(7)], 2)
    short = pulses(1000, 400, 10)
    assert drive(short, on_ms=8)[0] == 1000, "short pulses are not counted when they are set"
    settable = any("on_ms" in name for name in Reading.__dataclass_fields__)
    return [
        untold("50 ms blocked every 2 s", late, every(2000, [(0, 50)], 200)),
        untold("120 ms blocked every 2 s", late, every(2000, [(0, 120)], 200)),
        untold("7 flash blocks erased", slow, erased),
        exact("30 ms on, 15 ms off", 100, drive(pulses(1000, 45, 30), impulses=10000)[0]),
        exact("30 ms on, 10 ms off", 100, drive(pulses(1000, 40, 30), impulses=10000)[0]),
        exact("30 ms on, 8 ms off", 100, drive(pulses(1000, 38, 30), impulses=10000, **pause(5))[0]),
        exact("bounce of 33 ms, 12 ms late", 100, drive(repeated([(0, 90), (102, 135)], 1000), **pause(30))[0]),
        exact("dropout of 1 ms in 60", 100, drive(repeated([(0, 25), (26, 60)], 1000))[0]),
        Verdict(not settable, "on_ms can" + ("" if settable else "not") + " be set by provisioning", "pulses of 10 ms"),
    ]
