"""A board's flash for the simulated years: littlefs itself over a NOR flash in RAM that counts
erases and can lose its power.

`Flashes` stands in for `os` and `open` in agent.runtime.flash.store, so that the real Store, and
all that is kept in it, runs on littlefs. The first folder of a path is the board. Geometry as the
Pico W's firmware mounts it: blocks of 4096 bytes, pages of 256, MicroPython's cache of four pages
and its block_cycles of 100 (extmod/vfs_lfsx.c); reads of a whole cache for its 32 change nothing
that is written. MicroPython also stores a time with each file, 8 bytes of metadata more than here.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from littlefs import LittleFS, LittleFSError, lfs

from agent.runtime.flash import store as store_module

BLOCK = 4096
PAGE = 256
CACHE = 4 * PAGE
PICO_W_BLOCKS = 212
_FOLDER = 0x4000
_ERASED = b"\xff" * BLOCK

# What becomes of the program or erase that a power cut hits; as tests/power_cut/flash.py.
NOTHING, HALF, NOISE, DONE = "nothing", "half", "noise", "done"
FAULTS = (NOTHING, HALF, NOISE, DONE)


class PowerLost(Exception):
    """The power went in the middle of a flash operation: whoever runs the board reboots it. No
    argument."""


class Flash:
    """The chip: what littlefs calls. `erases` counts by block; `dead` until power_on()."""

    def __init__(self, blocks: int) -> None:
        self.data = bytearray(_ERASED * blocks)
        self.erases = [0] * blocks
        self.programmed = self.overprogrammed = 0
        self.dead = False
        self.cuts = 0
        self._fault = ""
        self._countdown = 0

    def arm(self, fault: str, operations: int) -> None:
        """Let `fault` strike at the `operations`-th program or erase from now, 1 for the next."""
        self._fault, self._countdown = fault, operations

    def power_on(self) -> None:
        """Forget the fault."""
        self.dead = False
        self._countdown = 0

    def read(self, _config: Any, block: int, offset: int, size: int) -> bytearray:
        start = block * BLOCK + offset
        return self.data[start : start + size]

    def prog(self, _config: Any, block: int, offset: int, data: bytes) -> int:
        struck = self._strikes()
        if struck and self._fault == HALF:
            self._program(block * BLOCK + offset, data[: len(data) // 2])
        elif struck and self._fault == NOISE:
            self._program(block * BLOCK + offset, bytes(byte | (37 * i) & 255 for i, byte in enumerate(data)))
        elif self._fault == DONE if struck else not self.dead:
            self._program(block * BLOCK + offset, data)
        return self._outcome(struck)

    def erase(self, _config: Any, block: int) -> int:
        struck = self._strikes()
        start = block * BLOCK
        if struck and self._fault == HALF:
            self.data[start : start + BLOCK // 2] = _ERASED[: BLOCK // 2]
        elif struck and self._fault == NOISE:
            self.data[start : start + BLOCK] = bytes(
                byte | (37 * i) & 255 for i, byte in enumerate(self.data[start : start + BLOCK])
            )
        elif self._fault == DONE if struck else not self.dead:
            self.data[start : start + BLOCK] = _ERASED
            self.erases[block] += 1
        return self._outcome(struck)

    def sync(self, _config: Any) -> int:
        return 0

    def _strikes(self) -> bool:
        if self.dead or not self._countdown:
            return False
        self._countdown -= 1
        if self._countdown:
            return False
        self.dead = True
        self.cuts += 1
        return True

    def _outcome(self, struck: bool) -> int:
        return -errno.EIO if struck or self.dead else 0

    def _program(self, start: int, data: bytes) -> None:
        end = start + len(data)
        before = self.data[start:end]
        if before.count(255) != len(before):
            self.overprogrammed += 1
            data = bytes(byte & old for byte, old in zip(data, before, strict=True))
        self.data[start:end] = data
        self.programmed += len(data)


class Volume:
    """The file system on one Flash, formatted at first; mount() again after each reboot."""

    def __init__(self, blocks: int = PICO_W_BLOCKS) -> None:
        self.flash = Flash(blocks)
        self.failures = 0
        self._blocks = blocks
        self._calls = 0
        self._fs = self._open()
        self._fs.format()
        self.mount()

    def _open(self) -> LittleFS:
        return LittleFS(
            context=self.flash,  # type: ignore[arg-type]  # it has all that littlefs calls, but is no subclass
            mount=False,
            block_size=BLOCK,
            block_count=self._blocks,
            read_size=CACHE,
            prog_size=PAGE,
            cache_size=CACHE,
            lookahead_size=32,
            block_cycles=100,
        )

    def mount(self) -> None:
        """Switch the power on and mount; what was open before is gone."""
        self.flash.power_on()
        self._calls = 0
        self._fs = self._open()
        with self.live():
            self._fs.mount()

    def fail(self, calls: int) -> None:
        """Have one call fail, `calls` from now, 1 for the next: it is not done. Then the flash goes
        on.

        A call and not an operation of the chip: this littlefs is compiled with assertions, which do
        not expect it to go on after one; MicroPython's is not, and tests/power_cut has it fail so.
        """
        self._calls = calls

    @contextmanager
    def live(self, spared: bool = False) -> Iterator[Any]:
        """The low-level file system, for one call: its errors are OSError, unless the power is
        gone: PowerLost."""
        if self.flash.dead:
            raise PowerLost
        if self._calls and not spared:
            self._calls -= 1
            if not self._calls:
                self.failures += 1
                raise OSError(errno.EIO, "a call that fails")
        try:
            yield self._fs.fs
        except LittleFSError as error:
            if self.flash.dead:
                raise PowerLost from None
            raise OSError(-error.code, error.name) from None
        if self.flash.dead:
            raise PowerLost

    def fill(self, name: str, blocks: int) -> None:
        """Keep a file of so many blocks, which nobody touches again."""
        with self.live() as fs:
            file = lfs.file_open(fs, name, "wb")
            lfs.file_write(fs, file, bytes(blocks * BLOCK - 8 * blocks))
            lfs.file_close(fs, file)

    def free(self, spared: bool = True) -> int:
        """Return how many blocks are free."""
        with self.live(spared) as fs:
            return self._blocks - lfs.fs_size(fs)


class _File:
    def __init__(self, volume: Volume, path: str, mode: str) -> None:
        self._volume = volume
        with volume.live() as fs:
            self._file = lfs.file_open(fs, path, mode)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *error: object) -> None:
        with self._volume.live(spared=True) as fs:
            lfs.file_close(fs, self._file)

    def read(self, size: int) -> bytes:
        with self._volume.live() as fs:
            return lfs.file_read(fs, self._file, size)

    def write(self, data: bytes) -> int:
        with self._volume.live() as fs:
            return lfs.file_write(fs, self._file, bytes(data))

    def seek(self, offset: int) -> None:
        with self._volume.live() as fs:
            lfs.file_seek(fs, self._file, offset, 0)

    def flush(self) -> None:
        with self._volume.live() as fs:
            lfs.file_sync(fs, self._file)


class Flashes:
    """`os` and `open` of MicroPython over the volumes of several boards: a path is /<board>/..."""

    name = "littlefs"

    def __init__(self) -> None:
        self.volumes: dict[str, Volume] = {}

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Have agent.runtime.flash.store work on these volumes."""
        module: Any = store_module
        real = module.os
        module.os, module.open = self, self.open
        try:
            yield
        finally:
            module.os = real
            del module.open

    def open(self, path: str, mode: str) -> _File:
        volume, inner = self._at(path)
        return _File(volume, inner, mode)

    def stat(self, path: str) -> tuple[int, ...]:
        volume, inner = self._at(path)
        with volume.live() as fs:
            found = lfs.stat(fs, inner)
        return (_FOLDER if found.type == found.TYPE_DIR else 0x8000, 0, 0, 0, 0, 0, found.size)

    def listdir(self, path: str) -> list[str]:
        volume, inner = self._at(path)
        names = []
        with volume.live() as fs:
            folder = lfs.dir_open(fs, inner)
            while (entry := lfs.dir_read(fs, folder)) is not None:
                names.append(entry.name)
            lfs.dir_close(fs, folder)
        return [name for name in names if name not in (".", "..")]

    def mkdir(self, path: str) -> None:
        self._call(lfs.mkdir, path)

    def remove(self, path: str) -> None:
        self._call(lfs.remove, path)

    def rename(self, path: str, other: str) -> None:
        self._call(lfs.rename, path, other)

    def statvfs(self, path: str) -> tuple[int, ...]:
        volume, _ = self._at(path)
        free = volume.free(spared=False)
        return (BLOCK, BLOCK, len(volume.flash.erases), free, free, 0, 0, 0, 0, 255)

    def _call(self, function: Any, *paths: str) -> None:
        volume, _ = self._at(paths[0])
        with volume.live() as fs:
            function(fs, *[self._at(path)[1] for path in paths])

    def _at(self, path: str) -> tuple[Volume, str]:
        board, _, inner = path.lstrip("/").partition("/")
        return self.volumes[board], "/" + inner


def wear(volumes: list[Volume], rounds: int, rounds_a_year: int) -> SimpleNamespace:
    """Return erases of a block a year: the most, the mean over the blocks in use, and the years to
    100,000 erases."""
    erases = [count * rounds_a_year / rounds for volume in volumes for count in volume.flash.erases]
    moving = [count for count in erases if count]
    most = max(erases)
    return SimpleNamespace(most=most, mean=sum(moving) / len(moving), blocks=len(moving), years=100_000 / most)
