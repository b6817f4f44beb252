"""The serial port of a board, as MicroPython's raw REPL: mpremote's transport, with every answer
bounded in bytes and time.

What answers there may be anything: another device, a board in a boot loop, or one that means harm.
mpremote trusts it.
"""

import contextlib
import errno
import io
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

import serial
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from firmware.errors import FirmwareError

REPLY_MOST = 65536  # bytes that a board may send in answer to one command
REPLY_S = 120.0  # seconds for one command: making a key pair takes an RP2040 some of them
# Seconds that a write of some 256 bytes may take: a board that reads nothing takes nothing.
WRITE_S = 20.0
READ_S = 0.5  # seconds that one read waits; looks at the clock in between


class PortError(FirmwareError):
    """The port cannot be opened, or what answers there is no MicroPython, or stopped answering."""


class DeviceError(FirmwareError):
    """The board ran the command and it failed there. `errno` is the number of an OSError, else
    None."""

    def __init__(self, message: str, errno: int | None) -> None:
        super().__init__(message)
        self.errno = errno


def printable(data: bytes, most: int = 200) -> str:
    """Return what a board sent in a form that is safe to print: one line, no control characters, at
    most `most` characters."""
    text = data[: 4 * most].decode("utf-8", errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)[:most].strip()


class _Bounded:
    """Stands for the pyserial port inside mpremote's transport: counts what comes in and watches
    the clock."""

    def __init__(self, port: Any) -> None:
        self._port = port
        # mpremote reads most things byte by byte, and asks the system for none of them.
        self._came = b""
        self._left = 0
        self._end = 0.0
        self.begin(REPLY_S)

    def begin(self, seconds: float) -> None:
        """A new command: REPLY_MOST bytes and `seconds` from now."""
        self._left = REPLY_MOST
        self._end = time.monotonic() + seconds

    def read(self, size: int = 1) -> bytes:
        """Return `size` bytes, fewer after READ_S."""
        if time.monotonic() > self._end:
            raise PortError("the board does not answer in time; unplug it, plug it in and try again")
        if size > len(self._came):
            data = bytes(self._port.read(max(size - len(self._came), min(self._port.in_waiting, 4096))))
            self._left -= len(data)
            if self._left < 0:
                raise PortError("what answers at this port sends without end; is it the right port?")
            self._came += data
        data, self._came = self._came[:size], self._came[size:]
        return data

    @property
    def in_waiting(self) -> int:
        """How many bytes read() has without waiting."""
        return len(self._came) + int(self._port.in_waiting)

    def inWaiting(self) -> int:
        """As in_waiting, by the name that mpremote has for it."""
        return self.in_waiting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


class Port:
    """An open port. With `with`; raises PortError when the board goes away, whatever it is
    doing."""

    def __init__(self, name: str) -> None:
        """Open the port `name`, a device's path or a URL of pyserial's."""
        with _errors(name):
            self._transport = SerialTransport(name, timeout=READ_S)
            self._transport.serial.write_timeout = WRITE_S
        self._serial = _Bounded(self._transport.serial)
        self._transport.serial = self._serial
        self._transport.is_pty = True  # reads then wait in select() and not in a loop of naps
        self.name = name

    def __enter__(self) -> "Port":
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError, serial.SerialException):  # it may be unplugged
            self._transport.close()

    def interrupt(self, seconds: float = 20.0) -> None:
        """Stop what the board is doing, and enter the raw REPL with an empty heap; /main.py does
        not run."""
        try:
            self._enter(seconds / 2)
        except PortError:
            # It was in a long computation, or starts again and again: Ctrl-C must come at the right
            # moment.
            self._knock(seconds / 4)
            self._enter(seconds / 4)

    def _enter(self, seconds: float) -> None:
        self._serial.begin(2 * seconds)
        # mpremote prints what it got.
        with _errors(self.name), contextlib.redirect_stdout(io.StringIO()):
            self._transport.enter_raw_repl(soft_reset=True, timeout_overall=seconds)

    def _knock(self, seconds: float) -> None:
        """Send Ctrl-C until the board gives a prompt, for `seconds` at most."""
        end = time.monotonic() + seconds
        seen = b""
        with _errors(self.name):
            while time.monotonic() < end and not seen.endswith(b">>> "):
                self._serial.begin(seconds + 2 * READ_S)
                self._serial.write(b"\x03")
                time.sleep(0.05)
                seen = (seen + self._serial.read(max(1, self._serial.in_waiting)))[-100:]

    def run(self, code: str, seconds: float = REPLY_S) -> bytes:
        """Run `code` on the board and return what it printed. Raises DeviceError or PortError."""
        self._serial.begin(seconds)
        with _errors(self.name):
            output, error = self._transport.exec_raw(code, timeout=seconds)
        if error:
            raise _device_error(error)
        return bytes(output)

    def start(self, code: str) -> None:
        """Run `code`, which does not end: a reset."""
        self._serial.begin(REPLY_S)
        with _errors(self.name):
            self._transport.exec_raw_no_follow(code)

    def lines(self, seconds: float | None = None) -> Iterator[bytes | None]:
        """Yield what the board prints, line by line without its end, and None where it is silent;
        for `seconds` or for ever.

        A line longer than 1000 bytes comes in pieces.
        """
        end = None if seconds is None else time.monotonic() + seconds
        buffer = b""
        while end is None or time.monotonic() < end:
            self._serial.begin(REPLY_S)
            with _errors(self.name):
                data = self._serial.read(max(1, min(self._serial.in_waiting, 1000)))
            *whole, buffer = (buffer + data).split(b"\n")
            yield from (line.rstrip(b"\r") for line in whole)
            if len(buffer) > 1000:
                yield buffer
                buffer = b""
            if not data:
                yield None
        if buffer:
            yield buffer


def _device_error(error: bytes) -> DeviceError:
    last = printable(error.strip().rpartition(b"\n")[2])
    name, _, rest = last.partition(": ")
    number = None
    if name == "OSError":
        digits = rest.removeprefix("[Errno ").partition("]")[0]
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else None
    if number == errno.ENOSPC:
        return DeviceError("the board's flash is full; what it ran before is as it was", number)
    return DeviceError(f"the board says {last or 'nothing'}", number)


@contextlib.contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turn what mpremote and pyserial raise into a PortError of one line."""
    try:
        yield
    except TransportExecError as error:
        raise PortError(f"{name}: {printable(str(error).encode())}") from None
    except TransportError as error:
        text = printable(str(error).encode(), 100)
        if "failed to access" in text:
            raise PortError(
                f"{name} cannot be opened; is the board plugged in, and no other program using it?"
            ) from None
        raise PortError(f"{name}: no MicroPython answers there ({text})") from None
    except (serial.SerialException, OSError, struct.error, UnicodeError, ValueError) as error:
        raise PortError(f"{name}: the board went away ({printable(str(error).encode(), 100)})") from None


def opened(name: str, seconds: float) -> Port:
    """Open a port that may be gone for a while, as a board's own USB port is after a reset. Raises
    PortError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            return Port(name)
        except PortError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def is_terminal() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty()
