"""A board behind a port: what the tool asks it to do, in pieces of MicroPython small enough for any
heap.

Every answer is JSON and checked before it is used. Nothing here knows what the files are for.
"""

import binascii
import errno
import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Any

from firmware.device.port import DeviceError, Port, PortError, printable
from firmware.errors import FirmwareError

PIECE = 768  # bytes of a file in one command
FILES_MOST = 400  # files and folders in one listing
VERSION_LEAST = (1, 27)

# Defined once on the board: t(path) is the hash of a file, w(path) walks through a folder.
_PRELUDE = """
import os,sys,json,hashlib,binascii
def t(p):
 d=hashlib.sha256();b=memoryview(bytearray(512))
 with open(p,'rb') as f:
  while 1:
   n=f.readinto(b)
   if not n:break
   d.update(b[:n])
 return binascii.hexlify(d.digest()).decode()
def w(p):
 for e in os.ilistdir(p):
  q=p+'/'+e[0]
  if e[1]&0x4000:
   yield q,None
   yield from w(q)
  else:yield q,e[3]
def j(x):print(json.dumps(x))
"""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class About:
    """What a board says it is. `mpy` is sys.implementation._mpy, which tells what compiled files it
    takes."""

    name: str
    version: tuple[int, ...]
    machine: str
    mpy: int


@dataclass(frozen=True)
class Space:
    """The file system, in blocks."""

    block: int
    blocks: int
    free: int


