"""`hum add`: a board becomes a member of the deployment; one on a serial port makes its key pair
and gets its settings in the same go."""

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.authority.authority import Authority
from broker.cli.deployment import add as by_key
from broker.cli.deployment.membership import Labels, Measures, Place, about_of, code_of
from broker.cli.options import AsJson, show
from broker.deployment.folder import Deployment
from broker.deployment.members import change, known
from firmware import boards
from firmware.cli import provision as options
from firmware.cli.options import BUILDS, BuildFolder
from firmware.device import provision
from firmware.device import session as devices
from firmware.device.pinned import Elsewhere
from firmware.device.settings import Broker, Meter, Reading, Wifi, compose
from firmware.errors import FirmwareError

PortName = Annotated[
    str | None,
    typer.Option("--port", help="The serial port of a board that has no settings yet.", show_default=False),
]
Kind = Annotated[
    str | None,
    typer.Option("--board", help="With --port: its kind; `hum firmware boards` lists them.", show_default=False),
]


def add(
    name: by_key.NewName = None,
    key: by_key.NewKey = None,
    port: PortName = None,
    board: Kind = None,
    group: by_key.OfGroup = None,
    place: Place = None,
    measures: Measures = None,
    labels: Labels = None,
    answer: by_key.Answer = None,
    target: BuildFolder = None,
    wifi: options.WifiName = None,
    wifi_password: options.WifiPassword = None,
    country: options.Country = None,
    meter: options.MeterKind = Meter.P1,
    impulses: options.Impulses = 1000,
    pin: options.Pin = None,
    uart: options.Uart = None,
    old: options.Old = False,
    inverted: options.Inverted = False,
    folder: by_key.DeploymentFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a board a member: enrol it, make its password, sign the next roster, and have broker and
    coordinator take that up. Compare the code with what the board shows.

    The board is on a serial port, or has printed its key into a file. With an authority elsewhere
    one request file is written; `hum sign` answers it with one file, for `hum add --answer FILE`.
    """
    if port is None:
        by_key.add(name, key, group, place, measures, labels, answer, folder, as_json)
        return
    if name is None or board is None or key is not None or answer is not None:
        raise FirmwareError("--port goes with the board's name and --board KIND, and without --key and --answer")
    deployment = Deployment.find(folder)
    network = Wifi(wifi, options.wifi_password_of(wifi, wifi_password), country) if wifi else None
    reading = Reading(meter, impulses, pin, uart, old, inverted)
    about = about_of(place, measures, labels)
    show(as_json, _add(deployment, name, port, board, group, target or BUILDS / board, network, reading, about))


def _add(
    deployment: Deployment,
    name: str,
    port: str,
    board: str,
    group: str | None,
    build: Path,
    network: Wifi | None,
    reading: Reading,
    about: dict[str, Any],
) -> dict[str, Any]:
    kind, wanted = boards.load(board), known.chosen(deployment, group)
    moves = known.group_of(deployment, name) == wanted
    if deployment.authority is not None:  # before the board is touched
        Authority(deployment.authority).check_place(wanted, name, known.plan(deployment, wanted))
    pinned = Elsewhere(deployment.name, deployment.authority_public())
    certificate = provision.certificate(deployment.ca) if deployment.ca.is_file() else None
    secret, _ = provision.password(deployment.credentials, name)
    there = deployment.settings.broker
    where = Broker(there.host, there.port, secret, certificate is not None)
    protocol = deployment.settings.groups[wanted].protocol
    settings = compose(kind, pinned, wanted, name, where, network, None, reading, options.MASKS, protocol)
    with devices.Session(port, kind.watchdog_off) as connected:
        public = provision.make(connected, kind, pinned, wanted, name, build, options.COPIED, moves)
        asked = {"do": "add", "group": wanted, "device": name, "public": public, "about": about}
        made = change.make(deployment, asked, wanted)
        provision.write(connected, settings, certificate)
        connected.reset()
    return {"device": name, "group": wanted, "code": code_of(public), **made.told}
