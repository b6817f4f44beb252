"""The application: routes, errors, audit log, document."""

from functools import partial

from fastapi import FastAPI

from broker.gateway.http import document, problems
from broker.gateway.http.auditing import Audited
from broker.gateway.http.routes import (
    areas,
    audit,
    computations,
    events,
    groups,
    health,
    members,
    metrics,
    rounds,
    series,
    tokens,
)
from broker.gateway.http.serving import Serving

PREFIX = "/api/v1"
DOCUMENT = f"{PREFIX}/openapi.json"


def routed() -> FastAPI:
    """Return the routes alone, and what is said of them: there is no gateway behind them."""
    # FastAPI's own pages of documentation load from elsewhere.
    app = FastAPI(openapi_url=DOCUMENT, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(health.router)
    app.include_router(metrics.router)
    for part in (health, groups, members, areas, rounds, series, computations, events, tokens, audit):
        app.include_router(part.router, prefix=PREFIX)
    problems.install(app)
    app.openapi = partial(document.document, app)  # type: ignore[method-assign]  # as FastAPI says to extend it
    return app


def application(serving: Serving) -> FastAPI:
    """Return what answers for a gateway."""
    app = routed()
    app.state.serving = serving
    app.add_middleware(Audited, book=serving.book)
    return app
