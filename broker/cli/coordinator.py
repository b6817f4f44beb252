"""`hum coordinator`: make the coordinator's folder, run it, and see how its groups and boards
are."""

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
from sqlalchemy.exc import SQLAlchemyError

from agent.wire import topics
from broker.authority.keys import read_public
from broker.cli.deployment.adopting import adopt_newer, coordinator_adopt
from broker.cli.deployment.status import MEMBER_COLUMNS, ROUND_COLUMNS, members, rounds
from broker.cli.ending import run_until_told
from broker.cli.health import counted
from broker.cli.help import WholeHelp
from broker.cli.options import (
    STATE,
    AsJson,
    CertificateAuthority,
    Credentials,
    Host,
    Port,
    StateFolder,
    link_to,
    show,
)
from broker.cli.signer import signer
from broker.cli.tables import show_table, sides
from broker.coordinator import clearing
from broker.coordinator.home import Home, HomeError
from broker.coordinator.machine import Machine
from broker.coordinator.members.renewing import Renewing
from broker.coordinator.overview import attendance, health
from broker.coordinator.protocols import registry
from broker.coordinator.schedule import INTERVAL_LEAST, INTERVAL_MOST, Schedule
from broker.coordinator.service import Service
from broker.coordinator.upload_filter import USUAL
from broker.storage.storage import why
from broker.transport.link import Link, LinkError

log = logging.getLogger("hum.coordinator")

GROUP_COLUMNS = ["group", "epoch", "members", "next_round", "phase", "ready", "disagree", "epsilon_spent"]
SET_COLUMNS = ["group", "unit", "number", "taken_up", "active", "of", "left_out", "sets_today", "a_set_costs"]
BOARD_COLUMNS = ["device", "age_s", "phase", "trouble", "masks", "version", "uptime_s", "reset", "rssi_dbm", "links"]
BOARD_COLUMNS += ["joins", "heap_low", "flash_puts", "flash_bytes"]
COUNTED_COLUMNS = ["part", "counter", "count", "boards"]

Interval = Annotated[
    float,
    typer.Option(
        help="Seconds from one round to the next; rounds are of its multiples, in UTC.", min=0.1, envvar="HUM_INTERVAL"
    ),
]
AtOnce = Annotated[
    bool,
    typer.Option(
        "--at-once",
        help="Rounds are of no instant: boards read when one opens, and answer at once.",
        envvar="HUM_AT_ONCE",
    ),
]
Window = Annotated[
    float,
    typer.Option(
        help="Seconds that a round takes contributions, after its instant and the roster's spread; "
        "in all at most 4/5 of the interval.",
        min=0.1,
        envvar="HUM_WINDOW",
    ),
]
Answers = Annotated[
    float,
    typer.Option(
        help="Seconds to wait for answers to a roll call, until the next round at most.", min=0.1, envvar="HUM_ANSWERS"
    ),
]
Patience = Annotated[
    float, typer.Option(help="Seconds to wait for boards that still make masks.", min=0, envvar="HUM_PATIENCE")
]

coordinator_app = typer.Typer(cls=WholeHelp, help="Run the coordinator: opens rounds, learns sums and nothing else.")
coordinator_app.command("signer")(signer)
coordinator_app.command("adopt")(coordinator_adopt)


