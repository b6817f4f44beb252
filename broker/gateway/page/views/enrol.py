"""Members that are to be added, replaced or taken out: asked for here, and signed elsewhere."""

import io
import secrets
from typing import Annotated

import segno
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import ValidationError

from agent.crypto.key_code import key_code
from broker.gateway.book import enrolments
from broker.gateway.book.enrolments import OPEN, WAITING, WAITING_MOST
from broker.gateway.http.enrolment_bodies import EnrolmentWish, ReplacementWish
from broker.gateway.http.paging import NUMBER_MOST
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.enrolments import added, groups, replaced, revoked, settle
from broker.gateway.http.serving import Here
from broker.gateway.page.answers import PRIVATE, PageRoute, elsewhere, page
from broker.gateway.page.forms import Form, Sent
from broker.gateway.page.session import ForAdmin

OVER = 20  # that are listed
REQUESTS = "/enrol#requests"

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/enrol")
def enrol(request: Request, here: Here, caller: ForAdmin) -> Response:
    """Show what may be asked about members, and what was."""
    settle(here)
    waiting, _ = here.book.read(enrolments.page, 0, WAITING_MOST, WAITING)
    over = here.book.read(enrolments.newest, OVER)
    rosters = here.rosters()
    return page(
        request,
        "enrol",
        caller,
        groups=groups(here),
        members={name: sorted(roster.members) for name, roster in rosters.items()},
        waiting=waiting,
        over=over,
        code=lambda public: key_code(bytes.fromhex(public)),
        is_full=len(waiting) >= WAITING_MOST,
        most=WAITING_MOST,
        is_open=any(one.state == OPEN for one in waiting),
        key=lambda: secrets.token_urlsafe(16),
    )


@router.get("/enrol/{number}/key.svg")
def key_picture(here: Here, caller: ForAdmin, number: Annotated[int, Path(ge=1, le=NUMBER_MOST)]) -> Response:
    """Show the key of a request as a QR code: the text that `hum add --key` takes in a file."""
    found = here.book.read(enrolments.one, number)
    if found is None or found.public is None:
        raise Problem(404, "not-found", "there is no such key")
    picture = io.BytesIO()
    segno.make(found.public.upper(), error="m", micro=False).save(
        picture, kind="svg", xmldecl=False, svgclass=None, lineclass=None, omitsize=True, light="#fff"
    )
    return Response(picture.getvalue(), media_type="image/svg+xml", headers=PRIVATE)


@router.post("/enrol/members")
def add(here: Here, caller: ForAdmin, form: Sent) -> Response:
    """Ask that a board become a member."""
    try:
        wish = EnrolmentWish(group=form.one("group"), device=form.one("device"), public=form.one("public"))
    except ValidationError:
        raise Problem(422, "invalid", "choose a group, and give the board's name and its key") from None
    added(here, caller, wish, _key(form))
    return elsewhere(REQUESTS)


@router.post("/enrol/replacements")
def replace(here: Here, caller: ForAdmin, form: Sent) -> Response:
    """Ask that another board have a member's name."""
    group, device = _member(form)
    try:
        wish = ReplacementWish(public=form.one("public"))
    except ValidationError:
        raise Problem(422, "invalid", "give the new board's key") from None
    replaced(here, caller, group, device, wish, _key(form))
    return elsewhere(REQUESTS)


@router.post("/enrol/revocations")
def revoke(here: Here, caller: ForAdmin, form: Sent) -> Response:
    """Ask that a member be taken out."""
    revoked(here, caller, *_member(form), _key(form))
    return elsewhere(REQUESTS)


def _member(form: Form) -> tuple[str, str]:
    """Return the group and the name of the member that was chosen."""
    group, _, device = form.one("member").partition("/")
    return group, device


def _key(form: Form) -> str:
    return form.one("key")[:255] or secrets.token_urlsafe(16)
