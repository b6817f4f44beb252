"""What a fleet runs, and the error of one that does not."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEPLOYMENT = "demo"
GROUP = "street"

Slots = list[tuple[str, int, int]]  # name, low, high


class FleetError(Exception):
    """A part of the fleet did not come up, or died. args[0] says which, what its last words were,
    and where to look."""


def last_words(log: Path) -> str:
    """Return the last line of a log that says something, at most 200 characters; of a traceback
    that is its error."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it left no word")


@dataclass(frozen=True)
class Plan:
    """What the fleet runs: `columns` maps a device to its lists of readings, one a slot of
    `slots`."""

    columns: dict[str, list[list[int]]]
    slots: Slots
    rounds: int
    interval: float
    window: float
    runtime: str
    heap: str
    masks_target: int
    # Longest wait in seconds for boards that still make masks.
    patience: float = 900.0
    # Most members of a cohort, and which sums open: 0 each cohort's, 1 the whole fleet's.
    cohort: int = 32
    seal: int = 0
    # Rounds of instants, and the seconds after one in which boards send.
    instants: bool = False
    spread: int = 0
    # Devices whose link goes through a relay that hold_back() turns slow.
    late: tuple[str, ...] = ()
    # Devices that are not started with the others.
    absent: tuple[str, ...] = ()
    # What the group runs, and the roster's parameters.
    protocol: str = "private-sum"
    parameters: str = "hum-2048"
    # Bad habits of boards on MicroPython (host_sim/gossip/byzantine.py), by device.
    habits: dict[str, str] = field(default_factory=dict)
    # Boards on MicroPython that have a meter at a line (lines.py): their setting "meter", and the
    # line's path. They have no columns: an empty list.
    meters: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    # The public key, hexadecimal, of a gateway that the coordinator tells and hears.
    gateway: str = ""
    # How many rounds off the grid the boards' policies allow in a day.
    off_grid: int = 0
    # Groups beside GROUP: their devices, which are in `columns` too, and their slots.
    others: dict[str, tuple[list[str], Slots]] = field(default_factory=dict)

    def groups(self) -> dict[str, tuple[list[str], Slots]]:
        """Return all groups: their devices and their slots."""
        elsewhere = {device for devices, _ in self.others.values() for device in devices}
        return {GROUP: ([device for device in self.columns if device not in elsewhere], self.slots), **self.others}
