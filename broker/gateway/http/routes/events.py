"""What happens, as server-sent events (the WHATWG's HTML, section 9.2)."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from broker.gateway.book import rounds
from broker.gateway.book.book import beside
from broker.gateway.book.changes import Changes
from broker.gateway.book.rounds import Event
from broker.gateway.computation import Computation
from broker.gateway.http.bodies import RoundBody
from broker.gateway.http.computation_bodies import ComputationBody
from broker.gateway.http.member_bodies import ChangesBody
from broker.gateway.http.problems import Problem
from broker.gateway.http.scopes import MEMBERS, SUMS, Caller, ForEvents
from broker.gateway.http.serving import Here, Serving
from broker.gateway.rounds import Round

router = APIRouter(tags=["events"])

log = logging.getLogger("hum.gateway")

HEARTBEAT_S = 15.0
SLOW_S = 30.0
REPLAYED = 100  # events that are read from the database at once
STREAMS_MOST = 512
RETRY_MS = 2000  # a browser's wait before it comes again
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern=r"^[0-9]{1,18}$",
        description="The last event that was heard: all that came after it is told. Without it, what comes from now on.",
    ),
]
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events, without an end"}
}


@router.get("/events", response_class=StreamingResponse, responses=STREAM)
async def events(here: Here, caller: ForEvents, last: LastEventId = None) -> StreamingResponse:
    """Tell of each event as it happens, with its number as `id`: `round` for each result; with the
    scope `members`, `member` for what changed of a group's members and rounds; `computation` for
    each news of one that the token might ask. The stream ends when the token does. Who reads slowly
    is cut off, comes again and misses nothing."""
    if here.hub.listeners >= STREAMS_MOST:
        raise Problem(503, "too-many-streams", f"{STREAMS_MOST} streams are open", {"Retry-After": "10"})
    begin = here.hub.last if last is None else min(int(last), here.hub.last)
    return _Streamed(here, _stream(here, caller, begin))


class _Streamed(StreamingResponse):
    """A stream that is cut off when its reader takes nothing for SLOW_S."""

    def __init__(self, here: Serving, texts: AsyncIterator[str]) -> None:
        super().__init__(texts, media_type="text/event-stream", headers=HEADERS)
        self._hub = here.hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def within(message: Message) -> None:
            try:
                async with asyncio.timeout(SLOW_S):
                    await send(message)
            except TimeoutError:
                raise _Slow from None

        self._hub.listeners += 1
        try:
            await super().__call__(scope, receive, within)
        except* _Slow:
            log.warning("a stream of token %s is cut off: it took nothing for %g s", scope["state"]["token"], SLOW_S)
        finally:
            self._hub.listeners -= 1


class _Slow(Exception):
    """Who reads a stream does not take what it is sent."""


async def _stream(here: Serving, caller: Caller, last: int) -> AsyncIterator[str]:
    """Yield the text of what came after the event `last`, until the token or the gateway ends."""
    yield f"retry: {RETRY_MS}\n\n"
    while not here.hub.is_closed and not _over(here, caller):
        found = here.hub.after(last)
        if found is None:
            found = await beside(here.book.read, rounds.events_after, last, REPLAYED)
        for event in found:
            yield _text(event, caller)
            last = event.id
        if not found and not await here.hub.changed(_patience(caller)) and not _over(here, caller):
            yield ": \n\n"


def _over(here: Serving, caller: Caller) -> bool:
    return caller.token.is_over(time.time()) or here.hub.is_revoked(caller.token.id)


def _patience(caller: Caller) -> float:
    """Return the seconds to wait for an event: at most until the token expires."""
    expires = caller.token.expires
    return HEARTBEAT_S if expires is None else min(HEARTBEAT_S, max(0.0, expires - time.time()))


def _text(event: Event, caller: Caller) -> str:
    """Return an event for who may hear it; the number alone is no event, and is remembered."""
    body = _body(event, caller)
    if body is None:
        return f"id: {event.id}\n\n"
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(body.model_dump())}\n\n"


def _body(event: Event, caller: Caller) -> RoundBody | ChangesBody | ComputationBody | None:
    named = caller.has(MEMBERS)
    match event:
        case Event(round=Round() as found) if caller.has(SUMS):
            return RoundBody.of(found, named)
        case Event(changes=Changes() as changed) if named:
            return ChangesBody.of(changed)
        case Event(computation=Computation() as asked) if caller.may_ask(asked.group, asked.wanted.function):
            return ComputationBody.of(asked, caller)
    return None
