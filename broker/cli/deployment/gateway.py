"""`hum gateway`: run the gateway, make tokens for it, and set a password."""

import json
import logging
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from broker.cli.ending import run_until_told
from broker.cli.help import WholeHelp
from broker.cli.options import AsJson, link_to, show
from broker.deployment import serving
from broker.deployment.folder import Deployment
from broker.errors import HumError
from broker.files import alone_in
from broker.gateway.book import tokens
from broker.transport.users import GATEWAY

DeploymentFolder = Annotated[
    Path | None,
    typer.Option(
        "--dir", help="The deployment's folder; if not said, the current one, else $HUM_DIR.", show_default=False
    ),
]
Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="sums, members, admin or ask:GROUP:FUNCTION; repeatable; all of them if not said.",
        show_default=False,
    ),
]
Note = Annotated[str, typer.Option(help="Whose token it is.")]
Days = Annotated[int | None, typer.Option(help="It expires after so many days.", min=1, max=36_500)]

gateway_app = typer.Typer(cls=WholeHelp, help="Run the gateway: results for who has a token, by HTTP.")


class ScopeError(HumError):
    """There is no such scope. args[0] says which there are."""

    exit_code = 2


@gateway_app.callback(invoke_without_command=True)
def gateway(context: typer.Context, folder: DeploymentFolder = None) -> None:
    """Run the gateway of a deployment until Ctrl-C. Its log goes to standard error."""
    if context.invoked_subcommand:
        return
    from broker.gateway import process  # no other command waits for its libraries

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    deployment = Deployment.find(folder)
    settings = deployment.settings
    ca = deployment.ca if deployment.ca.exists() else None
    link = link_to(settings.broker.host, settings.broker.port, serving.credentials(deployment), ca, GATEWAY)
    site, outward = serving.site(deployment), serving.outward(deployment)
    with process.listening(settings.gateway.address, settings.gateway.port) as sock:
        book = process.opened(site)
        run_until_told(process.run(site, link, book, sock, version("hum"), outward))


@gateway_app.command("token")
def gateway_token(
    folder: DeploymentFolder = None,
    scopes: Scopes = None,
    note: Note = "of `hum gateway token`",
    days: Days = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, once: where the operator's is lost, or for somebody else."""
    deployment = Deployment.find(folder)
    wanted = tuple(dict.fromkeys(scopes or tokens.OPERATOR))
    for scope in wanted:
        if not re.fullmatch(tokens.SCOPE, scope):
            raise ScopeError(f"--scope {scope}: sums, members, admin or ask:GROUP:FUNCTION is wanted")
    if len(wanted) > tokens.SCOPES_MOST or len(note) > tokens.NOTE_MOST:
        raise ScopeError(f"at most {tokens.SCOPES_MOST} scopes, and {tokens.NOTE_MOST} characters of --note")
    with alone_in(deployment.folder):
        serving.prepare(deployment)
    token = serving.new_token(deployment, wanted, note, days)
    show(as_json, {"token": token, "scopes": list(wanted) if as_json else ", ".join(wanted)})


@gateway_app.command("password")
def gateway_password(
    folder: DeploymentFolder = None,
    from_input: Annotated[bool, typer.Option("--stdin", help="Read it from standard input; else it is asked.")] = False,
) -> None:
    """Set the password that the operator signs in with on the page; a former one ends."""
    deployment = Deployment.find(folder)
    words = sys.stdin.readline().rstrip("\n") if from_input else _asked()
    with alone_in(deployment.folder):
        serving.prepare(deployment)
    serving.new_password(deployment, words)


def _asked() -> str:
    return str(typer.prompt("New password", hide_input=True, confirmation_prompt=True))


@gateway_app.command("openapi")
def gateway_openapi() -> None:
    """Print the OpenAPI document of the HTTP interface."""
    from broker.gateway.http.app import routed

    print(json.dumps(routed().openapi(), indent=2, sort_keys=True))
