"""What is going on in all groups."""

import time

from fastapi import APIRouter, Request
from fastapi.responses import Response

from broker.gateway.http.serving import Here
from broker.gateway.page import figures
from broker.gateway.page.answers import PageRoute, page
from broker.gateway.page.cards import card
from broker.gateway.page.links import broken
from broker.gateway.page.session import ForSums

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/")
def now(request: Request, here: Here, caller: ForSums) -> Response:
    """Show all groups."""
    at = time.time()
    found = [card(here, roster) for roster in here.rosters().values()]
    faults = broken(here.feed, [(one.name, one.rhythm) for one in found], at)
    return page(request, "now", caller, cards=found, faults=faults, now=at, counted=figures.counted)
