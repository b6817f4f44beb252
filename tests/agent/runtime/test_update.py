"""Two version folders, the pointer, what /main.py makes of them, and the installation of a release.
Power cuts: tests/power_cut."""

import os

from agent.runtime.update import staging, versions
from agent.runtime.update.versions import Pointer, PointerError, Versions
from firmware.onboard import main as bootloader
from tests.support.expect import raises
from tests.support.files_at_hand import Folder, read, write
from tests.support.releases_at_hand import DEPLOYMENT, NEW, OLD, Signed, board_with, cut_up, make, refusal, update, walk


def fields(pointer):
    return pointer.folder, pointer.tries, pointer.previous, pointer.least


# -- the pointer


def test_a_pointer_is_read_as_it_was_written():
    for folder, previous in (("a", ""), ("a", "b"), ("b", "a")):
        for tries in (None, 0, 3, 9):
            for least in (1, 24, 1 << 32):
                data = versions.encode(Pointer(folder, tries, previous, least))
                assert fields(versions.decode(data)) == (folder, tries, previous, least)
                assert len(data) <= versions.POINTER_MOST


def test_a_damaged_pointer_is_refused():
    good = versions.encode(Pointer("a", 2, "b", 7))
    for place in range(len(good)):
        for bit in (1, 128):
            changed = bytearray(good)
            changed[place] ^= bit
            raises(PointerError, versions.decode, bytes(changed))
    for size in range(len(good)):
        raises(PointerError, versions.decode, good[:size])
    for data in (good + b" ", good + b"0", b" ".join([good, good]), b"\xff" * 40):
        raises(PointerError, versions.decode, data)


def test_a_pointer_that_makes_no_sense_is_refused():
    for folder, tries, previous, least in (
        ("c", None, "b", 1),
        ("a", None, "a", 1),
        ("a", 1, "c", 1),
        ("a", -1, "", 1),
        ("a", 1, "", 0),
    ):
        raises(PointerError, versions.decode, versions.encode(Pointer(folder, tries, previous, least)))


def test_a_missing_pointer_is_said_to_be():
    with Folder() as root:
        assert raises(PointerError, versions.read, root).args == ("missing",)


def test_main_reads_and_writes_the_same_pointer():
    with Folder() as root:
        for folder, tries, previous, least in (("a", None, "b", 7), ("b", 3, "a", 4294967296), ("a", 0, "", 1)):
            pointer = Pointer(folder, tries, previous, least)
            versions.write(root, pointer)
            found = bootloader.read(root)
            assert found == [folder, "ok" if tries is None else str(tries), previous or "-", str(least)]
            os.remove(root + "/version")
            assert bootloader.write(root, found)
            assert read(root + "/version") == versions.encode(pointer)
            assert not [path for path in walk(root) if path.endswith(".tmp")]
        for damaged in (
            b"",
            b"hum1",
            versions.encode(Pointer("a", 2, "", 7))[:-1],
            versions.encode(Pointer("c", 2, "", 7)),
            b"\xff" * 99,
        ):
            write(root + "/version", damaged)
            assert bootloader.read(root) is None


def test_main_reads_the_same_number_in_a_manifest():
    with Folder() as root:
        make(root + "/a")
        for version in (1, 23, 24, 255, 256, 65535, 65536, 0xFFFFFFFF):
            write(root + "/a/manifest.cose", Signed(version, {"agent/a": b""}).manifest)
            assert bootloader.number(root, "a") == version == versions.number(root, "a")
        assert bootloader.number(root, "b") == 0 == versions.number(root, "b")
        write(root + "/a/manifest.cose", b"")
        assert bootloader.number(root, "a") == 0 == versions.number(root, "a")


# -- starting


def starts(root):
    return [folder for folder in bootloader.choose(root)[0] if folder]


def test_a_confirmed_version_is_started_again_and_again():
    with Folder() as root:
        board_with(root, Signed(1, OLD))
        before = read(root + "/version")
        for _ in range(5):
            assert starts(root) == ["a"]
        assert read(root + "/version") == before


def test_a_version_on_trial_is_started_three_times_and_then_the_one_before():
    with Folder() as root:
        state = board_with(root, Signed(1, OLD))
        update(state, Signed(2, NEW))
        assert [starts(root)[0] for _ in range(6)] == ["b", "b", "b", "a", "a", "a"]
        assert fields(versions.read(root)) == ("b", 0, "a", 3)
        assert not Versions(root, "a").on_trial() and Versions(root, "a").least() == 3


def test_a_try_that_cannot_be_counted_is_not_made():
    with Folder() as root:
        state = board_with(root, Signed(1, OLD))
        update(state, Signed(2, NEW))
        make(root + "/version.tmp")  # so that nothing can be written there
        assert starts(root)[0] == "a"


