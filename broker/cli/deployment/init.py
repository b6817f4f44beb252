"""`hum init`: a deployment's folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.options import AsJson, show
from broker.deployment import fragment, serving
from broker.deployment.checkup.broker import reached
from broker.deployment.setting_up import PORT, SLOT, Asked, set_up

Host = Annotated[
    str | None,
    typer.Option(
        help="Where boards connect to: the broker's name or address, for its certificate. Wanted the first time.",
        show_default=False,
        envvar="HUM_HOST",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        help=f"The broker's port; {PORT} if not said.", min=1, max=65535, show_default=False, envvar="HUM_PORT"
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--deployment", help="The deployment's name; the folder's if not said.", show_default=False),
]
Group = Annotated[
    str | None,
    typer.Option(help="The name of its first group; the deployment's if not said.", show_default=False),
]
Slots = Annotated[
    list[str] | None,
    typer.Option(
        "--slot", help=f"NAME:LOW:HIGH, a reading and its range; repeatable; {SLOT} if not said.", show_default=False
    ),
]
Elsewhere = Annotated[
    str | None,
    typer.Option(
        "--authority",
        metavar="FOLDER|KEY",
        help="Where the authority is, if not in the deployment's folder: made there if there is none; "
        "or its public key, if it is on another machine.",
        show_default=False,
    ),
]
Existing = Annotated[
    bool, typer.Option("--existing-broker", help="A Mosquitto runs already: write access rules for it.")
]
Ca = Annotated[
    Path | None,
    typer.Option(
        help="With --existing-broker: the port is one that it serves already, with a certificate signed by who "
        "has this one, PEM. Without: it gets a port for Hum.",
        dir_okay=False,
        exists=True,
    ),
]

Reload = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        help="With --existing-broker: has it take up changed users, such as 'systemctl reload mosquitto'.",
        show_default=False,
    ),
]


def init(
    folder: Annotated[Path, typer.Argument(help="The deployment's folder; it is made.")],
    host: Host = None,
    port: Port = None,
    deployment: Name = None,
    group: Group = None,
    slots: Slots = None,
    authority: Elsewhere = None,
    existing: Existing = False,
    ca: Ca = None,
    reload: Reload = None,
    as_json: AsJson = False,
) -> None:
    """Make a deployment: hum.toml, authority, coordinator, certificates and the broker's
    configuration, in one folder.

    It says where the gateway will answer and, this once, the operator's token for it. The same
    again makes what is missing, renews a certificate that is about to end, and changes
    nothing else. With a broker that runs already it says what is not in force there yet.
    """
    asked = Asked(deployment, host, port, group, slots or None, authority, existing, ca, reload)
    found, made = set_up(folder, asked)
    fields: dict[str, Any] = {
        "deployment": found.name,
        "folder": str(found.folder),
        "authority": found.authority_public(),
        "made": made,
    }
    if found.settings.gateway.enabled:
        fields["gateway"] = serving.address(found)
        token = serving.first_token(found)
        fields |= {"token": token} if token else {}
    tried = list(reached(found)) if found.settings.broker.existing else []
    if as_json:
        show(True, fields | ({"broker": [asdict(one) for one in tried]} if tried else {}))
        return
    show(False, fields | {"made": ", ".join(made) or "nothing: all is there"})
    if tried:
        print(f"for the broker: {found.mosquitto / fragment.NAME}")
    for one in tried:
        print(f"{one.check}: {one.fault or 'good'}")
