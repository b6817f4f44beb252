"""A group's members: what the coordinator knows of each, and what boards say of themselves."""

import time

from fastapi import APIRouter, Request
from fastapi.responses import Response

from broker.gateway.book import rounds
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.serving import Here
from broker.gateway.page.answers import PageRoute, page
from broker.gateway.page.links import broken
from broker.gateway.page.rhythm import LOOKED_AT, rhythm
from broker.gateway.page.session import ForMembers
from broker.gateway.page.words import members as words

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/groups/{group}/members")
def members(request: Request, here: Here, caller: ForMembers, group: GroupName) -> Response:
    """Show the members of a group."""
    roster = here.roster(group)
    standing, reports = here.members.standing(group), here.members.reports(group)
    known = words.known(standing) if standing else []
    return page(
        request,
        "members",
        caller,
        events=("member", "round"),
        followed=group,
        roster=roster,
        faults=broken(here.feed, [(group, rhythm(here.book.read(rounds.newest, group, LOOKED_AT)))], time.time()),
        standing=standing,
        unknown=here.feed.unknown(group),
        known=known,
        counts=words.counted(known),
        reports=reports,
        said=words.said(reports) if reports else [],
    )
