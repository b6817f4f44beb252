"""The `hum` command: the operator's tools. Tables for people on standard output, `--json` for
programs, errors in one line."""

import sqlite3
import ssl
import sys
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer

from agent.crypto import accelerate
from broker.cli import ending
from broker.cli.commands import Commands
from broker.cli.defaults import of_commands
from broker.cli.options import one_line
from broker.errors import HumError
from broker.files import begin_private

FAILED = 1

app = typer.Typer(cls=Commands, rich_markup_mode=None, no_args_is_help=True, add_completion=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hum {version('hum')}")
        raise typer.Exit


@app.callback()
def hum(
    wanted: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Hum: private sums from sensor boards over MQTT.

    Options go before variables of the environment (HUM_...), those before the deployment's
    hum.toml: that of the current folder, else of $HUM_DIR. Exit status: 0 good, 1 failed, 2 called
    wrongly, 3 no answer, 4 unhealthy or not allowed.
    """


def main() -> None:
    """Run the command line; a known error is one line on standard error and its exit status."""
    defaults = {} if "--help" in sys.argv else of_commands()  # help is the same everywhere
    run(app, "hum", defaults)


def run(commands: typer.Typer, program: str, defaults: dict[str, Any]) -> None:
    """Run a program's command line; `defaults` as broker/cli/defaults.py has them."""
    begin_private()
    accelerate.use_host_libraries()
    try:
        commands(default_map=defaults)
    except HumError as error:
        _fail(program, error, error.exit_code)
    except ssl.SSLError as error:
        _fail(program, f"--ca: {error}")
    except (OSError, UnicodeError, sqlite3.Error) as error:
        _fail(program, one_line(error))
    except KeyboardInterrupt:
        raise SystemExit(ending.status()) from None
    except SystemExit as end:
        if end.code == ending.INTERRUPTED:  # which is what typer makes of a KeyboardInterrupt
            raise SystemExit(ending.status()) from None
        raise
    except Exception as error:
        if not _is_of_database(error):
            raise
        _fail(program, one_line(error))


def _is_of_database(error: Exception) -> bool:
    # Who raises it has imported it; a command without a database has not.
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, SQLAlchemyError)


def _fail(program: str, error: object, status: int = FAILED) -> NoReturn:
    print(f"{program}: {error}", file=sys.stderr)
    raise SystemExit(status) from None
