"""Files that are private to their owner and whole at any time, and folders that one process changes
at a time.

What root writes in somebody's folder is that somebody's: `sudo hum ...` once, and nobody is locked
out of his own deployment.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ALONE_S = 60.0  # whoever is at it needs a second
POLL_S = 0.02


def write_private(path: Path, data: bytes, owner: tuple[int, int] | None = None) -> None:
    """Write a new file that only its owner can read, durably; never over an old one. If the disk
    does not take it there is none. `owner` is (user id, group id); None for who runs this, or, if
    that is root, whose the folder is."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _hand_over(descriptor, owner or _owner_in(path.parent))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _owner_in(folder: Path) -> tuple[int, int] | None:
    """Return to whom root hands what it makes in `folder`, by (user id, group id); None if nobody
    else is to have it."""
    if os.geteuid() != 0:
        return None
    found = folder.stat()
    return (found.st_uid, found.st_gid) if found.st_uid else None


def _hand_over(made: int | Path, owner: tuple[int, int] | None) -> None:
    if owner is not None:
        os.chown(made, *owner)


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone. One that is there
    stays as it is: what is in it is private file by file."""
    for each in (*reversed(path.parents), path):
        if not each.is_dir():
            each.mkdir(mode=0o700)
            _hand_over(each, _owner_in(each.parent))


def make_private(path: Path) -> None:
    """Make an empty file if there is none, and let nobody but its owner read it, whoever could
    before. One that is there is not opened: to close it would undo SQLite's locks on it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return
    try:
        _hand_over(descriptor, _owner_in(path.parent))
    finally:
        os.close(descriptor)


def make_database_private(path: Path) -> None:
    """As make_private, for what SQLite keeps at `path`: it gives the files that it makes beside it
    the same mode."""
    make_private(path)
    for suffix in ("-wal", "-shm", "-journal"):  # of before
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            make_private(beside)


def begin_private() -> None:
    """Let whatever this process writes, also by a library, be its owner's alone."""
    os.umask(0o077)


def replace(path: Path, data: bytes, owner: tuple[int, int] | None = None) -> None:
    """Replace a file's content at once or not at all; `owner` as of write_private()."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    write_private(temporary, data, owner)
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or a power cut may undo the rename, and an epoch be signed twice
    finally:
        os.close(folder)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process that asks for this is changing the files of `folder`, and keep
    them from it. Raises TimeoutError after ALONE_S."""
    deadline = time.monotonic() + ALONE_S
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        while not locked(descriptor, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise TimeoutError(
                    f"another process has been changing {folder} for {ALONE_S:g} s; end it, and try again"
                )
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def locked(descriptor: int, kind: int) -> bool:
    """Lock an open file or folder, until it is closed, unless that would have to wait."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
