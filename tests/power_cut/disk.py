"""A PC's disk that can fail at the k-th call, and lose at a power cut what was not synced. CPython
only.

The calls go through to a real folder. Beside it, a Disk keeps what POSIX promises to be there after
the power went: of a file, its bytes at its last fsync; of a folder, its entries at its own last
fsync.
"""

import errno
import os
from pathlib import Path
from typing import Any

CALLS = ("open", "write", "flush", "close", "fsync", "rename", "remove", "mkdir", "listdir", "stat")

BEFORE = "before"  # the call is not done, nor any after it
HALF = "half"  # of a write the first half is done; else as BEFORE
AFTER = "after"  # the call is done but reported as failed, and none after it is done
ONCE = "once"  # this call is not done, and the disk goes on
FAULTS = (BEFORE, HALF, AFTER, ONCE)


class Disk:
    """Stands in for `os` in agent.runtime.flash.store, `open_file` for `open`. `fault` strikes at
    call `at`, from 1."""

    def __init__(self, root: Path, fault: str = "", at: int = 0) -> None:
        self.root = root
        self.calls = 0
        self.hit = False
        self._fault = fault
        self._at = at
        self._files: dict[int, bytes] = {}  # inode: its bytes at the last fsync
        self._entries: dict[str, int] = {}  # name: inode, at the folder's last fsync
        for path in root.iterdir():
            self._files[path.stat().st_ino] = path.read_bytes()
        self._sync_folder()

    def __getattr__(self, name: str) -> Any:
        function = getattr(os, name)
        return (lambda *arguments: self.call(name, function, *arguments)) if name in CALLS else function

    def open_file(self, path: str, mode: str) -> "File":
        file = self.call("open", open, path, mode)
        if mode == "wb":
            self._files[os.fstat(file.fileno()).st_ino] = b""
        return File(self, file)

    def call(self, name: str, function: Any, *arguments: Any) -> Any:
        """Do a call, unless the fault is now or was before."""
        if name == "close":
            function(*arguments)  # also on a dead disk: the process that runs the test needs its descriptors
        dead = self.hit and self._fault != ONCE
        self.calls += not dead
        struck = not dead and self.calls == self._at
        self.hit = self.hit or struck
        if struck and self._fault == HALF and name == "write":
            function(arguments[0][: len(arguments[0]) // 2])
        if dead or (struck and self._fault != AFTER):
            raise OSError(errno.EIO, name)
        result = None
        if name == "fsync":
            self._sync(os.fstat(arguments[0]).st_ino)  # the real one would only wear out a real disk
        elif name != "close":
            result = function(*arguments)
        if struck:
            if name == "open":
                (os.close if isinstance(result, int) else type(result).close)(result)
            raise OSError(errno.EIO, name)
        return result

    def lose_power(self) -> None:
        """The folder is now what was synced of it."""
        for path in self.root.iterdir():
            path.unlink()
        for name, inode in self._entries.items():
            (self.root / name).write_bytes(self._files[inode])

    def _sync(self, inode: int) -> None:
        if inode == self.root.stat().st_ino:
            self._sync_folder()
        else:
            self._sync_file(inode)

    def _sync_folder(self) -> None:
        self._entries = {path.name: path.stat().st_ino for path in self.root.iterdir()}

    def _sync_file(self, inode: int) -> None:
        for path in self.root.iterdir():
            if path.stat().st_ino == inode:
                self._files[inode] = path.read_bytes()


class ForgetsFiles(Disk):
    """As if the store did not fsync its files."""

    def _sync_file(self, inode: int) -> None:
        return


class ForgetsFolders(Disk):
    """As if the store did not fsync its folder."""

    def _sync(self, inode: int) -> None:
        if inode != self.root.stat().st_ino:
            self._sync_file(inode)


class File:
    """An open file whose calls are the Disk's."""

    def __init__(self, disk: Disk, file: Any) -> None:
        self._disk = disk
        self._file = file
        self.fileno = file.fileno
        self.read = file.read
        self.seek = file.seek

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *error: object) -> None:
        self._disk.call("close", self._file.close)

    def write(self, data: bytes) -> Any:
        return self._disk.call("write", self._file.write, data)

    def flush(self) -> None:
        self._disk.call("flush", self._file.flush)