def test_a_confirmed_version_stays():
    with Folder() as root:
        state = board_with(root, Signed(1, OLD))
        update(state, Signed(2, NEW))
        assert starts(root)[0] == "b"
        state = Versions(root, "b")
        assert state.on_trial() and state.number == 2
        state.confirm()
        assert not state.on_trial() and not Versions(root, "b").on_trial()
        assert [starts(root)[0] for _ in range(6)] == ["b"] * 6
        assert fields(versions.read(root)) == ("b", None, "a", 3)
        before = read(root + "/version")
        state.confirm()
        assert read(root + "/version") == before


def test_without_a_pointer_the_newest_whole_version_is_put_on_trial():
    for numbers, expected in (
        ((1, 2), ["b", "a"]),
        ((5, 2), ["a", "b"]),
        ((0, 2), ["b"]),
        ((3, 0), ["a"]),
        ((0, 0), []),
    ):
        with Folder() as root:
            for folder, version in zip(("a", "b"), numbers):
                if version:
                    Signed(version, OLD).put(root, folder)
            write(root + "/version", b"hum1 a ok - 3 0000000000000000")
            assert starts(root) == expected
            if expected:
                previous = expected[1] if len(expected) > 1 else ""
                assert fields(versions.read(root)) == (expected[0], 2, previous, max(numbers) + 1)


PROGRAM = b"def main(root, folder):\n    with open(root + '/ran', 'a') as file:\n        file.write(folder)\n"


def program(version, text=PROGRAM):
    return Signed(version, {"agent/__init__.py": b"", "agent/runtime/__init__.py": b"", "agent/runtime/main.py": text})


def ran(root):
    """Start as a board does, away from this process's own agent; return the folders whose main()
    ran."""
    import sys

    kept = {name: sys.modules[name] for name in sys.modules if name == "agent" or name.startswith("agent.")}
    path, finders = list(sys.path), list(getattr(sys, "meta_path", []))
    for name in kept:
        del sys.modules[name]
    sys.path[:] = []
    if finders:  # CPython: an installed project has one of its own
        sys.meta_path[:] = [finder for finder in finders if "PathFinder" in repr(finder)]
    try:
        bootloader.start(root)
    finally:
        for name in [name for name in sys.modules if name == "agent" or name.startswith("agent.")]:
            del sys.modules[name]
        sys.modules.update(kept)
        sys.path[:] = path
        if finders:
            sys.meta_path[:] = finders
    try:
        return read(root + "/ran").decode()
    except OSError:
        return ""


def test_main_starts_the_version_of_the_folder():
    with Folder() as root:
        board_with(root, program(1))
        assert ran(root) == "a"


def test_a_version_on_trial_that_cannot_be_imported_gives_way_at_once_and_for_good():
    with Folder() as root:
        update(board_with(root, program(1)), program(2, b"import nothing_of_this_name\n"))
        assert ran(root) == "a"
        assert fields(versions.read(root)) == ("b", 0, "a", 3)
        assert ran(root) == "aa"


def test_a_confirmed_version_that_cannot_be_imported_any_more_gives_way_to_the_other_folder():
    with Folder() as root:
        update(board_with(root, program(1)), program(2))
        Versions(root, "b").confirm()
        write(root + "/b/agent/runtime/main.py", b"def main(")
        assert ran(root) == "a"
        assert fields(versions.read(root)) == ("b", None, "a", 3)
        os.remove(root + "/a/manifest.cose")
        assert ran(root) == "a"  # and no more: nothing is left to start, and that is said on the console


def test_with_nothing_to_start_there_is_the_repl():
    with Folder() as root:
        assert ran(root) == ""


# -- installing


def test_a_release_is_fetched_into_the_other_folder_and_put_on_trial():
    with Folder() as root:
        old, new = Signed(1, OLD), Signed(2, NEW)
        state = board_with(root, old)
        asked = []
        assert update(state, new, asked=asked) == 2
        assert new.is_in(root, "b") and old.is_in(root, "a")
        assert fields(versions.read(root)) == ("b", 3, "a", 3)
        same = cut_up(DEPLOYMENT, NEW["agent/wire/same.mpy"])
        assert sorted(asked) == sorted(set(new.chunks) - set(same))  # what has not changed is copied


def test_the_next_release_goes_into_the_folder_that_is_not_in_use():
    with Folder() as root:
        update(board_with(root, Signed(1, OLD)), Signed(2, NEW))
        state = Versions(root, "b")
        state.confirm()
        third = Signed(7, OLD)
        assert update(state, third) == 7
        assert third.is_in(root, "a") and fields(versions.read(root)) == ("a", 3, "b", 8)


def test_what_was_fetched_before_a_cut_is_not_fetched_again():
    with Folder() as root:
        state = board_with(root, Signed(1, OLD))
        new = Signed(2, NEW)
        partly = dict(new.chunks)
        last = max([topic for topic in partly if topic.endswith("/4")])
        del partly[last]
        assert refusal(state, new, partly) == "no-chunk"
        assert "manifest.cose" not in os.listdir(root + "/b")
        asked = []
        update(state, new, asked=asked)
        assert {topic.rpartition("/")[0] for topic in asked} == {last.rpartition("/")[0]}
        assert new.is_in(root, "b")


