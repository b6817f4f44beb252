"""A form that changes something has to come from this page: the browser says where it is from."""

from urllib.parse import urlsplit

from starlette.requests import Request

from broker.gateway.http.problems import Problem

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def check(request: Request) -> None:
    """Raise Problem 403 unless the browser says that the form was on a page of this host.

    Who ends TLS before the gateway makes `https` of what comes here as `http`: both will do.
    """
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    if not host or origin not in (f"{request.url.scheme}://{host}", f"https://{host}"):
        raise Problem(403, "wrong-origin", "this form was not on a page of this gateway; open the page, and try again")


def check_private(request: Request) -> None:
    """Raise Problem 403 if what a browser sends from here can be read on the way, and it would not
    keep the cookie either."""
    found = urlsplit(request.headers.get("origin", ""))
    if found.scheme != "https" and found.hostname not in LOOPBACK:
        detail = (
            "a token sent by plain http can be read on the way; use https, or http://localhost on the gateway itself"
        )
        raise Problem(403, "not-private", detail)
