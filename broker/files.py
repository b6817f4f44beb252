"""Files that are private to their owner and whole at any time, and folders that one process changes
at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ALONE_S = 60.0  # whoever is at it needs a second
POLL_S = 0.02


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read, durably; never over an old one. If the disk
    does not take it there is none."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone. One that is there
    stays as it is: what is in it is private file by file."""
    for each in (*reversed(path.parents), path):
        if not each.is_dir():
            each.mkdir(mode=0o700)


def make_private(path: Path) -> None:
    """Make an empty file if there is none, and let nobody but its owner read it, whoever could
    before. One that is there is not opened: to close it would undo SQLite's locks on it."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


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


def replace(path: Path, data: bytes) -> None:
    """Replace a file's content at once or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    write_private(temporary, data)
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
