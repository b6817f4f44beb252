"""`hum install` and `hum uninstall`: the deployment as services of systemd."""

from pathlib import Path
from typing import Annotated

import typer

from broker.cli.deployment.up import DeploymentFolder
from broker.cli.options import AsJson, show
from broker.deployment import installing
from broker.deployment.folder import Deployment

UnitFolder = Annotated[Path, typer.Option("--units", help="The folder of systemd's units.")]


def install(
    folder: DeploymentFolder = None,
    packaged: Annotated[
        bool, typer.Option("--packaged-broker", help="The broker is the distribution's mosquitto.service.")
    ] = False,
    units: UnitFolder = installing.UNITS,
    as_json: AsJson = False,
) -> None:
    """Run the deployment as services of systemd: broker and coordinator, hardened, as the user
    whose the folder is; they start with the machine. Root's to do; again after a change of
    hum.toml."""
    show(as_json, installing.install(Deployment.find(folder), units, packaged))


def uninstall(folder: DeploymentFolder = None, units: UnitFolder = installing.UNITS, as_json: AsJson = False) -> None:
    """Stop the services and take their units back. The deployment's folder stays as it is."""
    show(as_json, {"removed": installing.uninstall(Deployment.find(folder), units)})
