"""Tokens: who made one has to be told its text once, and may ask for that again."""

import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from broker.gateway.book import tokens
from broker.gateway.http import paging
from broker.gateway.http.bodies import NewTokenBody, Page, TokenBody, TokenWish
from broker.gateway.http.paging import After, Limit
from broker.gateway.http.problems import Problem
from broker.gateway.http.repeating import IdempotencyKey, once
from broker.gateway.http.scopes import ForAdmin
from broker.gateway.http.serving import Here

router = APIRouter(tags=["tokens"])


@router.get("/tokens")
def listed(
    here: Here, caller: ForAdmin, request: Request, response: Response, after: After = None, limit: Limit = paging.LIMIT
) -> Page[TokenBody]:
    """List all tokens, the oldest first, also those that are over."""
    found, more = here.book.read(tokens.every, max(0, paging.place(after)), limit)
    items = [TokenBody.of(token) for token in found]
    return Page(items=items, next=paging.link(request, response, more))


@router.post("/tokens", status_code=201)
def made(here: Here, caller: ForAdmin, wish: TokenWish, key: IdempotencyKey) -> NewTokenBody:
    """Make a token."""
    asked = b"POST tokens " + wish.model_dump_json().encode()
    answer, _ = once(here, caller, key, asked, partial(_make, wish=wish))
    return NewTokenBody.model_validate_json(answer)


def _make(connection: Connection, wish: TokenWish) -> bytes:
    """Make a token, and return what is told of it."""
    expires = wish.expires.timestamp() if wish.expires else None
    token, text = tokens.make(connection, tuple(wish.scopes), wish.note, expires)
    return NewTokenBody(**vars(TokenBody.of(token)), token=text).model_dump_json().encode()


@router.delete("/tokens/{id}", status_code=204)
def revoked(
    here: Here, caller: ForAdmin, identifier: Annotated[str, Path(alias="id", pattern=r"^[a-z2-7]{8}$")]
) -> None:
    """Revoke a token: its streams end now, and it opens nothing any more."""
    if not here.book.write(tokens.revoke, identifier, time.time()):
        raise Problem(404, "unknown-token", f"there is no token {identifier}")
    here.hub.revoke(identifier)
