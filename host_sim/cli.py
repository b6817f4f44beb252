"""The `hum-sim` command: a fleet of boards on one machine."""

import asyncio
import sys

import typer

from broker.mosquitto.configuration import BrokerError
from firmware.build.compile import CompileError
from host_sim import households
from host_sim.bench_commands import bench
from host_sim.demo_command import demo
from host_sim.figure_commands import figures
from host_sim.fleet_plan import FleetError
from host_sim.options import OptionError
from host_sim.overlay_commands import overlay
from host_sim.query_commands import query
from host_sim.years_command import years

KNOWN = (OptionError, FleetError, BrokerError, CompileError, households.DataError, OSError)

app = typer.Typer(
    help="Hum's simulator: real boards' code on this machine.", no_args_is_help=True, add_completion=False
)
for command in (demo, years, overlay, query):
    app.command()(command)
app.add_typer(bench, name="bench")
app.add_typer(figures, name="figures")


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 1."""
    try:
        app()
    except KNOWN as error:
        raise SystemExit(f"hum-sim: {error}") from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("hum-sim: stopped; nothing is left running", file=sys.stderr)
        raise SystemExit(130) from None
