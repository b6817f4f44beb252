"""No request has a larger body than any of them needs: none is read further than that."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_MOST = 1 << 16  # bytes


class Bounded:
    """The application `app`, to which a body of more than BODY_MOST bytes is an HTTPException."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        taken = 0

        async def within() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_MOST:
                raise HTTPException(413, f"a request has at most {BODY_MOST} bytes")
            return message

        await self._app(scope, within, send)
