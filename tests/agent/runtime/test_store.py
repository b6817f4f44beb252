"""The flash store and the mask stock, on an ordinary folder. What a power cut does to them:
tests/power_cut."""

import os
import struct

from agent.runtime.flash import store as store_module
from agent.runtime.flash.masks import ENVELOPE_MAX, MASK_MAX, MaskStock, Spent
from agent.runtime.flash.store import MARGIN, VALUE_MAX, Corrupt, Full, Store, StoreError
from tests.support.expect import raises
from tests.support.files_at_hand import Folder, read, remove, write

ONE_SET, OTHER_SET = bytes(range(32)), bytes(range(1, 33))  # digests of active sets


def flip(path, position):
    data = bytearray(read(path))
    data[position] ^= 1
    write(path, data)


class FailingStore(Store):
    """A real store whose next operations of the kinds in `fail` find a dead flash."""

    fail = ()
    full = False

    def reserve(self, size):
        if self.full:
            raise Full
        Store.reserve(self, size)

    def put(self, name, value):
        if "put" in self.fail:
            raise StoreError("put", 5)
        Store.put(self, name, value)

    def patch(self, name, offset, part):
        if "put" in self.fail:
            raise StoreError("put", 5)
        Store.patch(self, name, offset, part)

    def delete(self, name):
        if "delete" in self.fail:
            raise StoreError("delete", 5)
        Store.delete(self, name)


def test_makes_its_folder_with_parents_and_keeps_records_over_a_restart():
    with Folder() as root:
        store = Store(root + "/a/b")
        assert store.get("roster") is None and store.names("") == []
        store.put("roster", b"first")
        store.put("roster", b"second")
        store.put("empty", b"")
        again = Store(root + "/a/b")
        assert again.get("roster") == b"second" and again.get("empty") == b"" and again.corrupt == 0
        assert again.names("") == ["empty", "roster"] and again.names("ro") == ["roster"] and again.names("x") == []


def test_makes_a_folder_given_by_a_relative_path():
    here = os.getcwd()
    with Folder() as root:
        Store(root)
        os.chdir(root)
        try:
            Store("one/two").put("a", b"1")
        finally:
            os.chdir(here)
        assert Store(root + "/one/two").get("a") == b"1"


def test_deletes_a_record_and_does_not_mind_an_absent_one():
    with Folder() as root:
        store = Store(root)
        store.put("a", b"1")
        store.delete("a")
        store.delete("a")
        assert store.get("a") is None and store.names("") == []


