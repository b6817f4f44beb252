"""`hum add` and `hum replace`: a board becomes a member of the deployment, or gets the name of one;
one on a serial port makes its key pair and gets its settings in the same go."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.authority.authority import Authority
from broker.authority.keys import public_in
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
from firmware.device.session import Device
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
    new = _New(deployment, kind, name, wanted, network, reading)
    settings = new.settings()  # before there is a request, too: its answer keeps the password
    with devices.Session(port, kind.watchdog_off) as connected:
        public = new.make(connected, build, moves)
        asked = {"do": "add", "group": wanted, "device": name, "public": public, "about": about}
        made = change.make(deployment, asked, wanted)
        new.configure(connected, settings)
    return {"device": name, "group": wanted, "code": code_of(public), **made.told}


def replace(
    name: by_key.Name,
    key: by_key.NewKey = None,
    port: PortName = None,
    board: Kind = None,
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
    """Let another board have a board's name: it gets a new key and a new password, and the old key
    never comes back. Compare the code with what the new board shows.

    The new board is on a serial port, or has printed its key into a file. With an authority
    elsewhere one on a port gets its settings by the same again, once the answer was applied.
    """
    deployment = Deployment.find(folder)
    if (key is None) == (port is None) or (port is None) != (board is None):
        raise FirmwareError("--key FILE is wanted, or --port TTY with --board KIND")
    if port is None or board is None:
        assert key is not None
        show(as_json, by_key.replace(deployment, name, public_in(key).hex()))
        return
    network = Wifi(wifi, options.wifi_password_of(wifi, wifi_password), country) if wifi else None
    reading = Reading(meter, impulses, pin, uart, old, inverted)
    kind, group = boards.load(board), by_key.group_to_replace(deployment, name)
    new = _New(deployment, kind, name, group, network, reading)
    new.settings()  # refused before the board is touched
    with devices.Session(port, kind.watchdog_off) as connected:
        public = new.make(connected, target or BUILDS / board, False)
        show(as_json, _replace(new, connected, public))


def _replace(new: "_New", connected: Device, public: str) -> dict[str, Any]:
    """Replace a member by the board that is connected, and return what there is to tell."""
    deployment = new.deployment
    if deployment.authority is None:
        there = next(one.public for one in known.members(deployment) if one.device == new.name)
        if there != public:
            told = by_key.replace(deployment, new.name, public)
            return told | {"then": "the same again, with the board on its port, gives it its settings"}
        told = {"replaced": new.name, "group": new.group, "code": code_of(public)}
    else:
        told = by_key.replace(deployment, new.name, public)
    new.configure(connected, new.settings())  # with the password that it has now
    return told


@dataclass(frozen=True)
class _New:
    """A board on a serial port that becomes `name` in `group`."""

    deployment: Deployment
    kind: boards.Board
    name: str
    group: str
    network: Wifi | None
    reading: Reading

    def _pinned(self) -> Elsewhere:
        return Elsewhere(self.deployment.name, self.deployment.authority_public())

    def make(self, connected: Device, build: Path, moves: bool) -> str:
        """Have it make its key pair, and return the public key, hexadecimal. Raises
        FirmwareError."""
        return provision.make(connected, self.kind, self._pinned(), self.group, self.name, build, options.COPIED, moves)

    def settings(self) -> dict[str, Any]:
        """Return its settings, with its password at the broker. Raises FirmwareError."""
        deployment, there = self.deployment, self.deployment.settings.broker
        secret, _ = provision.password(deployment.credentials, self.name)
        where = Broker(there.host, there.port, secret, self._certificate() is not None)
        protocol = deployment.settings.groups[self.group].protocol
        return compose(
            *(self.kind, self._pinned(), self.group, self.name, where),
            *(self.network, None, self.reading, options.MASKS, protocol),
        )

    def configure(self, connected: Device, settings: dict[str, Any]) -> None:
        """Write its settings, and start it. Raises FirmwareError."""
        provision.write(connected, settings, self._certificate())
        connected.reset()

    def _certificate(self) -> bytes | None:
        there = self.deployment.ca.is_file()
        return provision.certificate(self.deployment.ca) if there else None
