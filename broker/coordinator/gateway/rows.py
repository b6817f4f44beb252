"""How a group stands, from what the coordinator has recorded, as its gateway is told: the same as
`hum status` shows."""

from collections.abc import Iterable, Mapping
from typing import Any

from broker.coordinator.machine import Machine
from broker.coordinator.overview import attendance
from broker.coordinator.protocols import registry
from broker.storage.storage import Storage
from broker.wire.views import REPORT, STATUS, TIME_MOST, WHY_MOST, WORD_MOST, Progress, Report, Standing


def recorded(storage: Storage, machine: Machine) -> dict[str, Any]:
    """Return what is recorded of a group, by the names of what its protocols tell."""
    scope = machine.scope
    row: dict[str, Any] = {"group": scope.group, "epoch": scope.epoch}
    for declaration in registry.declarations():
        if declaration.status:
            row |= storage.read(declaration.status, scope.group)
    return row


def standing(row: dict[str, Any], machine: Machine, online: Mapping[str, bool]) -> list[Standing]:
    """Return how each member stands; `online` has those that said whether they are, or whose last
    will did."""
    left = {one["device"] for unit in row.get("sets", []) for one in unit["left_out"]}
    ready = set(machine.ready)
    found = []
    for one in attendance(row, machine.scope.roster.names()):
        name, why = one["member"], one["why"]
        there = online.get(name)
        if there is False:
            state = "offline"
        elif why:
            state = "left-out" if name in left else "absent"
        elif name in ready:
            state = "ready"
        else:
            state = "joining" if there else "unheard"
        since = None if one["since"] is None else int(one["since"])
        found.append(Standing(state, there, _short(why), one["since_round"], since))
    return found


def report(seen: float | None, said: Mapping[str, Any]) -> Report:
    """Return what is told of a board's own report, `said` as members/reports.py has it."""
    known = dict(said)
    if isinstance(ends := known.get("link_ends"), dict):
        known["link_losses"] = min(sum(ends.values()), TIME_MOST)
    kept = {name: known[name] for name in REPORT if known.get(name) is not None}
    for name, most in WORD_MOST.items():
        if name in kept:
            kept[name] = kept[name][:most]
    return Report(None if seen is None else int(seen), kept)


def progress(row: dict[str, Any], names: list[str]) -> list[Progress]:
    """Return the last round of the epoch that is over, if there is one, and the one that is open,
    if one is."""
    last, opened = row.get("last_round"), row.get("open_round")
    found = []
    if last and last["epoch"] == row["epoch"] and last["attendance"]:
        found.append(_closed(last, names))
    if opened:
        listed = None if opened["listed"] is None else _bits(names, (names[index] for index in opened["listed"]))
        sent, answered = _bits(names, opened["sent"]), _bits(names, opened["answered"])
        times = (int(opened["opened_at"]), opened["instant"], None)
        found.append(Progress(opened["round"], STATUS[0], *times, sent, listed, answered, None, None, None))
    return found


def _closed(last: dict[str, Any], names: list[str]) -> Progress:
    told = last["attendance"]
    sent = [name for name in names if name not in told["absent"]]
    return Progress(
        last["round"],
        last["status"],
        opened_at=int(last["opened_at"]),
        instant=last["instant"],
        closed_at=int(last["closed_at"]),
        sent=_bits(names, sent),
        listed=_bits(names, (name for name in sent if name not in told["unlisted"])) if told["called"] else None,
        answered=_bits(names, told["answered"]),
        missing=_bits(names, last["missing"]),
        why=_short(last["why"]),
        needed=told["needed"],
    )


def _bits(names: list[str], some: Iterable[str]) -> int:
    wanted = set(some)
    return sum(1 << index for index, name in enumerate(names) if name in wanted)


def _short(why: str | None) -> str | None:
    return why[:WHY_MOST] if why else None
