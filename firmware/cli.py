"""`python -m firmware`: build, provision, flash, watch and erase boards. Results on standard output, errors in one line."""

import json
import ssl
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from agent.crypto import accelerate
from agent.wire.topics import CLIENT
from broker.authority.authority import Authority, AuthorityError
from broker.authority.releases import ReleaseError
from broker.cli.options import one_line, show
from broker.deploy.mosquitto.configuration import BrokerError, read_password
from broker.transport.link import Link
from firmware import birth, provision
from firmware import board as boards
from firmware import build as builds
from firmware import device as devices
from firmware import flash as flashing
from firmware.compiled import CompileError
from firmware.errors import FirmwareError
from firmware.options import (
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
from firmware.port import Port, printable
from firmware.provision_command import provision_board
from firmware.romfs import write_image

app = typer.Typer(
    help="Build, provision, flash, watch and erase boards.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


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
    built = builds.build(kind, target or BUILDS / board, Authority(folder), version, progress("compiled"))
    fields: dict[str, Any] = {"board": board, "version": built.version, "files": built.files, "bytes": built.size}
    if romfs:
        image = write_image(target or BUILDS / board)
        fields |= {"image": str(image), "image_bytes": image.stat().st_size}
    show(as_json, {**fields, "folder": str(target or BUILDS / board), "changed": built.changed})


app.command("provision")(provision_board)


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
        flashing.erase(connected, progress("erased"))
        connected.reset()
    show(as_json, {"device": name, "erased": True})


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
        _fail(one_line(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _fail(error: object) -> None:
    print(f"hum-firmware: {error}", file=sys.stderr)
    raise SystemExit(2) from None
