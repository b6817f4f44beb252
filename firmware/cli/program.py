"""`python -m firmware`: build, provision, flash, watch and erase boards. Results on standard
output, errors in one line."""

import typer

from broker.cli.defaults import of_commands
from broker.cli.help import WholeHelp
from broker.cli.main import run
from firmware.cli.boards import list_boards
from firmware.cli.build import build
from firmware.cli.erase import erase
from firmware.cli.flash import flash
from firmware.cli.monitor import monitor
from firmware.cli.provision import provision_board

app = typer.Typer(
    cls=WholeHelp,
    help="Build, provision, flash, watch and erase boards.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("boards")(list_boards)
app.command("build")(build)
app.command("provision")(provision_board)
app.command("flash")(flash)
app.command("monitor")(monitor)
app.command("erase")(erase)


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 1."""
    run(app, "hum-firmware", of_commands().get("firmware", {}))
