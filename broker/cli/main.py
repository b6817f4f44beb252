"""The `hum` command: the operator's tools. Tables for people on standard output, `--json` for
programs, errors in one line."""

import json
import sqlite3
import ssl
import time
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from agent.crypto import accelerate
from broker.authority import releases
from broker.authority.authority import Authority, AuthorityError
from broker.cli.authority import authority_app
from broker.cli.coordinator import coordinator_app
from broker.cli.options import AUTHORITY, STATE, AsJson, AuthorityFolder, StateFolder, one_line, show, show_table
from broker.cli.query import QueryError, query
from broker.cli.release import release_app
from broker.coordinator.home import Home, HomeError
from broker.coordinator.protocols import registry
from broker.deploy.mosquitto import configuration

app = typer.Typer(help="Hum: private sums from sensor boards over MQTT.", no_args_is_help=True, add_completion=False)
app.add_typer(authority_app, name="authority")
app.add_typer(coordinator_app, name="coordinator")
app.add_typer(release_app, name="release")
app.command("query")(query)


@app.command("broker")
def broker_configuration(
    folder: Annotated[Path, typer.Argument(help="Where mosquitto.conf, passwords and access rules go.")],
    authority_folder: AuthorityFolder = AUTHORITY,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8883,
    tls: Annotated[Path | None, typer.Option(help="Folder with server.crt and server.key.", exists=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Write Mosquitto's configuration for all enrolled boards: a password each, anonymous off, each
    in its own topics."""
    if tls is None and address not in ("127.0.0.1", "::1", "localhost"):
        raise configuration.BrokerError(f"to listen on {address} give --tls FOLDER; plain TCP is for this machine only")
    authority = Authority(authority_folder)
    users = configuration.write(folder, authority.deployment, authority.devices(), address, port, tls)
    show(as_json, {"configuration": str(folder / "mosquitto.conf"), "users": len(users)})


@app.command("result")
def result(
    state: StateFolder = STATE,
    group: Annotated[str | None, typer.Option(help="Only this group.")] = None,
    last: Annotated[int, typer.Option(help="How many rounds.", min=1)] = 10,
    as_json: AsJson = False,
) -> None:
    """Show the last rounds' sums, and whose readings are missing from each. Only a complete round
    has a sum."""
    storage = Home(state).storage
    read = [one.results for one in registry.declarations() if one.results]
    rows = [row for results in read for row in storage.read(results, group, last)]
    rows = sorted(rows, key=lambda row: float(row["closed_at"]))[-last:]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    for row in rows:
        row["closed"] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["closed_at"]))
    show_table("Results", ["group", "epoch", "round", "status", "sums", "missing", "latency_ms", "closed"], rows)


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 1."""
    accelerate.use_host_libraries()
    try:
        app()
    except (AuthorityError, HomeError, configuration.BrokerError, releases.ReleaseError, QueryError) as error:
        raise SystemExit(f"hum: {error}") from None
    except ssl.SSLError as error:
        raise SystemExit(f"hum: --ca: {error}") from None
    except (OSError, SQLAlchemyError, sqlite3.Error) as error:
        raise SystemExit(f"hum: {one_line(error)}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
