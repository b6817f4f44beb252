"""An area: the sum over whole groups that have a label, of one instant. No part of a group is ever
summed by itself, so that an area tells no more of anybody than its groups do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agent.wire import topics
from broker import names
from broker.client import ClientError

Row = dict[str, Any]


def named(text: str) -> tuple[str, list[str]] | None:
    """Return (label, groups) of LABEL=GROUP,GROUP,..., None if there is no = in `text`; a label may
    have one itself: feeder=7=north,south. Raises ClientError."""
    label, given, listed = text.rpartition("=")
    if not given:
        return None
    groups = listed.split(",")
    if not names.fits_label(label) or not all(map(topics.valid_name, groups)) or len(set(groups)) < len(groups):
        raise ClientError(f"--area {text}: LABEL=GROUP,GROUP is wanted, names of a-z, 0-9 and -, each once")
    return label, sorted(groups)


def groups_of(label: str, labels: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the groups with this label, of the `labels` of each group. Raises ClientError if there
    is none."""
    found = sorted(group for group, some in labels.items() if label in some)
    if not found:
        known = sorted({one for some in labels.values() for one in some})
        raise ClientError(f"no group has the label {label!r}; known labels: {', '.join(known) or 'none, see hum.toml'}")
    return found


class Area:
    """Adds up the results of `groups`. A group's later round of an instant replaces an earlier
    one."""

    def __init__(self, label: str, groups: Iterable[str]) -> None:
        self.groups = sorted(groups)
        self._label = label
        self._waiting: dict[int, dict[str, Row]] = {}

    def take(self, row: Row) -> Iterator[Row]:
        """Take a group's result; yield what is whole now, and before it what has been overtaken. A
        round off the grid is of no other group's instant. Raises ClientError for a round of no
        instant."""
        if row["group"] not in self.groups or "sums" not in row or row.get("off_grid"):
            return
        instant = row.get("instant")
        if not instant:
            raise ClientError(f"rounds of {row['group']} are of no instant (--at-once), and cannot be added up")
        found = self._waiting.setdefault(instant, {})
        found[row["group"]] = row
        if len(found) == len(self.groups):
            for one in sorted(at for at in self._waiting if at <= instant):
                yield self._sum(one)

    def rest(self) -> Iterator[Row]:
        """Yield what has come of the instants that are not whole."""
        for instant in sorted(self._waiting):
            yield self._sum(instant)

    def _sum(self, instant: int) -> Row:
        found = self._waiting.pop(instant)
        whole = [row for row in found.values() if row["sums"] is not None and row.get("slots")]
        without = [group for group in self.groups if group not in {row["group"] for row in whole}]
        slots = [slot for slot in whole[0]["slots"] if all(slot in row["slots"] for row in whole)] if whole else []
        sums = [sum(row["sums"][row["slots"].index(slot)] for row in whole) for slot in slots]
        return {
            "area": self._label,
            "instant": instant,
            "status": "incomplete" if without else "complete",
            "groups": self.groups,
            "without": without,
            "slots": slots,
            "sums": None if without else sums,
            "missing": [f"{row['group']}/{name}" for row in whole for name in row["missing"]],
        }


def of_rows(label: str, groups: Sequence[str], rows: Iterable[Row]) -> list[Row]:
    """Return the area's results of all instants in `rows`, in the instants' order."""
    area = Area(label, groups)
    ordered = sorted(rows, key=lambda row: (row.get("instant") or 0, row["group"], row["epoch"], row["round"]))
    found = [one for row in ordered for one in area.take(row)]
    return sorted([*found, *area.rest()], key=lambda row: int(row["instant"]))