class Device:
    """A board that has been stopped and waits for commands. Raises DeviceError and PortError
    throughout."""

    def __init__(self, port: Port, watchdog_off: str = "") -> None:
        """Stop what runs on it. `watchdog_off` is a line of MicroPython: a watchdog cannot be told
        that files are copied."""
        self.port = port
        port.interrupt()
        if watchdog_off:
            port.run(f"import machine\n{watchdog_off}")
        port.run(_PRELUDE)

    def about(self) -> About:
        code = "i=sys.implementation;j([i[0],list(i[1])[:3],getattr(i,'_machine',''),getattr(i,'_mpy',0)])"
        match self._ask(code):
            case [str(name), [*version], str(machine), int(mpy)] if all(type(part) is int for part in version):
                return About(printable(name.encode()), tuple(version), printable(machine.encode()), mpy)
        raise _nonsense()

    def space(self) -> Space:
        match self._ask("s=os.statvfs('/');j([s[1],s[2],s[3]])"):
            case [int(block), int(blocks), int(free)] if 0 < block <= 1 << 20 and 0 <= free <= blocks:
                return Space(block, blocks, free)
        raise _nonsense()

    def tree(self, folder: str) -> dict[str, tuple[int, bytes] | None]:
        """Return {path below `folder`: (size, SHA-256), or None for a folder}; {} if there is no
        such folder."""
        if not self._is_folder(folder):
            return {}
        output = self.port.run(f"for q,s in w({folder!r}):j([q,s,t(q) if s is not None else ''])")
        found: dict[str, tuple[int, bytes] | None] = {}
        for line in output.splitlines():
            match _json(line):
                case [str(path), None, ""] if path.startswith(folder + "/"):
                    found[path[len(folder) + 1 :]] = None
                case [str(path), int(size), str(digest)] if path.startswith(folder + "/") and size >= 0:
                    found[path[len(folder) + 1 :]] = (size, _digest(digest))
                case _:
                    raise _nonsense()
            if len(found) > FILES_MOST:
                raise FirmwareError(f"{folder} on the board holds more than {FILES_MOST} files, which are not Hum's")
        return found

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file or folder."""
        return self._trying(f"os.stat({path!r})")

    def digest(self, path: str) -> bytes | None:
        """Return the SHA-256 of a file, None if there is none."""
        if not self.exists(path):
            return None
        answer = self._ask(f"j(t({path!r}))")
        return _digest(answer) if isinstance(answer, str) else _digest("")

    def read(self, path: str, most: int) -> bytes | None:
        """Return the first `most` bytes of a file, at most 12000; None if there is none."""
        if not self.exists(path):
            return None
        answer = self._ask(f"f=open({path!r},'rb');j(binascii.b2a_base64(f.read({most})).decode());f.close()")
        try:
            data = binascii.a2b_base64(answer)
        except (TypeError, ValueError):
            raise _nonsense() from None
        return data[:most]

    def write(self, path: str, data: bytes, progress: Callable[[int], None] = lambda count: None) -> None:
        """Write a file in place, and check what the board then holds."""
        self.port.run(f"f=open({path!r},'wb')")
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            text = binascii.b2a_base64(piece, newline=False).decode()
            if self._ask(f"j(f.write(binascii.a2b_base64('{text}')))") != len(piece):
                raise DeviceError("the board says it has written less than it was given", errno.ENOSPC)
            progress(len(piece))
        self.port.run("f.close()")
        self._check(path, data)

    def replace(self, path: str, data: bytes) -> None:
        """Replace a file's content at once or not at all."""
        temporary = path + ".tmp"
        self.write(temporary, data)
        self.rename(temporary, path)
        self._check(path, data)

    def copy(self, source: str, target: str) -> None:
        """Copy a file on the board."""
        self.port.run(
            f"b=memoryview(bytearray(512))\nwith open({source!r},'rb') as f,open({target!r},'wb') as g:\n"
            " while 1:\n  n=f.readinto(b)\n  if not n:break\n  if g.write(b[:n])!=n:raise OSError(28)"
        )

    def rename(self, source: str, target: str) -> None:
        self.port.run(f"os.rename({source!r},{target!r})")

    def make_folder(self, path: str) -> None:
        """Make a folder; one that is there is fine."""
        if not self.exists(path):
            self.port.run(f"os.mkdir({path!r})")

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is fine."""
        self._trying(f"os.remove({path!r})")

    def remove_tree(self, path: str) -> None:
        """Remove a folder or a file, whatever is in it."""
        for name, entry in sorted(self.tree(path).items(), reverse=True):
            self.port.run(f"os.{'rmdir' if entry is None else 'remove'}({path + '/' + name!r})")
        if self._is_folder(path):
            self.port.run(f"os.rmdir({path!r})")
        else:
            self.remove(path)

    def ask(self, code: str) -> Any:
        """Run `code`, which prints one JSON value with j(...), and return the value."""
        return self._ask(code)

    def reset(self) -> None:
        """Start the board anew, as if by power. The port may go away for a while."""
        self.port.start("import machine\nmachine.reset()")

    def _is_folder(self, path: str) -> bool:
        try:
            answer = self._ask(f"j(bool(os.stat({path!r})[0]&0x4000))")
            if not isinstance(answer, bool):
                raise _nonsense()
            return answer
        except DeviceError as error:
            if error.errno == errno.ENOENT:
                return False
            raise

    def _ask(self, code: str) -> Any:
        lines = self.port.run(code).splitlines()
        if len(lines) != 1:
            raise _nonsense()
        return _json(lines[0])

    def _trying(self, code: str) -> bool:
        """Run `code`; tell whether the file that it is about was there."""
        try:
            self.port.run(code)
        except DeviceError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def _check(self, path: str, data: bytes) -> None:
        if self.digest(path) != sha256(data).digest():
            raise DeviceError(f"{path} is not on the board as it was sent; its flash may be worn out", None)


class Session:
    """A stopped board, for a `with`: left by an error, the board is started again as it is, if it
    can still be reached."""

    def __init__(self, port_name: str, watchdog_off: str = "") -> None:
        self.port = Port(port_name)
        self._watchdog_off = watchdog_off

    def __enter__(self) -> Device:
        try:
            self.device = Device(self.port, self._watchdog_off)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self.device

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.port:
            if kind is not None:
                self._start_again(error)

    def _start_again(self, error: BaseException | None) -> None:
        try:
            if not isinstance(error, DeviceError | PortError):
                self.port.interrupt(5)  # it may be in the middle of a command
            if not isinstance(error, PortError):
                self.port.start("import machine\nmachine.reset()")
        except FirmwareError:
            return  # the first error is the one to tell


def check(device: Device, is_chip: Callable[[str], bool], title: str) -> About:
    """Return what the board is, if it is a MicroPython new enough on the right chip. Raises
    FirmwareError."""
    about = device.about()
    if about.name != "micropython":
        raise FirmwareError(
            f"the board runs {about.name or 'something'}, not MicroPython; Hum needs MicroPython 1.27 or later"
        )
    if about.version < VERSION_LEAST:
        version = ".".join(map(str, about.version))
        raise FirmwareError(f"the board runs MicroPython {version}; Hum needs 1.27 or later: install a newer one first")
    if not is_chip(about.machine):
        raise FirmwareError(f"the board is a {about.machine or 'nameless one'}, not a {title}; give the right BOARD")
    return about


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise _nonsense() from None


def _digest(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != 32:
        raise _nonsense()
    return data


def _nonsense() -> PortError:
    return PortError("the board gives an answer that makes no sense; unplug it, plug it in and try again")
