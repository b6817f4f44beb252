"""A folder of small records that a power cut leaves old or new, never torn and never gone.

A record is a file: the first 8 bytes of SHA-256(name || value), then the value. `put` writes it
beside the old one and renames it over. Why that is atomic, and how durable it is when `put`
returns:

- littlefs on a board: a rename over an existing file is one metadata commit, and it is on the flash
  when `rename` returns, as a file's content is at `flush` or `close`. Remove then rename would be
  two commits with a gap between.
- CPython on POSIX: the file is fsynced before the rename and the folder after it.
- MicroPython's unix port: `flush` is an fsync of the file, but nothing there can fsync a folder. A
  PC's power cut just after a put may bring the old record back: that port is for tests.
- FAT refuses to rename over a file: every second put raises StoreError.

The checksum tells bit rot, not malice: whoever can write to the flash can also compute it.
"""

import errno
import hashlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import BinaryIO

VALUE_MAX = 16384
ENOSPC = 28  # littlefs says so, too; MicroPython's errno does not name it
NAME_MAX = 40
MARGIN = 65536  # bytes of flash that masks and shares leave to vital records

_CHECK = 8
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789.-"


class StoreError(Exception):
    """The flash failed. Arguments: "open", "put", "reserve", "read", "delete" or "names"; an errno
    or None."""


def unreadable(error: StoreError) -> bool:
    """Tell whether it was one file that could not be read: EIO, or littlefs's LFS_ERR_CORRUPT."""
    return error.args[0] == "read" and error.args[1] in (5, 84)


class Corrupt(Exception):
    """A record is there and its checksum does not fit. The argument is its name."""


class Full(Exception):
    """Of the flash only what is kept for the vital records is left. No argument."""


class Store:
    """Records under the folder `root`, which is made if need be. One Store for a folder at a time.

    name: 1 to 40 of a-z 0-9 . and -, neither starting with a dot nor ending in ".tmp"; value:
    bytes, at most 16384. A name or value out of these bounds raises ValueError; a flash that fails
    raises StoreError. `corrupt` counts the reads that met a damaged record, or one that was
    unreadable(), `puts` the records written since the start and `written` their bytes, for an
    estimate of wear: littlefs erases a block for each put of more than a few hundred bytes.
    """

    failure = StoreError  # for those who are given a Store and must not know this module

    def __init__(self, root: str) -> None:
        self.corrupt = 0
        self.puts = 0
        self.written = 0
        self._root = root
        with _Flash("open"):
            _make_folder(root)
            for name in os.listdir(root):
                if name.endswith(".tmp"):
                    os.remove(root + "/" + name)

    def put(self, name: str, value: bytes) -> None:
        """Make `value` the record; when this returns, no power cut can undo it. After a StoreError
        the record is whole: the old one, or the new one if the failure came after the rename."""
        path = self._path(name)
        if not isinstance(value, (bytes, bytearray)) or len(value) > VALUE_MAX:
            raise ValueError("value")
        self._replace(name, path, 0, 0, value)

    def patch(self, name: str, offset: int, part: bytes) -> None:
        """As `put`, of the value (nothing if there is none) with the bytes `part` at `offset`, at
        most its length.

        A few hundred bytes are in RAM at a time, so the old value's checksum is not checked: it
        must have checks of its own, as what is read by read_part.
        """
        path = self._path(name)
        with _Flash("put"):
            size = max(_CHECK, _size(path) or 0) - _CHECK
        if not 0 <= offset <= size or max(size, offset + len(part)) > VALUE_MAX:
            raise ValueError("value")
        self._replace(name, path, size, offset, part)

    def _replace(self, name: str, path: str, size: int, offset: int, part: bytes) -> None:
        """Put the old value's `size` bytes with `part` at `offset`."""
        temporary = path + ".tmp"
        renamed = False
        try:
            with _Flash("put"):
                if size:
                    with open(path, "rb") as old:
                        self._write(name, temporary, old, size, offset, part)
                else:
                    self._write(name, temporary, None, 0, 0, part)
                os.rename(temporary, path)
                renamed = True
                _sync_folder(self._root)
        finally:
            if not renamed:
                _removed(temporary)  # if that fails too, the next put or the next start does it

    def _write(self, name: str, path: str, old: "BinaryIO | None", size: int, offset: int, part: bytes) -> None:
        def pieces() -> "Iterable[bytes]":
            if old is None:
                return [part]
            from agent.runtime.flash.patching import patched  # only shares are patched

            return patched(old, _CHECK, size, offset, part)

        check = _checksum(name, pieces())
        with open(path, "wb") as file:
            self.puts += 1
            self.written += _write_all(file, check)
            for piece in pieces():
                self.written += _write_all(file, piece)
            file.flush()
            if hasattr(os, "fsync"):
                os.fsync(file.fileno())

    def reserve(self, size: int) -> None:
        """Raise Full unless `size` bytes more leave MARGIN: before each put of what a board can do
        without. littlefs walks over all files, on a board for some 20 ms. Raises StoreError."""
        with _Flash("reserve"):
            figures = os.statvfs(self._root)
        # littlefs counts some blocks twice, and MicroPython then wraps around.
        free = figures[4] if figures[4] <= figures[2] else 0
        if figures[1] * free < size + MARGIN:
            raise Full

    def get(self, name: str) -> bytes | None:
        """The value, or None if there is none. A corrupt record is deleted, counted, and None; one
        that cannot be read is counted and None, until the next put replaces it."""
        try:
            return self._survive(lambda: self.read(name))
        except Corrupt:
            _removed(self._path(name))  # if that fails, the next read finds it corrupt again
            return None

    def read(self, name: str) -> bytes | None:
        """As `get`, but a corrupt record stays and raises Corrupt: for one whose loss must not go
        unnoticed."""
        path = self._path(name)
        with _Flash("read"):
            size = _size(path)
            if size is None:
                return None
            if _CHECK <= size <= _CHECK + VALUE_MAX:
                with open(path, "rb") as file:
                    check = file.read(_CHECK)
                    value = file.read(size - _CHECK)
                if len(value) == size - _CHECK and check == _checksum(name, [value]):
                    return value
        self.corrupt += 1
        raise Corrupt(name)

    def read_part(self, name: str, offset: int, size: int) -> bytes | None:
        """The `size` bytes from `offset` of the value on, fewer at its end, or None if there is no
        such record, or none that can be read. Not checked."""
        path = self._path(name)

        def part() -> bytes | None:
            with _Flash("read"):
                if _size(path) is None:
                    return None
                with open(path, "rb") as file:
                    file.seek(_CHECK + offset)
                    return file.read(size)

        return self._survive(part)

    def _survive(self, read: "Callable[[], bytes | None]") -> bytes | None:
        """Return read(), or None, counted, if that was unreadable() twice and the folder is not."""
        for _ in range(2):
            try:
                return read()
            except StoreError as error:
                if not unreadable(error):
                    raise
        self.names("")  # raises if the whole flash is gone
        self.corrupt += 1
        return None

    def delete(self, name: str) -> None:
        """Remove the record; one that is not there is fine."""
        with _Flash("delete"):
            error = _removed(self._path(name))
            if error:
                raise error
            _sync_folder(self._root)

    def names(self, prefix: str) -> list[str]:
        """The sorted names of the records that start with `prefix`."""
        with _Flash("names"):
            return sorted([n for n in os.listdir(self._root) if n.startswith(prefix) and _is_name(n)])

    def _path(self, name: str) -> str:
        if not _is_name(name):
            raise ValueError("name")
        return self._root + "/" + name


