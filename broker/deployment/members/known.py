"""Whom a deployment knows: by its authority, or by names and public keys alone where that is
elsewhere; and how the rosters of its groups are made."""

import json
from collections.abc import Mapping

from broker.authority.authority import Authority
from broker.authority.keys import read_public
from broker.authority.membership import Member, former_group
from broker.authority.plans import Plan
from broker.coordinator.home import Home
from broker.coordinator.protocols.gossip.blind_signer import BlindSigner
from broker.coordinator.protocols.gossip.leaders import BYZANTINE
from broker.deployment.folder import Deployment
from broker.errors import HumError
from broker.files import replace

FILE = "members.json"  # where the authority is elsewhere: {group: {name: public key}}


class MembersError(HumError):
    """What was asked of a deployment's members cannot be done. args[0] says why and what to do."""


def members(deployment: Deployment) -> list[Member]:
    """Return all members, by group and name. Raises HumError."""
    if deployment.authority is not None:
        return Authority(deployment.authority).members()
    known = read(deployment)
    return [
        Member(group, device, known[group][device], "", "", [])
        for group in sorted(known)
        for device in sorted(known[group])
    ]


def groups(deployment: Deployment) -> dict[str, list[str]]:
    """Return the names of the members of each group."""
    if deployment.authority is not None:
        return Authority(deployment.authority).groups()
    return {group: sorted(devices) for group, devices in sorted(read(deployment).items())}


def group_of(deployment: Deployment, device: str) -> str | None:
    """Return the group of a member, None if there is none of this name."""
    return next((one.group for one in members(deployment) if one.device == device), None)


def former_group_of(deployment: Deployment, device: str) -> str:
    """Return the group that a device was removed from. Raises MembersError if it never was."""
    former = None
    if deployment.authority is not None:
        former = Authority(deployment.authority).change(former_group, device)
    if former is None:
        raise MembersError(f"no device is called {device!r}; `hum members` shows all")
    return former


def read(deployment: Deployment) -> dict[str, dict[str, str]]:
    """Return what was told of an authority elsewhere. Raises MembersError."""
    path = deployment.folder / FILE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
        known = {
            str(group): {str(name): read_public(key).hex() for name, key in found[group].items()} for group in found
        }
    except (ValueError, TypeError, AttributeError, HumError):
        raise MembersError(f"{path} is damaged; restore it from a copy, or have a request signed again") from None
    return known


def keep(deployment: Deployment, told: Mapping[str, Mapping[str, str]]) -> None:
    """Keep the members of some groups, as the authority told them."""
    known = {**read(deployment), **{group: dict(devices) for group, devices in told.items()}}
    replace(deployment.folder / FILE, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())


def chosen(deployment: Deployment, group: str | None) -> str:
    """Return the group that was named, or the only one that hum.toml has. Raises MembersError."""
    there = list(deployment.settings.groups)
    if group is None and len(there) == 1:
        return there[0]
    if group is None:
        raise MembersError(f"--group is wanted: {', '.join(there) or 'hum.toml has none yet'}")
    if group not in there:
        raise MembersError(f"{deployment.file} has no [groups.{group}]; add it, or choose of {', '.join(there)}")
    return group


def plan(deployment: Deployment, group: str) -> Plan:
    """Return how the rosters of a group are made, by hum.toml. Raises HumError."""
    settings = deployment.settings.groups.get(group)
    if settings is None:
        raise MembersError(f"{deployment.file} has no [groups.{group}]; add it")
    options = settings.options()
    if settings.protocol == BYZANTINE:
        options["signer"] = _modulus(deployment)
    return Plan(
        deployment.coordinator_public(), tuple(settings.ranges()), settings.protocol, settings.parameters, options
    )


def _modulus(deployment: Deployment) -> bytes:
    home = Home(deployment.coordinator)
    home.storage.close()
    signer = BlindSigner(home.folder)
    try:
        return signer.modulus
    finally:
        signer.close()
