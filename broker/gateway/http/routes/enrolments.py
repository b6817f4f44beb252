"""Requests about members: taken, listed, and never done here. The authority signs (`hum
requests`)."""

import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from broker import names, public_keys
from broker.gateway.book import enrolments
from broker.gateway.book.enrolments import ADD, REMOVE, REPLACE, SIGNED, STATES, WAITING, WAITING_MOST, Full
from broker.gateway.http import paging
from broker.gateway.http.bodies import Page
from broker.gateway.http.enrolment_bodies import EnrolmentBody, EnrolmentWish, ReplacementWish, State
from broker.gateway.http.paging import After, Limit
from broker.gateway.http.problems import Problem
from broker.gateway.http.repeating import IdempotencyKey, once
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.routes.members import MemberName
from broker.gateway.http.scopes import Caller, ForAdmin
from broker.gateway.http.serving import Here, Serving

router = APIRouter(tags=["enrolments"])


@router.get("/enrolments")
def listed(
    here: Here,
    caller: ForAdmin,
    request: Request,
    response: Response,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    after: After = None,
    limit: Limit = paging.LIMIT,
) -> Page[EnrolmentBody]:
    """List what was asked about members, the oldest first; of what is over the last 1000."""
    settle(here)
    states = STATES if state is None else (state.value,)
    found, more = here.book.read(enrolments.page, paging.place(after), limit, states)
    items = [EnrolmentBody.of(one) for one in found]
    return Page(items=items, next=paging.link(request, response, more))


@router.post("/enrolments", status_code=202)
def added(here: Here, caller: ForAdmin, wish: EnrolmentWish, key: IdempotencyKey) -> EnrolmentBody:
    """Ask that a board become a member."""
    if wish.group not in groups(here):
        raise Problem(422, "unknown-group", f"no group {wish.group} is known here")
    if not names.fits_device(wish.device):
        raise Problem(422, "unfit-name", f"names are {names.RULE}; 'coordinator' and 'client' are no devices")
    return _asked(here, caller, key, ADD, wish.group, wish.device, _public(wish.public))


@router.post("/groups/{group}/members/{member}/revocation", status_code=202)
def revoked(here: Here, caller: ForAdmin, group: GroupName, member: MemberName, key: IdempotencyKey) -> EnrolmentBody:
    """Ask that a member be taken out."""
    _check_member(here, group, member)
    return _asked(here, caller, key, REMOVE, group, member, None)


@router.post("/groups/{group}/members/{member}/replacement", status_code=202)
def replaced(
    here: Here, caller: ForAdmin, group: GroupName, member: MemberName, wish: ReplacementWish, key: IdempotencyKey
) -> EnrolmentBody:
    """Ask that another board have a member's name. The old key never comes back."""
    _check_member(here, group, member)
    return _asked(here, caller, key, REPLACE, group, member, _public(wish.public))


def groups(here: Serving) -> list[str]:
    """Return the names of the groups that a board may be added to: those that are served, and those
    of hum.toml that have no roster yet."""
    return sorted({*here.rosters(), *here.site.labels})


def settle(here: Serving) -> None:
    """Note of requests that wait which of them the authority has signed: a roster that the broker
    hands out says so."""
    met = []
    for one in here.book.read(enrolments.page, 0, WAITING_MOST, WAITING)[0]:
        group = here.feed.group(one.group)
        if group and one.is_met(group.epoch, {name: key.hex() for name, key in group.roster.members}):
            met.append(one.id)
    if met:
        here.book.write(enrolments.decide, met, SIGNED, time.time())


def _check_member(here: Serving, group: str, device: str) -> None:
    if device not in here.roster(group).members:
        raise Problem(404, "unknown-member", f"{group} has no member {device}")


def _public(text: str) -> str:
    """Return the key in what was pasted, hexadecimal. Raises Problem. Whether it is somebody else's
    the authority knows."""
    try:
        return public_keys.said(text).hex()
    except ValueError:
        raise Problem(422, "not-a-key", f"this is no public key of a board: {public_keys.WANTED}") from None


def _asked(
    here: Serving, caller: Caller, key: str, kind: str, group: str, device: str, public: str | None
) -> EnrolmentBody:
    settle(here)
    asked = f"POST enrolments {kind} {group} {device} {public}".encode()
    roster = here.rosters().get(group)
    work = partial(_ask, (kind, group, device, public, roster.epoch if roster else 0, caller.token.id))
    answer = once(here, caller, key, asked, work)
    return EnrolmentBody.model_validate_json(answer)


def _ask(what: tuple[str, str, str, str | None, int, str], connection: Connection) -> bytes:
    try:
        found = enrolments.ask(connection, *what, time.time())
    except Full:
        detail = f"{WAITING_MOST} requests wait; have them signed or declined first (`hum requests`)"
        raise Problem(503, "enrolments-full", detail) from None
    return EnrolmentBody.of(found).model_dump_json().encode()
