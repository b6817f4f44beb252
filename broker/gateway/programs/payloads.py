"""What is said on the broker of the home, as topic, payload and whether it is retained. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from broker.client.units import unit_of
from broker.gateway.groups import Group
from broker.gateway.programs import topics
from broker.gateway.rounds import Round
from broker.gateway.totals import Standing

ONLINE, OFFLINE = "online", "offline"


@dataclass(frozen=True)
class Publish:
    """To be said with QoS 1. An empty payload that is retained takes back what was."""

    topic: str
    payload: bytes
    retain: bool


def retained(topic: str, value: object) -> Publish:
    """Return what says a JSON value, retained."""
    return Publish(topic, as_json(value), True)


def taken_back(topic: str) -> Publish:
    """Return what takes back what was retained."""
    return Publish(topic, b"", True)


def as_json(value: object) -> bytes:
    """Return a JSON text of ASCII characters."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def rfc3339(seconds: float | None) -> str | None:
    """Return Unix seconds as a time in UTC, to the second."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def state_of(there: bool) -> dict[str, str]:
    """Return what says whether somebody is there."""
    return {"state": ONLINE if there else OFFLINE}


def group_of(group: Group) -> dict[str, Any]:
    """Return a group as programs see it."""
    slots = [{"name": name, "unit": unit_of(name), "low": low, "high": high} for name, low, high in group.slots]
    return {
        "name": group.name,
        "epoch": group.epoch,
        "members": group.members,
        "labels": list(group.labels),
        "slots": slots,
    }


def groups_of(deployment: str, groups: Iterable[Group]) -> Publish:
    """Return what says which groups there are."""
    return retained(topics.groups(deployment), [group_of(group) for group in groups])


def round_of(round: Round) -> dict[str, Any]:
    """Return a round as programs see it: how many members were summed, and not who. Who is missing
    tells when a home is without power."""
    sums = dict(zip(round.slots, round.sums, strict=True)) if round.sums is not None else {}
    total, power = round.total or {}, round.mean_power or {}
    slots = {
        slot: {
            "unit": unit_of(slot),
            "sum": sums.get(slot),
            "total": total.get(slot),
            "mean_power": power.get(slot),
        }
        for slot in round.slots
    }
    return {
        "id": round.id,
        "status": round.status,
        "off_grid": round.off_grid,
        "instant": rfc3339(round.instant),
        "opened": rfc3339(round.opened),
        "closed": rfc3339(round.closed),
        "summed": len(round.summed),
        "members": len(round.members),
        "missing": len(round.members) - len(round.summed),
        "slots": slots,
    }


def sum_of(deployment: str, round: Round, standing: Standing) -> Publish:
    """Return what says a group's last round. The totals are there in every case: a round without a
    sum adds nothing to them."""
    told = round_of(round)
    for slot, values in told["slots"].items():
        values["total"] = standing.totals.get(slot)
    return retained(topics.group_sum(deployment, round.group), told | {"since": rfc3339(standing.since)})
