"""Flashing: checks first, then the copy, then the switch. Erasing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from broker.authority import releases
from firmware.boards import Board
from firmware.build.version import MAIN
from firmware.device import install, provision
from firmware.device import session as devices
from firmware.device.session import Device
from firmware.errors import FirmwareError

# In this order: a key pair without the records of what was done with it would encrypt a round for a
# second time.
ERASED = (
    provision.IDENTITY,
    install.POINTER,
    install.MAIN,
    "/a",
    "/b",
    provision.CA,
    provision.SETTINGS,
    provision.STATE,
)


@dataclass(frozen=True)
class Flashed:
    """What was done. `changed` is False where the board ran this version already; `sent` are bytes
    of files over the port."""

    place: provision.Place
    version: int
    changed: bool
    sent: int


def flash(
    device: Device,
    board: Board,
    build: Path,
    older: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Flashed:
    """Put what is in `build` on a board that has been provisioned, to run from its next start on.
    Never touches /state.

    `older`: also a version below one that the board has had. Raises FirmwareError and what else the
    command line knows.
    """
    about = devices.check(device, board.is_chip, board.title)
    place = provision.place(device)
    if place is None or not provision.has_identity(device):
        raise FirmwareError("the board has no identity yet; `make provision` comes first")
    if place.board != board.name:
        raise FirmwareError(
            f"{place.device} was provisioned as {place.board}, not as {board.name}; give the right BOARD"
        )
    wanted = releases.read(build, place.authority, place.deployment, board.name)
    provision.check_form(build, wanted, about)
    found = install.survey(device)
    main = MAIN.read_bytes()
    if install.is_there(found, wanted):
        changed = install.put_main(device, main)
        changed |= install.settle(device, found)
        return Flashed(place, wanted.version, changed, 0)
    if wanted.version + 1 < found.least() and not older:
        raise FirmwareError(
            f"the board has had version {found.least() - 1}, and this is {wanted.version}; `make firmware` makes a later one, "
            "--older puts this one on"
        )
    target, sent = install.stage(device, found, wanted, build, progress)
    install.put_main(device, main)
    install.switch(device, found, target, wanted.version)
    return Flashed(place, wanted.version, True, sent)


def erase(device: Device, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Remove all that Hum put on the board, its key pair first. After a cut the same again goes on
    where it stopped; a board that is started before that completes it when it makes a new pair."""
    for done, path in enumerate(ERASED):
        progress(done, len(ERASED))
        device.remove_tree(path)
        if path not in ("/a", "/b", provision.STATE):
            device.remove(path + ".tmp")
    progress(len(ERASED), len(ERASED))
