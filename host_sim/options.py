"""What commands of several modules of `hum-sim` share: options, their error, a run's folder, how
figures are printed."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

OneObject = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Data = Annotated[
    Path,
    typer.Option(
        help="FILE.csv[.gz]: id, date, s00..s47 in Wh; a row is a board.",
        show_default="host_sim/data/households.csv.gz",
    ),
]
Runtime = Annotated[str, typer.Option(help="micropython: a process each; cpython: agents in this process.")]
Heap = Annotated[str, typer.Option(help="Heap of each MicroPython board.")]


class OptionError(Exception):
    """An option's value is of no use. args[0] says what is."""


def new_folder(output: Path | None, kind: str) -> Path:
    """Make the folder `output`, or one that is named after the kind of run and the time, and return
    its absolute path: a fleet's processes have other current folders. Raises OptionError if it is
    in use."""
    folder = output or Path("out") / time.strftime(f"{kind}-%Y%m%d-%H%M%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise OptionError(f"--output {folder}: {error.strerror}") from None
    if used:
        raise OptionError(f"{folder} is not empty; choose another --output")
    return folder.absolute()


def tell(figures: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """Print figures as one JSON object, or let `show` print them for a reader."""
    if as_json:
        print(json.dumps(figures), flush=True)
    else:
        show(figures)


def say(line: str) -> None:
    """Print a line of progress on standard error."""
    print(line, file=sys.stderr, flush=True)
