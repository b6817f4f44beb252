"""The `hum-sim` command: a fleet of boards on one machine."""

import typer

from broker.cli.help import WholeHelp
from broker.deploy.mosquitto.credentials import BrokerError
from broker.files import begin_private
from firmware.errors import CompileError
from host_sim import ending
from host_sim.bench.commands import bench
from host_sim.data import households
from host_sim.demo.command import demo
from host_sim.demo.query_command import query
from host_sim.fleet.plan import FleetError
from host_sim.fuzz.command import fuzz
from host_sim.gossip.commands import overlay
from host_sim.gossip.figure_commands import figures
from host_sim.options import OptionError
from host_sim.years.command import years

KNOWN = (OptionError, FleetError, BrokerError, CompileError, households.DataError, OSError)

app = typer.Typer(
    cls=WholeHelp,
    rich_markup_mode=None,
    help="Hum's simulator: real boards' code on this machine.",
    no_args_is_help=True,
    add_completion=False,
)
for command in (demo, years, overlay, query, fuzz):
    app.command()(command)
app.add_typer(bench, name="bench")
app.add_typer(figures, name="figures")


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 1."""
    begin_private()
    try:
        with ending.heeding_signals():
            app()
    except KNOWN as error:
        raise SystemExit(f"hum-sim: {error}") from None
