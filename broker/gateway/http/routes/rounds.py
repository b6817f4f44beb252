"""A group's rounds."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime

from broker.client.members import RoundProgress
from broker.gateway.book import rounds, steps
from broker.gateway.book.rounds import Wanted
from broker.gateway.http import paging
from broker.gateway.http.bodies import Page, RoundBody
from broker.gateway.http.member_bodies import OneRoundBody, ProgressBody
from broker.gateway.http.paging import After, Limit
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.scopes import MEMBERS, ForSums
from broker.gateway.http.serving import Here, Serving

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
) -> OneRoundBody:
    """Tell of one round."""
    epoch, number = map(int, identifier.split("."))
    found = here.book.read(rounds.one, group, epoch, number)
    if found is None:
        raise Problem(404, "unknown-round", f"no round {identifier} of {group} was seen here")
    named = caller.has(MEMBERS)
    went = _steps(here, group, epoch, number) if named else None
    return OneRoundBody(**vars(RoundBody.of(found, named)), steps=ProgressBody.of(epoch, went) if went else None)


def _steps(here: Serving, group: str, epoch: int, number: int) -> RoundProgress | None:
    """Return how a round went: as it was told last, also where the database has it not yet."""
    told = here.members.progress(group)
    live = [one for one in told.rounds if one.round == number] if told and told.epoch == epoch else []
    return live[0] if live else here.book.read(steps.one, group, epoch, number)
