"""What a .mpy file of MicroPython's version 6 puts into a heap: bytecode, tables of names and
constants.

The form is that of MicroPython's py/persistentcode.c: a head of 4 bytes, names, constants, then the
code of the module with that of the functions inside it. Numbers are in groups of 7 bits, most
significant first.
"""

from dataclasses import dataclass
from pathlib import Path

VERSION = 6
# In the third byte: which architecture's code is in the file, 0 for none, and flags for it.
NATIVE = 0xFC
BLOCK = 16  # bytes of a heap's block where words have 32 bits
SINGLE = 5  # types of constants below this one have no data: None, False, True, ...
TEXT = (5, 6)  # str and bytes end in a zero
TUPLE = 10


class MpyError(Exception):
    """Not a .mpy file that can be read. args[0] says why."""


@dataclass(frozen=True)
class Content:
    """Bytes, in whole blocks, where words have 32 bits.

    `code`: bytecode of all functions; the module's own leaves the heap when it has run. `names`:
    the table of the names' numbers. `texts`: what the constants' texts hold; `objects`: their
    heads, and the table of all constants. `functions` is their number.
    """

    code: int
    names: int
    texts: int
    objects: int
    functions: int

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.code + self.names + self.texts + self.objects


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 4

    def number(self) -> int:
        value = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value = value << 7 | byte & 127
            if not byte & 128:
                return value

    def skip_name(self) -> None:
        size = self.number()
        if not size & 1:  # an odd one is the number of a name that every firmware has
            self.at += size // 2 + 1

    def constant(self) -> list[int]:
        """Return the sizes of the constant's texts."""
        kind = self.data[self.at]
        self.at += 1
        if kind < SINGLE:
            return []
        if kind == TUPLE:
            return [size for _ in range(self.number()) for size in self.constant()]
        size = self.number()
        self.at += size + (kind in TEXT)
        return [size + 1]

    def functions(self) -> list[int]:
        """Return the size of a function's bytecode, then of those inside it."""
        head = self.number()
        sizes = [head >> 3]
        self.at += sizes[0]
        for _ in range(self.number() if head & 4 else 0):
            sizes += self.functions()
        return sizes


def blocks(size: int) -> int:
    """Return `size`, rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def read(path: Path) -> Content:
    """Return what the file at `path` puts into a heap. Raises MpyError."""
    data = path.read_bytes()
    if data[:2] != bytes([ord("M"), VERSION]):
        raise MpyError(f"{path} is not a .mpy file of version {VERSION}")
    if data[2] & NATIVE:
        raise MpyError(f"{path} has native code")
    reader = _Reader(data)
    names, constants = reader.number(), reader.number()
    for _ in range(names):
        reader.skip_name()
    texts = [size for _ in range(constants) for size in reader.constant()]
    functions = reader.functions()
    if reader.at != len(data):
        raise MpyError(f"{path} has {len(data)} bytes, {reader.at} of them understood")
    return Content(
        sum(blocks(size) for size in functions[1:]),
        blocks(2 * names),
        sum(blocks(size) for size in texts),
        blocks(4 * constants) + BLOCK * len(texts),
        len(functions) - 1,
    )
