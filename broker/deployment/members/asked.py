"""What a gateway was asked about members: read for whoever holds the authority's folder, and done
by nobody else.

Nothing of it is taken on trust: whoever runs the gateway may have written it. So each field is
checked here, and the person who signs compares the code with what the board shows.
"""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agent.wire import topics
from broker import names, public_keys
from broker.deployment.folder import Deployment
from broker.deployment.members import change, known
from broker.deployment.members.known import MembersError
from broker.gateway.book import enrolments
from broker.gateway.book.book import NAME, Book
from broker.gateway.book.enrolments import (
    ADD,
    DECLINED,
    KINDS,
    PASSED,
    REMOVE,
    SIGNED,
    WAITING,
    WAITING_MOST,
    Enrolment,
)

FILE_MOST = 1 << 20  # bytes of a file of requests


def waiting(deployment: Deployment) -> list[Enrolment]:
    """Return what waits in the gateway's database. Raises MembersError, BookError."""
    book = _book(deployment)
    try:
        return book.read(enrolments.page, 0, WAITING_MOST, WAITING)[0]
    finally:
        book.close()


def in_file(path: Path) -> list[Enrolment]:
    """Return what waits of the requests in a file, an answer of GET /api/v1/enrolments. Raises
    MembersError."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_MOST + 1)
        if len(data) > FILE_MOST:
            raise ValueError("size")
        return [_in_file(one) for one in json.loads(data)["items"][:WAITING_MOST] if one["state"] in WAITING]
    except OSError as error:
        raise MembersError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise MembersError(f"{path} holds no requests; the gateway's page has a link to such a file") from None


def _in_file(one: Mapping[str, Any]) -> Enrolment:
    """Return a request; fault() tells whether it is one."""
    kept = (one["id"], one["kind"], one["group"], one["device"], one["public"])
    return Enrolment(*kept, epoch=0, token="", asked=0.0, state=one["state"])


def fault(one: Enrolment) -> str | None:
    """Return why a request is none that a gateway takes; None for one that is well."""
    if type(one.id) is not int or one.kind not in KINDS or not topics.valid_name(one.group):
        return "no request"
    if not (names.fits_device if one.kind == ADD else topics.valid_device)(one.device):
        return "no device has such a name"
    if one.kind == REMOVE:
        return None if one.public is None else "a key where none is wanted"
    try:
        if not isinstance(one.public, str) or public_keys.read(one.public).hex() != one.public:
            raise ValueError("form")
    except ValueError:
        return "no public key"
    return None


def chosen(there: Iterable[Enrolment], numbers: Iterable[int]) -> list[Enrolment]:
    """Return the requests with these numbers, in their order. Raises MembersError for one that does
    not wait, or is none."""
    by_number = {one.id: one for one in there}
    found = []
    for number in numbers:
        one = by_number.get(number)
        if one is None:
            raise MembersError(f"no request {number} waits; `hum requests` lists those that do")
        why = fault(one)
        if why is not None:
            raise MembersError(f"request {number} is refused ({why}): nobody asked that by the gateway's own ways")
        found.append(one)
    return found


def sign(deployment: Deployment, one: Enrolment, from_file: bool) -> dict[str, str]:
    """Make the change that was asked for, in one step or by a request to an authority elsewhere;
    return what there is to tell. Raises HumError."""
    made = change.make(deployment, _change(deployment, one), one.group)
    if not from_file:
        _note(deployment, one.id, SIGNED if made.request is None else PASSED, None)
    return made.told


def decline(deployment: Deployment, numbers: Iterable[int], why: str) -> list[int]:
    """Note that requests are declined, and return those. Raises MembersError for one that does not
    wait."""
    there = {one.id for one in waiting(deployment)}
    wanted = list(dict.fromkeys(numbers))
    for number in wanted:
        if number not in there:
            raise MembersError(f"no request {number} waits; `hum requests` lists those that do")
    for number in wanted:
        _note(deployment, number, DECLINED, why)
    return wanted


def _change(deployment: Deployment, one: Enrolment) -> Mapping[str, Any]:
    """Return the change, as the authority is asked for it. Raises MembersError."""
    if one.kind == ADD:
        known.chosen(deployment, one.group)
        return {"do": "add", "group": one.group, "device": one.device, "public": one.public, "about": {}}
    there = known.group_of(deployment, one.device)
    if there != one.group:
        raise MembersError(f"{one.device} is in {there or 'no group'}, and the request says {one.group}")
    if one.kind == REMOVE:
        return {"do": "remove", "device": one.device}
    return {"do": "replace", "device": one.device, "public": one.public}


def _note(deployment: Deployment, number: int, state: str, why: str | None) -> None:
    book = _book(deployment)
    try:
        book.write(enrolments.decide, [number], state, time.time(), why)
    finally:
        book.close()


def _book(deployment: Deployment) -> Book:
    if not (deployment.gateway / NAME).is_file():
        raise MembersError(f"{deployment.gateway} has no database of a gateway: nothing was asked there")
    return Book(deployment.gateway)
