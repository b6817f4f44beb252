"""The Wi-Fi's comings and goings, with a driver of the tests' own in the place of the radio's."""

import asyncio

from agent.runtime.net import wifi
from agent.runtime.net.wifi import BACKOFF_CAP_S, JOIN_S, RECYCLE_AFTER, Wifi


class Driver:
    """What network.WLAN is to a Wifi. `there`: the network can be joined; `fails`: names of methods
    that raise OSError."""

    PM_NONE = 0
    PM_POWERSAVE = 2

    def __init__(self, there=True):
        self.there = there
        self.on = False
        self.up = False
        self.said = 0  # by status() when it is not up
        self.fails = ()
        self.calls = []
        self.signal = -61

    def _note(self, name, *arguments):
        self.calls.append((name,) + arguments)
        if name in self.fails:
            raise OSError(name)

    def active(self, on):
        self._note("active", on)
        self.on = on
        self.up = self.up and on

    def config(self, **options):
        name = sorted(options)[0]
        self._note(name, options[name])

    def connect(self, *arguments):
        self._note("connect", *arguments)
        self.up = self.on and self.there

    def disconnect(self):
        self._note("disconnect")
        self.up = False

    def isconnected(self):
        return self.up

    def status(self, what=None):
        if what == "rssi":
            if "rssi" in self.fails:
                raise OSError(what)
            return self.signal
        return self.said

    def ifconfig(self):
        return ("192.0.2.7", "255.255.255.0", "192.0.2.1", "192.0.2.1") if self.up else ("0.0.0.0",) * 4

    def count(self, *call):
        return len([made for made in self.calls if made[: len(call)] == call])


