"""The `hum` command: the operator's tools. Tables for people on standard output, `--json` for programs, errors in one line."""

import asyncio
import json
import logging
import ssl
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from agent.crypto import accelerate
from agent.protocols.policy import CLOSE_WINDOW, EPSILON_PERIOD_MOST, EPSILON_TOTAL_MOST, Policy
from agent.protocols.provision import EPSILON_PERIOD
from agent.runtime.versions import MANIFEST
from agent.wire import coordination
from broker import releases
from broker.authority import AUDIT_FROM, Authority, AuthorityError, read_public
from broker.coordinator.home import Home, HomeError
from broker.coordinator.protocols.private_sum import Schedule
from broker.coordinator.service import Link, Service
from broker.mosquitto import configuration
from broker.options import (
    MILLION,
    AsJson,
    BoardName,
    CertificateAuthority,
    Credentials,
    Host,
    Port,
    link_to,
    millionths,
    show,
)
from broker.query_commands import QueryError, query
from broker.release_commands import release_app
from broker.signer_commands import modulus, signer

STATUS = {coordination.COMPLETE: "complete", coordination.INCOMPLETE: "incomplete", coordination.INVALID: "invalid"}

app = typer.Typer(help="Hum: private sums from sensor boards over MQTT.", no_args_is_help=True, add_completion=False)
authority_app = typer.Typer(help="The offline authority: who is a member, signed.", no_args_is_help=True)
coordinator_app = typer.Typer(help="Run the coordinator: opens rounds, learns sums and nothing else.")
app.add_typer(authority_app, name="authority")
app.add_typer(coordinator_app, name="coordinator")
app.add_typer(release_app, name="release")
app.command("query")(query)
coordinator_app.command("signer")(signer)

AuthorityFolder = Annotated[Path, typer.Option("--dir", help="The authority's folder. Keep it offline.")]
StateFolder = Annotated[Path, typer.Option("--state", help="The coordinator's folder.")]
GroupName = Annotated[str, typer.Option("--group", help="The group's name.")]

AUTHORITY = Path("authority")
STATE = Path("coordinator")


@authority_app.command("init")
def authority_init(
    deployment: Annotated[str, typer.Argument(help="The deployment's name: a-z, 0-9 and -.")],
    folder: AuthorityFolder = AUTHORITY,
    as_json: AsJson = False,
) -> None:
    """Make the authority's key pair and print the public key that boards pin."""
    authority = Authority.init(folder, deployment)
    show(as_json, {"deployment": deployment, "authority": authority.public})


@authority_app.command("enrol")
def authority_enrol(
    device: Annotated[str, typer.Argument(help="The board's name: a-z, 0-9 and -.")],
    public: Annotated[str, typer.Argument(help="The board's public key, as it printed it (hexadecimal).")],
    group: GroupName = "main",
    folder: AuthorityFolder = AUTHORITY,
    as_json: AsJson = False,
) -> None:
    """Add a board to a group. It takes part from the next roster on."""
    Authority(folder).enrol(group, device, public)
    show(as_json, {"group": group, "enrolled": device})


def _slot(text: str) -> tuple[str, int, int]:
    try:
        name, low, high = text.split(":")
        return name, int(low), int(high)
    except ValueError:
        raise AuthorityError(f"slot {text!r}: NAME:LOW:HIGH is wanted, such as load:0:100000") from None


class Seal(StrEnum):
    """Which sums open: its place is its number in the roster."""

    COHORT = "cohort"
    FLEET = "fleet"


