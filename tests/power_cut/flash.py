"""A NOR flash in RAM, for MicroPython's littlefs, whose power can be cut at the k-th erase or
program operation.

It behaves as the flash of a board does: an erase sets a 4 KiB block to ones, a program can only
clear bits. The content is a bytearray that outlives the device object: a fresh Flash over the same
bytearray is the reboot.

Failures are *returned* (-EIO), as the C drivers of the boards do: an exception raised in here would
jump out of littlefs in mid-operation, which cannot happen on a board. Python sees OSError(EIO)
either way.
"""

import errno

BLOCK = 4096

# What becomes of the operation that the cut hits. From then on nothing works, reads included.
NOTHING = "nothing"  # not done at all
HALF = "half"  # the first half of its bytes is done
NOISE = "noise"  # every byte has some of its bits done
DONE = "done"  # all done, but reported as failed
ERASED = "erased"  # counts erases only: the k-th is done and reported as done, whatever comes next is not
ONCE = "once"  # not a power cut: this one operation fails, undone, and the flash goes on
FAULTS = (NOTHING, HALF, NOISE, DONE, ERASED, ONCE)


class Flash:
    """data: bytearray of whole blocks. `fault` strikes at operation number `at` (from 1); None
    never strikes."""

    def __init__(self, data, fault=None, at=0):
        self.data = data
        self.fault = fault
        self.hit = False
        self.dead = False
        self.programs = self.erases = self.programmed = self.overprogrammed = 0
        self._view = memoryview(data)
        self._countdown = at

    def readblocks(self, number, buffer, offset=0):
        if self.dead:
            return -errno.EIO
        start = number * BLOCK + offset
        buffer[:] = self._view[start : start + len(buffer)]
        return 0

    def writeblocks(self, number, buffer, offset=0):
        if self.dead:
            return -errno.EIO
        self.programs += 1
        self.programmed += len(buffer)
        start = number * BLOCK + offset
        if not self._strikes(False):
            self._program(start, buffer)
            return 0
        if self.fault == HALF:
            self._program(start, buffer[: len(buffer) // 2])
        elif self.fault == NOISE:
            self._program(start, bytes([byte | (37 * i) & 255 for i, byte in enumerate(buffer)]))
        elif self.fault == DONE:
            self._program(start, buffer)
        return -errno.EIO

    def ioctl(self, operation, argument):
        if operation == 4:
            return len(self.data) // BLOCK
        if operation == 5:
            return BLOCK
        if operation == 6:
            return self._erase(argument * BLOCK)
        return 0

    def _erase(self, start):
        if self.dead:
            return -errno.EIO
        self.erases += 1
        struck = self._strikes(True)
        if struck and self.fault == HALF:
            self.data[start : start + BLOCK // 2] = b"\xff" * (BLOCK // 2)
        elif struck and self.fault == NOISE:
            for i in range(start, start + BLOCK):
                self.data[i] |= (37 * i) & 255
        elif not struck or self.fault in (DONE, ERASED):
            self.data[start : start + BLOCK] = b"\xff" * BLOCK
        return -errno.EIO if struck and self.fault != ERASED else 0

    def _strikes(self, erase):
        """Count an operation; True if it is the one that the fault hits, and the power is off after
        it."""
        if self.fault is None or (self.fault == ERASED and not erase):
            return False
        self._countdown -= 1
        if self._countdown:
            return False
        self.hit = True
        self.dead = self.fault != ONCE
        return True

    def _program(self, start, buffer):
        end = start + len(buffer)
        before = self.data[start:end]
        if before == b"\xff" * len(buffer):
            self.data[start:end] = buffer
            return
        self.overprogrammed += 1
        self.data[start:end] = bytes([byte & before[i] for i, byte in enumerate(buffer)])