class Night:
    """A Wifi at work, its seconds over in no time: `slept` lists the pauses that it asked for.
    `alive` counts its signs of life."""

    def __init__(self, driver, password="secret of the house", power_save=False):
        self.driver = driver
        self.events = []
        self.slept = []
        self.alive = 0
        self.wifi = Wifi(
            driver, "street", password, lambda event, fields: self.events.append(fields), power_save, lambda: 0.5
        )

    def sign(self):
        self.alive += 1

    def run(self, scenario):
        async def main():
            task = asyncio.create_task(self.wifi.run(self.sign))
            try:
                await scenario(self)
                assert not task.done()
            finally:
                task.cancel()

        real = asyncio.sleep

        async def sleep(seconds):
            if seconds:
                self.slept.append(seconds)
            await real(0)

        class Hurried:
            pass

        Hurried.sleep = staticmethod(sleep)
        saved, wifi.asyncio = wifi.asyncio, Hurried
        try:
            asyncio.run(main())
        finally:
            wifi.asyncio = saved

    async def until(self, condition):
        for _ in range(200000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("waited in vain: %s" % self.driver.calls[-5:])


def test_it_joins_and_says_where_it_is():
    async def scenario(night):
        await night.until(lambda: night.wifi.joins)
        assert night.wifi.joined() and night.events == [{"joined": True, "address": "192.0.2.7"}]
        assert ("connect", "street", "secret of the house") in night.driver.calls
        assert ("pm", 0) in night.driver.calls and ("reconnects", 0) in night.driver.calls

    Night(Driver()).run(scenario)


def test_an_open_network_is_joined_without_a_password():
    async def scenario(night):
        await night.until(lambda: night.wifi.joins)
        assert ("connect", "street") in night.driver.calls

    Night(Driver(), password="").run(scenario)


def test_power_is_saved_if_asked_for():
    async def scenario(night):
        await night.until(lambda: night.wifi.joins)
        assert ("pm", 2) in night.driver.calls and ("pm", 0) not in night.driver.calls

    Night(Driver(), power_save=True).run(scenario)


def test_a_lost_network_is_joined_again_and_that_is_told():
    async def scenario(night):
        rejoined = []
        night.wifi.on_rejoin = lambda: rejoined.append(night.wifi.joins)
        for times in range(1, 21):
            await night.until(lambda: night.wifi.joined() and night.wifi.joins == night.wifi.losses + 1)
            assert (night.wifi.joins, night.wifi.losses) == (times, times - 1)
            night.driver.up = False
        await night.until(lambda: night.wifi.joins == 21)
        assert rejoined == list(range(2, 22)) and night.wifi.recycles == 0 and night.wifi.failures == 0

    Night(Driver()).run(scenario)


def test_the_pauses_grow_up_to_their_cap_and_the_driver_is_switched_off_and_on():
    driver = Driver(there=False)
    driver.said = -2  # no such network

    async def scenario(night):
        await night.until(lambda: night.wifi.failures >= 12)
        assert night.wifi.recycles == 12 // RECYCLE_AFTER == driver.count("active", False)
        assert driver.count("active", True) == 1 + night.wifi.recycles
        signs = night.alive
        driver.there = True
        await night.until(lambda: night.wifi.joins)
        assert night.alive > signs

    night = Night(driver)
    paused = []
    night.wifi._pause = lambda seconds, alive: _noted(paused, seconds, alive)
    night.run(scenario)
    grown = [0.75 * min(2**n, BACKOFF_CAP_S) for n in range(len(paused))]
    assert paused == grown and len(paused) >= 12


async def _noted(paused, seconds, alive):
    paused.append(seconds)
    await asyncio.sleep(0)


def test_after_a_join_the_pauses_are_short_again():
    driver = Driver(there=False)
    driver.said = 201

    async def scenario(night):
        await night.until(lambda: night.wifi.failures >= 6)
        driver.there = True
        await night.until(lambda: night.wifi.joins == 1)
        driver.there = driver.up = False
        paused.clear()
        await night.until(lambda: len(paused) >= 2)
        assert paused[:2] == [0.75, 1.5]

    night = Night(driver)
    paused = []
    night.wifi._pause = lambda seconds, alive: _noted(paused, seconds, alive)
    night.run(scenario)


def test_a_long_pause_shows_that_it_is_alive():
    driver = Driver(there=False)
    driver.said = -1

    async def scenario(night):
        await night.until(lambda: night.wifi.failures >= 8)
        assert max(night.slept) <= 1 and night.alive >= len(night.slept) - night.wifi.recycles

    Night(driver).run(scenario)


def test_an_attempt_without_an_outcome_is_over_after_its_time():
    driver = Driver(there=False)
    driver.said = 1  # still trying

    async def scenario(night):
        await night.until(lambda: night.wifi.failures == 1)
        assert night.slept.count(0.25) == 4 * JOIN_S

    Night(driver).run(scenario)


def test_a_driver_that_raises_ends_nothing():
    driver = Driver()
    driver.fails = ("active", "connect", "disconnect", "pm", "reconnects")

    async def scenario(night):
        await night.until(lambda: night.wifi.failures >= 11)
        driver.fails = ("reconnects", "disconnect")
        await night.until(lambda: night.wifi.joins)

    Night(driver).run(scenario)


def test_the_signal_is_a_number_of_dbm_or_none():
    driver = Driver()
    mine = Wifi(driver, "street", "", lambda event, fields: None, random=lambda: 0)
    assert mine.rssi() is None and mine.name_server() is None
    driver.on = driver.up = True
    assert mine.rssi() == -61 and mine.name_server() == "192.0.2.1"
    for value in (0, -128, 31, None, "-61"):
        driver.signal = value
        assert mine.rssi() is None
    driver.fails = ("rssi",)
    assert mine.rssi() is None


class Failing(Driver):
    """`error` is raised once by each method in `names`."""

    def __init__(self, names, error, there=True):
        super().__init__(there)
        self.names = list(names)
        self.error = error

    def _fail(self, name):
        if name in self.names:
            self.names.remove(name)
            raise self.error

    def _note(self, name, *arguments):
        super()._note(name, *arguments)
        self._fail(name)

    def isconnected(self):
        self._fail("isconnected")
        return super().isconnected()

    def status(self, what=None):
        self._fail("status")
        return super().status(what)

    def ifconfig(self):
        self._fail("ifconfig")
        return super().ifconfig()


def test_any_call_of_a_driver_may_fail_and_that_is_one_failure_more():
    for error in (RuntimeError("Wifi Unknown Error 0x0101"), OSError("Wifi Internal Error"), OSError(110)):
        for name in ("active", "pm", "reconnects", "connect", "disconnect", "isconnected", "ifconfig"):
            driver = Failing([name], error)

            async def scenario(night):
                await night.until(lambda: night.wifi.joins and night.wifi.joined())

            night = Night(driver)
            night.run(scenario)
            assert not driver.names and (name == "reconnects" or night.wifi.failures), name
        driver = Failing(["status"], error, there=False)

        async def failed(night):
            await night.until(lambda: night.wifi.failures)

        Night(driver).run(failed)
        assert not driver.names
    mine = Wifi(Failing(["isconnected"], error), "street", "", lambda event, fields: None, random=lambda: 0)
    assert not mine.joined() and mine.failures == 1 and mine.name_server() is None and mine.rssi() is None


def test_a_network_of_no_use_is_joined_again_whatever_the_driver_says():
    async def scenario(night):
        await night.until(lambda: night.wifi.joins == 1)
        night.driver.isconnected = lambda: True
        night.wifi.revive(wifi.JOIN)
        await night.until(lambda: night.wifi.joins == 2)
        assert night.wifi.losses == 1 and night.wifi.recycles == 0
        night.wifi.revive(wifi.RECYCLE)
        await night.until(lambda: night.wifi.joins == 3)
        assert night.wifi.recycles == 1 and ("active", False) in night.driver.calls

    Night(Driver()).run(scenario)


def test_an_attempt_that_has_failed_is_over_for_reasons_old_and_new():
    for said in (-1, -2, -3, 200, 201, 202, 203, 204, 210, 211, 212, 15):
        driver = Driver(there=False)
        driver.said = said

        async def scenario(night):
            await night.until(lambda: night.wifi.failures == 1)
            assert night.slept.count(0.25) < 4 * JOIN_S

        Night(driver).run(scenario)
    for said in (0, 1, 2, 1000, 1001):
        assert not wifi._has_failed(said)
