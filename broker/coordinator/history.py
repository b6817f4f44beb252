"""Reads what the coordinator in a folder has recorded. No key is loaded, and nothing is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.wire import rosters
from agent.wire.envelope import Envelope
from broker.coordinator.gateway import tables as gateway_tables
from broker.coordinator.home import DATABASE, HomeError
from broker.coordinator.protocols import registry
from broker.storage.migrations import StorageError
from broker.storage.storage import Storage


@dataclass(frozen=True)
class Span:
    """Which results are wanted: of the `last` of each group, all if None, those of a time from
    `since` to before `until`, in Unix seconds. A round is of its instant; one without, of when it
    was opened."""

    last: int | None
    since: float | None = None
    until: float | None = None

    def has(self, row: dict[str, Any]) -> bool:
        """Tell whether a result is of the time that is wanted."""
        at = time_of(row)
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def time_of(row: dict[str, Any]) -> float:
    """Return the Unix seconds that a result is of."""
    return float(row.get("instant") or row.get("opened_at") or row["closed_at"])


@contextmanager
def recorded(folder: Path) -> Iterator[Storage]:
    """Give the database of the coordinator in `folder`, to be read. Raises HomeError."""
    path = folder / DATABASE
    if not path.is_file():
        raise HomeError(f"no coordinator in {folder}; make one with `hum coordinator init`")
    try:
        storage = Storage(path, gateway_tables.schemas(), read_only=True)
    except StorageError as error:
        raise HomeError(f"{folder}: {error}") from None
    try:
        yield storage
    finally:
        storage.close()


def results(folder: Path, group: str | None, span: Span) -> list[dict[str, Any]]:
    """Return the results of all protocols that are wanted, of one group or of each, in the order of
    groups, epochs and rounds: each a dictionary with JSON types, with the names of its "slots",
    None if its roster is not known. Raises HomeError, also if there is no such group."""
    with recorded(folder) as storage:
        slots = {(name, epoch): _slots(signed) for name, epoch, signed in storage.every_roster()}
        read = [one.results for one in registry.declarations() if one.results]
        last = span.last if span.since is None and span.until is None else None
        rows = [row for results in read for row in storage.read(results, group, last)]
        if group is not None and not rows and group not in {name for name, _ in slots}:
            last_of_each = [row for results in read for row in storage.read(results, None, 1)]
            known = {name for name, _ in slots} | {row["group"] for row in last_of_each}
            raise HomeError(f"no group {group} in {folder}; known: {', '.join(sorted(known)) or 'none yet'}")
    rows = [{**row, "slots": slots.get((row["group"], row["epoch"]))} for row in rows if span.has(row)]
    rows.sort(key=lambda row: (row["group"], row["epoch"], row["round"]))
    return rows if span.last is None else _last_of_each(rows, span.last)


def _last_of_each(rows: list[dict[str, Any]], last: int) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    return [row for found in groups.values() for row in found[-last:]]


def _slots(signed: bytes) -> list[str] | None:
    """Return the names of the readings that a roster, checked when it was kept, names."""
    return [name for name, _, _ in rosters.read_roster(Envelope(signed).unverified()).slots]
