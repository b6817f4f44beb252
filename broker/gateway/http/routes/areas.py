"""The sums of whole areas."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from broker.gateway import areas, labels
from broker.gateway.areas import Instant
from broker.gateway.book import rounds
from broker.gateway.book.rounds import Wanted
from broker.gateway.http import paging
from broker.gateway.http.bodies import AreaBody, InstantBody, stamp
from broker.gateway.http.paging import After, Limit
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.rounds import Since, Until
from broker.gateway.http.scopes import ForSums
from broker.gateway.http.serving import Here

router = APIRouter(tags=["groups"])

Label = Annotated[
    str,
    Query(
        min_length=1,
        max_length=labels.LENGTH_MOST,
        description="An expression over groups' labels: a comma for and, | for or, ! for not.",
        examples=["feeder=7,!floor=3"],
    ),
]


@router.get("/areas")
def area(
    here: Here,
    caller: ForSums,
    request: Request,
    response: Response,
    label: Label,
    after: After = None,
    limit: Limit = paging.LIMIT,
    since: Since = None,
    until: Until = None,
) -> AreaBody:
    """Add up the groups that have a label, instant by instant, the oldest first: whole groups, and
    only rounds of instants."""
    summed = [group for group, roster in here.rosters().items() if roster.has_sums]
    known = {group: here.site.labels.get(group, ()) for group in summed}
    try:
        groups = labels.groups_of(label, known)
    except labels.LabelError as error:
        raise Problem(422, "invalid-label", str(error)) from None
    if not groups:
        raise Problem(404, "unknown-label", "no group that is served has these labels; hum.toml gives them")
    times = (since.timestamp() if since else None, until.timestamp() if until else None)
    wanted = Wanted(paging.place(after, -paging.NUMBER_MOST), limit, *times)
    found = areas.instants(groups, here.book.read(rounds.of_instants, groups, wanted))
    more = found[limit - 1].instant if len(found) > limit else None
    items = [_body(one) for one in found[:limit]]
    return AreaBody(label=label, groups=groups, items=items, next=paging.link(request, response, more))


def _body(one: Instant) -> InstantBody:
    return InstantBody(
        instant=stamp(one.instant),
        status="incomplete" if one.sums is None else "complete",
        sums=one.sums,
        summed=one.summed,
        members=one.members,
        without=list(one.without),
    )
