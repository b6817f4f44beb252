"""`python -m firmware flash`: a built version goes on a board, which must give a sign of life."""

import ssl
from pathlib import Path
from typing import Annotated

import typer

from broker.cli.options import show
from broker.deploy.mosquitto.credentials import read_password
from broker.transport.link import Link
from broker.transport.users import INSTALLER
from firmware import boards
from firmware.cli.options import BUILDS, AsJson, BoardName, BuildFolder, Credentials, PortName, progress
from firmware.device import birth
from firmware.device import flash as flashing
from firmware.device import session as devices


def flash(
    board: BoardName,
    port: PortName,
    target: BuildFolder = None,
    older: Annotated[bool, typer.Option("--older", help="Also a version below one that the board has had.")] = False,
    host: Annotated[
        str | None,
        typer.Option("--broker", help="Wait for the board's birth message at this broker.", envvar="HUM_HOST"),
    ] = None,
    broker_port: Annotated[int, typer.Option(help="The broker's port.", min=1, max=65535, envvar="HUM_PORT")] = 8883,
    credentials: Credentials = None,
    ca: Annotated[
        Path | None,
        typer.Option(help="The broker's certificate authority, PEM; turns TLS on.", dir_okay=False, envvar="HUM_CA"),
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for the board, by MQTT or on its console.", min=1)
    ] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Put a built version on a provisioned board, start it, and wait for a sign of life."""
    kind = boards.load(board)
    if ca:
        # One that cannot be read is an error before the board is touched.
        ssl.create_default_context(cafile=ca)
    secret = read_password(credentials, INSTALLER) if credentials else None
    link = Link(host, broker_port, INSTALLER if secret else None, secret, str(ca) if ca else None) if host else None
    with devices.Session(port, kind.watchdog_off) as connected:
        done = flashing.flash(connected, kind, target or BUILDS / board, older, progress("copied"))
        place = done.place
        if link:
            birth.at_broker(link, place.deployment, place.device, connected.reset, wait)
            heard = "birth"
        else:
            heard = birth.at_console(connected.port, place.device, done.version, connected.reset, wait)
    fields = {
        "device": place.device,
        "version": done.version,
        "changed": done.changed,
        "sent": done.sent,
        "heard": heard,
    }
    show(as_json, fields)
