"""A group's members: how each stands, and what its board says of itself."""

from typing import Annotated

from fastapi import APIRouter, Path

from broker.gateway.book.rounds import GroupRoster
from broker.gateway.http.bodies import NAME, stamp
from broker.gateway.http.member_bodies import MemberBody, MembersBody, ProgressBody
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.scopes import ForMembers
from broker.gateway.http.serving import Here, Serving

router = APIRouter(tags=["members"])

MemberName = Annotated[str, Path(pattern=NAME, description="The member's name.")]


@router.get("/groups/{group}/members")
def members(here: Here, caller: ForMembers, group: GroupName) -> MembersBody:
    """List all members of a group, at most 64: one page."""
    roster = here.roster(group)
    standing, progress = here.members.standing(group), here.members.progress(group)
    return MembersBody(
        group=group,
        epoch=standing.epoch if standing else roster.epoch,
        told=stamp(standing.at) if standing else None,
        unknown=here.feed.unknown(group),
        items=_bodies(here, roster),
        rounds=[ProgressBody.of(progress.epoch, one) for one in progress.rounds] if progress else [],
        next=None,
    )


@router.get("/groups/{group}/members/{member}")
def member(here: Here, caller: ForMembers, group: GroupName, member: MemberName) -> MemberBody:
    """Tell of one member."""
    for found in _bodies(here, here.roster(group)):
        if found.name == member:
            return found
    raise Problem(
        404, "unknown-member", f"{group} has no member {member}; GET /api/v1/groups/{group}/members lists them"
    )


def _bodies(here: Serving, roster: GroupRoster) -> list[MemberBody]:
    boards = here.members.boards([roster.group])
    if not boards:
        return [MemberBody.untold(name) for name in roster.members]
    return [MemberBody.told(board) for board in boards.values()]
