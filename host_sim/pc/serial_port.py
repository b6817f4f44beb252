"""What stands for the module `machine` on a PC whose meter is at a serial port: a USB cable at the
P1 port, an optical head."""

import sys

import serial


def use(path: str) -> None:
    """From now on every UART is the serial port at `path`."""
    _Uart.path = path
    sys.modules["machine"] = _Machine()  # type: ignore[assignment]  # as good as a module


class _Uart:
    """As far as agent/meters/uart/port.py wants it."""

    path = ""
    _open: "serial.Serial | None" = None

    def __init__(self, number: int, baudrate: int, **options: int | None) -> None:
        if _Uart._open is not None:
            _Uart._open.close()  # the port is tried at one rate after the other
        _Uart._open = self._port = serial.Serial(self.path, baudrate, timeout=0)

    def any(self) -> int:
        """Return how many bytes wait. Raises OSError once the port is unplugged."""
        return int(self._port.in_waiting)

    def read(self, size: int) -> bytes | None:
        """Return at most `size` bytes that wait. Raises OSError once the port is unplugged."""
        return self._port.read(size) or None


class _Machine:
    UART = _Uart
