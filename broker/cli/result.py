"""`hum result`: sums and answers, of the coordinator's folder on this machine or, for whoever has
the result key, of the broker."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from agent.wire.topics import CLIENT
from broker.cli.options import STATE, AsJson, CertificateAuthority, Credentials, Host, Port, link_to
from broker.cli.results import rows as made
from broker.cli.results.areas import Area, groups_of, named, of_rows
from broker.cli.results.rows import Csv, Row, of_result
from broker.client import Access, ClientError, Reader, follow, latest
from broker.deploy.mosquitto.credentials import reader_in
from broker.deployment.folder import Deployment, where
from broker.transport.link import Link, LinkError

LAST = 10
POLL_S = 1.0  # between two looks into the database
AT_ONCE = 100  # results of a group that one such look finds at most

State = Annotated[
    Path | None,
    typer.Option(help=f"The coordinator's folder; if not said, the deployment's, or {STATE}.", show_default=False),
]
Dir = Annotated[Path | None, typer.Option("--dir", help="The deployment's folder; if not said, this one or $HUM_DIR.")]
Last = Annotated[
    int | None,
    typer.Option(help=f"Of the folder: how many results of each group; {LAST} if not said.", min=1, show_default=False),
]
TIME = "a date, or date and time as 2026-10-25T02:30, of this machine's zone if it names none"
Since = Annotated[str | None, typer.Option(help=f"Only what was measured then or later: {TIME}.")]
Until = Annotated[str | None, typer.Option(help="Only what was measured before that time.")]
AreaLabel = Annotated[
    str | None,
    typer.Option(
        "--area",
        metavar="LABEL",
        help="The sum over all groups with this label in hum.toml, of each instant; without a hum.toml "
        "LABEL=GROUP,GROUP names them.",
    ),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV, a column for each reading; times are in UTC.")]
Key = Annotated[
    Path | None,
    typer.Option("--key", help="A copy of results/GROUP.key, or a folder of some: ask the broker, not the folder."),
]
DeploymentName = Annotated[str | None, typer.Option("--deployment", help="With --key: the deployment's name.")]
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
Follow = Annotated[bool, typer.Option("--follow", help="Go on, and show results as they come.")]


class WrongTime(ClientError):
    """A time that is none. args[0] says what is wanted."""

    exit_code = 2


@dataclass(frozen=True)
class Wanted:
    """What is asked for: of which group, or of the groups of an area; of what time, in Unix
    seconds; and in which form it is shown."""

    group: str | None
    area: tuple[str, list[str]] | None
    since: float | None
    until: float | None
    going_on: bool
    as_csv: bool
    as_json: bool

    def has(self, row: Row) -> bool:
        """Tell whether what a broker has handed out is of that time."""
        at = row.get("instant") or time.time()
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def result(
    state: State = None,
    folder: Dir = None,
    group: Annotated[str | None, typer.Option(help="Only this group.")] = None,
    area: AreaLabel = None,
    last: Last = None,
    since: Since = None,
    until: Until = None,
    key: Key = None,
    deployment: DeploymentName = None,
    authority: Authority = None,
    host: Host = "127.0.0.1",
    port: Port = 8883,
    credentials: Credentials = None,
    ca: CertificateAuthority = None,
    user: User = None,
    going_on: Follow = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Show sums, and whose readings are missing from each. Only a complete round has a sum.

    On the coordinator's machine: the last rounds of each group, in their order, from its database.
    Elsewhere, with --key: each group's last result at the broker, of queries too, once the
    signatures are checked; with --follow what comes as well.
    """
    found = None if (state is not None and area is None) or where(folder) is None else Deployment.find(folder)
    span = _time(since, "--since"), _time(until, "--until")
    wanted = Wanted(group, _area(found, area, group), *span, going_on, as_csv, as_json)
    if key is None:
        if deployment or authority:
            raise ClientError("--deployment and --authority go with --key")
        _of_folder(state or (found.coordinator if found else STATE), wanted, last)
        return
    if state or last:
        raise ClientError("--key is for the broker, which keeps each group's last result; --state and --last are not")
    if not (deployment and authority):
        raise ClientError("--key wants --deployment NAME and --authority KEY, too")
    access = Access.load(key, deployment, authority)
    if wanted.area and (closed := [one for one in wanted.area[1] if access.key_of(one) is None]):
        raise ClientError(f"{key} has no key of {', '.join(closed)}, of the area; copy GROUP.key of each into it")
    reader = Reader(access, group)
    if user is None:
        user = reader_in(credentials) if credentials else CLIENT
    link = link_to(host, port, credentials, ca, user)
    try:
        asyncio.run(_of_broker(link, reader, wanted))
    except LinkError as error:
        raise link.unreached(error) from None