class _Flash:
    """Turns what the platform raises into a StoreError."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> "_Flash":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        if kind is not None and issubclass(kind, (OSError, MemoryError)):
            number = error.args[0] if error and error.args and isinstance(error.args[0], int) else None
            raise StoreError(self._doing, number)


def _is_name(name: object) -> bool:
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_MAX or name[0] == "." or name.endswith(".tmp"):
        return False
    return all(letter in _ALPHABET for letter in name)


def _checksum(name: str, pieces: "Iterable[bytes]") -> bytes:
    digest = hashlib.sha256(name.encode())
    for piece in pieces:
        digest.update(piece)
    return digest.digest()[:_CHECK]


def _write_all(file: "BinaryIO", data: bytes) -> int:
    if file.write(data) != len(data):
        raise OSError(ENOSPC)
    return len(data)


def _size(path: str) -> int | None:
    """The file's size in bytes, or None if there is none."""
    try:
        return os.stat(path)[6]
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def _removed(path: str) -> OSError | None:
    """None if the file is gone, else the OSError that kept it."""
    try:
        os.remove(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            return error
    return None


def _make_folder(root: str) -> None:
    """Make `root` and its parents: MicroPython has no makedirs."""
    end = 0
    while end < len(root):
        end = root.find("/", end + 1)
        if end < 0:
            end = len(root)
        path = root[:end]
        if _size(path) is None:
            os.mkdir(path)
            _sync_folder(path.rpartition("/")[0] or ("/" if path[0] == "/" else "."))


def _sync_folder(path: str) -> None:
    """Make the folder's entries durable where the platform needs it: CPython on POSIX. littlefs has
    done so already."""
    if not hasattr(os, "fsync") or os.name != "posix":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
