"""What the unix port runs to be a board (tests/firmware_device.py): a littlefs in a file becomes the root, then /main.py runs.

Arguments: the file, its number of blocks, "main" or "raw" (as after a soft reset from the raw REPL), and the number of the flash
operation that the power goes at, 0 for none.
"""

import os
import sys

import vfs

BLOCK = 4096


def lose_power():
    os.system("kill -9 $PPID")
    while True:
        pass


class File:
    """A flash in a file, for littlefs. Reads and writes go straight to the operating system: a killed process loses nothing."""

    def __init__(self, path, blocks, cut):
        self._file = open(path, "r+b")  # noqa: SIM115  open for as long as the board is on
        self._blocks = blocks
        self._cut = cut

    def readblocks(self, number, buffer, offset=0):
        self._file.seek(number * BLOCK + offset)
        self._file.readinto(buffer)
        return 0

    def writeblocks(self, number, buffer, offset=0):
        self._file.seek(number * BLOCK + offset)
        if self._strikes():
            self._file.write(buffer[: len(buffer) // 2])
            lose_power()
        self._file.write(buffer)
        return 0

    def ioctl(self, operation, argument):
        if operation == 4:
            return self._blocks
        if operation == 5:
            return BLOCK
        if operation == 6:
            if self._strikes():
                lose_power()
            self._file.seek(argument * BLOCK)
            self._file.write(b"\xff" * BLOCK)
        return 0

    def _strikes(self):
        self._cut -= 1
        return self._cut == 0


class Machine:
    """Stands where a board has its machine module."""

    def reset(self):
        lose_power()


def boot(path, blocks, mode, cut):
    flash = File(path, int(blocks), int(cut))
    vfs.umount("/")
    vfs.mount(vfs.VfsLfs2(flash), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.argv[:] = []
    sys.modules["machine"] = Machine()
    print("started")
    if mode == "main":
        run("/main.py")


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
