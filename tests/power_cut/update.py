"""Cut the power at every flash operation of a board that is updated, twice, and look at what it
starts after the reboot.

    micropython -X heapsize=4M tests/power_cut/update.py [all]          from the root

With "all" each operation is cut in every way, else in one of them in turn.

Version 1 runs. Version 2 is installed, tried and confirmed; version 3 is installed, dies each time
it is started, and is given up. Whatever is cut off: what is started is one of them as it was
signed, whole, and one that may be started by then; the board's state is untouched; and the life
after the cut comes to the same end. Prints the cuts tried, and `N passed, M failed`.
"""

import gc
import os
import sys
import time

sys.path[:] = ["."] + [p for p in sys.path if p.startswith(".frozen")]

import vfs  # noqa: E402

from agent.crypto import p256  # noqa: E402
from agent.runtime.update import staging, versions  # noqa: E402
from agent.runtime.update.installing import UpdateRefused  # noqa: E402
from agent.runtime.update.versions import Pointer, Versions  # noqa: E402
from firmware.onboard import main as bootloader  # noqa: E402
from tests.power_cut import flash as nor  # noqa: E402
from tests.support import releases_at_hand  # noqa: E402
from tests.support.files_at_hand import read, write  # noqa: E402
from tests.support.releases_at_hand import Signed, make, update  # noqa: E402

ROOT = "/flash"
GEOMETRIES = {
    "pico": {"readsize": 256, "progsize": 256, "lookahead": 32},
    "esp32": {"readsize": 32, "progsize": 32, "lookahead": 32},
}
SAME = b"same" * 200
ONE = {"agent/boot.mpy": b"one" * 300, "agent/wire/same.mpy": SAME, "agent/gone.mpy": b"x"}
TWO = {"agent/boot.mpy": b"two" * 300, "agent/new/big.mpy": b"big" * 850, "agent/wire/same.mpy": SAME}
THREE = {"agent/boot.mpy": b"333" * 300, "agent/new/big.mpy": b"big" * 850, "agent/wire/same.mpy": SAME}
STATE = b"spent" * 100
BOOTS_MOST = 16
work = bytearray(64 * nor.BLOCK)


class Violation(Exception):
    """The power cut broke a promise."""


class Dead(Exception):
    """The power is off."""


def any_signature(public, digest, signature):
    """A signature takes a twentieth of a second, and thousands are checked here: that is tested
    elsewhere."""
    yield
    return True


class Watched(Versions):
    """Notes in `may`, before and after each change of the pointer, which versions may be
    started."""

    def __init__(self, root, running, may):
        Versions.__init__(self, root, running)
        self._may = may

    def switch(self, version):
        self._may.add(version)
        Versions.switch(self, version)

    def confirm(self):
        Versions.confirm(self)
        self._may.clear()
        self._may.add(self.number)


class Board:
    """A board on a flash: `releases` by number, `may` the numbers of those that may be started.
    They outlive the power."""

    def __init__(self, releases, may):
        self.releases = releases
        self.may = may

    def boot(self, choose, look):
        """Start a version as /main.py does and check it, if `look` each of its bytes; return its
        Versions."""
        order = [folder for folder in choose(ROOT)[0] if folder and bootloader.number(ROOT, folder)]
        if not order:
            raise Violation("nothing to start")
        running = order[0]
        number = bootloader.number(ROOT, running)
        for folder in ("a", "b"):  # the other one as well: it may be needed if this one cannot be started
            claimed = bootloader.number(ROOT, folder)
            if look and claimed and not (claimed in self.releases and self.releases[claimed].is_in(ROOT, folder)):
                raise Violation("version %d in %s is not whole" % (claimed, "use" if folder == running else "reserve"))
        if number not in self.may:
            raise Violation("version %d may not be started" % number)
        if read(ROOT + "/state/spent") != STATE:
            raise Violation("the state was touched")
        return Watched(ROOT, running, self.may)

    def run(self, state, install):
        """What the version does until the next restart; True if all is done."""
        if state.number == 3:
            return False  # it dies
        if state.on_trial():
            state.confirm()
            return False
        if state.number + 1 < state.least():
            return state.number == 2
        install(state, self.releases[state.number + 1])
        return False


class Mounted:
    """The flash under /flash, for a `with`."""

    def __init__(self, device, geometry):
        self._device = device
        self._geometry = geometry

    def __enter__(self):
        try:
            vfs.mount(vfs.VfsLfs2(self._device, **self._geometry), ROOT)
        except OSError:
            if self._device.dead:
                raise Dead()
            raise Violation("cannot mount")

    def __exit__(self, kind, error, trace):
        vfs.umount(ROOT)


def live(device, geometry, board, mutant):
    """Power-ons until all is done or the power is off. Returns whether all is done."""
    choose, install = mutant
    for boots in range(BOOTS_MOST):
        look = device.hit or (device.fault is None and boots < 2)  # before the fault there is nothing to see
        try:
            with Mounted(device, geometry):
                if board.run(board.boot(choose, look), install):
                    return True
        except (Dead, OSError, UpdateRefused, Violation) as error:
            if device.dead:
                return False  # a board does not know what it reads while it dies
            if isinstance(error, Violation) or not device.hit:
                raise error
    raise Violation("no end")


