"""`python -m firmware`: build, provision, flash, watch and erase boards. Results on standard output, errors in one line."""

import json
import ssl
import sys
from collections.abc import Callable
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from agent.crypto import accelerate
from agent.wire.topics import CLIENT
from broker.authority import Authority, AuthorityError
from broker.coordinator.service import Link
from broker.mosquitto.configuration import BrokerError, read_password
from broker.releases import ReleaseError
from firmware import birth, provision
from firmware import board as boards
from firmware import build as builds
from firmware import device as devices
from firmware import flash as flashing
from firmware.compiled import CompileError
from firmware.errors import FirmwareError
from firmware.port import Port, printable
from firmware.romfs import write_image
from firmware.settings import SUMS, Broker, Meter, Reading, Wifi, compose

app = typer.Typer(
    help="Build, provision, flash, watch and erase boards.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

BoardName = Annotated[str, typer.Option("--board", help="The board's kind; `python -m firmware boards` lists them.")]
PortName = Annotated[str, typer.Option("--port", help="The board's serial port, such as /dev/ttyACM0.")]
BuildFolder = Annotated[Path | None, typer.Option("--build", help="The built version; build/BOARD if not given.")]
AuthorityFolder = Annotated[Path, typer.Option("--dir", help="The authority's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines for people.")]
Credentials = Annotated[Path | None, typer.Option(help="credentials.json of `hum broker`.", dir_okay=False)]

AUTHORITY = Path("authority")
BUILDS = Path("build")


def _print(as_json: bool, fields: dict[str, Any]) -> None:
    if as_json:
        print(json.dumps(fields))
    else:
        for key, value in fields.items():
            print(f"{key}: {value}")


def _progress(what: str) -> Callable[[int, int], None]:
    """Return a function that shows how far `what` is, on a terminal only."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{what}: {100 * done // max(total, 1)} %", end=end, file=sys.stderr, flush=True)

    return show


@app.command("boards")
def list_boards(as_json: AsJson = False) -> None:
    """List the boards that are known."""
    found = [boards.load(name) for name in boards.names()]
    if as_json:
        for board in found:
            print(json.dumps({**vars(board)}))
        return
    table = Table(title="Boards", title_justify="left")
    for column in ("name", "board", "mpy-cross", "flash", "P1: UART, pin", "S0 pin", "watchdog"):
        table.add_column(column)
    for board in found:
        size = f"{board.blocks * board.block // 1024} kB"
        pin = f"{board.p1_uart}, {board.p1_rx}" if board.s0_pin else "-"
        s0 = str(board.s0_pin or "-")
        table.add_row(board.name, board.title, board.arch or "any", size, pin, s0, f"{board.watchdog_ms} ms")
    Console().print(table)


@app.command("build")
def build(
    board: BoardName,
    target: BuildFolder = None,
    folder: AuthorityFolder = AUTHORITY,
    version: Annotated[
        int | None, typer.Option(help="The version's number; one more than the last if not given.", min=1)
    ] = None,
    romfs: Annotated[
        bool, typer.Option("--romfs", help="Write romfs.img, too, for firmware with a ROMFS: docs/boards.md.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compile the application for a board and sign it."""
    kind = boards.load(board)
    built = builds.build(kind, target or BUILDS / board, Authority(folder), version, _progress("compiled"))
    fields: dict[str, Any] = {"board": board, "version": built.version, "files": built.files, "bytes": built.size}
    if romfs:
        image = write_image(target or BUILDS / board)
        fields |= {"image": str(image), "image_bytes": image.stat().st_size}
    _print(as_json, {**fields, "folder": str(target or BUILDS / board), "changed": built.changed})


@app.command("provision")
def provision_board(
    board: BoardName,
    port: PortName,
    device: Annotated[str, typer.Option("--device", help="The board's name in the deployment: a-z, 0-9 and -.")],
    target: BuildFolder = None,
    folder: AuthorityFolder = AUTHORITY,
    group: Annotated[str, typer.Option(help="The group that it joins.")] = "main",
    protocol: Annotated[str, typer.Option(help="What the group runs; gossip and its kin answer queries.")] = SUMS,
    host: Annotated[
        str | None, typer.Option("--broker", help="The broker's address; the board looks for one if not given.")
    ] = None,
    broker_port: Annotated[
        int | None, typer.Option(help="The broker's port; 8883, or 1883 without --ca.", min=1, max=65535)
    ] = None,
    server_name: Annotated[
        str | None, typer.Option(help="The name in the broker's certificate, if it is another.")
    ] = None,
    credentials: Credentials = None,
    ca: Annotated[
        Path | None, typer.Option(help="The broker's certificate authority, PEM or DER; turns TLS on.")
    ] = None,
    wifi: Annotated[str | None, typer.Option(help="The Wi-Fi network's name.")] = None,
    wifi_password: Annotated[
        Path | None, typer.Option("--wifi-password-file", help="File with its password; asked for if not given.")
    ] = None,
    country: Annotated[str | None, typer.Option(help="The country whose radio rules hold, such as NL.")] = None,
    policy: Annotated[Path | None, typer.Option(help="What `hum authority policy` signed for this board.")] = None,
    meter: Annotated[Meter, typer.Option(help="What the board reads.")] = Meter.P1,
    impulses: Annotated[int, typer.Option(help="S0: impulses per kWh.", min=1, max=100_000)] = 1000,
    pin: Annotated[
        int | None, typer.Option(help="The pin that receives, or counts, if not the board's own.", min=0, max=48)
    ] = None,
    uart: Annotated[int | None, typer.Option(help="P1: the UART, if not the board's own.", min=0, max=3)] = None,
    old: Annotated[bool, typer.Option("--old", help="P1: DSMR 2.2 or 3, 9600 baud.")] = False,
    inverted: Annotated[bool, typer.Option("--inverted", help="P1: no transistor turns the line over.")] = False,
    masks: Annotated[int, typer.Option(help="How many rounds ahead it makes masks for.", min=1, max=1000)] = 8,
    roster: Annotated[
        Path | None, typer.Option(help="Sign the group's next roster into this file; with --coordinator and --slot.")
    ] = None,
    coordinator: Annotated[str | None, typer.Option(help="The coordinator's public key, for the roster.")] = None,
    slots: Annotated[
        list[str] | None, typer.Option("--slot", help="NAME:LOW:HIGH, a reading of the roster; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a board make its key pair, enrol it, and write its settings."""
    kind = boards.load(board)
    authority = Authority(folder)
    if roster and not (coordinator and slots):
        raise FirmwareError("--roster wants --coordinator and at least one --slot, as `hum authority roster` does")
    readings = [provision.slot(text) for text in slots or []]
    signed = provision.read_policy(policy, authority, group, device)
    certificate = provision.certificate(ca) if ca else None
    network = Wifi(wifi, _wifi_password(wifi, wifi_password), country) if wifi else None
    secret, known = provision.password(credentials, device) if credentials else (None, True)
    where = Broker(host, broker_port, secret, certificate is not None, server_name)
    reading = Reading(meter, impulses, pin, uart, old, inverted)
    settings = compose(kind, authority, group, device, where, network, signed, reading, masks, protocol)
    with devices.Session(port, kind.watchdog_off) as connected:
        public = provision.make(
            connected, kind, authority, group, device, target or BUILDS / board, _progress("copied")
        )
        authority.enrol(group, device, public)
        provision.write(connected, settings, certificate)
        connected.reset()
    answer: dict[str, Any] = {"device": device, "group": group, "public": public}
    if roster:
        answer["epoch"] = provision.renew_roster(authority, roster, group, coordinator or "", readings)
        answer["roster"] = str(roster)
    if not known:
        answer["next"] = "run `hum broker` again: the board has a password that the broker does not know yet"
    _print(as_json, answer)


def _wifi_password(wifi: str, path: Path | None) -> str:
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


@app.command("flash")
def flash(
    board: BoardName,
    port: PortName,
    target: BuildFolder = None,
    older: Annotated[bool, typer.Option("--older", help="Also a version below one that the board has had.")] = False,
    host: Annotated[
        str | None, typer.Option("--broker", help="Wait for the board's birth message at this broker.")
    ] = None,
    broker_port: Annotated[int, typer.Option(help="The broker's port.", min=1, max=65535)] = 8883,
    credentials: Credentials = None,
    ca: Annotated[
        Path | None, typer.Option(help="The broker's certificate authority, PEM; turns TLS on.", dir_okay=False)
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for the board, by MQTT or on its console.", min=1)
    ] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Put a built version on a provisioned board, start it, and wait for a sign of life."""
    kind = boards.load(board)
    if ca:
        ssl.create_default_context(cafile=ca)  # one that cannot be read is an error before the board is touched
    secret = read_password(credentials, CLIENT) if credentials else None
    link = Link(host, broker_port, CLIENT if secret else None, secret, str(ca) if ca else None) if host else None
    with devices.Session(port, kind.watchdog_off) as connected:
        done = flashing.flash(connected, kind, target or BUILDS / board, older, _progress("copied"))
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
    _print(as_json, fields)


@app.command("monitor")
def monitor(port: PortName) -> None:
    """Print what the board prints, until Ctrl-C."""
    with Port(port) as console:
        for line in console.lines():
            if line is not None:
                print(printable(line, 1000), flush=True)


@app.command("erase")
def erase(
    board: BoardName,
    port: PortName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove all of Hum from a board, its key pair too: it must be enrolled again."""
    kind = boards.load(board)
    with devices.Session(port, kind.watchdog_off) as connected:
        devices.check(connected, kind.is_chip, kind.title)
        name = _name(connected)
        if not yes:
            _ask(name)
        flashing.erase(connected, _progress("erased"))
        connected.reset()
    _print(as_json, {"device": name, "erased": True})


def _ask(name: str) -> None:
    """Raise FirmwareError unless somebody types the board's name."""
    if not sys.stdin.isatty():
        raise FirmwareError("nobody can be asked here; --yes erases without asking")
    lost = f"{name}'s key pair (it must be enrolled again), its masks, its counters and its settings"
    print(f"Lost will be: {lost}.\nTo erase, type the board's name: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != name:
        raise FirmwareError("that is not its name; nothing was changed")


def _name(connected: devices.Device) -> str:
    try:
        found = provision.place(connected)
    except FirmwareError:
        return "erase"  # settings that cannot be read must not keep a board from being erased
    return found.device if found else "erase"


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 2."""
    accelerate.use_host_libraries()
    try:
        app()
    except (FirmwareError, CompileError, AuthorityError, ReleaseError, BrokerError) as error:
        _fail(error)
    except ssl.SSLError as error:
        _fail(f"--ca: {error}")
    except (OSError, UnicodeError) as error:
        _fail(str(error).splitlines()[0])
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _fail(error: object) -> None:
    print(f"hum-firmware: {error}", file=sys.stderr)
    raise SystemExit(2) from None
