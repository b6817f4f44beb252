"""Who looks at the page: the token in the browser's cookie, with its scopes."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from broker.gateway.http import cookie
from broker.gateway.http.problems import Problem
from broker.gateway.http.scopes import ADMIN, MEMBERS, SUMS, Caller, identified
from broker.gateway.http.serving import Here


class SignInFirst(Exception):
    """The browser brings no token that is in force."""


def known(request: Request, here: Here) -> Caller:
    """Return who looks. Raises SignInFirst, Problem 429."""
    text = cookie.token_in(request)
    if not text:
        raise SignInFirst
    try:
        return identified(request, here, text)
    except Problem as problem:
        if problem.status == 401:
            raise SignInFirst from None
        raise


Known = Annotated[Caller, Depends(known)]


def allowed(scope: str) -> Callable[[Known], Caller]:
    """Return the dependency of a view that `scope` opens. It raises Problem 403."""

    def check(caller: Known) -> Caller:
        if not caller.has(scope):
            raise Problem(403, "scope-missing", f"this view needs a token with the scope {scope}, and yours has it not")
        return caller

    return check


ForSums = Annotated[Caller, Depends(allowed(SUMS))]
ForMembers = Annotated[Caller, Depends(allowed(MEMBERS))]
ForAdmin = Annotated[Caller, Depends(allowed(ADMIN))]
