"""The shares and the last answer on an ordinary folder. What a power cut does to them:
tests/power_cut."""

import os

from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.slots import BLINDINGS_EACH, KEYS_EACH
from agent.runtime.flash.store import Full, Store, StoreError
from tests.agent.runtime.test_store import ONE_SET, OTHER_SET, FailingStore, flip
from tests.support.expect import raises
from tests.support.files_at_hand import Folder

TOP = 0xFFFFFFFF
LAST_BATCH = TOP // 2
NAME = ONE_SET[:8].hex()  # of the set, in the names of records


def path_of(folder, name):
    return folder + "/" + name


def of_set(store, set_digest=ONE_SET):
    """The shares of an active set."""
    shares = ShareStock(store)
    shares.use(set_digest)
    return shares


def test_shares_are_kept_by_batch_and_member():
    with Folder() as folder:
        shares = of_set(Store(folder))
        kept = {(None, 2): b"key", (0, 2): b"first", (1, 2): b"next", (0, 3): b"other"}
        for about, share in kept.items():
            shares.keep(about[0], about[1], share)
        for stock in (shares, of_set(Store(folder))):
            for about, share in kept.items():
                assert stock.load(about[0], about[1]) == share
            assert stock.load(None, 3) is None and stock.load(2, 2) is None
            assert stock.held() == (0b100, {0: 0b1100, 1: 0b100})


def test_shares_are_of_one_active_set_and_those_of_others_are_forgotten():
    alike = ONE_SET[:7] + b"\xff" * 25  # the names differ in the last byte
    for other in (OTHER_SET, alike, bytes(32), b""):
        with Folder() as folder:
            store = Store(folder)
            store.put("roster", b"r")
            shares = of_set(store)
            shares.keep(None, 2, b"key")
            shares.keep(7, 2, b"blinding")
            shares.answer(1, 5, b"data")
            assert store.names("share-") == ["share-" + NAME + "-0"]
            assert store.names("blind-") == ["blind-" + NAME + "-7-0"]
            unused = ShareStock(store)
            assert unused.held() == (0, {}) and unused.load(None, 2) is None
            shares.use(other)
            assert shares.held() == (0, {}) and shares.load(None, 2) is shares.load(7, 2) is None
            assert store.names("share-") == store.names("blind-") == []
            shares.keep(None, 2, b"another")
            shares.use(other)  # the same again
            assert shares.load(None, 2) == b"another" and shares.held() == (0b100, {})
            again = of_set(store)
            assert again.held() == (0, {}) and again.load(None, 2) is None
            assert store.names("") == ["answered", "roster"] and again.answered() == (1, 5, b"data")


def test_a_share_of_another_set_that_cannot_be_deleted_is_not_used():
    with Folder() as folder:
        store = FailingStore(folder)
        of_set(store).keep(None, 2, b"key")
        store.fail = ("delete",)
        shares = ShareStock(store)
        raises(StoreError, shares.use, OTHER_SET)
        assert shares.held() == (0, {}) and shares.load(None, 2) is None


def test_the_largest_numbers_have_a_name():
    with Folder() as folder:
        shares = of_set(Store(folder))
        shares.keep(LAST_BATCH, 63, bytes(512))
        shares.keep(None, 63, bytes(900))
        assert shares.held() == (1 << 63, {LAST_BATCH: 1 << 63})
        assert shares.load(LAST_BATCH, 63) == bytes(512) and shares.load(None, 63) == bytes(900)


def test_earlier_batches_are_discarded_and_nothing_else():
    with Folder() as folder:
        store = Store(folder)
        store.put("roster", b"r")
        shares = of_set(store)
        for about in ((None, 0), (0, 0), (9, 0), (10, 0), (16, 0)):
            shares.keep(about[0], about[1], b"s")
        shares.answer(1, 5, b"data")
        shares.discard(10)
        for stock in (shares, of_set(store)):
            assert stock.held() == (1, {10: 1, 16: 1})
        assert shares.answered() == (1, 5, b"data") and store.get("roster") == b"r"
        shares.discard(17)
        assert shares.held() == (1, {})


def test_a_share_that_rotted_is_none_and_those_beside_it_are_whole():
    with Folder() as folder:
        shares = of_set(Store(folder))
        for member in (2, 3, 4):
            shares.keep(0, member, bytes([member]) * 512)
        slot = 8 + 1 + 512
        for position in (8 + 2 + slot, 8 + 2 + slot + 8, 8 + 2 + slot + 100, 8 + 2 + 2 * slot - 1):
            flip(path_of(folder, "blind-" + NAME + "-0-0"), position)
            for stock in (of_set(Store(folder)), of_set(Store(folder))):
                assert stock.load(0, 3) is None and stock.held() == (0, {0: 0b10100})
            assert stock.load(0, 2) == bytes([2]) * 512 and stock.load(0, 4) == bytes([4]) * 512
            flip(path_of(folder, "blind-" + NAME + "-0-0"), position)
        flip(path_of(folder, "blind-" + NAME + "-0-0"), 8 + 2 + slot + 100)
        assert shares.load(0, 3) is None and shares.held() == (0, {0: 0b10100})
        shares.keep(0, 3, bytes([3]) * 512)  # it has room where the other one was
        for stock in (shares, of_set(Store(folder))):
            assert stock.held() == (0, {0: 0b11100}) and stock.load(0, 3) == bytes([3]) * 512
        assert Store(folder).names("") == ["blind-" + NAME + "-0-0"]


