"""Who may ask what: `Authorization: Bearer hum_...`, and the scopes of that token.

sums: groups, rounds, series, areas. members: which members were missing, and how each is.
ask:<group>:<function>: computations; * stands for every group or function. admin: tokens, the audit
log. None implies another.
"""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from broker.gateway.book import tokens
from broker.gateway.book.tokens import Token
from broker.gateway.http import cookie
from broker.gateway.http.limits import Limiter
from broker.gateway.http.problems import Problem
from broker.gateway.http.serving import Here, Serving

SUMS, MEMBERS, ADMIN, ASK = "sums", "members", "admin", "ask"
EVERY = "*"  # in a scope: every group, or function
REALM = {"WWW-Authenticate": 'Bearer realm="hum"'}

_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token, hum_<id>_<43 characters>.")


@dataclass(frozen=True)
class Caller:
    """Who asks: the token, and its text."""

    token: Token
    text: str

    def has(self, scope: str) -> bool:
        """Tell whether the token has a scope; of `ask` whether it has any."""
        return scope in self.token.scopes or (scope == ASK and bool(self.asks))

    @property
    def asks(self) -> list[tuple[str | None, str | None]]:
        """What it may ask: groups with functions, None for any."""
        parts = [one.split(":") for one in self.token.scopes if one.startswith(f"{ASK}:")]
        return [(_any(group), _any(function)) for _, group, function in parts]

    def may_ask(self, group: str, function: str | None = None) -> bool:
        """Tell whether the token has the scope of a function of a group, or of any if None."""
        return any(
            (own is None or own == group) and (function is None or what is None or what == function)
            for own, what in self.asks
        )

    def must_ask(self, group: str, function: str | None = None) -> None:
        """Raise Problem 403 unless may_ask()."""
        if not self.may_ask(group, function):
            wanted = f"{ASK}:{group}:{function or '<function>'}"
            raise Problem(403, "scope-missing", f"the token has not the scope {wanted}")


def _any(name: str) -> str | None:
    return None if name == EVERY else name


def known(
    request: Request, here: Here, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Caller:
    """Return who asks; a browser may read by the page's cookie. Raises Problem 401 or 429."""
    text = credentials.credentials if credentials else ""
    if not text and request.method in cookie.READING:
        text = cookie.token_in(request)
    return identified(request, here, text)


def identified(request: Request, here: Serving, text: str) -> Caller:
    """Return who brings the token `text`. Raises Problem 401 or 429."""
    token = here.book.read(tokens.find, text, time.time()) if text else None
    if token is None:
        failed(request, here)
        detail = "send Authorization: Bearer hum_..., a token that is in force"
        raise Problem(401, "no-token" if not text else "token-refused", detail, REALM)
    request.state.token = token.id  # from here on the request is in the audit log
    _check(here.requests, token.id)
    return Caller(token, text)


def failed(request: Request, here: Serving) -> None:
    """Count that somebody has shown nothing that is in force. Raises Problem 429 for who does so
    often."""
    _check(here.failures, request.client.host if request.client else "")


Known = Annotated[Caller, Depends(known)]


def allowed(*scopes: str) -> Callable[[Known], Caller]:
    """Return the dependency of a route that any of `scopes` opens. It raises Problem 403."""

    def check(caller: Known) -> Caller:
        if not any(map(caller.has, scopes)):
            raise Problem(403, "scope-missing", f"the token has not the scope {_either(scopes)}")
        return caller

    return check


def _either(scopes: Collection[str]) -> str:
    return " or ".join(scopes)


def _check(limiter: Limiter, who: str) -> None:
    wait = limiter.wait(who)
    if wait:
        again = {"Retry-After": str(math.ceil(wait))}
        raise Problem(429, "too-many-requests", f"ask again in {math.ceil(wait)} s", again)


ForSums = Annotated[Caller, Depends(allowed(SUMS))]
ForMembers = Annotated[Caller, Depends(allowed(MEMBERS))]
ForAdmin = Annotated[Caller, Depends(allowed(ADMIN))]
ForAsking = Annotated[Caller, Depends(allowed(ASK))]
ForEvents = Annotated[Caller, Depends(allowed(SUMS, MEMBERS, ASK))]
