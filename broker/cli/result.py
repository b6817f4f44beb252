"""`hum result`: sums and answers, of the coordinator's folder on this machine or, for whoever has
the result key, of the broker."""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.wire.topics import CLIENT
from broker.cli.options import STATE, AsJson, CertificateAuthority, Credentials, Host, Port, link_to
from broker.cli.tables import NAMED_MOST, show_table, sides, some
from broker.client import Access, ClientError, Reader, Result, RoundResult, follow, latest
from broker.deploy.mosquitto import configuration
from broker.transport.link import Link, LinkError

LAST = 10
ROUND = ["group", "epoch", "round"]  # which round a row is of

State = Annotated[
    Path | None, typer.Option(help=f"The coordinator's folder; {STATE} if there is no --key.", show_default=False)
]
Last = Annotated[
    int | None, typer.Option(help=f"Of the folder: how many results; {LAST} if not said.", min=1, show_default=False)
]
Key = Annotated[
    Path | None,
    typer.Option("--key", help="The result key, a copy of the folder's result.key: ask the broker, not the folder."),
]
Deployment = Annotated[str | None, typer.Option(help="With --key: the deployment's name.")]
Authority = Annotated[
    str | None, typer.Option(help="With --key: the authority's public key (hexadecimal), which rosters are signed by.")
]
User = Annotated[
    str | None,
    typer.Option(
        help=f"With --key: the broker's user; {CLIENT}, or the only reader in the credentials. A user has one connection.",
        show_default=False,
    ),
]
Follow = Annotated[bool, typer.Option("--follow", help="With --key: go on, and show results as they come.")]


def result(
    state: State = None,
    group: Annotated[str | None, typer.Option(help="Only this group.")] = None,
    last: Last = None,
    key: Key = None,
    deployment: Deployment = None,
    authority: Authority = None,
    host: Host = "127.0.0.1",
    port: Port = 8883,
    credentials: Credentials = None,
    ca: CertificateAuthority = None,
    user: User = None,
    going_on: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Show sums, and whose readings are missing from each. Only a complete round has a sum.

    On the coordinator's machine: its last rounds, from its database. Elsewhere, with --key: each
    group's last result at the broker, of queries too, once the signatures are checked.
    """
    if key is None:
        if deployment or authority or going_on:
            raise ClientError("--deployment, --authority and --follow go with --key")
        _show_history(state or STATE, group, last or LAST, as_json)
        return
    if state or last:
        raise ClientError("--key is for the broker, which keeps each group's last result; --state and --last are not")
    if not (deployment and authority):
        raise ClientError("--key wants --deployment NAME and --authority KEY, too")
    reader = Reader(Access.load(key, deployment, authority), group)
    if user is None:
        user = configuration.reader_in(credentials) if credentials else CLIENT
    link = link_to(host, port, credentials, ca, user)
    try:
        if going_on:
            logging.basicConfig(level=logging.WARNING, format="hum: %(message)s")
            asyncio.run(_follow(link, reader, _show_as_json if as_json else _show_line))
        else:
            _show_latest(asyncio.run(latest(link, reader)), reader, as_json)
    except LinkError as error:
        raise link.unreached(error) from None


def _show_history(state: Path, group: str | None, last: int, as_json: bool) -> None:
    from broker.coordinator.history import results  # not where there is the result key only

    rows = results(state, group, last)
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    for row in rows:
        row["closed"], row["of"] = _local(row["closed_at"]), _local(row.get("instant"))
        row["missing"] = _named(row.get("missing") or [])
        row["disagree"] = sides(row.get("disagree") or [])
    when = "of" if any(row["of"] for row in rows) else "closed"  # --json has both
    columns = [*ROUND, "status", "sums", "missing", "withstands", "disagree", "latency_ms", when]
    show_table("Results", columns, rows, keys=len(ROUND))


def _show_latest(found: list[Result], reader: Reader, as_json: bool) -> None:
    if not found:
        raise ClientError(f"no result{_why(reader)}")
    for one in found if as_json else []:
        _show_as_json(one)
    if not as_json:
        rows = [asdict(one) | {"result": _values(one), "missing": _missing(one), "of": _of(one)} for one in found]
        show_table("Results", [*ROUND, "status", "result", "missing", "of"], rows, keys=len(ROUND))
    if reader.refused:
        print(f"hum: not all is shown{_why(reader)}", file=sys.stderr)


def _why(reader: Reader) -> str:
    """Say why there may be no result."""
    if reader.refused:
        return "; refused: " + ", ".join(f"{reason} ({count})" for reason, count in sorted(reader.refused.items()))
    if waiting := reader.without_roster():
        return f"; the broker has no roster of the epoch of {', '.join(waiting)}"
    return f" of {reader.deployment} is at the broker, or this user may not read it"


async def _follow(link: Link, reader: Reader, show_one: Callable[[Result], None]) -> None:
    async with aclosing(follow(link, reader)) as results:
        async for one in results:
            show_one(one)


def _show_as_json(one: Result) -> None:
    print(json.dumps(asdict(one)), flush=True)


def _show_line(one: Result) -> None:
    missing = _missing(one)
    of = f" of {_of(one)}" if _of(one) else ""
    line = f"{one.group} {one.epoch}/{one.round}{of} {one.status}: {_values(one)}"
    print(line + (f", without {missing}" if missing else ""), flush=True)


def _values(one: Result) -> str:
    """Return sums or answers as people read them."""
    values: dict[str, Any] | None
    if isinstance(one, RoundResult):
        values = dict(zip(one.slots, one.sums, strict=True)) if one.sums is not None else None
    else:
        values = one.answer
    return "no sum" if values is None else ", ".join(f"{name} {value}" for name, value in values.items())


def _of(one: Result) -> str | None:
    """Return the instant that readings are of, None if there is none."""
    return _local(one.instant) if isinstance(one, RoundResult) else None


def _local(seconds: float | None) -> str | None:
    """Return Unix seconds as people here read them."""
    return None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _missing(one: Result) -> str:
    return _named(one.missing) if isinstance(one, RoundResult) else ""


def _named(missing: list[str]) -> str:
    """Return which boards are missing; of many how many, and the first."""
    return f"{len(missing)}: {some(missing)}" if len(missing) > NAMED_MOST + 1 else some(missing)
