"""What the unix port runs to be a board (tests/support/firmware/device.py): a littlefs in a file
becomes the root, then /main.py runs.

Arguments: the file, its number of blocks, "main" or "raw" (as after a soft reset from the raw
REPL), and a file that each operation on the flash is added to (device.py reads it), or "".
"""

import os
import struct
import sys

import vfs

BLOCK = 4096


class File:
    """A flash in a file, for littlefs. Reads and writes go straight to the operating system: a
    killed process loses nothing."""

    def __init__(self, path, blocks, log):
        self._file = open(path, "r+b")  # noqa: SIM115  open for as long as the board is on
        self._blocks = blocks
        self._log = open(log, "ab") if log else None  # noqa: SIM115

    def readblocks(self, number, buffer, offset=0):
        self._file.seek(number * BLOCK + offset)
        self._file.readinto(buffer)
        return 0

    def writeblocks(self, number, buffer, offset=0):
        self._write(number * BLOCK + offset, buffer)
        return 0

    def ioctl(self, operation, argument):
        if operation == 4:
            return self._blocks
        if operation == 5:
            return BLOCK
        if operation == 6:
            self._write(argument * BLOCK, b"\xff" * BLOCK)
        return 0

    def _write(self, place, data):
        if self._log:
            self._log.write(struct.pack("<II", place, len(data)))
            self._log.write(data)
        self._file.seek(place)
        self._file.write(data)


class Machine:
    """Stands where a board has its machine module."""

    def reset(self):
        os.system("kill -9 $PPID")
        while True:
            pass


def boot(path, blocks, mode, log):
    flash = File(path, int(blocks), log)
    image = rom(path)
    vfs.umount("/")
    vfs.mount(vfs.VfsLfs2(flash), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    if image:
        vfs.mount(vfs.VfsRom(image), "/rom")
        sys.path[1:1] = ["/rom", "/rom/lib"]
    sys.argv[:] = []
    sys.modules["machine"] = Machine()
    print("started")
    if mode == "main":
        run("/main.py")


def rom(path):
    """Return the ROMFS that is beside the flash's file, None if there is none: firmware with one
    mounts it at /rom when it starts."""
    try:
        size = os.stat(path + ".romfs")[6]
    except OSError:
        return None
    image = bytearray(size)
    with open(path + ".romfs", "rb") as file:
        file.readinto(image)
    return image


def run(path):
    """As a board does: a main.py that ends, or fails, leaves to the REPL."""
    try:
        with open(path) as file:
            code = file.read()
    except OSError:
        return
    try:
        exec(code, {"__name__": "__main__"})
    except (Exception, KeyboardInterrupt) as error:
        sys.print_exception(error)


boot(*sys.argv[1:])
