"""Metrics for Prometheus, at the path where it looks for them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from broker.gateway.http.scopes import MEMBERS, Caller, allowed
from broker.gateway.http.serving import Here
from broker.gateway.metrics import CONTENT_TYPE

router = APIRouter(tags=["metrics"])

# Which boards are online tells which homes are without power.
ForMembers = Annotated[Caller, Depends(allowed(MEMBERS))]
TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}
}


@router.get("/metrics", response_class=Response, responses=TEXT)
async def metrics(here: Here, caller: ForMembers) -> Response:
    """Tell of rounds, members and boards, as Prometheus scrapes it."""
    return Response(here.metrics.render(), media_type=CONTENT_TYPE)
