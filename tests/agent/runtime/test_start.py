"""From settings to a board, on a machine of the tests' own: its radio, pins, clock and watchdog are
in the places of the real ones."""

import asyncio
import sys

from agent.meters.simulated import SimulatedMeter
from agent.runtime.settings import SettingsError
from agent.runtime.start import UNLINKED_MOST_S, assemble, assemble_board
from agent.runtime.system.clock import calendar
from agent.runtime.system.watchdog import TIMEOUT_MS
from tests.support.expect import raises
from tests.support.files_at_hand import Folder

NOW = 1800000000
SETTINGS = {
    "deployment": "street",
    "group": "north",
    "device": "meter-a",
    "authority": "04" + "5a" * 64,
    "host": "192.0.2.1",
    "time": NOW,
    "meter": {"kind": "simulated", "columns": [[5, 6]]},
}


class Machine:
    """The module `machine` of a board. `dogs` are the times of the watchdogs that were started,
    `pins` and `uarts` what was opened."""

    PWRON_RESET, WDT_RESET = 1, 3

    def __init__(self):
        self.set = []
        self.dogs = []
        self.pins = []
        self.uarts = []
        self.meals = 0
        machine = self

        class Rtc:
            def datetime(self, fields):
                machine.set.append(fields)

        class Dog:
            def __init__(self, timeout):
                machine.dogs.append(timeout)

            def feed(self):
                machine.meals += 1

        class Pin:
            IN, PULL_UP, IRQ_RISING, IRQ_FALLING = 0, 1, 4, 8

            def __init__(self, number, *_):
                if number == 40:
                    raise ValueError("invalid pin")
                machine.pins.append(number)

            def value(self):
                return 1

            def irq(self, **_):
                return None

        class Uart:
            def __init__(self, number, **options):
                machine.uarts.append((number, options["baudrate"]))

            def any(self):
                return 0

        self.RTC, self.WDT, self.Pin, self.UART = Rtc, Dog, Pin, Uart

    def reset_cause(self):
        return self.WDT_RESET


class Network:
    """The module `network` of a board whose Wi-Fi is out of reach."""

    STA_IF = 0

    def __init__(self):
        self.said = []
        network = self

        class Wlan:
            PM_NONE = 0

            def __init__(self, kind):
                network.said.append(("kind", kind))

            def isconnected(self):
                return False

            def status(self):
                return -2

            def active(self, on):
                return None

            def config(self, **_):
                return None

            def disconnect(self):
                return None

            def connect(self, *arguments):
                network.said.append(("connect",) + arguments)

        self.WLAN = Wlan

    def hostname(self, name):
        self.said.append(("hostname", name))

    def country(self, name):
        self.said.append(("country", name))


class Hardware:
    """With these modules in the places of the interpreter's own."""

    def __init__(self):
        self.machine, self.network = Machine(), Network()

    def __enter__(self):
        self.saved = {name: sys.modules.get(name) for name in ("machine", "network")}
        sys.modules["machine"], sys.modules["network"] = self.machine, self.network
        return self

    def __exit__(self, *_):
        for name, module in self.saved.items():
            if module is None:
                sys.modules.pop(name)
            else:
                sys.modules[name] = module


def settings(folder, **changes):
    found = dict(SETTINGS, flash=folder)
    found.update(changes)
    return found


def silent(event, fields):
    return None


async def until(condition):
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


def run(board, condition):
    """Run the board until `condition()`."""

    async def main():
        running = asyncio.create_task(board.run())
        try:
            await until(lambda: condition() or running.done())
        finally:
            await board.client.stop()
            await running

    asyncio.run(main())


def test_a_board_has_a_clock_and_a_watchdog_that_is_fed():
    with Folder() as folder, Hardware() as at:
        board = assemble_board(settings(folder), silent, 7)
        assert at.machine.set == [calendar(NOW)] and at.machine.dogs == [TIMEOUT_MS] and at.machine.meals == 0
        assert board.client.address == ("192.0.2.1", 1883, None, "192.0.2.1") and board.unlinked_most_s is None
        run(board, lambda: at.machine.meals)
        assert at.network.said == []


def test_a_board_joins_its_wifi_before_it_tries_a_link():
    wifi = {"ssid": "street", "password": "8 or more", "country": "BE"}
    with Folder() as folder, Hardware() as at:
        board = assemble_board(settings(folder, wifi=wifi), silent)
        assert board.unlinked_most_s == UNLINKED_MOST_S
        run(board, lambda: ("connect", "street", "8 or more") in at.network.said)
        assert at.network.said[:3] == [("country", "BE"), ("hostname", "meter-a"), ("kind", 0)]
        assert board.client.counters == {}


