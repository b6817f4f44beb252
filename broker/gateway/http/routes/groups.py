"""The deployment, and its groups."""

import time
from typing import Annotated

from fastapi import APIRouter, Path

from broker.gateway.book import rounds
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.http.bodies import NAME, DeploymentBody, GroupBody, Page, RoundBody, slot_body, stamp
from broker.gateway.http.scopes import MEMBERS, Caller, ForSums
from broker.gateway.http.serving import Here, Serving

router = APIRouter(tags=["groups"])

GroupName = Annotated[str, Path(pattern=NAME, description="The group's name.")]


@router.get("/deployment")
def deployment(here: Here, caller: ForSums) -> DeploymentBody:
    """Tell which deployment it is, and whether the broker is there."""
    return DeploymentBody(
        deployment=here.site.deployment,
        version=here.version,
        groups=len(here.rosters()),
        broker_linked=here.feed.linked,
        time=stamp(time.time()),
    )


@router.get("/groups")
def groups(here: Here, caller: ForSums) -> Page[GroupBody]:
    """List the groups that are served, at most 256: one page."""
    return Page(items=[_body(here, caller, roster) for roster in here.rosters().values()], next=None)


@router.get("/groups/{group}")
def group(here: Here, caller: ForSums, group: GroupName) -> GroupBody:
    """Tell of a group: members, slots, totals, the last round."""
    return _body(here, caller, here.roster(group))


def _body(here: Serving, caller: Caller, roster: GroupRoster) -> GroupBody:
    standing = here.book.read(rounds.standing, roster.group)
    last = here.book.read(rounds.last, roster.group)
    since = standing.since if standing else None
    return GroupBody(
        name=roster.group,
        labels=list(here.site.labels.get(roster.group, ())),
        epoch=roster.epoch,
        protocol=roster.protocol,
        members=len(roster.members),
        slots=[slot_body(slot) for slot in roster.slots],
        total=standing.totals if standing else {},
        total_since=None if since is None else stamp(since),
        rounds_unseen=standing.unseen if standing else 0,
        last=RoundBody.of(last, caller.has(MEMBERS)) if last else None,
    )
