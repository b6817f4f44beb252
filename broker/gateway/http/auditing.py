"""Every request of a token is in the audit log before its answer leaves; what cannot be entered is
not answered."""

import time

from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.gateway.book import audit
from broker.gateway.book.book import Book, beside
from broker.gateway.http.problems import unavailable

PATH_MOST = 1024  # characters


class _Unentered(Exception):
    """The log does not take the entry. args[0] says why."""


class Audited:
    """The application `app`, with an audit log in `book`."""

    def __init__(self, app: ASGIApp, book: Book) -> None:
        self._app = app
        self._book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def enter(message: Message) -> None:
            if message["type"] == "http.response.start" and "token" in state:
                path = scope["raw_path"].decode("ascii", "replace")
                query = scope["query_string"].decode("ascii", "replace")
                asked = (path + "?" * bool(query) + query)[:PATH_MOST]
                entry = (time.time(), state["token"], scope["method"], asked, message["status"])
                try:
                    await beside(self._book.write, audit.add, *entry)
                except (SQLAlchemyError, TimeoutError) as error:
                    raise _Unentered(error) from None
            await send(message)

        try:
            await self._app(scope, receive, enter)
        except _Unentered as error:
            await unavailable(error.args[0]).response()(scope, receive, send)
