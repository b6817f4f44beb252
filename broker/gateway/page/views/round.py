"""A round, step by step and member by member: the one that is open or was last, as it goes, and any
of those whose steps are kept."""

import time
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from broker.client.members import RoundProgress
from broker.gateway.book import rounds, steps
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.scopes import Caller
from broker.gateway.http.serving import Here, Serving
from broker.gateway.page.answers import PageRoute, page
from broker.gateway.page.cards import State
from broker.gateway.page.links import broken
from broker.gateway.page.rhythm import LOOKED_AT, rhythm
from broker.gateway.page.session import ForMembers
from broker.gateway.page.words.steps import state_of, unfolded

router = APIRouter(include_in_schema=False, route_class=PageRoute)

RoundId = Annotated[str, Path(alias="id", pattern=r"^[0-9]{1,10}\.[0-9]{1,10}$")]


class Past(NamedTuple):
    """A round whose steps are kept: its `id`, <epoch>.<round>, its time in Unix seconds, and how
    it ended."""

    id: str
    at: int
    state: State


@router.get("/groups/{group}/round")
def now(request: Request, here: Here, caller: ForMembers, group: GroupName) -> Response:
    """Show the round that is open, else the last one, and follow it."""
    told = here.members.progress(group)
    if told and told.rounds:
        return _shown(request, here, caller, group, (told.epoch, told.rounds[-1]), is_live=True)
    last = here.book.read(steps.recent, group, 1)
    return _shown(request, here, caller, group, last[0] if last else None, is_live=True)


@router.get("/groups/{group}/rounds/{id}")
def past(request: Request, here: Here, caller: ForMembers, group: GroupName, identifier: RoundId) -> Response:
    """Show a round of before."""
    epoch, _, number = identifier.partition(".")
    found = here.book.read(steps.one, group, int(epoch), int(number))
    if found is None:
        detail = f"the steps of round {identifier} of {group} are not kept: those of the last {steps.KEPT} rounds are"
        raise Problem(404, "unknown-round", detail)
    return _shown(request, here, caller, group, (int(epoch), found), is_live=False)


def _shown(
    request: Request,
    here: Serving,
    caller: Caller,
    group: str,
    found: tuple[int, RoundProgress] | None,
    is_live: bool,
) -> Response:
    roster = here.roster(group)
    values: dict[str, Any] = {"id": "", "progress": None, "members": (), "shown": None}
    if found:
        epoch, progress = found
        members = _members(here, roster, epoch, progress)
        shown = unfolded(progress, members, here.members.standing(group))
        values = {"id": f"{epoch}.{progress.round}", "progress": progress, "members": members, "shown": shown}
    recent = here.book.read(steps.recent, group, steps.KEPT)
    return page(
        request,
        "round",
        caller,
        events=("member", "round") if is_live else (),
        followed=group,
        roster=roster,
        faults=broken(here.feed, [(group, rhythm(here.book.read(rounds.newest, group, LOOKED_AT)))], time.time()),
        is_live=is_live,
        unknown=here.feed.unknown(group),
        recent=[_past(epoch, one) for epoch, one in reversed(recent)],
        most=steps.KEPT,
        **values,
    )


def _members(here: Serving, roster: GroupRoster, epoch: int, progress: RoundProgress) -> tuple[str, ...]:
    """Return the members of a round in the order of its roster, as far as that is known."""
    if epoch == roster.epoch:
        return roster.members
    kept = here.book.read(rounds.one, roster.group, epoch, progress.round)
    return kept.members if kept else tuple(sorted({*progress.sent, *(progress.missing or ())}))


def _past(epoch: int, one: RoundProgress) -> Past:
    return Past(f"{epoch}.{one.round}", one.instant or one.closed_at or one.opened_at, state_of(one, len(one.sent)))
