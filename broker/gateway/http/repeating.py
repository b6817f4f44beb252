"""A request that changes something is done once, however often it comes: by its Idempotency-Key."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Header
from sqlalchemy import Connection

from broker.gateway.book.repeats import OtherRequest, Repeat
from broker.gateway.http.problems import Problem
from broker.gateway.http.scopes import Caller
from broker.gateway.http.serving import Serving

KEY_MOST = 255  # characters
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=KEY_MOST,
        description="New for each new request; the same again is answered as before, for 24 h.",
    ),
]


def once(here: Serving, caller: Caller, key: str, asked: bytes, work: Callable[[Connection], bytes]) -> bytes:
    """Return what `work` answers, in a transaction; or what was answered before to the same request
    with the same key. `asked` are its method, path and body. Raises Problem 409 or 422."""
    repeat = Repeat(caller.token.id, caller.text, key, asked)
    if repeat.name in here.running:
        raise Problem(409, "idempotency-key-running", "this request is being answered; ask again", {"Retry-After": "1"})
    here.running.add(repeat.name)
    try:
        return here.book.write(_answer, repeat, work)
    except OtherRequest:
        raise Problem(422, "idempotency-key-reused", "this Idempotency-Key was used for another request") from None
    finally:
        here.running.discard(repeat.name)


def _answer(connection: Connection, repeat: Repeat, work: Callable[[Connection], bytes]) -> bytes:
    answer = repeat.answer(connection)
    if answer is None:
        answer = work(connection)
        repeat.keep(connection, answer)
    return answer
