"""`hum board`: a board on a PC."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.wire import topics
from broker.cli.deployment.up import DeploymentFolder
from broker.deployment.folder import Deployment
from host_sim.pc.board import Board, BoardError, Meter

NUMBER = re.compile(r"-?[0-9]{1,12}")
Play = Annotated[
    list[str] | None,
    typer.Option(help="A meter that is played: Wh of each round, such as 300,350; again for each further slot."),
]


def board(
    name: Annotated[str, typer.Argument(help="The board's name: a-z, 0-9 and -.")],
    play: Play = None,
    p1: Annotated[Path | None, typer.Option(help="A smart meter's P1 port, at this serial port.")] = None,
    sml: Annotated[Path | None, typer.Option(help="An optical head (SML), at this serial port.")] = None,
    rate: Annotated[int | None, typer.Option(help="With --p1 or --sml: baud.", min=300, max=1_000_000)] = None,
    group: Annotated[
        str | None, typer.Option(help="Its group; the deployment's only one if not said.", show_default=False)
    ] = None,
    micropython: Annotated[bool, typer.Option("--micropython", help="Run on MicroPython, with --play.")] = False,
    credentials: Annotated[
        Path | None, typer.Option(help="Where its password is, if not in the deployment's folder.", show_default=False)
    ] = None,
    folder: DeploymentFolder = None,
) -> None:
    """Run a board of the deployment on this machine, until Ctrl-C. At the first start it makes its
    key pair and shows the key's code; it takes part once `hum add` has added it.
    """
    if not topics.valid_device(name):
        raise BoardError(f"{name!r} cannot be a board's name: 1 to 32 of a-z, 0-9 and -, and no user's of the broker")
    deployment = Deployment.find(folder)
    found = _group(deployment, group)
    meter = _meter(deployment, found, play or [], p1, sml, rate, micropython)
    one = Board(deployment, name, found)
    with one.alone():
        print(f"board {name} of {found}: code {one.code}, key {one.key_file}", file=sys.stderr, flush=True)

        def waits() -> None:
            print(f"it waits for: hum add {name} --key {one.key_file}", file=sys.stderr, flush=True)

        password = one.await_password(waits, credentials or deployment.credentials)
        one.run(meter, password, micropython)


def _group(deployment: Deployment, named: str | None) -> str:
    known = deployment.settings.groups
    if named is None and len(known) == 1:
        return next(iter(known))
    if named not in known:
        raise BoardError(f"--group: one of {', '.join(known) or 'those in hum.toml, of which there is none'} is wanted")
    return named


def _meter(
    deployment: Deployment,
    group: str,
    play: list[str],
    p1: Path | None,
    sml: Path | None,
    rate: int | None,
    micropython: bool,
) -> Meter:
    """Return the one meter that was named. Raises BoardError."""
    named = [bool(play), p1 is not None, sml is not None]
    if sum(named) != 1:
        raise BoardError("one meter is wanted: --play WH,..., --p1 PORT or --sml PORT")
    slots = deployment.settings.groups[group].ranges()
    if play:
        if rate is not None:
            raise BoardError("--rate goes with --p1 or --sml")
        if len(play) != len(slots):
            raise BoardError(f"--play is wanted for each slot of {group}: {', '.join(name for name, _, _ in slots)}")
        return Meter([_values(text, *slot) for text, slot in zip(play, slots, strict=True)])
    port = p1 or sml
    assert port
    if micropython:
        raise BoardError("--micropython goes with --play: the unix port has no serial port")
    if not port.exists():
        raise BoardError(f"there is no {port}; is the cable plugged in?")
    return Meter(None, "p1" if p1 else "sml", str(port), rate)


def _values(text: str, slot: str, low: int, high: int) -> list[int]:
    words = text.split(",")
    if not all(NUMBER.fullmatch(word) and low <= int(word) <= high for word in words):
        raise BoardError(f"--play {text}: whole numbers of {low} to {high} are wanted for {slot}, such as 300,350")
    return [int(word) for word in words]
