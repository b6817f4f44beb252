"""Cut the power at every flash operation while a board makes its key pair, gets the account of an
older one, or is erased, on littlefs.

    micropython -X heapsize=2M tests/power_cut/keys.py NAME ...          from the root

NAME ...: what an erasure removes, in its order; all of it is in one folder here. After each cut the
board has no key pair, or one with all the records that belong to it as they were; and the next
start, or the next erasure, completes it. Prints the cuts tried of each, and fails with a Violation.
"""

import os
import sys

sys.path[:] = ["."] + [p for p in sys.path if p.startswith(".frozen")]

import vfs  # noqa: E402

from agent.runtime import key_pair  # noqa: E402
from agent.runtime.flash.masks import MaskStock  # noqa: E402
from agent.runtime.flash.store import Store, StoreError  # noqa: E402
from tests.power_cut import flash as nor  # noqa: E402

ROOT = "/flash/state"
GEOMETRY = {"readsize": 256, "progsize": 256, "lookahead": 32}
PAIR = bytes(31) + b"\1" + b"public" * 11  # a stand-in: what is in it does not matter here
SPENT = (3, 7)
work = bytearray(24 * nor.BLOCK)


class Violation(Exception):
    """The power cut broke a promise."""


class P256:
    """A pair at once: hundreds are made here."""

    @staticmethod
    def generate(random_bytes):
        return random_bytes(32)

    @staticmethod
    def public_key(private):
        return bytes(65)


def mounted(device):
    vfs.mount(vfs.VfsLfs2(device, **GEOMETRY), "/flash")


def on(device, action):
    """Do `action` on the flash; tell whether it came to its end."""
    try:
        mounted(device)
    except OSError:
        if not device.dead:
            raise Violation("cannot mount")
        return False
    try:
        action()
        return True
    except (OSError, StoreError):
        if not device.hit:
            raise
        return False
    finally:
        vfs.umount("/flash")


def make():
    """What provisioning does."""
    key_pair.load_or_make(Store(ROOT), b"host")


def start():
    """What the start of a board that is provisioned does."""
    key_pair.load_or_make(Store(ROOT), b"", True)


def old_board():
    """A board of before that has spent."""
    store = Store(ROOT)
    store.put("identity", PAIR)
    MaskStock(store).spend(SPENT[0], SPENT[1], b"envelope")


def used_board():
    """A board of now that has spent, with the other records of one."""
    make()
    store = Store(ROOT)
    MaskStock(store).spend(SPENT[0], SPENT[1], b"envelope")
    for name in ("roster", "secrets", "share-0", "acks"):
        store.put(name, bytes(600))


def erase():
    for name in sys.argv[1:]:
        try:
            os.remove(ROOT + "/" + name)
        except OSError as error:
            if error.args[0] != 2:
                raise


def whole(complete):
    """After a reboot: the pair is not there, or its account is."""
    store = Store(ROOT)
    names = store.names("")
    if "identity" in names:
        pair, mark = store.read("identity"), MaskStock(store).high_water()
        if complete and "companions" not in names:
            raise Violation("an account without the sign that it is whole")
        if "companions" in names and not all(name in names for name in key_pair.EMPTY):
            raise Violation("the sign is there, and not all of the account")
        if mark != SPENT and pair == old[0]:
            raise Violation("the pair is there, and what it spent is not")
    elif complete and before is not used_board:
        raise Violation("no pair")


def nothing():
    """A new board."""


def note():
    old[0] = Store(ROOT).read("identity")


def cut(image, fault, at, during, after):
    """The power goes at operation `at` of `during`; tell whether it did."""
    work[:] = image
    device = nor.Flash(work, fault, at)
    on(device, during)
    on(nor.Flash(work), lambda: whole(False))
    on(nor.Flash(work), after)
    on(nor.Flash(work), lambda: whole(True))
    return device.hit


key_pair.p256 = P256
old = [None]  # the pair that was there before
for title, before, during, after in (
    ("made", nothing, make, start),
    ("taken up", old_board, start, start),
    ("erased", used_board, erase, erase),
    ("erased, and started in between", used_board, erase, start),
):
    work[:] = b"\xff" * len(work)
    vfs.VfsLfs2.mkfs(nor.Flash(work), **GEOMETRY)
    on(nor.Flash(work), before)
    old[0] = None
    on(nor.Flash(work), note)
    image, tried = bytes(work), 0
    for fault in nor.FAULTS:
        at = 1
        while cut(image, fault, at, during, after):
            at += 1
        tried += at - 1
    print("%s: %d cuts" % (title, tried))
