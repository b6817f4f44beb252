"""Whether the process lives, and whether it has what it needs. Nobody has to say who he is."""

from fastapi import APIRouter

from broker.gateway.book import rounds
from broker.gateway.http.bodies import Health
from broker.gateway.http.problems import Problem
from broker.gateway.http.serving import Here

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> Health:
    """Tell that the process answers."""
    return Health(status="ok")


@router.get("/readyz")
def readyz(here: Here) -> Health:
    """Tell whether the broker is there and the database takes rounds."""
    here.book.read(rounds.last_event)
    if not here.feed.linked:
        raise Problem(503, "no-link", "the gateway has no link to the broker; its log says why")
    if not here.feed.keeping:
        raise Problem(503, "storage-unavailable", "the gateway's database takes no rounds; its log says why")
    return Health(status="ready")
