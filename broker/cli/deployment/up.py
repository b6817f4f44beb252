"""`hum up`: the deployment runs, in the foreground."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from broker.deployment.folder import Deployment
from broker.deployment.running import up as running

DeploymentFolder = Annotated[
    Path | None,
    typer.Option(
        "--dir", help="The deployment's folder; if not said, the current one, else $HUM_DIR.", show_default=False
    ),
]


class Part(StrEnum):
    """What can run alone."""

    BROKER = "broker"
    COORDINATOR = "coordinator"
    GATEWAY = "gateway"


def up(
    folder: DeploymentFolder = None,
    only: Annotated[
        Part | None, typer.Option(help="Run one of the three; the others run elsewhere.", show_default=False)
    ] = None,
) -> None:
    """Run the broker, the coordinator and the gateway, until Ctrl-C or SIGTERM ends all. One log
    goes to standard error, with a prefix for each; who dies is started again.
    """
    number = running.run(Deployment.find(folder), only.value if only else None)
    raise typer.Exit(running.exit_status(number))
