"""Signing in, with a token or with the operator's password, and out."""

import logging
import re
import time

from fastapi import APIRouter, Request
from fastapi.responses import Response

from broker.gateway.book import tokens
from broker.gateway.http import cookie
from broker.gateway.http.problems import Problem
from broker.gateway.http.scopes import failed, identified
from broker.gateway.http.serving import Here, Serving
from broker.gateway.page import origin, password
from broker.gateway.page.answers import SIGN_IN, PageRoute, elsewhere, page
from broker.gateway.page.forms import Sent
from broker.gateway.page.password import Busy, PasswordError

log = logging.getLogger("hum.gateway")

HOURS = 12  # that a password opens the page for
NEXT = re.compile(
    r"/(groups/[a-z0-9-]{1,32}(/members|/round|/rounds/[0-9]{1,10}\.[0-9]{1,10}|/ask|/asked/[0-9]{1,16})?|operate|enrol)?"
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get(SIGN_IN)
def asked(request: Request, here: Here) -> Response:
    """Ask for a token or the password."""
    return _form(request, here, request.query_params.get("next", "/"), "")


@router.post(SIGN_IN)
def signed_in(request: Request, here: Here, form: Sent) -> Response:
    """Have the browser keep the token, or one that is made for whoever knows the password."""
    origin.check_private(request)
    secret, wanted = form.one("secret"), form.one("next")
    try:
        text = _token(request, here, secret)
    except Problem as problem:
        if problem.status != 401:
            raise
        log.warning("a sign-in from %s was refused", request.client.host if request.client else "?")
        return _form(request, here, wanted, "That is no token, and no password, that is in force here.", 401)
    answer = elsewhere(wanted if NEXT.fullmatch(wanted) else "/")
    cookie.give(answer, text)
    return answer


@router.post("/sign-out")
def signed_out(request: Request, here: Here) -> Response:
    """Have the browser forget the token; one that was made for the password is over."""
    found = here.book.read(tokens.find, cookie.token_in(request), time.time())
    if found and found.note == password.NOTE:
        here.book.write(tokens.revoke, found.id, time.time())
        here.hub.revoke(found.id)
    answer = elsewhere(SIGN_IN)
    cookie.take(answer)
    return answer


def _token(request: Request, here: Serving, secret: str) -> str:
    """Return the text of the token that `secret` is, or is good for. Raises Problem 401 or 429."""
    if secret.startswith(f"{tokens.PREFIX}_"):
        return identified(request, here, secret).text
    failed(request, here)  # before the work, which is what guessing costs
    try:
        good = bool(secret) and password.matches(here.site.folder, secret)
    except Busy:
        again = {"Retry-After": "1"}
        raise Problem(429, "too-many-requests", "somebody else is signing in; try again", again) from None
    except PasswordError as error:
        raise Problem(503, "password-unreadable", error.args[0]) from None
    if not good:
        raise Problem(401, "password-refused", "that is not the password")
    token, text = here.book.write(tokens.make, tokens.OPERATOR, password.NOTE, time.time() + HOURS * 3600)
    request.state.token = token.id
    return text


def _form(request: Request, here: Serving, wanted: str, refused: str, status: int = 200) -> Response:
    values = {"next": wanted if NEXT.fullmatch(wanted) else "/", "refused": refused}
    return page(request, "sign_in", None, status, **values, has_password=password.is_set(here.site.folder))
