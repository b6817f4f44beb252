"""Requests that may come again: with the same Idempotency-Key each is done once, and answered as
before."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Header
from sqlalchemy import Connection

from broker.gateway.book.repeats import OtherRequest, Repeat
from broker.gateway.http.problems import Problem
from broker.gateway.http.scopes import Caller
from broker.gateway.http.serving import Serving

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="New for each new request; the same again is answered as before, for 24 h.",
    ),
]


def once(
    here: Serving, caller: Caller, key: str, asked: bytes, do: Callable[[Connection], bytes]
) -> tuple[bytes, bool]:
    """Return the answer that `do` gives in one transaction, and True; or that of before, and False.
    `asked` are the request's method, path and body. Raises Problem."""
    repeat = Repeat(caller.token.id, caller.text, key, asked)
    if repeat.name in here.running:
        raise Problem(409, "idempotency-key-running", "this request is being answered; ask again", {"Retry-After": "1"})
    here.running.add(repeat.name)
    try:
        return here.book.write(_done, repeat, do)
    except OtherRequest:
        raise Problem(422, "idempotency-key-reused", "this Idempotency-Key was used for another request") from None
    finally:
        here.running.discard(repeat.name)


def _done(connection: Connection, repeat: Repeat, do: Callable[[Connection], bytes]) -> tuple[bytes, bool]:
    """Do it, or return the answer of before. Raises OtherRequest."""
    answer = repeat.answer(connection)
    if answer is not None:
        return answer, False
    answer = do(connection)
    repeat.keep(connection, answer)
    return answer, True
