"""Signed rosters for the coordinator: those that it starts with, and `hum coordinator adopt`, also
while it runs."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from agent.protocols.base.roster import ROSTER_MOST
from broker.cli.options import STATE, AsJson, StateFolder, show
from broker.cli.tables import told
from broker.coordinator.home import Home, HomeError, StaleRoster

log = logging.getLogger("hum.coordinator")


def adopt_newer(home: Home, entries: list[str]) -> None:
    """Adopt the rosters that are newer than those in force: a unit file may name one of before."""
    for entry in entries:
        group, signed = _roster(entry)
        try:
            home.adopt(group, signed)
        except StaleRoster as error:
            log.warning("--roster %s: %s; it can be left out", entry, error)


def _roster(entry: str) -> tuple[str, bytes]:
    """Return the group, and what is in the file, of GROUP=FILE. Raises HomeError."""
    group, _, path = entry.partition("=")
    if not path or not Path(path).is_file():
        raise HomeError(f"--roster {entry}: GROUP=FILE with a signed roster is wanted")
    with Path(path).open("rb") as file:
        return group, file.read(ROSTER_MOST + 1)


def coordinator_adopt(
    roster: Annotated[list[str], typer.Argument(help="GROUP=FILE, a signed roster; several may be given.")],
    state: StateFolder = STATE,
    as_json: AsJson = False,
) -> None:
    """Adopt signed rosters. A coordinator that runs goes on with them when its round is over."""
    home = Home(state)
    wanted = [_roster(entry) for entry in roster]
    epochs = {group: home.adopt(group, signed) for group, signed in wanted}
    running = "runs" if home.is_running() else "does not run"
    show(as_json, {"adopted": epochs if as_json else told(epochs), "coordinator": running})
