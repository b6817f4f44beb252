"""Cut the power at every flash operation of a board's life on littlefs, and look at what is there
after the reboot.

    micropython -X heapsize=2M tests/power_cut/scenario.py contributions|shares [all]          from the root

With "all" both geometries are cut everywhere, and more lives are cut twice.

Prints the cuts tried, the flash operations that a round costs, and `N passed, M failed`.
"""

import gc
import os
import sys
import time

sys.path[:] = ["."] + [p for p in sys.path if p.startswith(".frozen")]

import vfs  # noqa: E402

from agent.runtime.flash.masks import MaskStock  # noqa: E402
from agent.runtime.flash.store import MARGIN, Full, Store, StoreError  # noqa: E402
from tests.power_cut import flash as nor  # noqa: E402
from tests.power_cut import helping, life  # noqa: E402

ROOT = "/flash/hum"
# progsize as the stock firmware of the board mounts its flash, so with its cache and its commits.
# The Pico's readsize is 32: 256 changes nothing that is written, and halves the time.
GEOMETRIES = {
    "pico": {"readsize": 256, "progsize": 256, "lookahead": 32},
    "esp32": {"readsize": 32, "progsize": 32, "lookahead": 32},
}
STORIES = {"contributions": life, "shares": helping}
work = bytearray(36 * nor.BLOCK)  # more than the margin that masks and shares leave


class Mounted:
    """The flash under /flash, for a `with`."""

    def __init__(self, device, geometry):
        self._device = device
        self._geometry = geometry

    def __enter__(self):
        try:
            vfs.mount(vfs.VfsLfs2(self._device, **self._geometry), "/flash")
        except OSError:
            if self._device.dead:
                raise StoreError("mount")
            raise life.Violation("cannot mount")

    def __exit__(self, kind, error, trace):
        vfs.umount("/flash")


def one_life(script, device, geometry, history, number, mutant):
    """Failed steps of a life on `device`, which is mounted anew for each segment. StoreError if a
    boot failed."""
    store_class, board_class = mutant
    failures = 0
    for segment in script:
        with Mounted(device, geometry):
            failures += life.live((segment,), lambda: store_class(ROOT), history, number, board_class)
    return failures


def prepare(geometry, story):
    """(image, history, story) of a flash that has seen some use; `story` is the module life or
    helping."""
    work[:] = b"\xff" * len(work)
    vfs.VfsLfs2.mkfs(nor.Flash(work), **geometry)
    history = story.History()
    assert one_life(story.PREPARE, nor.Flash(work), geometry, history, 1, story.RIGHT) == 0
    return bytes(work), history, story


def cut(prepared, geometry, faults, mutant=None):
    """A life for each (fault, at), with a power cut there, and a last one with none. True if every
    fault struck."""
    image, history, story = prepared
    work[:] = image
    history = history.copy()
    mutant = mutant or story.RIGHT
    struck = True
    for number, (fault, at) in enumerate(faults):
        device = nor.Flash(work, fault, at)
        try:
            one_life(story.SCRIPT, device, geometry, history, 2 + number, mutant)
        except StoreError:
            if not device.hit:
                raise life.Violation("the store fails and the flash does not")
        struck = struck and device.hit
    device = nor.Flash(work)
    try:
        failures = one_life(story.SCRIPT, device, geometry, history, 2 + len(faults), mutant)
    except StoreError:
        raise life.Violation("no start after the cut")
    if failures:
        raise life.Violation("no work after the cut")
    if device.overprogrammed:
        raise life.Violation("programs what is not erased")
    with Mounted(device, geometry):
        if any(name.endswith(".tmp") for name in os.listdir(ROOT)):
            raise life.Violation("left its temporary file")
    return struck


def cut_everywhere(prepared, geometry, mutant=None):
    """Every fault at every operation, until a life completes without meeting it. Returns the points
    cut, by fault."""
    points = {}
    for fault in nor.FAULTS:
        at = 1
        while cut(prepared, geometry, [(fault, at)], mutant):
            at += 1
        points[fault] = at - 1
        gc.collect()
    return points


def cut_in_turn(prepared, geometry):
    """Every second operation cut by one of the faults, in turn; and every erase by ERASED. Returns
    the points cut."""
    faults = [fault for fault in nor.FAULTS if fault != nor.ERASED]
    points, erase = 0, 1
    while cut(prepared, geometry, [(faults[points % len(faults)], 1 + 2 * points)]):
        points += 1
    while cut(prepared, geometry, [(nor.ERASED, erase)]):
        erase += 1
    return {"in turn": points, nor.ERASED: erase - 1}


