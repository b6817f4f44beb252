"""The folder that a new version is put together in: what is done to the flash for an update, in
short slices.

Generators yield None after each slice. Everything may raise OSError. Nothing is written to but the
folder. Nothing is moved from one folder to another either: cut off in that, littlefs hides the
entry next to it until something is written (seen with the version in MicroPython 1.29), and that
could be the board's whole state. A `listing` is a function that returns an iterator over (path,
size, SHA-256) of the release's files, from the first one.
"""

import os
from errno import ENOENT
from hashlib import sha256

from agent.runtime.flash.store import ENOSPC
from agent.runtime.update.versions import MANIFEST, sync
from agent.wire.release import folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import TracebackType
    from typing import BinaryIO

    Listing = Callable[[], Iterator[tuple[str, int, bytes]]]  # (path, size, SHA-256)
    # (path, size or None for a folder, whether it is there).
    Difference = tuple[str, int | None, bool]
    Telling = Generator[None, None, bool]

# Bytes that an update leaves free, for the masks, shares and records of the rounds to come.
SPARE = 65536
_ENOTDIR = 20  # MicroPython's errno does not name it
_PART = 512  # bytes read or written in a slice
_NEW = "/manifest.new"
_NOTHING = -1


class Staging:
    """The folder `target` ("a" or "b") under `root`; files are copied from the folder `running` if
    they have not changed."""

    def __init__(self, root: str, running: str, target: str) -> None:
        self._root = root
        self._from = "%s/%s" % (root, running) if running else None
        self._to = "%s/%s" % (root, target)
        self._buffer = memoryview(bytearray(_PART))

    # -- the manifest, before it has its name

    def has_manifest(self, size: int, digest: bytes) -> "Telling":
        """Tell whether the manifest was fetched already: a generator."""
        return (yield from self._matches(self._to + _NEW, size, digest))

    def create_manifest(self) -> "NewFile":
        """Return a new file for the manifest to be written to, for a `with`: what is in the folder
        stays whole by that."""
        if _kind(self._to) == _NOTHING:
            os.mkdir(self._to)
        return NewFile(self._to + _NEW)

    def manifest(self) -> "BinaryIO":
        """Open the manifest for reading."""
        return open(self._to + _NEW, "rb")

    def seal(self) -> None:
        """Give the manifest its name: the folder is whole."""
        os.rename(self._to + _NEW, self._to + "/" + MANIFEST)

    # -- the folder

    def fits(self, listing: "Listing") -> "Telling":
        """Tell whether the files have room, in blocks, counting what clear() will free: a
        generator."""
        status = os.statvfs(self._root or "/")
        block, free = status[1], status[3]
        free -= -(-SPARE // block) + 2
        for _, size, there in self._differences(listing, ""):
            if not there:
                free -= 2 if size is None else (size + block - 1) // block or 1
            elif size:
                free += size // block
            yield
        return free >= 0

    def clear(self, listing: "Listing") -> "Generator[None, None, None]":
        """Make the folder one that is not whole, and remove what is not in the listing, or not of
        its size there: a generator."""
        if _kind(self._to + "/" + MANIFEST) != _NOTHING:
            # Before anything else: what has a manifest can be started.
            os.remove(self._to + "/" + MANIFEST)
        for path, size, there in self._differences(listing, ""):
            if there:
                (os.rmdir if size is None else os.remove)(path)
            yield

    def _differences(self, listing: "Listing", folder: str) -> "Iterator[Difference]":
        """Yield (path, size, there) for what must go (there is True) and what must come; a folder's
        size is None. Of what must go, the innermost comes first. Only one folder's names are in the
        memory at a time, and its parents'."""
        here = self._to + folder
        wanted = _names(listing, folder[1:])
        for name in os.listdir(here) if _kind(here) is None else ():
            path = here + "/" + name
            kind = _kind(path)
            if path == self._to + _NEW:
                continue
            if name not in wanted or wanted[name] != kind:
                if kind is None:
                    yield from _walk(path)
                yield path, kind, True
        for name in sorted(wanted):
            path = here + "/" + name
            if wanted[name] is not None:
                if _kind(path) != wanted[name]:
                    yield path, wanted[name], False
                continue
            if _kind(path) is not None:
                yield path, None, False
            yield from self._differences(listing, folder + "/" + name)

    # -- its files

    def has(self, path: str, size: int, digest: bytes) -> "Telling":
        """Tell whether the file is there, as its hash says: a generator."""
        return (yield from self._matches(self._to + "/" + path, size, digest))

    def copy(self, path: str, size: int, digest: bytes) -> "Telling":
        """Copy the file from the running version if it is the same there, and tell: a generator."""
        if self._from is None or not (yield from self._matches(self._from + "/" + path, size, digest)):
            return False
        with self.create(path) as target, open(self._from + "/" + path, "rb") as source:
            while True:
                count = source.readinto(self._buffer)
                if not count:
                    target.finish()
                    return True
                target.write(self._buffer[:count])
                yield

    def create(self, path: str) -> "NewFile":
        """Return a new file to write to, for a `with`."""
        for folder in folders(path):
            if _kind(self._to + "/" + folder) == _NOTHING:
                os.mkdir(self._to + "/" + folder)
        return NewFile(self._to + "/" + path)

    def remove(self, path: str) -> None:
        """Remove the file."""
        os.remove(self._to + "/" + path)

    def _matches(self, path: str, size: int, digest: bytes) -> "Telling":
        if _kind(path) != size:
            return False
        found = sha256()
        with open(path, "rb") as file:
            while True:
                count = file.readinto(self._buffer)
                if not count:
                    return found.digest() == digest
                found.update(self._buffer[:count])
                yield


class NewFile:
    """A file that is written from its beginning to its end."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 (closed by the `with` that this is for)

    def __enter__(self) -> "NewFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        self._file.close()

    def write(self, data: bytes | memoryview) -> None:
        if self._file.write(data) != len(data):
            raise OSError(ENOSPC)

    def finish(self) -> None:
        """Make what was written durable."""
        sync(self._file)


def _names(listing: "Listing", folder: str) -> dict[str, int | None]:
    """Return {name: size, or None for a folder} of what the release has in `folder`."""
    start = folder + "/" if folder else ""
    names: dict[str, int | None] = {}
    for path, size, _ in listing():
        if path.startswith(start):
            name, deeper, _ = path[len(start) :].partition("/")
            names[name] = None if deeper else size
    return names


def _kind(path: str) -> int | None:
    """Return a file's size in bytes, None for a folder, _NOTHING if there is none."""
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in (ENOENT, _ENOTDIR):
            return _NOTHING
        raise
    return None if status[0] & 0x4000 else status[6]


def _walk(folder: str) -> "Iterator[Difference]":
    """Yield (path, size, True) of all that is in `folder`, a folder after what is in it."""
    for name in os.listdir(folder):
        path = folder + "/" + name
        kind = _kind(path)
        if kind is None:
            yield from _walk(path)
        yield path, kind, True
