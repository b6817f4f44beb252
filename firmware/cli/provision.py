"""`python -m firmware provision`: a board becomes somebody's, in one go at its port."""

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.authority.authority import Authority
from broker.cli.deployment.membership import code_of
from broker.cli.options import show
from firmware import boards
from firmware.cli.options import (
    AUTHORITY,
    BUILDS,
    AsJson,
    AuthorityFolder,
    BoardName,
    BuildFolder,
    Credentials,
    PortName,
    progress,
)
from firmware.device import provision
from firmware.device import session as devices
from firmware.device.settings import SUMS, Broker, Framing, Meter, Reading, Wifi, compose
from firmware.errors import FirmwareError

DeviceName = Annotated[str, typer.Option("--device", help="The board's name in the deployment: a-z, 0-9 and -.")]
Group = Annotated[str, typer.Option(help="The group that it joins.")]
Protocol = Annotated[str, typer.Option(help="What the group runs; gossip and its kin answer queries.")]
Host = Annotated[
    str | None,
    typer.Option("--broker", help="The broker's address; the board looks for one if not given.", envvar="HUM_HOST"),
]
BrokerPort = Annotated[
    int | None, typer.Option(help="The broker's port; 8883, or 1883 without --ca.", min=1, max=65535, envvar="HUM_PORT")
]
ServerName = Annotated[str | None, typer.Option(help="The name in the broker's certificate, if it is another.")]
Others = Annotated[
    list[str] | None,
    typer.Option("--other", help="HOST or HOST:PORT, where it goes when its own has failed for good; repeatable."),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", help="NAME or NAME=VALUE that an announced broker must have; repeatable."),
]
CertificateAuthority = Annotated[
    Path | None, typer.Option(help="The broker's certificate authority, PEM or DER; turns TLS on.", envvar="HUM_CA")
]
WifiName = Annotated[str | None, typer.Option(help="The Wi-Fi network's name.")]
WifiPassword = Annotated[
    Path | None, typer.Option("--wifi-password-file", help="File with its password; asked for if not given.")
]
Country = Annotated[str | None, typer.Option(help="The country whose radio rules hold, such as NL.")]
SignedPolicy = Annotated[Path | None, typer.Option(help="What `hum authority policy` signed for this board.")]
MeterKind = Annotated[Meter, typer.Option(help="What the board reads.")]
Impulses = Annotated[int, typer.Option(help="S0: impulses per kWh.", min=1, max=100_000)]
OnMs = Annotated[int | None, typer.Option(help="S0: the shortest pulse in ms; 30 if not given.", min=1, max=500)]
OffMs = Annotated[
    int | None, typer.Option(help="S0: the shortest pause between two in ms; 10 if not given.", min=1, max=500)
]
Pin = Annotated[
    int | None, typer.Option(help="The pin that receives, or counts, if not the board's own.", min=0, max=48)
]
Uart = Annotated[int | None, typer.Option(help="P1, SML: the UART, if not the board's own.", min=0, max=3)]
Old = Annotated[bool, typer.Option("--old", help="P1: DSMR 2.2 or 3, 9600 baud, 7E1.")]
Rate = Annotated[
    int | None, typer.Option(help="P1, SML: baud; P1's is found if not given, SML's is 9600.", min=300, max=1_000_000)
]
Frame = Annotated[Framing | None, typer.Option("--framing", help="P1: how characters are sent; found if not given.")]
Inverted = Annotated[bool, typer.Option("--inverted", help="P1, SML: no transistor turns the line over.")]
Masks = Annotated[int, typer.Option(help="How many rounds ahead it makes masks for.", min=1, max=1000)]
RosterFile = Annotated[
    Path | None, typer.Option(help="Sign the group's next roster into this file; with --coordinator and --slot.")
]
CoordinatorKey = Annotated[str | None, typer.Option(help="The coordinator's public key, for the roster.")]
Slots = Annotated[list[str] | None, typer.Option("--slot", help="NAME:LOW:HIGH, a reading of the roster; repeatable.")]

MASKS = 8
COPIED = progress("copied")
RUN_BROKER = "run `hum broker` again: the board has a password that the broker does not know yet"


