"""The page becomes part of the application that answers for a gateway."""

from fastapi import FastAPI

from broker.gateway.page import static
from broker.gateway.page.views import ask, enrol, group, members, now, operate, round, signing_in


def install(app: FastAPI) -> None:
    """Have `app` answer with the page, beside what programs ask."""
    for part in (static, signing_in, now, group, members, round, ask, operate, enrol):
        app.include_router(part.router)
