"""Metrics for Prometheus, at the path where it looks for them."""

from fastapi import APIRouter
from fastapi.responses import Response

from broker.gateway.http.scopes import ForMembers
from broker.gateway.http.serving import Here
from broker.gateway.metrics import CONTENT_TYPE

router = APIRouter()


# Which boards are online tells which homes are without power: it wants the scope of members. It is
# no part of the interface that the document describes: names and labels are Prometheus'.
@router.get("/metrics", include_in_schema=False)
async def metrics(here: Here, caller: ForMembers) -> Response:
    """Tell of rounds, members and boards, as Prometheus scrapes it."""
    return Response(here.metrics.render(), media_type=CONTENT_TYPE)
