"""The result keys of a coordinator: one for each group, in `results/GROUP.key` of its folder and
nowhere else. Who is to read a group's results is given a copy of that file.

Once all groups had one key, `result.key`. The groups of such a folder keep it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from agent.wire import topics
from broker.errors import HumError
from broker.files import alone_in, private_folder, replace

KEY = 16  # bytes
FOLDER, ONE_FOR_ALL = "results", "result.key"


class ResultKeyError(HumError):
    """A result key is not there, or damaged. args[0] says which and what to do."""


class ResultKeys:
    """Those of the coordinator in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def init(folder: Path) -> None:
        """Let a new coordinator have none yet."""
        private_folder(folder / FOLDER)

    def take_over(self, groups: Iterable[str]) -> None:
        """Let the `groups` of a folder of before keep their one key; all of them or none. Raises
        ResultKeyError."""
        if (self._folder / FOLDER).is_dir():
            return
        with alone_in(self._folder):
            if (self._folder / FOLDER).is_dir():
                return
            key = _read(self._folder / ONE_FOR_ALL)
            made = self._folder / f"{FOLDER}.tmp"
            private_folder(made)
            for group in groups:
                replace(made / f"{group}.key", _text(key))
            made.rename(self._folder / FOLDER)

    def path(self, group: str) -> Path:
        """Return where a group's key is."""
        return self._folder / FOLDER / f"{group}.key"

    def has(self, group: str) -> bool:
        """Tell whether a group has a key."""
        return self.path(group).exists()

    def of(self, group: str) -> bytes:
        """Return a group's key. Raises ResultKeyError."""
        return _read(self.path(group))

    def make(self, group: str) -> bytes:
        """Return a group's key; it gets one if it has none. Raises ResultKeyError."""
        if not topics.valid_name(group):
            raise ResultKeyError(f"{group!r}: a group's name is 1 to 32 of a-z, 0-9 and -")
        with alone_in(self._folder):
            if not self.has(group):
                replace(self.path(group), _text(os.urandom(KEY)))
        return self.of(group)


def _text(key: bytes) -> bytes:
    return (key.hex() + "\n").encode()


def _read(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text("ascii"))
    except OSError as error:
        raise ResultKeyError(f"{path}: {error.strerror}; restore it from a copy") from None
    except ValueError:
        key = b""
    if len(key) != KEY:
        raise ResultKeyError(f"{path} is damaged; restore it from a copy")
    return key
