"""How the page answers: whole pages, and what is refused as one that says what to do."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import SQLAlchemyError

from broker.gateway.http import cookie
from broker.gateway.http.problems import Problem, unavailable
from broker.gateway.http.scopes import ASK, MEMBERS, SUMS, Caller
from broker.gateway.http.serving import serving
from broker.gateway.page import figures, origin, static
from broker.gateway.page.headers import HEADERS
from broker.gateway.page.session import SignInFirst

SIGN_IN = "/sign-in"
PRIVATE = HEADERS | {"Cache-Control": "no-store"}

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {"moment": figures.moment, "day": figures.day, "grouped": figures.grouped}


def page(request: Request, name: str, caller: Caller | None, status: int = 200, **values: Any) -> HTMLResponse:
    """Return the page of the template `name`; `caller` is who looks, if that is known. It is asked
    for again with each of the `events`, those of the group `followed` if that is not empty."""
    values = {"events": ("round",), "followed": ""} | values
    values |= {"caller": caller, "static": static.root(), "here": serving(request), "path": request.url.path}
    values["hears"] = caller is not None and any(map(caller.has, (SUMS, MEMBERS, ASK)))
    return HTMLResponse(_templates.get_template(f"{name}.html").render(values), status, PRIVATE)


def elsewhere(path: str) -> RedirectResponse:
    """Return the answer that has a browser get another page of here."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER, PRIVATE)


class PageRoute(APIRoute):
    """A route of the page: a form has to be the page's own, and errors are told as pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                if request.method not in cookie.READING:
                    origin.check(request)
                return await answer(request)
            except SignInFirst:
                return _to_sign_in(request)
            except Problem as problem:
                return _refused(request, problem)
            except RequestValidationError:
                return _refused(request, Problem(422, "invalid", "this address is none of this page's"))
            except (SQLAlchemyError, TimeoutError) as error:
                return _refused(request, unavailable(error))

        return told


def _to_sign_in(request: Request) -> Response:
    wanted = request.url.path if request.method in cookie.READING else "/"
    answer = elsewhere(SIGN_IN if wanted == "/" else f"{SIGN_IN}?next={quote(wanted)}")
    if cookie.token_in(request):
        cookie.take(answer)
    return answer


def _refused(request: Request, problem: Problem) -> Response:
    title = HTTPStatus(problem.status).phrase
    answer = page(request, "refused", None, problem.status, problem=problem, title=title)
    answer.headers.update(problem.headers or {})
    return answer
