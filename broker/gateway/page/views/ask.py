"""Asking a group: the question, what it costs before it is asked, and what becomes of it."""

import secrets
import time
from collections.abc import Collection, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from broker.client.units import unit_of
from broker.gateway.book import computations, rounds
from broker.gateway.http.paging import NUMBER_MOST
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.computations import ComputationId, asked, found, functions, quote
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.scopes import ASK, SUMS, Caller
from broker.gateway.http.serving import Here, Serving
from broker.gateway.page.answers import PageRoute, elsewhere, page
from broker.gateway.page.forms import Sent
from broker.gateway.page.links import Broken, broken
from broker.gateway.page.rhythm import LOOKED_AT, rhythm
from broker.gateway.page.session import Known
from broker.gateway.page.words import answers, questions
from broker.wire.requests import TRIES_MOST

LISTED = 10  # questions of before

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/groups/{group}/ask")
def question(request: Request, here: Here, caller: Known, group: GroupName) -> Response:
    """Show what can be asked; of a question that the form has brought, what it costs."""
    if not caller.has(SUMS):
        caller.must_ask(group)
    roster, given = here.roster(group), request.query_params
    allowed, blocked = _allowed(here, caller, group)
    before, _ = here.book.read(computations.page, caller.asks, group, NUMBER_MOST, LISTED)
    return page(
        request,
        "ask",
        caller,
        events=("computation", "member"),
        followed=group,
        roster=roster,
        faults=_faults(here, group),
        blocked=blocked,
        functions=questions.WORDS,
        allowed=allowed,
        unit_of=unit_of,
        tries_most=TRIES_MOST,
        filled=questions.FIELDS | {"function": next(iter(allowed), "sum"), "slot": roster.slots[0][0]} | _filled(given),
        asked=[(one, answers.described(one.wanted), answers.state_of(one)) for one in before],
        key=secrets.token_urlsafe(16),
        **(_quoted(here, caller, group, given) if "function" in given else {"quote": None, "refused": ""}),
    )


@router.post("/groups/{group}/ask")
def ask(here: Here, caller: Known, group: GroupName, form: Sent) -> Response:
    """Ask; the same form once more is the same question."""
    key = form.one("key")[:255] or secrets.token_urlsafe(16)
    body = asked(here, caller, group, questions.wish(form.one), key, Response())
    return elsewhere(f"/groups/{group}/asked/{body.id}")


@router.get("/groups/{group}/asked/{id}")
def one(request: Request, here: Here, caller: Known, group: GroupName, identifier: ComputationId) -> Response:
    """Show what becomes of a question, and the answer."""
    kept = found(here, caller, identifier)
    if kept.group != group:
        raise Problem(404, "unknown-computation", f"{group} was not asked under the number {identifier}")
    return page(
        request,
        "asked",
        caller,
        events=("computation",),
        followed=group,
        roster=here.roster(group),
        faults=_faults(here, group),
        one=kept,
        described=answers.described(kept.wanted),
        state=answers.state_of(kept),
        why=answers.why(kept),
        answer=answers.answer(kept.wanted, kept.result) if kept.result else None,
    )


def _allowed(here: Serving, caller: Caller, group: str) -> tuple[Collection[str], str | None]:
    """Return the functions that the token has the scope of, and why none can be asked now."""
    if not caller.may_ask(group):
        return (), f"your token has not the scope {ASK}:{group}:<function>"
    told = functions(here, caller, group)
    return [one.function for one in told.functions if one.allowed], told.detail


def _quoted(here: Serving, caller: Caller, group: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return what a question costs, or why it cannot be asked."""
    try:
        wish = questions.wish(lambda name: given.get(name, "").strip())
        told = quote(here, caller, group, wish)
    except Problem as problem:
        return {"quote": None, "refused": problem.detail}
    return {"quote": told, "refused": "", "wish": wish, "described": answers.described(wish.wanted())}


def _filled(given: Mapping[str, str]) -> dict[str, str]:
    names = ("function", "slot", *questions.FIELDS)
    return {name: given[name].strip()[: questions.FIELD_MOST] for name in names if name in given}


def _faults(here: Serving, group: str) -> list[Broken]:
    known = rhythm(here.book.read(rounds.newest, group, LOOKED_AT))
    return broken(here.feed, [(group, known)], time.time())