def test_a_release_that_is_not_wanted_is_refused_by_name_and_changes_nothing():
    with Folder() as root:
        old = Signed(5, OLD)
        state = board_with(root, old)
        before = read(root + "/version")
        stranger = (78).to_bytes(32, "big")
        for signed, reason in (
            (Signed(5, NEW), "old-version"),
            (Signed(4, NEW), "old-version"),
            (Signed(6, NEW, key=stranger), "bad-signature"),
            (Signed(6, NEW, board="esp32"), "bad-signature"),
            (Signed(6, NEW, deployment="city"), "bad-signature"),
        ):
            assert refusal(state, signed) == reason
            assert old.is_in(root, "a") and bootloader.number(root, "b") == 0
            assert read(root + "/version") == before
        broken = Signed(6, NEW)
        whole = broken.manifest
        for manifest in (whole[:-1], whole + b"x", whole[:20], b"", b"x" * 300, whole[:-70] + whole[-69:] + b"\0"):
            broken.wrap(manifest)
            assert refusal(state, broken) in ("malformed", "bad-signature")
        broken.notice = b"\xa0"
        assert refusal(state, broken) == "malformed"
        assert old.is_in(root, "a") and bootloader.number(root, "b") == 0 and read(root + "/version") == before


def test_a_version_that_failed_its_trial_is_not_tried_again():
    with Folder() as root:
        update(board_with(root, Signed(1, OLD)), Signed(2, NEW))
        for _ in range(4):
            starts(root)
        state = Versions(root, "a")
        assert refusal(state, Signed(2, NEW)) == "old-version"
        assert update(state, Signed(3, NEW)) == 3


def test_while_a_version_is_on_trial_there_is_no_update():
    with Folder() as root:
        old = Signed(1, OLD)
        update(board_with(root, old), Signed(2, NEW))
        starts(root)
        assert refusal(Versions(root, "b"), Signed(3, OLD)) == "on-trial"
        assert old.is_in(root, "a")


def test_pieces_that_are_wrong_or_missing_are_refused_and_nothing_is_switched():
    new = Signed(2, NEW)
    topic = max([topic for topic in new.chunks if topic.endswith("/4")])  # of big.mpy
    piece = new.chunks[topic]
    for wrong, reason in (
        (None, "no-chunk"),
        (b"", "bad-chunk"),
        (piece[:-1], "bad-chunk"),
        (piece + b"x", "bad-chunk"),
        (piece + bytes(8000), "bad-chunk"),
        (bytes(len(piece)), "wrong-hash"),
        (piece[:-1] + b"\x80", "wrong-hash"),
    ):
        with Folder() as root:
            old = Signed(1, OLD)
            state = board_with(root, old)
            chunks = dict(new.chunks)
            chunks[topic] = wrong
            assert refusal(state, new, chunks) == reason
            assert old.is_in(root, "a") and fields(versions.read(root)) == ("a", None, "", 2)
            assert versions.number(root, "b") == 0 and starts(root) == ["a"]
            assert update(state, new) == 2 and new.is_in(root, "b")  # the right pieces mend it


def test_what_was_left_in_the_folder_is_taken_away():
    with Folder() as root:
        state = board_with(root, Signed(1, OLD))
        for folder in ("/b", "/b/agent", "/b/agent/old", "/b/agent/main.mpy"):
            make(root + folder)  # main.mpy is a folder here
        for path in ("/b/agent/old/x.mpy", "/b/agent/main.mpy/y", "/b/stray", "/b/manifest.new", "/b/agent/wire"):
            write(root + path, b"old")
        new = Signed(2, NEW)
        assert update(state, new) == 2 and new.is_in(root, "b")


def test_a_flash_without_room_is_not_begun_with():
    class Small:
        """The real staging on a flash that is nearly full."""

        def statvfs(self, path):
            return (4096, 4096, 212, self.free, self.free)

        def __getattr__(self, name):
            return getattr(os, name)

    small = Small()
    staging.os = small
    try:
        with Folder() as root:
            old, new = Signed(1, OLD), Signed(2, NEW)
            state = board_with(root, old)
            # 16 blocks to spare and 2 for the folder itself; 5 for files of 0, 1500, 5120 and 2800
            # bytes; 4 folders.
            small.free = 18 + 5 + 8 - 1
            assert refusal(state, new) == "flash-full"
            assert old.is_in(root, "a") and os.listdir(root + "/b") == ["manifest.new"]
            small.free += 1
            assert update(state, new) == 2
    finally:
        staging.os = os


def test_an_application_from_the_firmware_is_updated_into_folder_a():
    with Folder() as root:
        state = Versions(root, "")
        assert not state.on_trial() and state.number == 0 and state.least() == 1
        new = Signed(1, NEW)
        assert update(state, new) == 1
        assert new.is_in(root, "a") and starts(root) == ["a"]
        assert fields(versions.read(root)) == ("a", 2, "", 2)
        assert bootloader.choose(root)[0] == ["a", "", ""]
