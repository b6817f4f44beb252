"""Rosters that the authority has signed elsewhere: checked, and left for the coordinator."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from agent.protocols.base import Refused
from agent.protocols.base.roster import ROSTER_MOST
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError
from broker.client.access import Access, Group, read_group
from broker.files import alone_in, private_folder, replace
from broker.gateway.http.enrolment_bodies import RosterBody
from broker.gateway.http.problems import Problem, unavailable
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.scopes import ForAdmin
from broker.gateway.http.serving import Here, Serving

router = APIRouter(tags=["enrolments"])

UNFIT = (Refused, EnvelopeError, MessageError)
FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


async def _file(request: Request, caller: ForAdmin) -> bytes:
    """Return a body of at most ROSTER_MOST bytes, of whoever may send it. Raises Problem."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > ROSTER_MOST:
            raise Problem(413, "oversized", f"a roster has at most {ROSTER_MOST} bytes")
    return body


@router.put("/groups/{group}/roster", status_code=202, openapi_extra=FILE)
def handed_in(here: Here, caller: ForAdmin, group: GroupName, signed: Annotated[bytes, Depends(_file)]) -> RosterBody:
    """Hand in a roster that the deployment's authority has signed. The coordinator, which checks it
    once more, goes on with it when its round is over."""
    try:
        found = _authentic(here, group, signed)
    except UNFIT as error:
        detail = f"this is no roster of {group} that the authority of {here.site.deployment} has signed"
        raise Problem(422, str(error.args[0]), detail) from None
    try:
        private_folder(here.site.rosters)
        with alone_in(here.site.rosters):
            _check_newer(found, here.feed.group(group))
            _check_newer(found, _before(here, group))
            replace(here.site.rosters / f"{group}.cose", signed)
    except OSError as error:
        raise unavailable(error) from None
    return RosterBody(group=group, epoch=found.epoch, members=len(found.roster.members))


def _check_newer(found: Group, other: Group | None) -> None:
    if other and found.epoch < other.epoch:
        raise Problem(422, "stale-roster", f"a roster of epoch {other.epoch} is known, and this is {found.epoch}")
    if other and found.epoch == other.epoch and found.digest != other.digest:
        raise Problem(422, "conflict", f"another roster of epoch {found.epoch} is known; sign once more")


def _before(here: Serving, group: str) -> Group | None:
    """Return what was handed in before; None if there is nothing that counts."""
    try:
        return _authentic(here, group, (here.site.rosters / f"{group}.cose").read_bytes())
    except (FileNotFoundError, *UNFIT):
        return None


def _authentic(here: Serving, group: str, signed: bytes) -> Group:
    return read_group(Access(here.site.deployment, here.site.authority), group, signed)