def provision_board(
    board: BoardName,
    port: PortName,
    device: DeviceName,
    target: BuildFolder = None,
    folder: AuthorityFolder = AUTHORITY,
    group: Group = "main",
    protocol: Protocol = SUMS,
    host: Host = None,
    broker_port: BrokerPort = None,
    server_name: ServerName = None,
    others: Others = None,
    labels: Labels = None,
    credentials: Credentials = None,
    ca: CertificateAuthority = None,
    wifi: WifiName = None,
    wifi_password: WifiPassword = None,
    country: Country = None,
    policy: SignedPolicy = None,
    meter: MeterKind = Meter.P1,
    impulses: Impulses = 1000,
    on_ms: OnMs = None,
    off_ms: OffMs = None,
    pin: Pin = None,
    uart: Uart = None,
    old: Old = False,
    inverted: Inverted = False,
    rate: Rate = None,
    framing: Frame = None,
    masks: Masks = MASKS,
    roster: RosterFile = None,
    coordinator: CoordinatorKey = None,
    slots: Slots = None,
    as_json: AsJson = False,
) -> None:
    """Let a board make its key pair, enrol it, and write its settings."""
    kind, authority, readings = boards.load(board), Authority(folder), _readings(roster, coordinator, slots, protocol)
    moves, signed = authority.check_place(group, device), provision.read_policy(policy, authority, group, device)
    certificate = provision.certificate(ca) if ca else None
    network = Wifi(wifi, wifi_password_of(wifi, wifi_password), country) if wifi else None
    secret, known = provision.password(credentials, device) if credentials else (None, True)
    where = Broker(host, broker_port, secret, bool(ca), server_name, others, labels)
    reading = Reading(meter, impulses, pin, uart, old, inverted, on_ms, off_ms, rate, framing)
    settings = compose(kind, authority, group, device, where, network, signed, reading, masks, protocol)
    with devices.Session(port, kind.watchdog_off) as connected:
        public = provision.make(connected, kind, authority, group, device, target or BUILDS / board, COPIED, moves)
        _complete(connected, authority, public, settings, certificate)
    answer = {"device": device, "group": group, "public": public, "code": code_of(public)}
    answer |= _renewed(authority, roster, group, coordinator or "", readings) if roster else {}
    show(as_json, answer | ({} if known else {"next": RUN_BROKER}))


def _complete(
    connected: devices.Device, authority: Authority, public: str, settings: dict[str, Any], certificate: bytes | None
) -> None:
    """Enrol a board that has its key pair, and give it its settings."""
    authority.enrol(settings["group"], settings["device"], public)
    provision.write(connected, settings, certificate)
    connected.reset()


def _readings(
    roster: Path | None, coordinator: str | None, slots: list[str] | None, protocol: str
) -> list[tuple[str, int, int]]:
    """Return what the roster says is read, having checked that it can be signed. Raises
    FirmwareError."""
    if roster and not (coordinator and slots):
        raise FirmwareError("--roster wants --coordinator and at least one --slot, as `hum authority roster` does")
    if roster and protocol != SUMS:
        raise FirmwareError(
            f"--roster signs one of {SUMS}; sign this group's with hum authority roster --protocol {protocol}"
        )
    return [provision.slot(text) for text in slots or []]


def _renewed(
    authority: Authority, roster: Path, group: str, coordinator: str, readings: list[tuple[str, int, int]]
) -> dict[str, Any]:
    """Sign the group's next roster; return what there is to tell of it."""
    return {"epoch": provision.renew_roster(authority, roster, group, coordinator, readings), "roster": str(roster)}


def wifi_password_of(wifi: str, path: Path | None) -> str:
    """Return the password in the file, or what is typed. Raises FirmwareError."""
    if path:
        text = path.read_text()
        if path.stat().st_mode & 0o077:
            print(f"hum-firmware: {path} can be read by others on this machine", file=sys.stderr)
        return text.rstrip("\r\n")
    if not sys.stdin.isatty():
        raise FirmwareError("the Wi-Fi password cannot be asked for here; give --wifi-password-file")
    try:
        return getpass(f"Password of {wifi} (empty for an open network): ")
    except EOFError:
        raise FirmwareError("no Wi-Fi password was given; the board was not touched") from None
