"""`hum broker`: what a Mosquitto needs to relay the deployment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.authority.authority import Authority
from broker.cli.options import AUTHORITY, AsJson, AuthorityFolder, show
from broker.deploy.mosquitto import handover, reloading
from broker.deploy.mosquitto.credentials import BrokerError
from broker.transport import users


def broker_configuration(
    folder: Annotated[Path, typer.Argument(help="Where mosquitto.conf, passwords and access rules go.")],
    authority_folder: AuthorityFolder = AUTHORITY,
    address: Annotated[str, typer.Option(help="Address to listen on.", envvar="HUM_ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535, envvar="HUM_PORT")] = 8883,
    tls: Annotated[Path | None, typer.Option(help="Folder with server.crt and server.key.", exists=True)] = None,
    add: Annotated[
        list[str] | None, typer.Option("--reader", help="One more reader of results, by a name; repeatable. It stays.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option("--no-reader", help="One reader less; repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write Mosquitto's configuration for all enrolled boards: a password each, anonymous off, each
    in its own group and topics. The broker that runs with it takes it up at once, no link ends.
    """
    if tls is None and address not in ("127.0.0.1", "::1", "localhost"):
        raise BrokerError(f"to listen on {address} give --tls FOLDER; plain TCP is for this machine only")
    authority = Authority(authority_folder)
    added, removed = _readers(add or []), _readers(remove or [])
    known, reload = reloading.update(
        folder, authority.deployment, authority.groups(), address, port, tls, added, removed
    )
    fields: dict[str, Any] = {"configuration": str(folder / "mosquitto.conf"), "users": len(known)}
    show(
        as_json,
        fields
        | {"credentials": str(folder / "users"), "runs_as": handover.broker_account(folder).name, "reload": reload},
    )


def _readers(names: list[str]) -> list[str]:
    try:
        return [users.reader(name) for name in names]
    except ValueError as error:
        raise BrokerError(str(error)) from None
