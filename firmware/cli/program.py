"""`python -m firmware`: build, provision, flash, watch and erase boards. Results on standard
output, errors in one line."""

import ssl
import sys

import typer

from agent.crypto import accelerate
from broker.authority.authority import AuthorityError
from broker.authority.releases import ReleaseError
from broker.cli.help import WholeHelp
from broker.cli.options import one_line
from broker.deploy.mosquitto.configuration import BrokerError
from broker.files import begin_private
from firmware.cli.boards import list_boards
from firmware.cli.build import build
from firmware.cli.erase import erase
from firmware.cli.flash import flash
from firmware.cli.monitor import monitor
from firmware.cli.provision import provision_board
from firmware.errors import CompileError, FirmwareError

app = typer.Typer(
    cls=WholeHelp,
    help="Build, provision, flash, watch and erase boards.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("boards")(list_boards)
app.command("build")(build)
app.command("provision")(provision_board)
app.command("flash")(flash)
app.command("monitor")(monitor)
app.command("erase")(erase)


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 2."""
    begin_private()
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
