"""`python -m firmware monitor`: a board's console, with the real names in its tracebacks."""

from typing import Annotated

import typer

from firmware.cli.options import BUILDS, BuildFolder, PortName
from firmware.device import traceback
from firmware.device.port import Port

Kind = Annotated[
    str | None,
    typer.Option("--board", help="The board's kind; if neither it nor --build is given, what was built last."),
]


def monitor(port: PortName, board: Kind = None, target: BuildFolder = None) -> None:
    """Print what the board prints, until Ctrl-C; tracebacks with the names that the build
    recorded."""
    folder = target or (BUILDS / board if board else traceback.newest(BUILDS))
    reader = traceback.Reader(traceback.load(folder) if folder else None)
    with Port(port) as console:
        for line in console.lines():
            for text in reader.read(line):
                print(text, flush=True)
