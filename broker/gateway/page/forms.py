"""What a form sends, read with bounds."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request

from broker.gateway.http.problems import Problem

BODY_MOST = 8192  # bytes
FIELDS_MOST = 32
TYPE = "application/x-www-form-urlencoded"


class Form:
    """The fields of a form, each with the values that it has."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def one(self, name: str) -> str:
        """Return a field's first value without space around it, "" if it has none."""
        return next(iter(self._fields.get(name, ())), "").strip()

    def every(self, name: str) -> list[str]:
        """Return all values of a field."""
        return self._fields.get(name, [])


async def sent(request: Request) -> Form:
    """Return the form in a request. Raises Problem 413, 415 or 422."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != TYPE:
        raise Problem(415, "not-a-form", f"send a form, as {TYPE}")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MOST:
            raise Problem(413, "oversized", f"a form has at most {BODY_MOST} bytes")
    try:
        text = body.decode("ascii")
        return Form(parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MOST))
    except ValueError:
        raise Problem(422, "invalid", "this is no form of this page") from None


Sent = Annotated[Form, Depends(sent)]
