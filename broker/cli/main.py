"""The `hum` command: the operator's tools. Tables for people on standard output, `--json` for
programs, errors in one line."""

import sqlite3
import ssl

import typer
from sqlalchemy.exc import SQLAlchemyError

from agent.crypto import accelerate
from broker.cli.commands import Commands
from broker.cli.options import one_line
from broker.errors import HumError
from broker.files import begin_private

app = typer.Typer(cls=Commands, rich_markup_mode=None, no_args_is_help=True, add_completion=False)


@app.callback()
def hum() -> None:
    """Hum: private sums from sensor boards over MQTT."""


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 1."""
    begin_private()
    accelerate.use_host_libraries()
    try:
        app()
    except HumError as error:
        raise SystemExit(f"hum: {error}") from None
    except ssl.SSLError as error:
        raise SystemExit(f"hum: --ca: {error}") from None
    except (OSError, UnicodeError, SQLAlchemyError, sqlite3.Error) as error:
        raise SystemExit(f"hum: {one_line(error)}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
