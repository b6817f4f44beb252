"""What commands of several modules share: options, and how far a piece of work is."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

BoardName = Annotated[str, typer.Option("--board", help="The board's kind; `python -m firmware boards` lists them.")]
PortName = Annotated[str, typer.Option("--port", help="The board's serial port, such as /dev/ttyACM0.")]
BuildFolder = Annotated[Path | None, typer.Option("--build", help="The built version; build/BOARD if not given.")]
AuthorityFolder = Annotated[Path, typer.Option("--dir", help="The authority's folder.", envvar="HUM_AUTHORITY_DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines for people.")]
Credentials = Annotated[
    Path | None, typer.Option(help="credentials.json of `hum broker`.", dir_okay=False, envvar="HUM_CREDENTIALS")
]

AUTHORITY = Path("authority")
BUILDS = Path("build")


def progress(what: str) -> Callable[[int, int], None]:
    """Return a function that shows how far `what` is, on a terminal only."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{what}: {100 * done // max(total, 1)} %", end=end, file=sys.stderr, flush=True)

    return show
