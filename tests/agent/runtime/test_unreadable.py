"""Records that the flash does not give back any more: survived as damaged ones are, refused in
words where they must not be lost. And drivers that fail while a board runs."""

import asyncio

from agent.runtime import refusals
from agent.runtime.flash import store as store_module
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import Corrupt, Store, StoreError
from agent.runtime.key_pair import KeyPairError
from agent.runtime.settings import SettingsError
from agent.runtime.start import _again, assemble_board
from agent.runtime.system.clock import Clock
from agent.runtime.system.watchdog import Watchdog
from tests.agent.runtime.test_start import NOW, Hardware, settings, silent
from tests.support.expect import raises
from tests.support.files_at_hand import Folder


class BadFile:
    """A file that opens and whose block cannot be read."""

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def read(self, size=-1):
        raise OSError(self.number)

    def seek(self, *_):
        return 0


class Bad:
    """With the record `name` unreadable `times` times: EIO (5), or littlefs's LFS_ERR_CORRUPT."""

    def __init__(self, name, number, times=1000):
        self.name, self.number, self.times = "/" + name, number, times

    def __enter__(self):
        def opened(path, mode="r"):
            if path.endswith(self.name) and mode == "rb" and self.times:
                self.times -= 1
                return BadFile(self.number)
            return open(path, mode)

        store_module.open = opened

    def __exit__(self, *_):
        del store_module.open


def test_a_record_that_cannot_be_read_is_none_and_stays_until_the_next_put():
    for number in (5, 84):
        with Folder() as folder:
            store = Store(folder)
            store.put("roster", b"roster")
            with Bad("roster", number):
                assert store.get("roster") is None and store.read_part("roster", 0, 3) is None
                assert store.corrupt == 2
                assert raises(StoreError, store.read, "roster").args == ("read", number)
            assert store.get("roster") == b"roster"  # it was not the file's fault
            with Bad("roster", number, 1):
                assert store.get("roster") == b"roster"  # nor was it when once is enough
            store.put("roster", b"new")
            assert store.get("roster") == b"new"


def test_what_is_no_fault_of_a_file_is_raised():
    with Folder() as folder:
        store = Store(folder)
        store.put("roster", b"roster")
        with Bad("roster", 12):
            assert raises(StoreError, store.get, "roster").args == ("read", 12)


def test_what_was_spent_or_answered_is_never_taken_for_nothing():
    for number in (5, 84):
        with Folder() as folder:
            store = Store(folder)
            MaskStock(store).spend(1, 1, b"envelope")
            shares = ShareStock(store)
            shares.answer(1, 1, b"answer")
            with Bad("spent", number):
                assert raises(StoreError, MaskStock, store).args == ("spent-corrupt",)
            with Bad("answered", number):
                assert raises(StoreError, shares.answered).args == ("answered-corrupt",)
            assert MaskStock(store).high_water() == (1, 1)


def test_a_share_that_cannot_be_read_is_forgotten_at_the_start():
    with Folder() as folder:
        store = Store(folder)
        shares = ShareStock(store)
        shares.use(bytes(32))
        shares.keep(None, 3, b"share" * 100)
        name = store.names("share-")[0]
        with Bad(name, 84):
            assert shares.load(None, 3) is None
            again = ShareStock(store)
            again.use(bytes(32))
            assert again.held() == (0, {}) and store.names("share-") == []
        again.keep(None, 3, b"share" * 100)
        assert again.load(None, 3) == b"share" * 100


def test_a_board_that_must_not_start_says_why_before_there_is_a_watchdog():
    for name, damaged, unreadable in (
        ("identity", ("identity",), ("read", 84)),
        ("policy", ("policy",), ("read", 84)),
        ("spent", ("spent-corrupt",), ("spent-corrupt",)),
        ("answered", ("answered-corrupt",), ("answered-corrupt",)),
    ):
        with Folder() as folder, Hardware() as at:
            assemble_board(settings(folder), silent)
            at.machine.dogs.clear()
            with Bad(name, 84):
                error = raises(StoreError, assemble_board, settings(folder), silent)
                assert error.args == unreadable and refusals.what_to_do(error)
            with open(folder + "/" + name, "r+b") as file:
                file.write(b"\xff" * 8)
            error = raises((Corrupt, StoreError), assemble_board, settings(folder), silent)
            assert error.args == damaged and damaged[0] in refusals.what_to_do(error)
            assert at.machine.dogs == []


def test_only_what_no_restart_cures_is_a_refusal():
    assert "wifi.ssid" in refusals.what_to_do(SettingsError("wifi.ssid"))
    for reason in ("identity-alone", "radio-off"):
        assert reason in refusals.what_to_do(KeyPairError(reason))
    assert "84" in refusals.what_to_do(StoreError("open", 84))
    for error in (StoreError("read", None), StoreError("put", 28), MemoryError(), RuntimeError("x"), OSError(5)):
        assert refusals.what_to_do(error) is None


# -- drivers


class Machine:
    def __init__(self):
        self.refused = []

    def refuse(self, reason):
        self.refused.append(reason)


def test_a_meters_driver_that_fails_is_one_failure_more_and_read_again():
    errors = [OSError(5), RuntimeError("uart"), OSError(110)]
    said = []

    async def task(alive):
        alive()
        if errors:
            raise errors.pop()

    async def main():
        real = asyncio.sleep
        asyncio.sleep = lambda seconds: real(0)
        try:
            await _again(task, machine, lambda event, fields: said.append(event), lambda: None)
        finally:
            asyncio.sleep = real

    machine = Machine()
    asyncio.run(main())
    assert machine.refused == ["driver-meter"] * 3 and said == ["driver"] * 3


class FailingDriver:
    def datetime(self, fields):
        raise OSError(5)

    def feed(self):
        raise RuntimeError("wdt")


def test_a_clock_or_a_watchdog_that_fails_ends_nothing():
    with Folder() as folder:
        clock = Clock(Store(folder), NOW, FailingDriver())
        assert clock.set(1, NOW + 5) and clock.now() >= NOW + 5 and clock.failures == 2
    said = []
    Watchdog(FailingDriver(), lambda event, fields: said.append(event))._feed()
    assert said == ["driver"]


def test_hardware_that_fails_at_the_start_is_done_without():
    def failing(*_, **__):
        raise RuntimeError("unknown")

    wifi = {"ssid": "street", "password": "8 or more", "country": "BE"}
    with Folder() as folder, Hardware() as at:
        at.machine.WDT = at.network.hostname = at.network.country = failing
        at.machine.reset_cause = failing
        board = assemble_board(settings(folder, wifi=wifi), silent)
        assert board.watchdog is None and board.wifi
