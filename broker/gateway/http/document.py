"""The OpenAPI document: what FastAPI makes of the routes, and the problems that each can have."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from broker.gateway.http.problems import CONTENT, PREFIX

TITLE = "Hum gateway"
SUMMARY = "Private sums of a deployment's groups"
VERSION = "1"  # of the interface; what is added changes it not
REFUSALS = {
    "400": "A header is missing",
    "401": "No token, or one that is not in force",
    "403": "The token has not the scope",
    "404": "There is none",
    "409": "The same request is being answered",
    "413": "The body is too large",
    "422": "The request is not valid",
    "429": "Too many requests",
    "503": "Not to be had at the moment",
}
OPEN = ("401", "403", "429")  # cannot happen where no token is wanted
POSTED = ("400", "409")
WITH_BODY = ("413",)
PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": f"^{PREFIX}[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document of `app`, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=TITLE, version=VERSION, summary=SUMMARY, routes=app.routes)
        schemas = made["components"]["schemas"]
        schemas["Problem"] = PROBLEM
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in made["paths"].values():
            for method, operation in path.items():
                _refusals(method, operation)
        app.openapi_schema = made
    return app.openapi_schema


def _refusals(method: str, operation: dict[str, Any]) -> None:
    for status, why in REFUSALS.items():
        if (
            (status in OPEN and "security" not in operation)
            or (status in POSTED and method != "post")
            or (status in WITH_BODY and method not in ("post", "put"))
        ):
            continue
        operation["responses"][status] = {"description": why, "content": CONTENT}
