"""What a Mosquitto has refused, counted from what it logs: log-ins by where they came from,
messages to topics that their sender may not write by the sender.

It tells these only at its most talkative (`mosquitto -v`), so that a log of it is read here,
counted and left out but for what an operator wants to see. Lines are what 2.0 and 2.1 write;
others, however odd, are shown and count nothing. Names in lines are cut, and so is how many are
told apart: who has no password yet writes some of them."""

import json
import re
import time
from pathlib import Path
from typing import Any

from broker.files import replace

NAMED_MOST = 64  # that are told apart; what comes from others counts under OTHERS
NAME_MOST = 64  # characters of a name
OTHERS = "others"
FILE = "refused.json"
SAVE_S = 10.0  # between two records on disk
KINDS = ("log-ins", "topics")

_STAMP = re.compile(r"^\d{9,11}: ?")
_ANSWERED = re.compile(r"Sending CONNACK to (\S+) \(\d+, (\d+)\)")
_REFUSED = re.compile(r"Client (.+?)(?: \[([0-9a-fA-F.:]+?)(?::\d+)?\])? disconnected[,:] not authori[sz]ed\.", re.I)
_DENIED = re.compile(r"Denied PUBLISH from (\S+) \(d\d, q\d, r\d, m\d+, '(.*)', \.\.\. \(\d+ bytes\)\)")
_CAME_FROM = re.compile(r"New connection from ([0-9a-fA-F.:]+?)(?::\d+)? on port \d+\.")
# What a healthy broker says all the time.
_USUAL = re.compile(
    r"(New (connection|client connected)|No will message|Will message|Sending |Received |Config loaded|Note: "
    r"|Opening (ipv4|ipv6|unix) |Client .* (disconnected|closed its connection)\.$|\t| {4}|\S+ \d \S+$"
    r"|mosquitto version \S+ starting|Reloading config|Denied |Saving |Purging |Plugin |Bridge support)"
)


class Refusals:
    """Counts of one broker, kept in `folder` from one start to the next.

    `counts` is {kind of KINDS: {name: count}}, `last` the topic that each sender was refused last.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        kept = read(folder)
        self.since: float = kept["since"]
        self.counts: dict[str, dict[str, int]] = kept["counts"]
        self.last: dict[str, str] = kept["last"]
        self._came_from = ""
        self._due = 0.0
        self._new = False

    def heed(self, line: str) -> str | None:
        """Count what a line of the broker's log tells, and return what of it an operator wants to
        see, without the time; None if nothing."""
        text = _STAMP.sub("", line.rstrip())
        if found := _CAME_FROM.fullmatch(text):
            self._came_from = found[1]
        elif found := _REFUSED.fullmatch(text):
            origin = found[2] or self._came_from or "an unknown address"
            return f"refused log-in from {origin}: wrong user or password ({self._count('log-ins', origin)} so far)"
        elif found := _DENIED.fullmatch(text):
            name = self._named("topics", found[1])
            self.last[name] = found[2][:256]
            return f"refused message of {name} to {self.last[name]} ({self._count('topics', name)} so far)"
        return text if text and not _USUAL.match(text) else None

    def save(self, now: float, at_once: bool = False) -> None:
        """Keep the counts, if there are new ones and the last time is SAVE_S ago. `now` is
        monotonic seconds. Raises OSError."""
        if self._new and (at_once or now >= self._due):
            self._due = now + SAVE_S
            kept = {"since": self.since, "counts": self.counts, "last": self.last}
            replace(self._path, (json.dumps(kept) + "\n").encode())
            self._new = False

    def _named(self, kind: str, name: str) -> str:
        known, name = self.counts[kind], name[:NAME_MOST]
        return name if name in known or len(known) < NAMED_MOST else OTHERS

    def _count(self, kind: str, name: str) -> int:
        name = self._named(kind, name)
        self.counts[kind][name] = self.counts[kind].get(name, 0) + 1
        self._new = True
        return self.counts[kind][name]


def read(folder: Path) -> dict[str, Any]:
    """Return what is kept in `folder`: {"since": Unix seconds, "counts", "last"}, nothing counted
    if there is nothing, or nothing of use."""
    fresh: dict[str, Any] = {"since": time.time(), "counts": {kind: {} for kind in KINDS}, "last": {}}
    try:
        kept = json.loads((folder / FILE).read_text())
        counts = {kind: {str(name): int(count) for name, count in kept["counts"][kind].items()} for kind in KINDS}
        return {"since": float(kept["since"]), "counts": counts, "last": dict(kept["last"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return fresh


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return a row for each that was refused, most first: `refused`, `of`, `count`, `last`."""
    kept = read(folder)
    found = [
        {"refused": kind, "of": name, "count": count, "last": kept["last"].get(name, "") if kind == "topics" else ""}
        for kind in KINDS
        for name, count in kept["counts"][kind].items()
    ]
    return sorted(found, key=lambda row: -int(row["count"]))