@coordinator_app.command("init")
def coordinator_init(
    deployment: Annotated[str, typer.Argument(help="The deployment's name.")],
    authority: Annotated[
        str, typer.Option("--authority", help="The authority's public key (hexadecimal).", envvar="HUM_AUTHORITY")
    ],
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
    interval: Interval = 900.0,
    at_once: AtOnce = False,
    window: Window = 60.0,
    answers: Answers = 600.0,
    patience: Patience = 600.0,
    wait: Annotated[bool, typer.Option("--wait", help="Start without a roster too, and wait for the first.")] = False,
    rounds: Annotated[int | None, typer.Option(help="Stop after so many rounds of the epoch.", min=1)] = None,
    gateway: Annotated[
        str | None,
        typer.Option(help="The public key of the gateway that is told and may ask: gateway.pub of its folder."),
    ] = None,
    announce: Annotated[
        bool | None,
        typer.Option(
            "--announce/--no-announce",
            help="Tell the local network where the broker is; if not said, only where --host is not this machine's loopback.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="NAME or NAME=VALUE, announced with it; repeatable.")] = None,
) -> None:
    """Run the coordinator until Ctrl-C (or --rounds). Its log goes to standard error."""
    if context.invoked_subcommand:
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    link = link_to(host, port, credentials, ca)
    home = Home(state)
    schedule = Schedule(interval, window, patience, rounds, answers, _instants(interval, at_once))
    public = read_public(gateway) if gateway else None
    with home.lock():
        service = _service(home, roster or [], schedule, wait, link, public)
        _until_told(home, _serve(service, home.deployment, link, announce, label or []))


def _service(
    home: Home, rosters: list[str], schedule: Schedule, wait: bool, link: Link, gateway: bytes | None
) -> Service:
    adopt_newer(home, rosters)
    home.end_former()
    machines = home.machines(schedule)
    if not machines and not wait:
        raise HomeError("no roster yet; sign one with `hum authority roster` and give it with --roster GROUP=FILE")
    renewing, told = Renewing(home, schedule, wait), home.gateway(gateway)
    return Service(home.deployment, machines, home.storage, link, renewing, told)


def _until_told(home: Home, work: Coroutine[Any, Any, None]) -> None:
    try:
        run_until_told(work)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise HomeError(
            f"{home.database}: {why(error)}; nothing that was receipted is lost: mend that (is there room on the disk?), "
            "and start again"
        ) from None


def _instants(interval: float, at_once: bool) -> bool:
    """Tell whether rounds are of instants. Raises HomeError if the interval does not allow it."""
    if not at_once and (interval < INTERVAL_LEAST or interval % 1 or interval > INTERVAL_MOST):
        raise HomeError(
            f"--interval {interval:g}: instants are whole seconds, {INTERVAL_LEAST} to {INTERVAL_MOST} apart; "
            "with --at-once rounds have none"
        )
    return not at_once


async def _serve(service: Service, deployment: str, link: Link, announce: bool | None, labels: list[str]) -> None:
    from broker.transport.announce import announced  # no other command waits for its library

    async with announced(deployment, link.host, link.port, announce, labels=labels):
        await service.run()


@coordinator_app.command("clear-mail")
def coordinator_clear_mail(
    group: Annotated[str, typer.Argument(help="The group.")],
    state: StateFolder = STATE,
    senders: Annotated[
        list[str] | None, typer.Option("--from", help="Only what this device wrote, also a former member; repeatable.")
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8883,
    credentials: Credentials = None,
    ca: CertificateAuthority = None,
    as_json: AsJson = False,
) -> None:
    """Clear what the broker keeps in the mailboxes of a group: honest boards have nothing kept
    there. Stop the coordinator first: its user has one connection."""
    link = link_to(host, port, credentials, ca)
    home = Home(state)
    members = home.members(group)
    with home.lock():
        mail = clearing.mailboxes(home.deployment, group, members, senders or [*members, topics.COORDINATOR])
        try:
            cleared = asyncio.run(clearing.clear(link, mail))
        except LinkError as error:
            raise link.unreached(error) from None
    show(as_json, {"group": group, "cleared": cleared})


@coordinator_app.command("status")
def coordinator_status(state: StateFolder = STATE, as_json: AsJson = False) -> None:
    """Show groups, rounds, who took part in the last one, whose answers disagreed, which boards are
    in the active sets, who is left out and why, and what a new set costs a board; what queries have
    cost each board, how many inputs were refused for which reason, which of them are usual, and how
    the boards say that they are, with what troubles their meters and all that they have counted:
    unauthenticated.
    """
    home = Home(state)
    groups = [_group(home, machine) for machine in home.machines(Schedule(1, 1, 0))]
    boards = health(home.storage)
    refused = home.storage.refusals()
    heard = {board["device"]: board["age_s"] for board in boards}
    for row in [row for group in groups for row in group["attendance"]]:
        row["heard_s"] = heard.get(row["member"])
    if as_json:
        print(
            json.dumps(
                {
                    "deployment": home.deployment,
                    "coordinator": home.public,
                    "groups": groups,
                    "refused": refused,
                    "boards": boards,
                }
            )
        )
        return
    show_table(
        "Coordinator", ["deployment", "public_key"], [{"deployment": home.deployment, "public_key": home.public}]
    )
    for group in groups:
        group["disagree"] = sides(group.get("disagree") or [])
    show_table("Groups", GROUP_COLUMNS, groups)
    show_table("Rounds", ROUND_COLUMNS, rounds(groups))
    show_table("Members, in the last round and now", MEMBER_COLUMNS, members(groups), keys=2)
    show_table("Active sets", SET_COLUMNS, _sets(groups), keys=2)
    show_table("Boards", BOARD_COLUMNS, boards)
    show_table("Counted by boards since they started", COUNTED_COLUMNS, counted(boards), keys=2)
    show_table("Refused inputs", ["reason", "count", "usual"], _refused(refused))


def _refused(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [{"reason": reason, "count": count, "usual": reason in USUAL} for reason, count in counts.items()]


def _group(home: Home, machine: Machine) -> dict[str, Any]:
    scope = machine.scope
    row = {
        "group": scope.group,
        "epoch": scope.epoch,
        "members": len(scope.roster.members),
        "next_round": machine.next_round,
        "phase": machine.phase,
        "ready": len(machine.ready),
    }
    for declaration in registry.declarations():  # all: a group may have run another protocol before
        if declaration.status:
            row |= home.storage.read(declaration.status, scope.group)
    return row | {"attendance": attendance(row, scope.roster.names())}


def _sets(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows for people: units and their sets."""
    rows = []
    for group in groups:
        for one in group["sets"]:
            cost = one["cost"]
            costs = f"{cost['bytes'] / 1000:.1f} kB sent, {cost['flash_bytes'] / 1000:.0f} kB written, {cost['seconds']:g} s"
            rows.append({**one, "group": group["group"], "left_out": _why(one["left_out"]), "a_set_costs": costs})
    return rows


def _why(left_out: list[dict[str, Any]]) -> list[str]:
    """Return for each reason the boards that are left out for it, and for how long."""
    boards: dict[str, list[str]] = {}
    for each in left_out:
        wait = f" for {max(each['until'] - time.time(), 0) / 60:.0f} min" if each["until"] else ""
        boards.setdefault(each["reason"], []).append(each["device"] + wait)
    return [f"{reason}: {', '.join(names)}" for reason, names in boards.items()]