def prepare(geometry, releases):
    """The image of a flash with version 1 on it."""
    work[:] = b"\xff" * len(work)
    device = nor.Flash(work)
    vfs.VfsLfs2.mkfs(device, **geometry)
    with Mounted(device, geometry):
        make(ROOT + "/state")
        write(ROOT + "/state/spent", STATE)
        releases[1].put(ROOT, "a")
        versions.write(ROOT, Pointer("a", None, "", 2))
    return bytes(work)


def cut(image, geometry, releases, fault, at, mutant):
    """A life with a fault, and one without. True if the fault struck."""
    work[:] = image
    board = Board(releases, {1})
    device = nor.Flash(work, fault, at)
    done = live(device, geometry, board, mutant)
    if not done or not device.hit:
        fresh = nor.Flash(work)
        if not live(fresh, geometry, board, mutant):
            raise Violation("no end")
        device.overprogrammed += fresh.overprogrammed
    if device.overprogrammed:
        raise Violation("programs what is not erased")
    return device.hit


RIGHT = (bootloader.choose, update)


def cut_everywhere(geometry, releases, faults, phases, mutant=RIGHT, step=1):
    """Each operation (or one in `step`) cut by one of the faults, in turn, and again with the turn
    begun elsewhere. Returns how many cuts that were."""
    image = prepare(geometry, releases)
    points = 0
    for phase in range(phases):
        at = 1
        while cut(image, geometry, releases, faults[(at + phase) % len(faults)], at, mutant):
            at += step
            points += 1
        gc.collect()
    return points


def cut_erases(geometry, releases):
    """The power goes between an erase and what comes next."""
    image = prepare(geometry, releases)
    at = 1
    while cut(image, geometry, releases, nor.ERASED, at, RIGHT):
        at += 1
    return at - 1


# Wrong on purpose: a harness that does not catch them proves nothing.


class SealsFirst(staging.Staging):
    """Gives the manifest its name before the files are there."""

    def clear(self, listing):
        yield from staging.Staging.clear(self, listing)
        write(self._to + "/" + versions.MANIFEST, read(self._to + "/manifest.new"))


class LeavesTheManifest(staging.Staging):
    """Keeps the former manifest while it changes the files."""

    def _differences(self, listing, folder):
        for path, size, there in staging.Staging._differences(self, listing, folder):
            if not path.endswith(versions.MANIFEST):
                yield path, size, there

    def clear(self, listing):
        for path, size, there in self._differences(listing, ""):
            if there:
                (os.rmdir if size is None else os.remove)(path)
            yield
        make(self._to)


def installs_with(stage):
    def install(state, signed):
        kept, releases_at_hand.Staging = releases_at_hand.Staging, stage
        try:
            return update(state, signed)
        finally:
            releases_at_hand.Staging = kept

    return install


class SwitchesFirst(staging.Staging):
    """Writes the pointer before there is a manifest where it points."""

    def clear(self, listing):
        yield from staging.Staging.clear(self, listing)
        versions.write(
            ROOT, Pointer("b" if self._to == ROOT + "/b" else "a", 3, "a" if self._to == ROOT + "/b" else "b", 4)
        )


def starts_for_nothing(root):
    """Does not count the tries."""
    kept, bootloader.write = bootloader.write, lambda root, fields: True
    try:
        return bootloader.choose(root)
    finally:
        bootloader.write = kept


MUTANTS = {
    "seals before the files are there": (bootloader.choose, installs_with(SealsFirst)),
    "leaves the former manifest": (bootloader.choose, installs_with(LeavesTheManifest)),
    "switches first": (bootloader.choose, installs_with(SwitchesFirst)),
    "does not count the tries": (starts_for_nothing, update),
}


def catch(geometry, releases, mutant):
    """What the harness says of a mutant."""
    try:
        cut_everywhere(geometry, releases, nor.FAULTS[:1], 1, mutant)
    except Violation as violation:
        return violation.args[0]
    raise Violation("is not caught")


def main(everything):
    releases = {number: Signed(number, files) for number, files in ((1, ONE), (2, TWO), (3, THREE))}
    p256.verify_digest_steps = any_signature
    staging.SPARE = 8192  # the flash here has 64 blocks
    faults = [fault for fault in nor.FAULTS if fault != nor.ERASED]
    passed = failed = cuts = 0
    start = time.ticks_ms()

    def check(name, function, *arguments):
        nonlocal passed, failed
        try:
            result = function(*arguments)
        except Violation as violation:
            failed += 1
            print("FAIL", name, violation.args[0])
            return 0
        passed += 1
        print("ok  ", name, result, time.ticks_diff(time.ticks_ms(), start), "ms")
        return result

    cuts += check("pico: cut everywhere", cut_everywhere, GEOMETRIES["pico"], releases, faults, 5 if everything else 1)
    cuts += check("pico: cut between erase and program", cut_erases, GEOMETRIES["pico"], releases)
    esp32 = (GEOMETRIES["esp32"], releases, faults, 5 if everything else 1, RIGHT, 1 if everything else 5)
    cuts += check("esp32: cut everywhere", cut_everywhere, *esp32)
    for name in sorted(MUTANTS):
        check("caught: " + name, catch, GEOMETRIES["pico"], releases, MUTANTS[name])
    print("%d cuts tried" % cuts)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(0 if passed and not failed else 1)


main(sys.argv[1:] == ["all"])
