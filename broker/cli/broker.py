"""`hum broker`: what a Mosquitto needs to relay the deployment."""

from pathlib import Path
from typing import Annotated

import typer

from broker.authority.authority import Authority
from broker.cli.options import AUTHORITY, AsJson, AuthorityFolder, show
from broker.deploy.mosquitto import configuration


def broker_configuration(
    folder: Annotated[Path, typer.Argument(help="Where mosquitto.conf, passwords and access rules go.")],
    authority_folder: AuthorityFolder = AUTHORITY,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8883,
    tls: Annotated[Path | None, typer.Option(help="Folder with server.crt and server.key.", exists=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Write Mosquitto's configuration for all enrolled boards: a password each, anonymous off, each
    in its own topics."""
    if tls is None and address not in ("127.0.0.1", "::1", "localhost"):
        raise configuration.BrokerError(f"to listen on {address} give --tls FOLDER; plain TCP is for this machine only")
    authority = Authority(authority_folder)
    users = configuration.write(folder, authority.deployment, authority.devices(), address, port, tls)
    show(as_json, {"configuration": str(folder / "mosquitto.conf"), "users": len(users)})
