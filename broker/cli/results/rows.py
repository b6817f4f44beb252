"""Results as rows: a dictionary each, with JSON types, from a coordinator's folder or a broker; as
a table, as lines of text, JSON or CSV."""

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TextIO

from broker.cli.tables import NAMED_MOST, show_table, sides, some
from broker.client import Result
from broker.client.units import unit_of

Row = dict[str, Any]

PLACE = ["group", "epoch", "round"]  # which round a row is of
AREA = ["area", "of"]


def of_result(one: Result) -> Row:
    """Return the row of a result that a broker handed out."""
    return asdict(one)


def local(seconds: float | None) -> str | None:
    """Return Unix seconds as people here read them, with the zone: at the end of summer an hour
    comes twice."""
    return None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S%z", time.localtime(seconds))


def values(row: Row) -> str:
    """Return sums or answers with their names and units, or why there is none."""
    if row.get("sums") is not None:
        slots = row.get("slots")
        if not slots:  # its roster is not known
            return ", ".join(map(str, row["sums"]))
        return ", ".join(_value(slot, number) for slot, number in zip(slots, row["sums"], strict=True))
    if row.get("answer") is not None:
        return ", ".join(f"{name} {value}" for name, value in row["answer"].items())
    return "no sum" + (f": {row['why']}" if row.get("why") else "")


def named(missing: Sequence[str]) -> str:
    """Return which boards are missing; of many how many, and the first."""
    return f"{len(missing)}: {some(missing)}" if len(missing) > NAMED_MOST + 1 else some(missing)


def line(row: Row) -> str:
    """Return a row as one line of text."""
    place = f"area {row['area']}" if "area" in row else f"{row['group']} {row['epoch']}/{row['round']}"
    of = f" of {local(row['instant'])}" if row.get("instant") else " off the grid" if row.get("off_grid") else ""
    missing = named([*row.get("without", []), *(row.get("missing") or [])])
    return f"{place}{of} {row['status']}: {values(row)}" + (f", without {missing}" if missing else "")


def table(rows: Sequence[Row]) -> None:
    """Print rows as a table."""
    shown = [_cells(row) for row in rows]
    if rows and "area" in rows[0]:
        show_table("Results", [*AREA, "status", "sums", "without", "missing"], shown, keys=len(AREA))
        return
    when = "of" if any(row.get("instant") for row in rows) or not any("closed_at" in row for row in rows) else "closed"
    more = [
        name
        for name in ("withstands", "disagree", "latency_ms")
        if any(row.get(name) not in (None, []) for row in rows)
    ]
    show_table("Results", [*PLACE, "status", "sums", "missing", *more, when], shown, keys=len(PLACE))


def _cells(row: Row) -> Row:
    return {
        **row,
        "sums": values(row),
        "missing": named(row.get("missing") or []),
        "disagree": sides(row.get("disagree") or []),
        "of": "off the grid" if row.get("off_grid") else local(row.get("instant")),
        "closed": local(row.get("closed_at")),
    }


def as_json(row: Row) -> str:
    """Return a row as one line of JSON."""
    return json.dumps(row)


class Csv:
    """Writes rows as CSV: a column for each of `slots`, the names of all that there may be, empty
    where a row has none; times in UTC."""

    def __init__(self, slots: Sequence[str], file: TextIO) -> None:
        self._slots = list(slots)
        self._file = file
        self._writer = csv.writer(file, lineterminator="\n")
        headings = [f"{slot} [{unit}]" if (unit := unit_of(slot)) else slot for slot in slots]
        self._writer.writerow(["group", "epoch", "round", "time", "status", *headings, "missing"])

    def write(self, row: Row) -> None:
        """Write a row, and have whoever reads the file see it."""
        sums = dict(zip(row.get("slots") or [], row.get("sums") or [], strict=False))
        at = row.get("instant") or row.get("opened_at") or row.get("closed_at")
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""
        place = [row.get("area") or row.get("group"), row.get("epoch", ""), row.get("round", "")]
        without = " ".join([*row.get("without", []), *(row.get("missing") or [])])
        self._writer.writerow([*place, when, row["status"], *(sums.get(slot, "") for slot in self._slots), without])
        self._file.flush()


def slots_of(rows: Sequence[Row]) -> list[str]:
    """Return the names of all readings in rows, in their order."""
    return list(dict.fromkeys(slot for row in rows for slot in row.get("slots") or []))


def _value(slot: str, number: int) -> str:
    unit = unit_of(slot)
    return f"{slot} {number} {unit}" if unit else f"{slot} {number}"
