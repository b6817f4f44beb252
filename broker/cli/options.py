"""What commands of several modules share: options, and how results are shown."""

import json
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.wire import topics
from broker.deploy.mosquitto.credentials import read_password

if TYPE_CHECKING:
    from broker.transport.link import Link

AuthorityFolder = Annotated[
    Path, typer.Option("--dir", help="The authority's folder. Keep it offline.", envvar="HUM_AUTHORITY_DIR")
]
StateFolder = Annotated[Path, typer.Option("--state", help="The coordinator's folder.", envvar="HUM_STATE")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BoardName = Annotated[
    str | None, typer.Option("--board", help="The kind of board; by default the built folder's name.")
]
Host = Annotated[str, typer.Option(help="The broker's address.", envvar="HUM_HOST")]
Port = Annotated[int, typer.Option(help="The broker's port.", min=1, max=65535, envvar="HUM_PORT")]
Credentials = Annotated[
    Path | None,
    typer.Option(
        help="credentials.json of `hum broker`, or of its folder `users` the file of this command's user.",
        envvar="HUM_CREDENTIALS",
    ),
]
CertificateAuthority = Annotated[
    Path | None, typer.Option(help="Certificate authority of the broker; turns TLS on.", envvar="HUM_CA")
]

DeploymentName = Annotated[str, typer.Option("--deployment", help="The deployment's name.", envvar="HUM_DEPLOYMENT")]
AuthorityKey = Annotated[
    str,
    typer.Option("--authority", help="The authority's public key (hexadecimal).", envvar="HUM_AUTHORITY"),
]

AUTHORITY = Path("authority")
STATE = Path("coordinator")

MILLION = 1_000_000  # epsilons are kept in millionths, so that budgets add up exactly


def millionths(epsilon: float) -> int:
    """Return `epsilon` as it is kept."""
    return round(epsilon * MILLION)


def one_line(error: Exception) -> str:
    """Return the first line of what an error says, its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def show(as_json: bool, fields: dict[str, Any]) -> None:
    """Print the fields of a result."""
    if as_json:
        print(json.dumps(fields))
    else:
        from broker.cli.tables import told, wrapped  # as in show_rows()

        for key, value in fields.items():
            line = f"{key}: {told(value)}"
            print(wrapped(line) if sys.stdout.isatty() else line)  # a program reads a field a line


def show_rows(as_json: bool, title: str, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """Print a table, or its rows as JSON, an object a line."""
    if not as_json:
        # Its library takes a while to import, as in link_to().
        from broker.cli.tables import show_table

        show_table(title, columns, rows)
    for row in rows if as_json else []:
        print(json.dumps(row))


def link_to(host: str, port: int, credentials: Path | None, ca: Path | None, user: str = topics.COORDINATOR) -> "Link":
    """Return where `user` goes, a user of broker/transport/users.py."""
    from broker.transport.link import Link

    if ca:
        # One that cannot be read is an error now, not a link that never comes.
        ssl.create_default_context(cafile=ca)
    password = read_password(credentials, user) if credentials else None
    return Link(host, port, user if password else None, password, str(ca) if ca else None)
