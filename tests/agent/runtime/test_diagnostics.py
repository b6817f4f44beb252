"""What a board tells of its health, and what a reader of it believes."""

import gc
import sys

from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.store import Store
from agent.runtime.system import diagnostics
from agent.runtime.system.clock import Clock
from agent.runtime.system.diagnostics import Health, largest_block, reset_cause
from agent.wire import cbor, coordination, messages
from tests.support.expect import raises
from tests.support.files_at_hand import Folder

NOW = 1800000000
MICROPYTHON = sys.implementation.name == "micropython"


class Machine:
    """What a protocol machine is to a Health."""

    def __init__(self):
        self.refused = {"replayed": 2}

    def progress(self):
        return "masks", 3, 8

    def masks(self):
        return 3


class Client:
    """What an mqtt.Client is to a Health."""

    def __init__(self):
        self.links = 5
        self.counters = {"link-lost": 3, "ping-timeout": 1}


class Wifi:
    joins = 2

    def counters(self):
        return {"losses": 1, "failures": 0}

    def __init__(self, signal=-70):
        self.signal = signal

    def rssi(self):
        return self.signal


class Meter:
    """What a meter is to a Health."""

    def counters(self):
        return {"register-fell": 3, "glitches": 0}

    def trouble(self):
        return "encrypted"


def read(health):
    """The seven parts of the report."""
    return coordination.read_diagnostics(health.report(Machine(), Client()))


def test_a_board_tells_all_that_it_knows():
    with Folder() as folder:
        store = Store(folder)
        clock = Clock(store)
        clock.set(1, NOW)
        store.put("key", bytes(100))
        store.put("key", bytes(92))
        health = Health(store, clock, Wifi(), 3, 7)
        masks = MaskStock(store)
        health.watch(Meter(), masks)
        store.corrupt, masks.undeleted = 4, 5
        health.collected()
        phase, done, total, masks, free, refused, told = read(health)
        assert (phase, done, total, masks, refused) == ("masks", 3, 8, 3, {"replayed": 2})
        assert told["time"] - NOW in (0, 1) and told["uptime_s"] <= 1
        assert (told["version"], coordination.RESETS[told["reset"]], told["rssi_dbm"]) == (7, "watchdog", -70)
        assert (told["flash_puts"], told["flash_bytes"]) == (2, 208)
        assert (told["links"], told["joins"], told["link_ends"]) == (5, 2, Client().counters)
        assert told["trouble"] == "encrypted"
        assert told["counters"] == {
            "flash": {"corrupt": 4, "undeleted": 5},
            "meter": {"register-fell": 3},
            "wifi": {"losses": 1},
        }
        if MICROPYTHON:
            assert sorted(told) == sorted(coordination.HEALTH)
            assert 0 < told["heap_block"] <= free and told["heap_low"] > 0
        else:
            assert free == 0 and "heap_low" not in told and "heap_block" not in told


def test_what_a_board_does_not_know_is_left_out():
    with Folder() as folder:
        store = Store(folder)
        told = read(Health(store, Clock(store)))[6]
        for name in ("time", "version", "rssi_dbm", "joins", "counters", "trouble"):
            assert name not in told
        assert told["reset"] == 0
        assert "rssi_dbm" not in read(Health(store, Clock(store), Wifi(None)))[6]


def test_the_least_free_heap_is_kept():
    with Folder() as folder:
        store = Store(folder)
        health = Health(store, Clock(store))
        gc.collect()
        health.collected()
        first = health.heap_low
        full = bytearray(20000)
        gc.collect()
        health.collected()
        least = health.heap_low
        assert not MICROPYTHON or least <= first - len(full)
        full = None
        gc.collect()
        health.collected()
        assert health.heap_low == least


def test_the_largest_block_is_what_can_be_had():
    size = largest_block()
    if not MICROPYTHON:
        assert size is None
        return
    assert size % 1024 == 0 and size >= 10240
    gc.collect()
    assert len(bytearray(size)) == size
    gc.collect()
    gc.disable()
    try:
        raises(MemoryError, bytearray, gc.mem_free())
    finally:
        gc.enable()


def test_the_largest_block_shrinks_when_the_heap_is_scattered():
    if not MICROPYTHON:
        assert largest_block() is None
        return
    before = largest_block()
    kept = []
    try:
        while True:
            kept.append(bytearray(4096))
    except MemoryError:
        for at in range(0, len(kept), 2):
            kept[at] = None
    assert largest_block() < before // 4
    kept = None


