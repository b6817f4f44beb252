"""How groups and their members stand, from what the coordinator has recorded: also while it does
not run, and after it has started again."""

import fcntl
import time
from pathlib import Path
from typing import Any

from agent.wire import rosters
from agent.wire.envelope import Envelope
from broker.coordinator.protocols import registry
from broker.files import locked
from broker.storage.storage import Storage

NOT_READY = "not-ready"
LOCK = "coordinator.lock"  # whoever runs the coordinator holds it


def is_running(folder: Path) -> bool:
    """Tell whether a process runs the coordinator in `folder`."""
    try:
        with (folder / LOCK).open("rb") as file:
            return not locked(file.fileno(), fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def groups(storage: Storage) -> list[dict[str, Any]]:
    """Return each group with JSON types: "group", "epoch", "protocol", "slots", "members", how
    many; what its protocols tell (base.py, `status`); and "attendance", as attendance() has it."""
    found = []
    for group, epoch, signed in storage.rosters():
        roster = rosters.read_roster(Envelope(signed).unverified())
        row: dict[str, Any] = {"group": group, "epoch": epoch, "protocol": roster.protocol}
        row |= {"slots": [name for name, _, _ in roster.slots], "members": len(roster.members)}
        for declaration in registry.declarations():  # all: a group may have run another one before
            if declaration.status:
                row |= storage.read(declaration.status, group)
        found.append(row | {"attendance": attendance(row, roster.names())})
    return found


def attendance(group: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """Return of each member of a group, called `names` in the roster's order: "round" is the last
    one that is over, None before there is any of this epoch, and "sent", "listed" and "answered"
    what it did in it; "now" what it has done in the round that is open, None if none is; and
    "why", since which "since_round" and "since", Unix seconds, it is absent, None if it is not."""
    last, opened = group.get("last_round"), group.get("open_round")
    told = last["attendance"] if last and last["epoch"] == group["epoch"] else None
    number = last["round"] if last and told else None
    why = {one["device"]: one["reason"] for unit in group.get("sets", []) for one in unit["left_out"]}
    rows = []
    for index, name in enumerate(names):
        sent = None if told is None else name not in told["absent"]
        listed = None if told is None else bool(sent) and name not in told["unlisted"] and bool(told["called"])
        gone = group.get("absent", {}).get(name, {})
        # Who is in a set takes it up just now, or says why with the round.
        left = why.get(name) if gone.get("reason") in (None, "never-dealt", "left-out") else None
        left = None if left == NOT_READY else left
        reason = " ".join(dict.fromkeys(filter(None, [gone.get("reason"), left])))
        rows.append(
            {
                "group": group["group"],
                "member": name,
                "round": number,
                "sent": sent,
                "listed": listed,
                "answered": None if told is None else name in told["answered"],
                "now": _now(opened, name, index),
                "since_round": gone.get("round"),
                "since": gone.get("since"),
                "why": reason or None,
            }
        )
    return rows


def _now(opened: dict[str, Any] | None, name: str, index: int) -> str | None:
    """Return what a member has done in the round that is open, in a word."""
    if opened is None:
        return None
    if name in opened["answered"]:
        return "answered"
    if opened["listed"] is not None and index in opened["listed"]:
        return "listed"
    return "sent" if name in opened["sent"] else "awaited"


def health(storage: Storage) -> list[dict[str, Any]]:
    """Return each board's last report of itself, with its age in seconds: nobody has authenticated
    it."""
    now = time.time()
    return [
        {"device": device, "age_s": round(max(now - at, 0))} | report
        for device, (at, report) in storage.health().items()
    ]