@authority_app.command("roster")
def authority_roster(
    coordinator: Annotated[str, typer.Option("--coordinator", help="The coordinator's public key (hexadecimal).")],
    output: Annotated[Path, typer.Option("--output", help="Where the signed roster goes.")],
    slots: Annotated[list[str], typer.Option("--slot", help="NAME:LOW:HIGH, a reading and its range; repeatable.")],
    group: GroupName = "main",
    folder: AuthorityFolder = AUTHORITY,
    protocol: Annotated[str, typer.Option(help="The protocol that the group runs.")] = "private-sum",
    parameters: Annotated[
        str, typer.Option(help="The modulus; with a gossip protocol how many boards may fail: t1, t2 ...")
    ] = "hum-2048",
    cohort: Annotated[int, typer.Option(help="The most boards that share keys with each other.", min=4, max=64)] = 32,
    seal: Annotated[Seal, typer.Option(help="What opens: each cohort's sum, or only the whole group's.")] = Seal.COHORT,
    audit: Annotated[
        bool | None,
        typer.Option(
            "--audit/--no-audit",
            help=f"Boards compare the roll calls that they were shown before they answer; if not said, from {AUDIT_FROM} boards on.",
            show_default=False,
        ),
    ] = None,
    statement: Annotated[
        Path | None, typer.Option("--signer", help="For gossip-bft: the file that `hum coordinator signer` wrote.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the next epoch's roster of a group."""
    authority = Authority(folder)
    if not output.parent.is_dir():
        raise AuthorityError(f"{output.parent} is no folder")
    chosen = [_slot(text) for text in slots]
    shape = (cohort, list(Seal).index(seal), audit, modulus(statement))
    epoch, signed = authority.sign_roster(group, coordinator, chosen, protocol, parameters, *shape)
    output.write_bytes(signed)
    show(as_json, {"group": group, "epoch": epoch, "members": len(authority.devices(group)), "roster": str(output)})


@authority_app.command("policy")
def authority_policy(
    device: Annotated[str, typer.Argument(help="The board's name.")],
    output: Annotated[Path, typer.Option("--output", help="Where the signed policy goes, hexadecimal.")],
    group: GroupName = "main",
    folder: AuthorityFolder = AUTHORITY,
    members_least: Annotated[int, typer.Option(help="The smallest cohort to take part in.", min=2, max=64)] = 3,
    contributors_least: Annotated[int, typer.Option(help="The fewest boards to be summed with.", min=2, max=64)] = 3,
    slots: Annotated[
        list[str] | None, typer.Option("--slot", help="NAME:LOW:HIGH, a reading allowed; repeatable; any if not given.")
    ] = None,
    close: Annotated[int, typer.Option(help="Lists of boards that differ by fewer are close.", min=1, max=64)] = 2,
    close_most: Annotated[
        int, typer.Option(help=f"How many close lists to answer in {CLOSE_WINDOW} rounds.", min=0, max=CLOSE_WINDOW)
    ] = 8,
    epsilon: Annotated[
        float | None,
        typer.Option(help="What queries may cost the board in a period; without noise none is answered then.", min=0),
    ] = None,
    epsilon_period: Annotated[
        int, typer.Option(metavar="S", help="Seconds of such a period.", min=1, max=EPSILON_PERIOD_MOST)
    ] = EPSILON_PERIOD,
    as_json: AsJson = False,
) -> None:
    """Sign what a board may take part in: the "policy" of its settings."""
    authority = Authority(folder)
    if not output.parent.is_dir():
        raise AuthorityError(f"{output.parent} is no folder")
    allowed = [_slot(text) for text in slots] if slots else None
    if epsilon is not None and not epsilon * MILLION <= EPSILON_TOTAL_MOST:
        raise AuthorityError(f"--epsilon {epsilon:g}: at most {EPSILON_TOTAL_MOST // MILLION}")
    budget = None if epsilon is None else millionths(epsilon)
    policy = Policy(members_least, contributors_least, allowed, close, close_most, budget, epsilon_period)
    serial, signed = authority.sign_policy(group, device, policy)
    output.write_text(signed.hex() + "\n")
    show(as_json, {"group": group, "device": device, "serial": serial, "policy": str(output)})


@authority_app.command("release")
def authority_release(
    build: Annotated[Path, typer.Argument(help="What `make firmware` built, such as build/pico-w.")],
    board: BoardName = None,
    version: Annotated[int | None, typer.Option(help="By default one more than the last.", min=1)] = None,
    folder: AuthorityFolder = AUTHORITY,
    as_json: AsJson = False,
) -> None:
    """Sign what was built as the next version of the boards' application."""
    board = board or build.resolve().name
    version, signed = releases.sign(Authority(folder), build, board, version)
    show(as_json, {"board": board, "version": version, "bytes": len(signed), "manifest": str(build / MANIFEST)})


@app.command("broker")
def broker_configuration(
    folder: Annotated[Path, typer.Argument(help="Where mosquitto.conf, passwords and access rules go.")],
    authority_folder: AuthorityFolder = AUTHORITY,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8883,
    tls: Annotated[Path | None, typer.Option(help="Folder with server.crt and server.key.", exists=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Write Mosquitto's configuration for all enrolled boards: a password each, anonymous off, each in its own topics."""
    if tls is None and address not in ("127.0.0.1", "::1", "localhost"):
        raise configuration.BrokerError(f"to listen on {address} give --tls FOLDER; plain TCP is for this machine only")
    authority = Authority(authority_folder)
    users = configuration.write(folder, authority.deployment, authority.devices(), address, port, tls)
    show(as_json, {"configuration": str(folder / "mosquitto.conf"), "users": len(users)})


@coordinator_app.command("init")
def coordinator_init(
    deployment: Annotated[str, typer.Argument(help="The deployment's name.")],
    authority: Annotated[str, typer.Option("--authority", help="The authority's public key (hexadecimal).")],
    state: StateFolder = STATE,
    as_json: AsJson = False,
) -> None:
    """Make the coordinator's folder and print its public key, for the roster."""
    home = Home.init(state, deployment, read_public(authority))
    show(as_json, {"deployment": deployment, "coordinator": home.public})


@coordinator_app.callback(invoke_without_command=True)
def coordinator(
    context: typer.Context,
    state: StateFolder = STATE,
    roster: Annotated[list[str] | None, typer.Option(help="GROUP=FILE, a signed roster to adopt; repeatable.")] = None,
    host: Host = "127.0.0.1",
    port: Port = 8883,
    credentials: Credentials = None,
    ca: CertificateAuthority = None,
    interval: Annotated[float, typer.Option(help="Seconds from one round's opening to the next.", min=0.1)] = 1800.0,
    window: Annotated[
        float, typer.Option(help="Seconds that a round takes contributions, at most 4/5 of the interval.", min=0.1)
    ] = 60.0,
    answers: Annotated[
        float, typer.Option(help="Seconds to wait for answers to a roll call, until the next round at most.", min=0.1)
    ] = 600.0,
    patience: Annotated[float, typer.Option(help="Seconds to wait for boards that still make masks.", min=0)] = 600.0,
    rounds: Annotated[int | None, typer.Option(help="Stop after so many rounds of the epoch.", min=1)] = None,
    announce: Annotated[
        bool | None,
        typer.Option(
            "--announce/--no-announce",
            help="Tell the local network where the broker is; if not said, only where --host is not this machine's loopback.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the coordinator until Ctrl-C (or --rounds). Its log goes to standard error."""
    if context.invoked_subcommand:
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    link = link_to(host, port, credentials, ca)
    home = Home(state)
    with home.lock():
        _adopt(home, roster or [])
        machines = home.machines(Schedule(interval, window, patience, rounds, answers))
        if not machines:
            raise HomeError("no roster yet; sign one with `hum authority roster` and give it with --roster GROUP=FILE")
        service = Service(home.deployment, machines, home.storage, link)
        asyncio.run(_serve(service, home.deployment, link, announce))


async def _serve(service: Service, deployment: str, link: Link, announce: bool | None) -> None:
    from broker.announce import announced  # no other command waits for its library

    async with announced(deployment, link.host, link.port, announce):
        await service.run()


def _adopt(home: Home, rosters: list[str]) -> None:
    for entry in rosters:
        group, _, path = entry.partition("=")
        if not path or not Path(path).is_file():
            raise HomeError(f"--roster {entry}: GROUP=FILE with a signed roster is wanted")
        home.adopt(group, Path(path).read_bytes())


@coordinator_app.command("status")
def coordinator_status(state: StateFolder = STATE, as_json: AsJson = False) -> None:
    """Show groups, rounds, whose answers were wrong in the last one, what queries have cost each board, how many inputs were refused
    for which reason, and how the boards say that they are: unauthenticated.
    """
    home = Home(state)
    groups = []
    for machine in home.machines(Schedule(1, 1, 0)):
        members = machine.place.roster.names()
        entry = {"group": machine.place.group, "epoch": machine.place.epoch, "members": len(members)}
        last = home.storage.results(machine.place.group, 1)
        groups.append(
            entry
            | {"next_round": machine.next_round, "phase": machine.phase, "ready": machine.ready_members}
            | {"wrong": last[0]["wrong"] if last else []}
            | {"epsilon_spent": home.storage.queries.spent(machine.place.group) / MILLION}
        )
    refused = home.storage.refusals()
    now = time.time()
    boards = [
        {"device": device, "age_s": round(max(now - at, 0))} | report
        for device, (at, report) in home.storage.health().items()
    ]
    if as_json:
        print(json.dumps({"deployment": home.deployment, "groups": groups, "refused": refused, "boards": boards}))
        return
    _table("Groups", ["group", "epoch", "members", "next_round", "phase", "ready", "wrong", "epsilon_spent"], groups)
    columns = [
        "device",
        "age_s",
        "phase",
        "masks",
        "version",
        "uptime_s",
        "reset",
        "rssi_dbm",
        "links",
        "heap_low",
        "flash_bytes",
    ]
    _table("Boards", columns, [{name: board.get(name) for name in columns} for board in boards])
    _table("Refused inputs", ["reason", "count"], [{"reason": k, "count": v} for k, v in refused.items()])


@app.command("result")
def result(
    state: StateFolder = STATE,
    group: Annotated[str | None, typer.Option(help="Only this group.")] = None,
    last: Annotated[int, typer.Option(help="How many rounds.", min=1)] = 10,
    as_json: AsJson = False,
) -> None:
    """Show the last rounds' sums, and whose readings are missing from each. Only a complete round has a sum."""
    rows = []
    for row in Home(state).storage.results(group, last):
        rows.append({**row, "status": STATUS[row["status"]], "latency_ms": round(row["latency_ms"], 1)})
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    for row in rows:
        row["closed"] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["closed_at"]))
    _table("Results", ["group", "epoch", "round", "status", "sums", "missing", "latency_ms", "closed"], rows)


def _table(title: str, columns: list[str], rows: list[dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(row[column]) if row[column] is not None else "-" for column in columns))
    Console().print(table)


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit status 1."""
    accelerate.use_host_libraries()
    try:
        app()
    except (AuthorityError, HomeError, configuration.BrokerError, releases.ReleaseError, QueryError) as error:
        raise SystemExit(f"hum: {error}") from None
    except ssl.SSLError as error:
        raise SystemExit(f"hum: --ca: {error}") from None
    except (OSError, SQLAlchemyError) as error:
        raise SystemExit(f"hum: {str(error).splitlines()[0]}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
