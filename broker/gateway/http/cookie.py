"""The cookie of who signed in on the page: it holds a token, as a program sends it in a header.

A `__Host-` cookie is sent to this host alone, and only where nobody listens in: by https, and by
plain http to the browser's own machine, which browsers take for as good (Chromium does so for
http://localhost and http://127.0.0.1).
"""

from starlette.requests import Request
from starlette.responses import Response

NAME = "__Host-hum"
# By the cookie alone nothing is changed under /api: a form may be anybody's.
READING = ("GET", "HEAD")


def token_in(request: Request) -> str:
    """Return the token's text that a browser brings, "" if none."""
    return request.cookies.get(NAME, "")


def give(response: Response, text: str) -> None:
    """Have the browser keep a token until it is closed."""
    response.set_cookie(NAME, text, secure=True, httponly=True, samesite="strict", path="/")


def take(response: Response) -> None:
    """Have the browser forget it."""
    response.delete_cookie(NAME, secure=True, httponly=True, samesite="strict", path="/")
