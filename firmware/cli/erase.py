"""`python -m firmware erase`: a board is nobody's again."""

import sys
from typing import Annotated

import typer

from broker.cli.options import show
from firmware import boards
from firmware.cli.options import AsJson, BoardName, PortName, progress
from firmware.device import flash as flashing
from firmware.device import provision
from firmware.device import session as devices
from firmware.errors import FirmwareError


def erase(
    board: BoardName,
    port: PortName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove all of Hum from a board, its key pair too: it must be enrolled again."""
    kind = boards.load(board)
    with devices.Session(port, kind.watchdog_off) as connected:
        devices.check(connected, kind.is_chip, kind.title)
        name = _name(connected)
        if not yes:
            _ask(name)
        flashing.erase(connected, progress("erased"))
        connected.reset()
    show(as_json, {"device": name, "erased": True})


def _ask(name: str) -> None:
    """Raise FirmwareError unless somebody types the board's name."""
    if not sys.stdin.isatty():
        raise FirmwareError("nobody can be asked here; --yes erases without asking")
    lost = f"{name}'s key pair (it must be enrolled again), its masks, its counters and its settings"
    print(f"Lost will be: {lost}.\nTo erase, type the board's name: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != name:
        raise FirmwareError("that is not its name; nothing was changed")


def _name(connected: devices.Device) -> str:
    try:
        found = provision.place(connected)
    except FirmwareError:
        return "erase"  # settings that cannot be read must not keep a board from being erased
    return found.device if found else "erase"
