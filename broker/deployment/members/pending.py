"""What waits for an offline authority: one request file, with all changes that it has not answered
yet."""

import json
from collections.abc import Mapping
from typing import Any

from broker.authority.errors import AuthorityError
from broker.authority.plans import Plan
from broker.authority.requests import CHANGES_MOST, Outcome, Request, read_answer, read_request
from broker.deployment.folder import Deployment
from broker.files import alone_in, private_folder, replace

FOLDER = "requests"
REQUEST = "request.hum"  # in it; `hum sign` writes ANSWER beside the copy that it gets
ANSWER = "answer.hum"
NUMBERS = "numbers.json"  # the serial numbers asked last, and answered last


def ask(deployment: Deployment, change: Mapping[str, Any], ways: Mapping[str, Plan]) -> Request:
    """Add a change to the request that waits, under the next serial number: the answer to the one
    before is of no use any more. Raises AuthorityError."""
    folder = deployment.folder / FOLDER
    private_folder(folder)
    with alone_in(folder):
        asked, answered = _numbers(deployment)
        before = _waiting(deployment, asked, answered)
        changes = tuple(one for one in (before.changes if before else ()) if one != change)
        if len(changes) == CHANGES_MOST:
            raise AuthorityError(f"{CHANGES_MOST} changes wait already; have them signed first")
        known = {**(before.plans if before else {}), **ways}
        public = deployment.authority_public()
        request = Request(deployment.name, public, asked + 1, (*changes, dict(change)), known)
        # The number first: no two requests have one.
        _write(deployment, asked + 1, answered)
        replace(folder / REQUEST, request.encode())
    return request


def answered(deployment: Deployment, data: bytes) -> tuple[int, Outcome]:
    """Return (serial, outcome) of the answer to the request that waits. Raises AuthorityError for
    any other."""
    serial, outcome = read_answer(data, deployment.name, bytes.fromhex(deployment.authority_public()))
    asked, last = _numbers(deployment)
    if serial <= last:
        raise AuthorityError(f"this answers request {serial}, which was answered already; the last was {last}")
    if serial < asked:
        raise AuthorityError(f"this answers request {serial}, which is old; have request {asked} signed")
    if serial > asked:
        raise AuthorityError(f"this answers request {serial}, and {asked} was the last: is this folder an old copy?")
    return serial, outcome


def done(deployment: Deployment, serial: int) -> None:
    """Note that an answer was applied as a whole."""
    with alone_in(deployment.folder / FOLDER):
        asked, _ = _numbers(deployment)
        _write(deployment, asked, serial)


def _waiting(deployment: Deployment, asked: int, last: int) -> Request | None:
    path = deployment.folder / FOLDER / REQUEST
    if asked == last or not path.is_file():
        return None
    return read_request(path.read_bytes())


def _numbers(deployment: Deployment) -> tuple[int, int]:
    path = deployment.folder / FOLDER / NUMBERS
    if not path.is_file():
        return 0, 0
    try:
        asked, last = json.loads(path.read_text())
        if type(asked) is not int or type(last) is not int or not 0 <= last <= asked:
            raise ValueError("numbers")
    except (ValueError, TypeError):
        raise AuthorityError(f"{path} is damaged; restore it from a copy") from None
    return asked, last


def _write(deployment: Deployment, asked: int, last: int) -> None:
    replace(deployment.folder / FOLDER / NUMBERS, (json.dumps([asked, last]) + "\n").encode())
