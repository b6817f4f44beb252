"""A change of the members of a deployment: made at once where the authority is at hand, else
written as a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.wire.messages import MEMBERS_MOST
from broker import names
from broker.authority.authority import Authority
from broker.authority.requests import ANSWER_MOST, Request, perform
from broker.deployment.folder import Deployment
from broker.deployment.members import known, pending
from broker.deployment.members.apply import apply, read_file
from broker.deployment.members.known import MembersError


@dataclass(frozen=True)
class Made:
    """What became of a change: `told` for people, or the request file that waits for an answer."""

    told: dict[str, str]
    request: Path | None = None


def make(deployment: Deployment, change: Mapping[str, Any], group: str) -> Made:
    """Make a change of `group`, in one step or by a request. Raises HumError."""
    ways = {group: known.plan(deployment, group)}
    if deployment.authority is not None:
        authority = Authority(deployment.authority)
        asked = Request(deployment.name, authority.public, 1, (change,), ways)
        return Made(apply(deployment, perform(authority, asked)))
    _check(deployment, change)
    request = pending.ask(deployment, change, ways)
    path = deployment.folder / pending.FOLDER / pending.REQUEST
    told = {"request": str(path), "serial": str(request.serial), "changes": str(len(request.changes))}
    return Made(
        told | {"next": f"`hum sign {path.name}` at the authority, then `hum add --answer {pending.ANSWER}`"}, path
    )


def take_answer(deployment: Deployment, path: Path) -> dict[str, str]:
    """Apply the answer in a file, and return what there is to tell of it. Raises HumError."""
    if deployment.authority is not None:
        raise MembersError("the authority is at hand; there are no answers to be applied")
    serial, outcome = pending.answered(deployment, read_file(path, ANSWER_MOST))
    told = apply(deployment, outcome)
    pending.done(deployment, serial)
    return {"request": str(serial), **told}


def _check(deployment: Deployment, change: Mapping[str, Any]) -> None:
    """Raise MembersError for what an authority elsewhere would refuse for sure."""
    there = known.read(deployment)
    owners = {key: name for devices in there.values() for name, key in devices.items()}
    device = change.get("device", "")
    if change["do"] == "add":
        if not names.fits_device(device):
            raise MembersError(f"{device!r}: names are {names.RULE}; 'coordinator' and 'client' are no devices")
        others = [group for group, devices in there.items() if device in devices]
        if others and there[others[0]][device] != change["public"]:
            raise MembersError(f"{device} is a member of {others[0]} with another key; `hum replace` gives it this one")
        if not others and len(there.get(change["group"], {})) >= MEMBERS_MOST:
            raise MembersError(f"{change['group']} has {MEMBERS_MOST} members, the most there can be; split it")
    if change["do"] in ("add", "replace") and owners.get(change["public"], device) != device:
        raise MembersError(f"this key is {owners[change['public']]}'s; erase the board, so that it makes its own")