def test_the_meters_task_is_one_of_the_boards():
    meter = {"kind": "p1", "uart": 1, "rx": 5}
    with Folder() as folder, Hardware() as at:
        board = assemble_board(settings(folder, meter=meter), silent)
        assert at.machine.uarts == [(1, 115200)]
        watched = []
        watch = board.watchdog.watch
        board.watchdog.watch = lambda name, seconds: watched.append(name) or watch(name, seconds)
        run(board, lambda: at.machine.meals)
        assert sorted(watched) == ["diagnostics", "idle", "link", "meter", "outbox", "retry"]
    with Folder() as folder, Hardware() as at:
        assemble_board(settings(folder, meter=dict(meter, old=True)), silent)
        assert at.machine.uarts == [(1, 9600)]


def test_what_is_set_of_a_line_is_not_tried():
    for extra, ways in (
        ({}, 4),
        ({"old": False}, 4),
        ({"old": True}, 1),
        ({"rate": 115200, "framing": "7E1"}, 1),
        ({"framing": "7E1"}, 2),
        ({"rate": 2400}, 2),
    ):
        with Folder() as folder, Hardware() as at:
            board = assemble_board(settings(folder, meter=dict({"kind": "p1", "uart": 1, "rx": 5}, **extra)), silent)
            port = board.effects.meter._source
            assert len(port._ways) == ways and (port._reopen is None) == (ways == 1)
            assert at.machine.uarts == [(1, port._ways[0][0])]
            if port._reopen:
                port._reopen(9600)
                assert at.machine.uarts[-1] == (1, 9600)


def test_an_optical_head_is_at_a_uart():
    for extra, rate in (({}, 9600), ({"rate": 115200}, 115200)):
        with Folder() as folder, Hardware() as at:
            board = assemble_board(settings(folder, meter=dict({"kind": "sml", "uart": 1, "rx": 5}, **extra)), silent)
            assert at.machine.uarts == [(1, rate)]
            assert board.effects.meter._source.total("load") is None


def test_pulses_are_saved_when_the_run_ends():
    meter = {"kind": "s0", "pin": 15, "impulses": 1000, "on_ms": 20, "off_ms": 5}
    with Folder() as folder, Hardware() as at:
        board = assemble_board(settings(folder, meter=meter), silent)
        assert at.machine.pins == [15]
        pulses = board.effects.meter._source._pulses
        assert (pulses._on_ms, pulses._off_ms) == (20, 5)
        saved = []
        board.at_end = lambda save=board.at_end: saved.append(save())
        run(board, lambda: at.machine.meals)
        assert saved == [None]


def test_a_list_is_played_back():
    with Folder() as folder, Hardware():
        path = folder + "/day.txt"
        board = assemble_board(settings(folder), silent)
        assert board.effects.meter.read(1, False, True, []) == [6]
        with open(path, "w") as file:
            file.write("100\n200\n")
        board = assemble_board(settings(folder, meter={"kind": "played", "path": path, "step_s": 1800}), silent)
        assert board.effects.meter.read(0, False, True, [("load", 0, 1000)]) == [0]


def test_hardware_that_is_not_there_is_a_setting_that_is_wrong():
    with Folder() as folder, Hardware() as at:
        for meter, name in (
            ({"kind": "s0", "pin": 40, "impulses": 1000}, "meter"),
            ({"kind": "p1", "uart": 1, "rx": 5, "inverted": True}, "meter"),
            ({"kind": "sml", "uart": 1, "rx": 5, "inverted": True}, "meter"),
            ({"kind": "played", "path": folder + "/none", "step_s": 1}, "meter"),
            (None, "meter"),
        ):
            assert raises(SettingsError, assemble_board, settings(folder, meter=meter), silent).args == (name,)
        with open(folder + "/bad.txt", "w") as file:
            file.write("much\n")
        meter = {"kind": "played", "path": folder + "/bad.txt", "step_s": 1}
        assert raises(SettingsError, assemble_board, settings(folder, meter=meter), silent).args == ("meter.path",)
        assert at.machine.dogs == []


def test_wrong_settings_start_nothing():
    with Folder() as folder, Hardware() as at:
        for field, value in (("port", 0), ("wifi", 5), ("ca", folder + "/none"), ("policy", "d2")):
            wrong = settings(folder, **{field: value})
            assert raises(SettingsError, assemble_board, wrong, silent).args == (field,)
            assert raises(SettingsError, assemble, wrong, None, silent).args == (field,)
        assert raises(SettingsError, assemble_board, [], silent).args == ("settings",)
        assert at.machine.dogs == []


def test_the_simulators_board_has_no_hardware():
    with Folder() as folder, Hardware() as at:
        board = assemble(settings(folder), SimulatedMeter([[1]]), silent)
        assert board.watchdog is None and at.machine.dogs == [] and at.machine.set == []