def cut_twice(prepared, geometry, points, samples):
    """Samples of a cut and another one in the life after it: half of them in its first steps, while
    it recovers."""
    hits = 0
    for i in range(samples):
        first = nor.FAULTS[i % len(nor.FAULTS)]
        second = nor.FAULTS[i // len(nor.FAULTS) % len(nor.FAULTS)]
        within = min(12, points[second]) if i & 1 else points[second]
        hits += cut(prepared, geometry, [(first, 1 + i * 7919 % points[first]), (second, 1 + i * 104729 % within)])
    return hits


def catch(prepared, geometry, mutant):
    """What the harness says of a mutant."""
    try:
        cut_everywhere(prepared, geometry, mutant)
    except life.Violation as violation:
        return violation.args[0]
    raise life.Violation("is not caught")


def cost(geometry, rounds=64):
    """(programs, erases, bytes programmed) per round of save, spend, settle; 512-byte masks,
    660-byte envelopes."""
    work[:] = b"\xff" * len(work)
    device = nor.Flash(work)
    vfs.VfsLfs2.mkfs(device, **geometry)
    with Mounted(device, geometry):
        stock = MaskStock(Store(ROOT))
        stock.use(bytes(32))
        programs, erases, programmed = device.programs, device.erases, device.programmed
        for i in range(1, rounds + 1):
            stock.save(1, i, bytes(512))
            stock.spend(1, i, bytes(660))
            stock.settle(1, i)
            stock.drop_before(i + 1)
    spent = (device.programs - programs, device.erases - erases, device.programmed - programmed)
    return [count / rounds for count in spent]


def full_flash_keeps_the_old_record(geometry):
    """Fill the flash: first there is no room for what a board can do without, then put raises
    ENOSPC, the record is the old one, and deleting makes room again."""
    work[:] = b"\xff" * len(work)
    device = nor.Flash(work)
    vfs.VfsLfs2.mkfs(device, **geometry)
    with Mounted(device, geometry):
        store = Store(ROOT)
        store.put("keep", b"old" * 1000)
        error = None
        fits, full = 0, False
        for i in range(40):
            try:
                store.reserve(512)
                fits += 1
                if full:
                    raise life.Violation("room comes back")
            except Full:
                full = True
            try:
                store.put(f"fill-{i}", bytes(4000))
            except StoreError as failure:
                error = failure
                break
        if error is None or error.args != ("put", 28):
            raise life.Violation(f"a full flash says {error!r}")
        filled = len(store.names("fill"))
        if not fits or filled - fits < MARGIN // nor.BLOCK - 2:  # a file's last pieces and the folder take some of it
            raise life.Violation(f"{fits} of {filled} fit")
        try:
            store.put("keep", b"new" * 5000)
            raise life.Violation("a full flash takes more")
        except StoreError:
            names = os.listdir(ROOT)
        if store.read("keep") != b"old" * 1000 or any(name.endswith(".tmp") for name in names):
            raise life.Violation("a full flash lost the old record")
        for name in store.names("fill"):
            store.delete(name)
        store.reserve(512)
        store.put("keep", b"new" * 5000)
        if store.read("keep") != b"new" * 5000:
            raise life.Violation("no room after deleting")


def main(title, everything):
    story = STORIES[title]
    passed = failed = cuts = 0
    start = time.ticks_ms()

    def check(name, function, *arguments):
        nonlocal passed, failed
        try:
            result = function(*arguments)
        except life.Violation as violation:
            failed += 1
            print("FAIL", name, violation.args[0])
            return None
        passed += 1
        print("ok  ", name, result, time.ticks_diff(time.ticks_ms(), start), "ms")
        return result

    pico, esp32 = prepare(GEOMETRIES["pico"], story), prepare(GEOMETRIES["esp32"], story)
    points = check("pico: cut everywhere", cut_everywhere, pico, GEOMETRIES["pico"]) or {}
    cuts += sum(points.values())
    if points:
        cuts += check("pico: cut twice", cut_twice, pico, GEOMETRIES["pico"], points, 1000 if everything else 100) or 0
    if everything:
        points = check("esp32: cut everywhere", cut_everywhere, esp32, GEOMETRIES["esp32"]) or {}
    else:
        points = check("esp32: cut in turn", cut_in_turn, esp32, GEOMETRIES["esp32"]) or {}
    cuts += sum(points.values())
    for name in sorted(story.MUTANTS):
        check("caught: " + name, catch, pico, GEOMETRIES["pico"], story.MUTANTS[name])
    for board, geometry in GEOMETRIES.items() if story is life else ():
        check(board + ": full flash", full_flash_keeps_the_old_record, geometry)
        programs, erases, programmed = cost(geometry)
        print(f"{board}: {programs:.1f} programs, {erases:.1f} erases, {programmed:.0f} bytes programmed a round")
    print(f"{cuts} cuts tried")
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if passed and not failed else 1)


main(sys.argv[1], sys.argv[2:] == ["all"])
