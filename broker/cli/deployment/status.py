"""`hum status`: how a deployment is: its rounds, and each member in them."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from broker.cli.options import STATE, AsJson
from broker.cli.results.rows import local
from broker.cli.tables import show_table, wrapped
from broker.coordinator.gateway import tables
from broker.coordinator.history import recorded
from broker.coordinator.overview import groups, health, is_running
from broker.deploy.mosquitto import refusals
from broker.deployment.folder import Deployment, where

ROUND_COLUMNS = ["group", "epoch", "round", "status", "why", "sent", "missing", "over", "now"]
MEMBER_COLUMNS = ["group", "member", "sent", "listed", "answered", "now", "absent_since", "why", "heard_s"]
REFUSED_COLUMNS = ["refused", "of", "count", "last"]
NOT_RUN = "no coordinator runs here: this is what it recorded last; start it with `hum up` or `hum coordinator`"
PUBLIC_MOST = 1024  # bytes of a file with a public key
WATCH_S = 2.0
NOT_RUNNING, UNWELL = 3, 4  # exit statuses


def status(
    folder: Annotated[
        Path | None, typer.Option("--dir", help="The deployment's folder; if not said, this one or $HUM_DIR.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="A coordinator's folder by itself, without a deployment's.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and show it anew every 2 seconds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last round of each group, the one that is open, and of each member whether it sent,
    was listed and answered, and since when and why it is absent; whether a gateway is told, and
    when it has asked last; and what the broker has refused. What is shown is durable.

    Exit status 0 if all is well, 3 if no coordinator runs, 4 if a group's last round
    has no sum, unless its roster has changed since.
    """
    deployment = Deployment.find(folder) if state is None and where(folder) else None
    at = deployment.coordinator if deployment else state or STATE
    if watch:
        _watch(at, deployment, as_json)
        return
    found = overview(at, deployment)
    _show(found, as_json)
    if code := exit_status(found):
        raise typer.Exit(code)


def overview(folder: Path, deployment: Deployment | None = None) -> dict[str, Any]:
    """Return how the coordinator in `folder` and its groups are, and what the broker of a
    deployment has refused, with JSON types. Raises HomeError."""
    with recorded(folder) as storage:
        found = groups(storage)
        boards, refused = health(storage), storage.refusals()
        gateway = storage.read(tables.status)
    public = folder / "coordinator.pub"
    heard = {board["device"]: board["age_s"] for board in boards}
    for group in found:
        for member in group["attendance"]:
            member["heard_s"] = heard.get(member["member"])
    return {
        "coordinator": public.read_text()[:PUBLIC_MOST].strip() if public.is_file() else None,
        "running": is_running(folder),
        "groups": found,
        "boards": boards,
        "refused": refused,
        "gateway": gateway,
        "broker": _broker(deployment),
    }


def _broker(deployment: Deployment | None) -> dict[str, Any] | None:
    """Return what `hum up` has counted of the broker's refusals; None if it does not run it."""
    if deployment is None or deployment.settings.broker.existing:
        return None
    folder = deployment.mosquitto
    counted = (folder / refusals.FILE).is_file()
    return {"since": refusals.read(folder)["since"] if counted else None, "refused": refusals.rows(folder)}


def exit_status(found: dict[str, Any]) -> int:
    """Return the exit status for an overview."""
    if not found["running"]:
        return NOT_RUNNING
    lasts = [(group["last_round"], group["epoch"]) for group in found["groups"] if group.get("last_round")]
    # A round of an epoch that is over says nothing of the members that there are now.
    return UNWELL if any(last["status"] != "complete" and last["epoch"] == epoch for last, epoch in lasts) else 0


def rounds(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for people of each group: its last round, and how the next one goes."""
    rows = []
    for group in found:
        last, opened = group.get("last_round") or {}, group.get("open_round")
        told = last.get("attendance") or {}
        row = {"group": group["group"], "epoch": last.get("epoch", group["epoch"]), "round": last.get("round")}
        row |= {"status": last.get("status", "none yet"), "why": last.get("why"), "missing": None, "sent": None}
        if told:
            row["sent"] = f"{told['of'] - len(told['absent'])} of {told['of']}"
        if last:
            row |= {"missing": len(last["missing"]), "over": local(last["closed_at"])}
        row["now"] = _waits(group)
        if opened:
            row["now"] = f"round {opened['round']} open, {len(opened['sent'])} of {group['members']} sent"
        rows.append(row)
    return rows


def members(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for people of each member of each group."""
    rows = [member for group in found for member in group["attendance"]]
    return [
        {**row, "absent_since": row["since"] and f"round {row['since_round']}, {local(row['since'])}"} for row in rows
    ]


def _waits(group: dict[str, Any]) -> str:
    """Return what a group without an open round waits for."""
    for unit in group.get("sets", []):
        if not unit["number"]:
            return f"no set: it takes {', '.join(map(str, unit['needed']))} of {unit['of']}"
        if not unit["taken_up"]:
            return "boards take up a set"
    return "waits for the next round" if group.get("last_round") else "no round yet"


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found), flush=True)
        return
    if not found["running"]:
        print(wrapped(NOT_RUN))
    print(wrapped(_contact(found["gateway"])))
    show_table("Rounds", ROUND_COLUMNS, rounds(found["groups"]))
    show_table("Members, in the last round and now", MEMBER_COLUMNS, members(found["groups"]), keys=2)
    if found["broker"]:
        since = local(found["broker"]["since"])
        show_table(
            f"Refused by the broker{f' since {since}' if since else ''}", REFUSED_COLUMNS, found["broker"]["refused"]
        )


def _contact(gateway: dict[str, Any] | None) -> str:
    """Return whether a gateway is told and asks, and when it did last."""
    if gateway is None:
        return "no gateway is told of members and rounds; `hum init` makes its key, and `hum up` gives it on"
    told, asked = (local(gateway[at]) if gateway[at] else "never yet" for at in ("told_at", "asked_at"))
    return f"the gateway {gateway['public'][2:10]}...: told {told}, has asked {asked}"


def _watch(folder: Path, deployment: Deployment | None, as_json: bool) -> None:
    console = Console()
    while True:
        found = overview(folder, deployment)
        if not as_json:
            console.clear()
        _show(found, as_json)
        time.sleep(WATCH_S)
