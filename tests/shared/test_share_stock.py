"""The shares and the last answer on an ordinary folder. What a power cut does to them: tests/power_cut."""

from expect import raises
from test_store import FailingStore, Folder, flip

from agent.runtime.share_stock import ShareStock
from agent.runtime.store import Store, StoreError

TOP = 0xFFFFFFFF
LAST_BATCH = TOP // 2


def path_of(folder, name):
    return folder + "/" + name


def test_shares_are_kept_by_epoch_batch_and_member():
    with Folder() as folder:
        shares = ShareStock(Store(folder))
        kept = {(1, None, 2): b"key", (1, 0, 2): b"first", (1, 1, 2): b"next", (1, 0, 3): b"other", (2, 0, 2): b"later"}
        for about, share in kept.items():
            shares.keep(about[0], about[1], about[2], share)
        for stock in (shares, ShareStock(Store(folder))):
            for about, share in kept.items():
                assert stock.load(about[0], about[1], about[2]) == share
            assert stock.load(1, None, 3) is None and stock.load(3, None, 2) is None and stock.load(1, 2, 2) is None
            assert stock.held(1) == (0b100, {0: 0b1100, 1: 0b100})
            assert stock.held(2) == (0, {0: 0b100}) and stock.held(3) == (0, {})


def test_the_largest_numbers_have_a_name():
    with Folder() as folder:
        shares = ShareStock(Store(folder))
        shares.keep(TOP, LAST_BATCH, 63, bytes(512))
        shares.keep(TOP, None, 63, bytes(900))
        assert shares.held(TOP) == (1 << 63, {LAST_BATCH: 1 << 63})
        assert shares.load(TOP, LAST_BATCH, 63) == bytes(512) and shares.load(TOP, None, 63) == bytes(900)


def test_earlier_epochs_and_batches_are_discarded_and_nothing_else():
    with Folder() as folder:
        store = Store(folder)
        store.put("roster", b"r")
        shares = ShareStock(store)
        for about in ((1, None, 0), (1, 7, 0), (2, None, 0), (2, 0, 0), (2, 9, 0), (2, 10, 0), (2, 16, 0), (3, 0, 0)):
            shares.keep(about[0], about[1], about[2], b"s")
        shares.answer(1, 5, b"data")
        shares.discard(2, 10)
        assert shares.held(1) == (0, {}) and shares.held(2) == (1, {10: 1, 16: 1}) and shares.held(3) == (0, {0: 1})
        assert shares.answered() == (1, 5, b"data") and store.get("roster") == b"r"
        shares.discard(3, 0)
        assert shares.held(2) == (0, {}) and shares.held(3) == (0, {0: 1})


def test_a_share_that_rotted_is_none():
    with Folder() as folder:
        shares = ShareStock(Store(folder))
        shares.keep(1, 0, 2, bytes(512))
        flip(path_of(folder, "blind-1-0-2"), 100)
        assert shares.load(1, 0, 2) is None and shares.held(1) == (0, {})


def test_the_last_answer_replaces_the_one_before():
    with Folder() as folder:
        shares = ShareStock(Store(folder))
        assert shares.answered() is None
        for epoch, round, data in ((1, 0, b""), (1, TOP, b"state"), (TOP, 3, bytes(700))):
            shares.answer(epoch, round, data)
            assert shares.answered() == ShareStock(Store(folder)).answered() == (epoch, round, data)


def test_a_damaged_record_of_the_answer_is_no_licence_to_answer_again():
    with Folder() as folder:
        store = Store(folder)
        shares = ShareStock(store)
        shares.answer(1, 5, b"data")
        flip(path_of(folder, "answered"), 20)
        assert raises(StoreError, shares.answered).args == ("answered-corrupt",)
        assert raises(StoreError, ShareStock(Store(folder)).answered).args == ("answered-corrupt",)
        store.put("answered", bytes(15))
        assert raises(StoreError, shares.answered).args == ("answered-corrupt",)


def test_a_flash_that_fails_is_not_silent_and_leaves_what_was_there():
    with Folder() as folder:
        store = FailingStore(folder)
        shares = ShareStock(store)
        shares.keep(1, None, 2, b"old")
        shares.answer(1, 1, b"old")
        store.fail = ("put", "delete")
        raises(StoreError, shares.keep, 1, None, 2, b"new")
        raises(StoreError, shares.answer, 1, 2, b"new")
        raises(StoreError, shares.discard, 2, 0)
        store.fail = ()
        assert shares.load(1, None, 2) == b"old" and shares.answered() == (1, 1, b"old")
        assert shares.held(1) == (0b100, {})