def _area(found: Deployment | None, label: str | None, group: str | None) -> tuple[str, list[str]] | None:
    if label is None:
        return None
    if group is not None:
        raise ClientError("--area is of several groups, --group of one; give one of the two")
    labels = {name: one.labels for name, one in found.settings.groups.items()} if found else {}
    is_label = any(label in some for some in labels.values())
    if not is_label and (listed := named(label)):
        return listed
    if found is None:
        raise ClientError(
            f"--area wants a deployment's hum.toml, which says the groups' labels: --dir FOLDER; or name them, "
            f"--area {label}=GROUP,GROUP"
        )
    return label, groups_of(label, labels)


def _time(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise WrongTime(f"{option} {text!r}: {TIME} is wanted") from None


# -- of the coordinator's folder


def _of_folder(state: Path, wanted: Wanted, last: int | None) -> None:
    from broker.coordinator.history import Span, results  # not where there is the result key only

    timed = wanted.since is not None or wanted.until is not None
    span = Span(last or (None if timed else LAST), wanted.since, wanted.until)
    rows = results(state, wanted.group, span)
    if wanted.area:
        # Each of the last instants of any group; of an earlier one some group's round is not read.
        rows = of_rows(*wanted.area, rows)[-(span.last or 0) :]
    if not wanted.going_on:
        _show(rows, wanted)
        return
    show = _one_by_one(wanted, made.slots_of(rows))
    for row in rows:
        show(row)

    def read() -> list[Row]:
        found = results(state, wanted.group, Span(AT_ONCE, wanted.since, wanted.until))
        # What a group of an area lacks may come yet.
        return [row for row in of_rows(*wanted.area, found) if row["sums"]] if wanted.area else found

    _follow_folder(read, rows, show)


def _follow_folder(read: Callable[[], list[Row]], shown: list[Row], show: Callable[[Row], None]) -> None:
    """Show what is read and not `shown` yet, without an end; the last of each group was."""
    seen: dict[str, tuple[int, ...]] = {}
    _note(seen, shown)
    while True:
        time.sleep(POLL_S)
        for row in read():
            if _place(row) > seen.get(_of(row), (-1,)):
                show(row)
                _note(seen, [row])


def _note(seen: dict[str, tuple[int, ...]], rows: list[Row]) -> None:
    for row in rows:
        seen[_of(row)] = max(_place(row), seen.get(_of(row), (-1,)))


def _of(row: Row) -> str:
    return str(row.get("area") or row["group"])


def _place(row: Row) -> tuple[int, ...]:
    return (row["instant"],) if "area" in row else (row["epoch"], row["round"])


# -- of the broker


async def _of_broker(link: Link, reader: Reader, wanted: Wanted) -> None:
    if not wanted.going_on:
        found = [of_result(one) for one in await latest(link, reader)]
        for name in wanted.area[1] if wanted.area else [wanted.group]:
            _known(reader, name)
        if not found:
            raise ClientError(f"no result{_why(reader)}")
        rows = [row for row in found if wanted.has(row)]
        _show(of_rows(*wanted.area, rows) if wanted.area else rows, wanted)
        if reader.refused:
            print(f"hum: not all is shown{_why(reader)}", file=sys.stderr)
        return
    logging.basicConfig(level=logging.WARNING, format="hum: %(message)s")
    area = Area(*wanted.area) if wanted.area else None
    show: Callable[[Row], None] | None = None
    async with aclosing(follow(link, reader)) as results:
        async for one in results:
            rows = list(area.take(of_result(one))) if area else [of_result(one)]
            for row in filter(wanted.has, rows):
                show = show or _one_by_one(wanted, made.slots_of([row]))
                show(row)


def _known(reader: Reader, group: str | None) -> None:
    """Raise ClientError if the broker knows other groups, and not this one."""
    known = reader.known()
    if group is not None and group not in known and known:
        raise ClientError(f"no group {group} at the broker; known: {', '.join(known)}")


def _why(reader: Reader) -> str:
    """Say why there may be no result."""
    if reader.refused:
        return "; refused: " + ", ".join(f"{reason} ({count})" for reason, count in sorted(reader.refused.items()))
    if waiting := reader.without_roster():
        return f"; the broker has no roster of the epoch of {', '.join(waiting)}"
    return f" of {reader.deployment} is at the broker, or this user may not read it"


# -- how it is shown


def _show(rows: list[Row], wanted: Wanted) -> None:
    if not (wanted.as_json or wanted.as_csv):
        made.table(rows)
        return
    show = _one_by_one(wanted, made.slots_of(rows))
    for row in rows:
        show(row)


def _one_by_one(wanted: Wanted, slots: list[str]) -> Callable[[Row], None]:
    """Return what shows a row at once, in the form that is wanted."""
    if wanted.as_csv:
        return Csv(slots, sys.stdout).write
    form = made.as_json if wanted.as_json else made.line
    return lambda row: print(form(row), flush=True)
