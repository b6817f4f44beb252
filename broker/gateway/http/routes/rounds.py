"""A group's rounds."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime

from broker.gateway.book import rounds
from broker.gateway.book.rounds import Wanted
from broker.gateway.http import paging
from broker.gateway.http.bodies import Page, RoundBody
from broker.gateway.http.paging import After, Limit
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.scopes import MEMBERS, ForSums
from broker.gateway.http.serving import Here

router = APIRouter(tags=["rounds"])

Since = Annotated[AwareDatetime | None, Query(alias="from", description="Measured then or later; RFC 3339.")]
Until = Annotated[AwareDatetime | None, Query(alias="to", description="Measured before that time.")]


class Status(StrEnum):
    """How a round ended."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    INVALID = "invalid"


@router.get("/groups/{group}/rounds")
def several(
    here: Here,
    caller: ForSums,
    request: Request,
    response: Response,
    group: GroupName,
    after: After = None,
    limit: Limit = paging.LIMIT,
    since: Since = None,
    until: Until = None,
    status: Status | None = None,
) -> Page[RoundBody]:
    """List rounds, the oldest first."""
    here.roster(group)
    times = (since.timestamp() if since else None, until.timestamp() if until else None)
    wanted = Wanted(paging.place(after), limit, *times, status.value if status else None)
    found, more = here.book.read(rounds.page, group, wanted)
    named = caller.has(MEMBERS)
    return Page(items=[RoundBody.of(one, named) for one in found], next=paging.link(request, response, more))


@router.get("/groups/{group}/rounds/{id}")
def one(
    here: Here,
    caller: ForSums,
    group: GroupName,
    identifier: Annotated[str, Path(alias="id", pattern=r"^[0-9]{1,10}\.[0-9]{1,10}$", description="<epoch>.<round>")],
) -> RoundBody:
    """Tell of one round."""
    epoch, _, number = identifier.partition(".")
    found = here.book.read(rounds.one, group, int(epoch), int(number))
    if found is None:
        raise Problem(404, "unknown-round", f"no round {identifier} of {group} was seen here")
    return RoundBody.of(found, caller.has(MEMBERS))
