"""Errors as RFC 9457 has them: application/problem+json, of a type that names the reason."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

log = logging.getLogger("hum.gateway")

PREFIX = "urn:hum:error:"
MEDIA_TYPE = "application/problem+json"
# What the OpenAPI document says of an answer that is one.
CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
# Of what finds no route, or is not read.
OF_STATUS = {404: "not-found", 405: "method-not-allowed", 413: "oversized"}
TOLD = 5  # faults of a request that are named


class Problem(Exception):
    """A request is refused with `status`, for the named `reason`; `detail` says in a sentence what
    to do."""

    def __init__(self, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason, detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers

    def response(self) -> JSONResponse:
        """Return the answer."""
        body = {"type": PREFIX + self.reason, "title": HTTPStatus(self.status).phrase, "status": self.status}
        return JSONResponse(body | {"detail": self.detail}, self.status, self.headers, MEDIA_TYPE)


def unavailable(error: Exception) -> Problem:
    """Return what is said while the database takes or gives nothing."""
    log.error("the database: %s", next(iter(str(getattr(error, "orig", None) or error).splitlines()), "no answer"))
    detail = "the gateway's database is not to be had at the moment; its log says why"
    return Problem(503, "storage-unavailable", detail, {"Retry-After": "5"})


def install(app: FastAPI) -> None:
    """Have `app` tell all errors so."""
    app.add_exception_handler(Problem, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_status)
    app.add_exception_handler(SQLAlchemyError, _unavailable)
    app.add_exception_handler(TimeoutError, _unavailable)
    app.add_exception_handler(Exception, _internal)


async def _told(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:TOLD]]
    missing = any(one["loc"] == ("header", "Idempotency-Key") for one in error.errors() if one["type"] == "missing")
    if missing:
        return Problem(400, "idempotency-key-missing", "send an Idempotency-Key, new for each new request").response()
    return Problem(422, "invalid", "; ".join(faults)).response()


async def _of_status(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # a body that is no JSON
        return Problem(422, "invalid", str(error.detail)).response()
    reason = OF_STATUS.get(error.status_code, "refused")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))  # FastAPI names the first route's alone
    return Problem(error.status_code, reason, str(error.detail), headers).response()


def _methods(request: Request) -> list[str]:
    """Return the methods that there are for the path of a request."""
    found: set[str] = set()
    for path, methods in request.app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", path), request.url.path):
            found.update(method.upper() for method in methods)
    return sorted(found)


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    return unavailable(error).response()


async def _internal(request: Request, error: Exception) -> JSONResponse:
    return Problem(500, "internal", "a fault of the gateway; its log says more").response()
