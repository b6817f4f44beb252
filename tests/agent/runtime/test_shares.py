"""The shares and the last answer on an ordinary folder. What a power cut does to them:
tests/power_cut."""

import os

from agent.runtime.flash.shares import BLINDINGS_EACH, KEYS_EACH, ShareStock
from agent.runtime.flash.store import Full, Store, StoreError
from tests.agent.runtime.test_store import FailingStore, flip
from tests.support.expect import raises
from tests.support.files_at_hand import Folder

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


def test_a_share_that_rotted_is_none_and_those_beside_it_are_whole():
    with Folder() as folder:
        shares = ShareStock(Store(folder))
        for member in (2, 3, 4):
            shares.keep(1, 0, member, bytes([member]) * 512)
        slot = 8 + 1 + 512
        for position in (8 + 2 + slot, 8 + 2 + slot + 8, 8 + 2 + slot + 100, 8 + 2 + 2 * slot - 1):
            flip(path_of(folder, "blind-1-0-0"), position)
            for stock in (ShareStock(Store(folder)), ShareStock(Store(folder))):
                assert stock.load(1, 0, 3) is None and stock.held(1) == (0, {0: 0b10100})
            assert stock.load(1, 0, 2) == bytes([2]) * 512 and stock.load(1, 0, 4) == bytes([4]) * 512
            flip(path_of(folder, "blind-1-0-0"), position)
        flip(path_of(folder, "blind-1-0-0"), 8 + 2 + slot + 100)
        assert shares.load(1, 0, 3) is None and shares.held(1) == (0, {0: 0b10100})
        shares.keep(1, 0, 3, bytes([3]) * 512)  # it has room where the other one was
        for stock in (shares, ShareStock(Store(folder))):
            assert stock.held(1) == (0, {0: 0b11100}) and stock.load(1, 0, 3) == bytes([3]) * 512
        assert Store(folder).names("") == ["blind-1-0-0"]


def test_the_shares_of_a_whole_cohort_take_a_block_for_each_handful():
    with Folder() as folder:
        store = Store(folder)
        shares = ShareStock(store)
        for member in range(63, 0, -1):
            shares.keep(1, None, member, bytes([member]) * 641)
            shares.keep(1, 5, member, bytes([member, 1]) * 256)
        everyone = (1 << 64) - 2
        for stock in (shares, ShareStock(store)):
            assert stock.held(1) == (everyone, {5: everyone})
            for member in range(1, 64):
                assert stock.load(1, None, member) == bytes([member]) * 641
                assert stock.load(1, 5, member) == bytes([member, 1]) * 256
        assert len(store.names("share-")) == -(-63 // KEYS_EACH) and len(store.names("blind-")) == -(
            -63 // BLINDINGS_EACH
        )
        assert max(os.stat(path_of(folder, name))[6] for name in store.names("")) <= 4096
        assert store.get("share-1-0") and store.corrupt == 0
        shares.discard(2, 0)
        assert store.names("") == []


def test_a_share_that_is_kept_again_takes_its_own_place():
    with Folder() as folder:
        shares = ShareStock(Store(folder))
        for member in (1, 2, 1, 2):
            shares.keep(1, 0, member, bytes([member]) * 100)
            shares.keep(1, 0, member, bytes([member + 8]) * 100)
        assert os.stat(path_of(folder, "blind-1-0-0"))[6] == 8 + 2 + 2 * 109
        assert ShareStock(Store(folder)).load(1, 0, 1) == bytes([9]) * 100


def test_shares_of_one_batch_are_equally_long():
    with Folder() as folder:
        shares = ShareStock(Store(folder))
        shares.keep(1, 0, 1, bytes(100))
        raises(ValueError, shares.keep, 1, 0, 2, bytes(101))
        assert ShareStock(Store(folder)).held(1) == (0, {0: 0b10})


def test_a_record_without_a_share_that_fits_is_forgotten():
    with Folder() as folder:
        store = Store(folder)
        for name, value in (
            ("blind-1-0-0", bytes(512)),
            ("blind-1-0-1", b""),
            ("share-1-0", b"x" * 641),
            ("share-1-1", b"y"),
        ):
            store.put(name, value)
        shares = ShareStock(store)
        assert shares.held(1) == (0, {}) and store.names("") == []
        shares.keep(1, 0, 5, bytes(512))
        assert ShareStock(store).held(1) == (0, {0: 1 << 5})


def test_a_share_is_refused_where_only_the_vital_records_have_room():
    with Folder() as folder:
        store = FailingStore(folder)
        shares = ShareStock(store)
        shares.keep(1, 0, 1, b"share")
        store.full = True
        raises(Full, shares.keep, 1, 0, 2, b"other")
        shares.answer(1, 1, b"vital")
        assert shares.held(1) == (0, {0: 0b10}) and shares.answered() == (1, 1, b"vital")


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
