"""`hum release`: the boards' application, updated over the air."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from broker.authority import releases
from broker.authority.keys import read_public
from broker.cli.help import WholeHelp
from broker.cli.options import (
    AsJson,
    AuthorityKey,
    BoardName,
    CertificateAuthority,
    Credentials,
    DeploymentName,
    Host,
    Port,
    link_to,
    show,
)
from broker.transport.users import RELEASES

release_app = typer.Typer(cls=WholeHelp, help="The boards' application, updated over the air.", no_args_is_help=True)


@release_app.command("publish")
def release_publish(
    build: Annotated[Path, typer.Argument(help="A signed build, such as build/pico-w.")],
    deployment: DeploymentName,
    authority: AuthorityKey,
    board: BoardName = None,
    host: Host = "127.0.0.1",
    port: Port = 8883,
    credentials: Credentials = None,
    ca: CertificateAuthority = None,
    as_json: AsJson = False,
) -> None:
    """Hand a signed version to the broker. Boards take it within ten minutes, try it, and go back
    if it fails."""
    found = releases.read(build, read_public(authority).hex(), deployment, board or build.resolve().name)
    with Progress(
        TextColumn("publishing"), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True), disable=as_json
    ) as bar:
        task = bar.add_task("")
        link = link_to(host, port, credentials, ca, RELEASES)
        work = releases.publish(
            link, deployment, authority, build, found, lambda done, total: bar.update(task, completed=done, total=total)
        )
        pieces = asyncio.run(work)
    show(as_json, {"board": found.board, "version": found.version, "files": len(found.files), "pieces": pieces})


@release_app.command("retract")
def release_retract(
    board: Annotated[str, typer.Argument(help="The kind of board.")],
    deployment: DeploymentName,
    authority: AuthorityKey,
    host: Host = "127.0.0.1",
    port: Port = 8883,
    credentials: Credentials = None,
    ca: CertificateAuthority = None,
    as_json: AsJson = False,
) -> None:
    """Take a published version back. Boards that run it already keep it; only a later version
    replaces it."""
    read_public(authority)
    version = asyncio.run(
        releases.retract(link_to(host, port, credentials, ca, RELEASES), deployment, authority, board)
    )
    show(as_json, {"board": board, "retracted": version})
