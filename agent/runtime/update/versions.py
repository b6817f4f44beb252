"""Which version of the application a board runs: the pointer /version, and what may become of it.

There are two folders, /a and /b. The one in use is never written to; a new version goes into the
other, and becomes the one in use by one rename. It is on trial first: /main.py takes a try off the
pointer before each start of it, and when none is left starts the folder that was in use before.
After confirm() there is no way back but another update.

The pointer is one line of text, `FORMAT FOLDER TRIES PREVIOUS LEAST CHECK`:
    FORMAT    "hum1"
    FOLDER    "a" or "b": in use, or on trial
    TRIES     "ok": confirmed; "0" to "9": on trial, and how many starts are left. With "0"
              PREVIOUS runs
    PREVIOUS  "a", "b", or "-" for what came with the firmware, if anything did
    LEAST     the least version that may be installed over the air: more than any that was ever put
              on trial, so that a version that failed is not tried again and an old one does not
              come back
    CHECK     the first 16 digits of the SHA-256 of what is before the last space
/main.py has a reader and a writer of its own, for it is never updated: this form can only be added
to under another FORMAT.
"""

import os
from hashlib import sha256

from agent.wire import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

TRIES = 3
# In a version's folder: written last, removed first, so a folder that has it is whole.
MANIFEST = "manifest.cose"
POINTER_MOST = 96  # bytes
# The beginning of a manifest's protected header, {1: -7, -65537: [0, ...
_HEADER = b"\xa2\x01\x26\x3a\x00\x01\x00\x00\x82\x00"


class PointerError(Exception):
    """There is no pointer, or it is damaged. args[0] is "missing" or "damaged"."""


class UpdateRefused(Exception):
    """The release is not installed, and the board is as it was. args[0] is a named reason:

    "malformed", "bad-signature" (also for another board or deployment), "old-version" (or one that
    failed here before), "on-trial", "flash-full", "flash", "no-chunk", "bad-chunk" (of a wrong
    size) or "wrong-hash".
    """


class Pointer:
    """`folder` and `previous` are "a", "b" or, the latter only, ""; `tries` 0 to 9, or None when
    confirmed; `least` 1 to 2^32."""

    def __init__(self, folder: str, tries: int | None, previous: str, least: int) -> None:
        self.folder = folder
        self.tries = tries
        self.previous = previous
        self.least = least

    def runs(self) -> str:
        """Return the folder that runs: with no tries left the previous one."""
        return self.previous if self.tries == 0 else self.folder


def encode(pointer: Pointer) -> bytes:
    """Return the pointer's line as bytes."""
    tries = "ok" if pointer.tries is None else "%d" % pointer.tries
    text = "hum1 %s %s %s %d" % (pointer.folder, tries, pointer.previous or "-", pointer.least)
    return (text + " " + _check(text)).encode()


def decode(data: bytes) -> Pointer:
    """Return the Pointer in a line. Raises PointerError("damaged")."""
    try:
        text, check = str(data, "utf-8").rsplit(" ", 1)
        kind, folder, tries, previous, least = text.split(" ")
        pointer = Pointer(
            folder, None if tries == "ok" else int(tries), "" if previous == "-" else previous, int(least)
        )
    except ValueError:
        raise PointerError("damaged")
    good = kind == "hum1" and folder in ("a", "b") and previous in ("a", "b", "-") and previous != folder
    good = good and (pointer.tries is None or 0 <= pointer.tries <= 9)
    if not good or check != _check(text) or encode(pointer) != bytes(data) or not 1 <= pointer.least <= 1 << 32:
        raise PointerError("damaged")
    return pointer


def read(root: str) -> Pointer:
    """Return the Pointer of the board whose files are under `root`: "" on a board. Raises
    PointerError."""
    try:
        with open(root + "/version", "rb") as file:
            data = file.read(POINTER_MOST)
    except OSError:
        raise PointerError("missing")
    return decode(data)


def write(root: str, pointer: Pointer) -> None:
    """Replace the pointer at once or not at all, durably. Raises OSError."""
    replace(root + "/version", encode(pointer))


def replace(path: str, data: bytes) -> None:
    """Replace a file's content at once or not at all, durably. Raises OSError."""
    temporary = path + ".tmp"
    with open(temporary, "wb") as file:
        file.write(data)
        sync(file)
    os.rename(temporary, path)


def sync(file: "BinaryIO") -> None:
    """Make what was written to `file` durable: littlefs does so at flush."""
    file.flush()
    if hasattr(os, "fsync"):
        os.fsync(file.fileno())


def number(root: str, folder: str) -> int:
    """Return the version of the folder "a" or "b", which it only claims; 0 if there is no whole
    version in it."""
    if not folder:
        return 0
    try:
        with open("%s/%s/%s" % (root, folder, MANIFEST), "rb") as file:
            return claimed_number(file.read(32)) or 0
    except OSError:
        return 0


def claimed_number(signed: bytes) -> int | None:
    """Return the version that a manifest, or its first 18 bytes, claims: at no cost, and unproved.
    None if it is no manifest."""
    if len(signed) < 14 or bytes(signed[:2]) != b"\xd2\x84" or bytes(signed[3:13]) != _HEADER:
        return None
    try:
        version = cbor.decode(signed[13 : 3 + (signed[2] & 31)])
    except cbor.CborError:
        return None
    return version if isinstance(version, int) and 1 <= version <= 0xFFFFFFFF else None


class Versions:
    """The pointer as the running application uses it; `running` is the folder that /main.py
    started, "" for what is not in one."""

    def __init__(self, root: str, running: str) -> None:
        self.root = root
        self.running = running
        self.number = number(root, running)
        try:
            self._pointer = read(root)
        # What came with the firmware runs, or /main.py could not mend it: nothing is on trial.
        except PointerError:
            self._pointer = Pointer(running or "a", None, "", 1)

    def other(self) -> str:
        """Return the folder that may be written to."""
        return "b" if self.running == "a" else "a"

    def least(self) -> int:
        """Return the least version that may be installed: more than what runs, and than what was
        ever tried."""
        return max(self._pointer.least, self.number + 1)

    def on_trial(self) -> bool:
        """Tell whether the running version is not confirmed yet. While it is not, the other folder
        is the way back."""
        return self._pointer.tries is not None and self.running == self._pointer.folder

    def confirm(self) -> None:
        """The running version is here to stay. Raises OSError; the board is on trial still,
        then."""
        if self.on_trial():
            self._write(Pointer(self.running, None, self._pointer.previous, self.least()))

    def switch(self, version: int) -> None:
        """Put the other folder, which holds `version` and is whole, on trial from the next start
        on. Raises OSError."""
        self._write(Pointer(self.other(), TRIES, self.running, version + 1))

    def _write(self, pointer: Pointer) -> None:
        write(self.root, pointer)
        self._pointer = pointer


def _check(text: str) -> str:
    return sha256(text.encode()).digest()[:8].hex()