class Board:
    """A module `machine`, numbered as on an ESP32."""

    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

    def __init__(self, number):
        self.number = number

    def reset_cause(self):
        return self.number


class Pico(Board):
    """The same, as on an RP2: it has two causes."""

    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, None, 3, None, None


def cause_on(board):
    saved = sys.modules.get("machine")
    sys.modules["machine"] = board
    try:
        return coordination.RESETS[reset_cause()]
    finally:
        if saved:
            sys.modules["machine"] = saved
        else:
            sys.modules.pop("machine")


def test_causes_have_names():
    named = [cause_on(Board(number)) for number in range(7)]
    assert named == ["unknown", "power-on", "hard", "watchdog", "deep-sleep", "soft", "unknown"]
    assert [cause_on(Pico(number)) for number in (1, 3, 2)] == ["power-on", "watchdog", "unknown"]
    assert len(diagnostics._CAUSES) == len(coordination.RESETS)


def test_a_machine_without_a_cause_has_an_unknown_one():
    assert reset_cause() == 0 and cause_on(object()) == "unknown"


# -- the message

COUNTERS = {"meter": {"checksum": 2, "discarded": 0xFFFFFFFF}, "wifi": {}}
HEALTH = (60, NOW, 7, 3, -70, 9000, 8192, 4, 5000, 2, 1, {"link-lost": 1}, COUNTERS, "checksum")


def fields():
    return cbor.decode(messages.diagnostics("ready", 1, 1, 8, 100, {}, HEALTH))


def refused(found):
    assert raises(messages.MessageError, coordination.read_diagnostics, cbor.encode(found)).args == ("malformed",)


def test_the_message_says_what_was_said():
    read = coordination.read_diagnostics(cbor.encode(fields()))[6]
    assert [read[name] for name in coordination.HEALTH] == list(HEALTH)


def test_each_value_has_its_range():
    for key in range(7, 21):
        good = fields()
        name = coordination.HEALTH[key - 7]
        values = [None, True, b"x", -200, 1 << 32, [], {"UPPER": 1}, {"x": -1}, {"x": 1 << 32}, {"x": True}]
        values += ["UPPER", "", "x" * 33, {"x": {"UPPER": 1}}, {"x": {"y": {}}}, {"UPPER": {}}, {"x": {"x": -1}}]
        values += [{"part-%d" % part: {} for part in range(9)}]
        if name != "trouble":
            values += ["x"]
        if name not in ("link_ends", "counters"):
            values += [{}]
        if name != "link_ends":
            values += [{"x": 1}]
        if name != "counters":
            values += [{"x": {"x": 1}}]
        if name == "rssi_dbm":
            values += [0, 1, -128]
        else:
            values += [-1]
        if name == "reset":
            values += [6]
        for value in values:
            good[key] = value
            refused(good)
        good.pop(key)
        coordination.read_diagnostics(cbor.encode(good))


def test_other_fields_are_refused():
    for key in (0, -1, 21, "7", ""):
        found = fields()
        found[key] = 1
        refused(found)


def test_no_more_than_96_counters_of_a_part_are_told_and_none_is_lost():
    many = {"reason-%02d" % number: number for number in range(96)}
    for count in (95, 96):
        few = {name: many[name] for name in sorted(many)[:count]}
        message = messages.diagnostics("ready", 1, 1, 8, 100, few, HEALTH[:11] + (few, {"meter": few}))
        read = coordination.read_diagnostics(message)
        assert read[5] == read[6]["link_ends"] == read[6]["counters"]["meter"] == few
    many["reason-96"] = 7
    message = messages.diagnostics("ready", 1, 1, 8, 100, many, HEALTH[:11] + (many, {"meter": many}))
    read = coordination.read_diagnostics(message)
    for counts in (read[5], read[6]["link_ends"], read[6]["counters"]["meter"]):
        assert len(counts) == 96 and counts["reason-94"] == 94 and counts["other"] == 95 + 7
        assert sum(counts.values()) == sum(many.values())
    for key in (6, 18, 19):
        found = fields()
        found[key] = {"meter": many} if key == 19 else many
        refused(found)


def test_what_has_grown_beyond_its_field_stays_at_the_most():
    message = messages.diagnostics("ready", 1, 1, 8, 100, {"late": 1 << 40}, HEALTH)
    assert coordination.read_diagnostics(message)[5] == {"late": 0xFFFFFFFF}


def test_a_report_has_its_size():
    message = messages.diagnostics("ready", 1, 1, 8, 100, {}, HEALTH)
    assert raises(messages.MessageError, coordination.read_diagnostics, message + bytes(8192)).args == ("oversized",)
