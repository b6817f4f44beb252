"""`hum doctor`: what is wrong with a deployment, and what to do about it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from broker.cli.options import AsJson, show
from broker.cli.tables import wrapped
from broker.deployment.checkup.examination import examine
from broker.deployment.checkup.findings import Finding

UNHEALTHY = 4

DeploymentFolder = Annotated[
    Path | None,
    typer.Option(
        "--dir", help="The deployment's folder; if not said, the current one, else $HUM_DIR.", show_default=False
    ),
]


def doctor(folder: DeploymentFolder = None, as_json: AsJson = False) -> None:
    """Look for what is wrong with a deployment: write in its folders, open its keys, connect to the
    broker, read its certificate, log in, try its access rules, compare clocks.

    Nothing is changed. Exit status 4 if anything is wrong.
    """
    found = []
    for one in examine(folder):
        found.append(one)
        if not as_json:
            _say(one)
    faults = [one for one in found if one.fault]
    if as_json:
        show(True, {"healthy": not faults, "checks": [asdict(one) for one in found]})
    else:
        print(f"{len(found)} checks, {len(faults)} faults" if faults else f"{len(found)} checks, all is well")
    if faults:
        raise typer.Exit(UNHEALTHY)


def _say(one: Finding) -> None:
    print(wrapped(f"{one.check}: {one.fault or 'good'}"), flush=True)
    if one.remedy:
        print(wrapped(one.remedy, "    "), flush=True)
