"""What an operator looks after: links, what is refused, tokens, who asked what."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from broker.gateway.book import audit, rounds, tokens
from broker.gateway.http.bodies import TokenWish
from broker.gateway.http.paging import NUMBER_MOST
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.tokens import made, revoked
from broker.gateway.http.scopes import ADMIN, ASK, EVERY, MEMBERS, SUMS
from broker.gateway.http.serving import Here
from broker.gateway.page.answers import PageRoute, elsewhere, page
from broker.gateway.page.forms import Form, Sent
from broker.gateway.page.links import broken
from broker.gateway.page.rhythm import LOOKED_AT, rhythm
from broker.gateway.page.session import ForAdmin

ENTRIES = 25
TOKENS = 200  # that are listed
DAYS = {"1": "1 day", "30": "30 days", "365": "1 year", "": "until it is revoked"}
SCOPES = {
    SUMS: "sums: groups, rounds, series",
    MEMBERS: "members: each member, rounds step by step",
    f"{ASK}:{EVERY}:{EVERY}": "ask: any question to any group, which costs boards of their budget",
    ADMIN: "admin: tokens, this view, requests about members",
}

router = APIRouter(include_in_schema=False, route_class=PageRoute)

Before = Annotated[int | None, Query(ge=1, le=NUMBER_MOST)]


@router.get("/operate")
def operate(request: Request, here: Here, caller: ForAdmin, before: Before = None) -> Response:
    """Show how the gateway is, and who may ask it."""
    now = time.time()
    rosters = here.rosters()
    listed = here.book.read(tokens.in_force, now, TOKENS)
    entries = here.book.read(audit.newest, before, ENTRIES)
    return page(
        request,
        "operate",
        caller,
        faults=broken(
            here.feed, [(name, rhythm(here.book.read(rounds.newest, name, LOOKED_AT))) for name in rosters], now
        ),
        rosters=rosters,
        standings={name: here.book.read(rounds.standing, name) for name in rosters},
        refused=dict(sorted(here.feed.refused.items())),
        tokens=listed,
        over=here.book.read(tokens.count) - len(listed),
        entries=entries,
        before=before,
        more=entries[-1].id if len(entries) == ENTRIES else None,
        scopes=SCOPES,
        days=DAYS,
        key=secrets.token_urlsafe(16),
    )


@router.post("/operate/tokens")
def issue(request: Request, here: Here, caller: ForAdmin, form: Sent) -> Response:
    """Make a token and show its text; the same form once more shows the same."""
    token = made(here, caller, _wish(form), form.one("key")[:255] or secrets.token_urlsafe(16))
    return page(request, "token", caller, token=token)


@router.post("/operate/tokens/{identifier}/revocation")
def revoke(request: Request, here: Here, caller: ForAdmin, identifier: str) -> Response:
    """Revoke a token."""
    revoked(here, caller, identifier)
    return elsewhere("/operate#tokens")


def _wish(form: Form) -> TokenWish:
    """Return the token that a form asks for. Raises Problem."""
    days = form.one("days")
    if days not in DAYS:
        raise Problem(422, "invalid", "say how long the token is to be in force")
    expires = (
        datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(int(days) + 1)
        if days
        else None
    )
    try:
        return TokenWish(scopes=form.every("scope"), note=form.one("note"), expires=expires)
    except ValidationError:
        raise Problem(422, "invalid", "choose at least one scope, and a note of 200 characters at most") from None
