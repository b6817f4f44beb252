"""Style, scripts and pictures: few, read once, under a path that changes with them."""

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from broker.gateway.http.problems import Problem
from broker.gateway.page.headers import HEADERS

HERE = Path(__file__).parent
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}

router = APIRouter(include_in_schema=False)


@cache
def every() -> dict[str, bytes]:
    """Return the files by name."""
    paths = [path for folder in ("static", "vendored") for path in (HERE / folder).iterdir()]
    return {path.name: path.read_bytes() for path in sorted(paths) if path.suffix in TYPES}


@cache
def root() -> str:
    """Return the path that they are under."""
    whole = hashlib.sha256()
    for name, data in every().items():
        whole.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return f"/static/{whole.hexdigest()[:12]}"


@router.get("/static/{version}/{name}")
def one(version: str, name: str) -> Response:
    """Answer with a file. A page that is older than the gateway gets what there is now."""
    if name not in every():
        raise Problem(404, "not-found", "there is no such file")
    caching = FOREVER if root().endswith(f"/{version}") else {"Cache-Control": "no-cache"}
    return Response(every()[name], media_type=TYPES[Path(name).suffix], headers=HEADERS | caching)
