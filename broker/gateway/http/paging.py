"""Long lists come in pages: `after` is what the page before said, in its `next` and its Link."""

import base64
import binascii
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from broker.gateway.http.problems import Problem

LIMIT, LIMIT_MOST = 100, 1000
NUMBER_MOST = 2**62  # SQLite's integers are below 2^63

After = Annotated[
    str | None, Query(max_length=64, description="What the page before says as `next`; without it, the first page.")
]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MOST, description="How many items a page has at most.")]


def cursor(number: int) -> str:
    """Return what a client is given of where the next page begins."""
    return base64.urlsafe_b64encode(f"after {number}".encode()).decode().rstrip("=")


def place(after: str | None, first: int = 0) -> int:
    """Return the number in what a client was given; `first` for None. Raises Problem."""
    if after is None:
        return first
    try:
        word, _, number = base64.b64decode(after + "=" * (-len(after) % 4), b"-_", validate=True).partition(b" ")
        found = int(number) if word == b"after" and number.removeprefix(b"-").isdigit() else None
    except (binascii.Error, ValueError):
        found = None
    if found is None or abs(found) > NUMBER_MOST:
        raise Problem(422, "unknown-page", "`after` is what a page before says as `next`, as it is")
    return found


def link(request: Request, response: Response, more: int | None) -> str | None:
    """Return the `next` of a page that ends before `more`, and set its Link."""
    if more is None:
        return None
    after = cursor(more)
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
    response.headers["Link"] = f'<{request.url.path}?{urlencode([*query, ("after", after)])}>; rel="next"'
    return after
