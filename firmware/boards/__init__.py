"""The boards that Hum knows: one file each in firmware/boards."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from firmware.errors import FirmwareError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Board:
    """What differs from board to board. Sizes in bytes; pins are the numbers of machine.Pin."""

    name: str
    title: str
    chip: str  # as sys.implementation._machine ends, or begins where it has no " with "
    arch: str | None  # of mpy-cross; None: any
    heap: int
    block: int
    blocks: int
    budget: int  # the most that one version of the application may take
    p1_uart: int
    p1_rx: int
    p1_tx: int
    s0_pin: int
    led: str  # of machine.Pin; "" where there is none that a pin drives
    watchdog_ms: int  # the longest that its watchdog waits
    # What stops a watchdog that the application left running, while files are copied.
    watchdog_off: str

    def is_chip(self, machine: str) -> bool:
        """Tell whether `machine`, a board's sys.implementation._machine, names this board's
        chip."""
        words = machine.rpartition(" with ")[2].split()
        return bool(words) and _plain(words[0]) == _plain(self.chip)


def _plain(name: str) -> str:
    """Between versions of MicroPython the same chip is ESP32S3 and ESP32-S3."""
    return name.replace("-", "").lower()


def names() -> list[str]:
    """Return the names of all boards."""
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("*.toml"))


def load(name: str) -> Board:
    """Return the board called `name`. Raises FirmwareError."""
    if name not in names():
        raise FirmwareError(f"no board is called {name!r}; there are {', '.join(names())}")
    fields = tomllib.loads((FOLDER / (name.replace("-", "_") + ".toml")).read_text())
    if not fields["arch"]:
        fields["arch"] = None
    return Board(name=name, **fields)