def test_takes_values_up_to_the_limit_and_refuses_what_is_longer_or_not_bytes():
    with Folder() as root:
        store = Store(root)
        store.put("a", bytearray(bytes(range(256)) * (VALUE_MAX // 256)))
        assert store.get("a") == bytes(range(256)) * (VALUE_MAX // 256)
        for value in (bytes(VALUE_MAX + 1), "text", None, [1]):
            raises(ValueError, store.put, "a", value)
        assert len(store.get("a")) == VALUE_MAX


def test_refuses_names_that_are_paths_or_could_be_a_temporary_file():
    with Folder() as root:
        store = Store(root)
        for name in ("", "A", "a/b", "..", ".", ".a", "a.tmp", "a_b", "a b", "a\0", "é", "x" * 41, b"a", None):
            for call in (store.get, store.read, store.delete):
                raises(ValueError, call, name)
            raises(ValueError, store.put, name, b"1")
        assert os.listdir(root) == []
        for name in ("a", "x" * 40, "a.b-0", "-"):
            store.put(name, b"1")
            assert store.get(name) == b"1"


def test_removes_temporary_files_at_the_start_and_never_takes_them_for_records():
    with Folder() as root:
        store = Store(root)
        store.put("a", b"old")
        write(root + "/a.tmp", b"half a reco")
        assert store.names("") == ["a"] and store.get("a") == b"old"
        again = Store(root)
        assert os.listdir(root) == ["a"] and again.get("a") == b"old"


def test_get_drops_and_counts_a_record_with_any_bit_flipped():
    with Folder() as root:
        store = Store(root)
        for position in range(8 + 5):
            store.put("a", b"value")
            flip(root + "/a", position)
            assert store.get("a") is None and store.corrupt == position + 1
            assert store.names("") == []


def test_get_drops_a_record_that_is_cut_short_or_grown_or_under_another_name():
    with Folder() as root:
        store = Store(root)
        store.put("a", b"value")
        good = read(root + "/a")
        for bad in (b"", good[:7], good[:8], good[:-1], good + b"x", good + bytes(VALUE_MAX)):
            write(root + "/a", bad)
            assert store.get("a") is None and store.names("") == []
        write(root + "/b", good)
        assert store.get("b") is None and store.corrupt == 7


def test_read_tells_a_corrupt_record_from_an_absent_one_and_leaves_it():
    with Folder() as root:
        store = Store(root)
        assert store.read("a") is None
        store.put("a", b"value")
        assert store.read("a") == b"value"
        flip(root + "/a", 9)
        assert raises(Corrupt, store.read, "a").args == ("a",)
        assert raises(Corrupt, store.read, "a").args == ("a",)
        assert store.names("") == ["a"] and store.corrupt == 2


def test_a_failing_put_keeps_the_old_record_and_removes_its_temporary_file():
    with Folder() as root:
        store = Store(root)
        store.put("a", b"old")
        os.mkdir(root + "/b")
        write(root + "/b/inside", b"")  # a rename over a folder fails, after the file was written
        assert raises(StoreError, store.put, "b", b"new").args[0] == "put"
        assert sorted(os.listdir(root)) == ["a", "b"] and store.get("a") == b"old"
        os.mkdir(root + "/a.tmp")  # and so does opening one
        assert raises(StoreError, store.put, "a", b"new").args[0] == "put"
        assert store.get("a") == b"old"


def test_every_operation_reports_a_flash_that_fails():
    with Folder() as root:
        store = Store(root)
        os.mkdir(root + "/b")
        write(root + "/b/inside", b"x" * 100)
        assert raises(StoreError, store.read, "b").args[0] == "read"
        assert raises(StoreError, store.delete, "b").args[0] == "delete"
        assert raises(StoreError, Store, root + "/b/inside").args[0] == "open"
        remove(root)
        assert raises(StoreError, store.names, "").args[0] == "names"
        assert raises(StoreError, store.put, "a", b"").args[0] == "put"
        os.mkdir(root)  # for the Folder to remove


def test_a_patch_changes_a_part_and_keeps_the_rest():
    with Folder() as root:
        store = Store(root)
        whole = bytes(range(256)) * 14
        store.patch("a", 0, whole[:100])
        for start, end in (
            (100, 600),
            (600, 3500),
            (3500, 3584),
            (0, 1),
            (511, 513),
            (512, 1024),
            (3583, 3584),
            (0, 3584),
        ):
            store.patch("a", start, whole[start:end])
        assert store.read("a") == whole
        store.patch("a", 700, b"new")
        assert store.read("a") == whole[:700] + b"new" + whole[703:]
        assert Store(root).names("") == ["a"] and store.corrupt == 0


def test_a_patch_leaves_no_gap_and_nothing_too_long():
    with Folder() as root:
        store = Store(root)
        store.put("a", bytes(10))
        for name, offset, size in (
            ("a", 11, 1),
            ("a", -1, 1),
            ("b", 1, 1),
            ("a", 10, VALUE_MAX - 9),
            ("b", 0, VALUE_MAX + 1),
        ):
            raises(ValueError, store.patch, name, offset, bytes(size))
        assert store.read("a") == bytes(10) and store.names("") == ["a"]


def test_a_part_of_a_record_is_read_without_the_rest():
    with Folder() as root:
        store = Store(root)
        assert store.read_part("a", 0, 5) is None
        store.put("a", b"0123456789")
        assert store.read_part("a", 0, 3) == b"012" and store.read_part("a", 8, 5) == b"89"
        assert store.read_part("a", 10, 5) == b"" and store.read_part("a", 4, 0) == b""
        flip(root + "/a", 8 + 9)
        assert store.read_part("a", 0, 3) == b"012" and store.corrupt == 0
        os.mkdir(root + "/b")
        assert raises(StoreError, store.read_part, "b", 0, 1).args[0] == "read"


def test_what_was_written_is_counted():
    with Folder() as root:
        store = Store(root)
        assert store.puts == store.written == 0
        store.put("a", bytes(100))
        store.patch("a", 100, bytes(50))
        store.get("a")
        store.delete("a")
        assert store.puts == 2 and store.written == 8 + 100 + 8 + 150


class Statvfs:
    """`os` with so many blocks of 4096 bytes that are free."""

    def __init__(self, free):
        self._free = free

    def __getattr__(self, name):
        return getattr(os, name)

    def statvfs(self, path):
        return (8192, 4096, 1000, self._free + 7, self._free, 0, 0, 0, 0, 255)


def test_what_a_board_can_do_without_leaves_a_margin_to_the_rest():
    with Folder() as root:
        stock = MaskStock(Store(root))
        assert MARGIN == 16 * 4096
        try:
            for free, size in ((16, 0), (17, 4096), (1000, 4096)):
                store_module.os = Statvfs(free)
                Store(root).reserve(size)
            for free, size in ((0, 0), (15, 0), (16, 1), (17, 4097), (2**32 - 1, 0)):
                store_module.os = Statvfs(free)
                assert raises(Full, Store(root).reserve, size).args == ()
            store_module.os = Statvfs(16)
            raises(Full, stock.save, 1, 1, bytes(512))
            stock.spend(1, 1, b"envelope")  # what is vital is kept whatever is free
        finally:
            store_module.os = os
        assert MaskStock(Store(root)).pending() == (1, 1, b"envelope")
        store = Store(root + "/x")
        remove(root + "/x")
        assert raises(StoreError, store.reserve, 1).args[0] == "reserve"


def of_set(store, set_digest=ONE_SET):
    """The masks of an active set."""
    stock = MaskStock(store)
    stock.use(set_digest)
    return stock


def test_masks_are_kept_listed_in_order_and_dropped_by_round():
    with Folder() as root:
        stock = of_set(Store(root))
        for round in (2, 16, 9, 2**64 - 1):
            stock.save(1, round, b"mask %d" % round)
        stock = of_set(Store(root))
        assert stock.rounds(1) == [2, 9, 16, 2**64 - 1]
        assert stock.load(1, 9) == b"mask 9" and stock.load(1, 3) is None
        stock.drop_before(9)
        assert stock.rounds(1) == [9, 16, 2**64 - 1] and stock.load(1, 2) is None
        stock.drop_before(17)
        assert stock.rounds(1) == [2**64 - 1]


def test_masks_are_of_one_active_set_and_those_of_others_are_forgotten():
    alike = ONE_SET[:7] + b"\xff" * 25  # the names differ in the last byte
    for other in (OTHER_SET, alike, bytes(32), b""):
        with Folder() as root:
            store = Store(root)
            store.put("roster", b"r")
            stock = of_set(store)
            stock.save(1, 5, b"mask")
            assert store.names("mask-") == ["mask-" + ONE_SET[:8].hex() + "-5"]
            unused = MaskStock(store)
            assert unused.rounds(1) == [] and unused.load(1, 5) is None
            stock.use(other)
            assert stock.rounds(1) == [] and stock.load(1, 5) is None and store.names("mask-") == []
            stock.save(1, 6, b"another")
            stock.use(other)  # the same again
            assert stock.load(1, 6) == b"another" and stock.rounds(1) == [6]
            again = of_set(store)
            assert again.rounds(1) == [] and again.load(1, 6) is None and store.names("") == ["roster"]


def test_a_mask_of_another_set_that_cannot_be_deleted_is_not_used():
    with Folder() as root:
        store = FailingStore(root)
        of_set(store).save(1, 5, b"mask")
        store.fail = ("delete",)
        stock = MaskStock(store)
        raises(StoreError, stock.use, OTHER_SET)
        assert stock.rounds(1) == [] and stock.load(1, 5) is None


def test_a_corrupt_mask_is_no_mask():
    with Folder() as root:
        store = Store(root)
        stock = of_set(store)
        stock.save(1, 255, b"mask")
        flip(root + "/mask-" + ONE_SET[:8].hex() + "-ff", 10)
        assert stock.load(1, 255) is None and stock.rounds(1) == [] and store.corrupt == 1


def test_masks_and_envelopes_and_rounds_are_bounded():
    with Folder() as root:
        stock = MaskStock(Store(root))
        for mask in (b"", bytes(MASK_MAX + 1), "text", bytearray(5), None):
            raises(ValueError, stock.save, 1, 1, mask)
        for envelope in (b"", bytes(ENVELOPE_MAX + 1), "text", bytearray(5), None):
            raises(ValueError, stock.spend, 1, 1, envelope)
        for number in (-1, 2**64, 2**80, "1", None, 1.0):
            for epoch, round in ((number, 1), (1, number)):
                raises(ValueError, stock.save, epoch, round, b"m")
                raises(ValueError, stock.spend, epoch, round, b"e")
                raises(ValueError, stock.load, epoch, round)
        assert stock.high_water() == (0, 0) and os.listdir(root) == []
        stock.save(1, 1, bytes(MASK_MAX))
        stock.spend(2**64 - 1, 2**64 - 1, bytes(ENVELOPE_MAX))
        assert MaskStock(Store(root)).pending() == (2**64 - 1, 2**64 - 1, bytes(ENVELOPE_MAX))


def test_a_round_is_spent_once_and_so_are_all_before_it():
    with Folder() as root:
        stock = MaskStock(Store(root))
        assert stock.high_water() == (0, 0) and stock.pending() is None
        stock.save(2, 5, b"mask")
        stock.spend(2, 5, b"the envelope")
        for boot in (stock, MaskStock(Store(root))):
            assert boot.high_water() == (2, 5) and boot.pending() == (2, 5, b"the envelope")
            assert boot.load(2, 5) is None and boot.rounds(2) == []
            for epoch, round in ((2, 5), (2, 4), (1, 6), (0, 0), (1, 2**64 - 1)):
                assert raises(Spent, boot.spend, epoch, round, b"another").args == (2, 5)
                assert raises(Spent, boot.save, epoch, round, b"mask").args == (2, 5)
            assert boot.pending() == (2, 5, b"the envelope")
        stock.spend(3, 1, b"next")
        assert MaskStock(Store(root)).pending() == (3, 1, b"next") and stock.undeleted == 0


def test_round_0_of_epoch_0_does_not_exist():
    with Folder() as root:
        raises(Spent, MaskStock(Store(root)).spend, 0, 0, b"envelope")


def test_settling_erases_the_envelope_and_keeps_the_mark():
    with Folder() as root:
        stock = MaskStock(Store(root))
        assert stock.settle(1, 1) is False
        stock.spend(1, 7, b"secret envelope")
        for epoch, round in ((1, 6), (1, 8), (2, 7), (0, 0), (None, None)):
            assert stock.settle(epoch, round) is False
        assert stock.pending() == (1, 7, b"secret envelope")
        assert stock.settle(1, 7) is True and stock.settle(1, 7) is False
        assert b"secret envelope" not in read(root + "/spent")
        for boot in (stock, MaskStock(Store(root))):
            assert boot.pending() is None and boot.high_water() == (1, 7)
            raises(Spent, boot.spend, 1, 7, b"another")


def test_a_number_is_burnt_once_and_the_bookmark_of_the_last_reading_stays():
    with Folder() as path:
        stock = MaskStock(Store(path))
        stock.spend(1, 4, b"envelope", b"mark")
        raises(Spent, stock.burn, 1, 4)
        stock.burn(2, 1)
        raises(Spent, stock.burn, 2, 1)
        raises(Spent, stock.spend, 2, 1, b"envelope")
        again = MaskStock(Store(path))
        for one in (stock, again):
            assert one.high_water() == (2, 1) and one.pending() is None
            assert one.bookmark() == b"mark" and one.sent() == (1, 4)


def test_what_a_board_has_spent_is_counted_whatever_the_numbers_and_over_reboots():
    with Folder() as root:
        stock = MaskStock(Store(root))
        assert (stock.total(), stock.resends()) == (0, 0)
        for number, (epoch, round, resent) in enumerate(((1, 5, False), (1, 500, True), (2, 0, True), (7, 9, False))):
            stock.spend(epoch, round, b"envelope", b"mark", resent)
            for boot in (stock, MaskStock(Store(root))):
                assert boot.total() == number + 1 and boot.bookmark() == b"mark"
                assert boot.resends() == (0, 1, 2, 2)[number]
        stock.settle(7, 9)
        stock.burn(8, 1)
        assert (MaskStock(Store(root)).total(), MaskStock(Store(root)).resends()) == (5, 2)


def test_resends_are_counted_in_the_47_contributions_before_the_next():
    with Folder() as root:
        stock = MaskStock(Store(root))
        stock.spend(1, 1, b"envelope", b"", True)
        for round in range(2, 48):
            assert stock.resends() == 1
            stock.spend(1, round, b"envelope")
        assert stock.resends() == 1  # with the next one they would be 48
        stock.spend(1, 48, b"envelope")
        assert stock.resends() == MaskStock(Store(root)).resends() == 0 and stock.total() == 48


def test_a_spend_that_fails_counts_nothing():
    with Folder() as root:
        store = FailingStore(root)
        stock = MaskStock(store)
        stock.spend(1, 1, b"one")
        store.fail = ("put",)
        raises(StoreError, stock.spend, 1, 2, b"two", b"", True)
        raises(StoreError, stock.burn, 1, 3)
        store.fail = ()
        assert (stock.total(), stock.resends()) == (1, 0)
        stock.spend(1, 4, b"four")
        assert MaskStock(Store(root)).total() == 2


def test_a_record_of_before_there_were_counts_is_read_as_it_is():
    for bookmark in (b"", b"\x01" + bytes(32)):
        for envelope in (b"", b"the envelope"):
            with Folder() as root:
                store = Store(root)
                store.put("spent", struct.pack(">QQQQB", 3, 9, 3, 8, len(bookmark)) + bookmark + envelope)
                stock = MaskStock(store)
                assert (stock.high_water(), stock.sent(), stock.bookmark()) == ((3, 9), (3, 8), bookmark)
                assert stock.pending() == ((3, 9, envelope) if envelope else None)
                assert (stock.total(), stock.resends()) == (0, 0)
                raises(Spent, stock.spend, 3, 9, b"another")
                stock.spend(3, 10, b"next", bookmark, True)
                again = MaskStock(Store(root))
                assert (again.total(), again.resends(), again.bookmark()) == (1, 1, bookmark)
                assert again.pending() == (3, 10, b"next")


def test_a_spend_that_fails_burns_the_round_until_the_flash_has_told():
    with Folder() as root:
        store = FailingStore(root)
        stock = MaskStock(store)
        stock.spend(1, 1, b"one")
        store.fail = ("put",)
        raises(StoreError, stock.spend, 1, 2, b"two")
        raises(Spent, stock.spend, 1, 2, b"other")
        store.fail = ()
        raises(Spent, stock.spend, 1, 2, b"other")
        raises(Spent, stock.save, 1, 2, b"mask")
        assert stock.pending() == (1, 1, b"one") and stock.high_water() == (1, 2)
        assert MaskStock(Store(root)).high_water() == (1, 1)
        assert stock.settle(1, 1) is True  # and that writes the mark which the failed spend may have reached
        assert MaskStock(Store(root)).high_water() == (1, 2) and MaskStock(Store(root)).pending() is None


def test_a_settle_that_fails_leaves_the_contribution_pending():
    with Folder() as root:
        store = FailingStore(root)
        stock = MaskStock(store)
        stock.spend(1, 1, b"one")
        store.fail = ("put",)
        raises(StoreError, stock.settle, 1, 1)
        assert stock.pending() == (1, 1, b"one")
        store.fail = ()
        assert stock.settle(1, 1) is True and stock.pending() is None


def test_a_mask_that_cannot_be_deleted_is_counted_not_used_and_dropped_later():
    with Folder() as root:
        store = FailingStore(root)
        stock = of_set(store)
        stock.save(1, 1, b"mask")
        store.fail = ("delete",)
        stock.spend(1, 1, b"one")
        stock.drop_before(2)
        assert stock.undeleted == 2 and stock.load(1, 1) is None and stock.rounds(1) == []
        assert store.names("mask-") == ["mask-" + ONE_SET[:8].hex() + "-1"]
        store.fail = ()
        stock.drop_before(2)
        assert store.names("mask-") == [] and stock.undeleted == 2


def test_a_corrupt_spent_record_stops_the_board_and_stays():
    with Folder() as root:
        MaskStock(Store(root)).spend(1, 1, b"one")
        good = read(root + "/spent")
        for position in (0, 8, 16, len(good) - 1):
            write(root + "/spent", good)
            flip(root + "/spent", position)
            bad = read(root + "/spent")
            for _ in range(2):
                assert raises(StoreError, MaskStock, Store(root)).args == ("spent-corrupt",)
            assert read(root + "/spent") == bad
        Store(root).put("spent", bytes(15))
        assert raises(StoreError, MaskStock, Store(root)).args == ("spent-corrupt",)


def test_a_spent_record_that_cannot_be_read_stops_the_board():
    with Folder() as root:
        store = Store(root)
        os.mkdir(root + "/spent")
        write(root + "/spent/inside", b"x")
        raises(StoreError, MaskStock, store)
