"""What the routes of one gateway share."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from broker.gateway.book import rounds
from broker.gateway.book.book import Book
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.computations.service import Computations
from broker.gateway.feed import Feed
from broker.gateway.http.limits import Limiter
from broker.gateway.http.problems import Problem
from broker.gateway.hub import Hub
from broker.gateway.members import Members
from broker.gateway.metrics import Metrics
from broker.gateway.site import Site

REQUESTS_S, REQUESTS = 50.0, 200.0  # of a token: so many a second, and so many at once
AGAIN_S = 10  # after which a roster may be there
FAILURES_S, FAILURES = 1.0, 20.0  # of an address, without a token that is in force


@dataclass
class Serving:
    """The gateway that answers. `running` are the requests with an Idempotency-Key that are being
    answered."""

    site: Site
    version: str
    book: Book
    feed: Feed
    hub: Hub
    metrics: Metrics
    members: Members
    computations: Computations
    requests: Limiter = field(default_factory=lambda: Limiter(REQUESTS_S, REQUESTS))
    failures: Limiter = field(default_factory=lambda: Limiter(FAILURES_S, FAILURES))
    running: set[tuple[str, bytes]] = field(default_factory=set)

    def rosters(self) -> dict[str, GroupRoster]:
        """Return the roster of each group by name: as the broker has it, else as of its last
        round."""
        found = {roster.group: roster for roster in self.book.read(rounds.last_rosters)}
        return dict(sorted((found | {roster.group: roster for roster in self.feed.rosters()}).items()))

    def roster(self, group: str) -> GroupRoster:
        """Return the roster of a group. Raises Problem."""
        found = self.rosters().get(group)
        if found is None and group in self.feed.served:
            detail = f"the broker has handed out no roster of {group} yet; ask again later"
            raise Problem(503, "no-roster", detail, {"Retry-After": str(AGAIN_S)})
        if found is None:
            raise Problem(404, "unknown-group", f"no group {group} is served here; GET /api/v1/groups lists those")
        return found


def serving(request: Request) -> Serving:
    """Return the gateway that answers this request."""
    found = request.app.state.serving
    assert isinstance(found, Serving)
    return found


Here = Annotated[Serving, Depends(serving)]