def test_the_shares_of_a_whole_cohort_take_a_block_for_each_handful():
    with Folder() as folder:
        store = Store(folder)
        shares = of_set(store)
        for member in range(63, 0, -1):
            shares.keep(None, member, bytes([member]) * 641)
            shares.keep(5, member, bytes([member, 1]) * 256)
        everyone = (1 << 64) - 2
        for stock in (shares, of_set(store)):
            assert stock.held() == (everyone, {5: everyone})
            for member in range(1, 64):
                assert stock.load(None, member) == bytes([member]) * 641
                assert stock.load(5, member) == bytes([member, 1]) * 256
        assert len(store.names("share-")) == -(-63 // KEYS_EACH) and len(store.names("blind-")) == -(
            -63 // BLINDINGS_EACH
        )
        assert max(os.stat(path_of(folder, name))[6] for name in store.names("")) <= 4096
        assert store.get("share-" + NAME + "-0") and store.corrupt == 0
        shares.discard(6)
        assert len(store.names("")) == -(-63 // KEYS_EACH) and store.names("blind-") == []
        shares.use(OTHER_SET)
        assert store.names("") == []


def test_a_share_that_is_kept_again_takes_its_own_place():
    with Folder() as folder:
        shares = of_set(Store(folder))
        for member in (1, 2, 1, 2):
            shares.keep(0, member, bytes([member]) * 100)
            shares.keep(0, member, bytes([member + 8]) * 100)
        assert os.stat(path_of(folder, "blind-" + NAME + "-0-0"))[6] == 8 + 2 + 2 * 109
        assert of_set(Store(folder)).load(0, 1) == bytes([9]) * 100


def test_shares_of_one_batch_are_equally_long():
    with Folder() as folder:
        shares = of_set(Store(folder))
        shares.keep(0, 1, bytes(100))
        raises(ValueError, shares.keep, 0, 2, bytes(101))
        assert of_set(Store(folder)).held() == (0, {0: 0b10})


def test_a_record_without_a_share_that_fits_is_forgotten():
    with Folder() as folder:
        store = Store(folder)
        for name, value in (
            ("blind-" + NAME + "-0-0", bytes(512)),
            ("blind-" + NAME + "-0-1", b""),
            ("share-" + NAME + "-0", b"x" * 641),
            ("share-" + NAME + "-1", b"y"),
        ):
            store.put(name, value)
        shares = of_set(store)
        assert shares.held() == (0, {}) and store.names("") == []
        shares.keep(0, 5, bytes(512))
        assert of_set(store).held() == (0, {0: 1 << 5})


def test_a_share_is_refused_where_only_the_vital_records_have_room():
    with Folder() as folder:
        store = FailingStore(folder)
        shares = of_set(store)
        shares.keep(0, 1, b"share")
        store.full = True
        raises(Full, shares.keep, 0, 2, b"other")
        shares.answer(1, 1, b"vital")
        assert shares.held() == (0, {0: 0b10}) and shares.answered() == (1, 1, b"vital")


def test_the_last_answer_replaces_the_one_before():
    with Folder() as folder:
        shares = of_set(Store(folder))
        assert shares.answered() is None
        for epoch, round, data in ((1, 0, b""), (1, TOP, b"state"), (TOP, 3, bytes(700))):
            shares.answer(epoch, round, data)
            assert shares.answered() == ShareStock(Store(folder)).answered() == (epoch, round, data)


def test_a_damaged_record_of_the_answer_is_no_licence_to_answer_again():
    with Folder() as folder:
        store = Store(folder)
        shares = of_set(store)
        shares.answer(1, 5, b"data")
        flip(path_of(folder, "answered"), 20)
        assert raises(StoreError, shares.answered).args == ("answered-corrupt",)
        assert raises(StoreError, ShareStock(Store(folder)).answered).args == ("answered-corrupt",)
        store.put("answered", bytes(15))
        assert raises(StoreError, shares.answered).args == ("answered-corrupt",)


def test_a_flash_that_fails_is_not_silent_and_leaves_what_was_there():
    with Folder() as folder:
        store = FailingStore(folder)
        shares = of_set(store)
        shares.keep(None, 2, b"old")
        shares.keep(0, 2, b"blinding")
        shares.answer(1, 1, b"old")
        store.fail = ("put", "delete")
        raises(StoreError, shares.keep, None, 2, b"new")
        raises(StoreError, shares.answer, 1, 2, b"new")
        raises(StoreError, shares.discard, 1)
        store.fail = ()
        assert shares.load(None, 2) == b"old" and shares.answered() == (1, 1, b"old")
        assert shares.load(0, 2) == b"blinding" and shares.held() == (0b100, {0: 0b100})
