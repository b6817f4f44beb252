"""Computations on request: what can be asked, what it costs, and what became of it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from agent.protocols import QUERIES
from broker.client.access import ClientError, Group
from broker.client.asking import FUNCTIONS, SUMS, WantedRound, check, cost_of, needed
from broker.gateway.book import computations
from broker.gateway.book.computations import LIVE_OF_GROUP, Busy
from broker.gateway.computation import QUERY, ROUND, SUM, Computation
from broker.gateway.http import paging
from broker.gateway.http.bodies import NAME, Page, slot_body
from broker.gateway.http.computation_bodies import ComputationBody, FunctionBody, FunctionsBody, QuoteBody, Wish
from broker.gateway.http.paging import After, Limit
from broker.gateway.http.problems import Problem
from broker.gateway.http.repeating import IdempotencyKey, once
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.scopes import Caller, ForAsking
from broker.gateway.http.serving import Here, Serving

router = APIRouter(tags=["computations"])

AGAIN_S = 10  # after which one that waits may be over
PLACE = {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}
ComputationId = Annotated[str, Path(alias="id", pattern=r"^[0-9]{1,16}$")]


@router.get("/groups/{group}/functions")
def functions(here: Here, caller: ForAsking, group: GroupName) -> FunctionsBody:
    """Tell what a group can be asked, and whether it can be now."""
    caller.must_ask(group)
    roster = here.roster(group)
    kind = _kind(roster.protocol)
    known = FUNCTIONS if kind == QUERY else {SUM: ()} if kind == ROUND else {}
    why, detail = _hindered(here, group) if kind else ("no-queries", f"{group} runs {roster.protocol}")
    return FunctionsBody(
        group=group,
        kind=kind,
        why=why,
        detail=detail,
        slots=[slot_body(slot) for slot in roster.slots],
        functions=[
            FunctionBody(function=name, parameters=list(parameters), allowed=caller.may_ask(group, name))
            for name, parameters in known.items()
        ],
        spent=here.book.read(computations.spent_of, group),
    )


@router.get("/groups/{group}/quote")
def quote(here: Here, caller: ForAsking, group: GroupName, wish: Annotated[Wish, Query()]) -> QuoteBody:
    """Tell what a computation would cost each board. Nobody is asked anything."""
    caller.must_ask(group, wish.function)
    found = _askable(here, group, wish)
    cost = _cost(wish, found)
    return QuoteBody(
        group=group,
        kind=_kind(found.roster.protocol) or QUERY,
        slot=wish.slot,
        function=wish.function,
        cost=cost,
        cost_most=None if cost is None else cost * wish.tries,
        spent=here.book.read(computations.spent_of, group),
        members=len(found.roster.members),
    )


@router.post("/groups/{group}/computations", status_code=202, responses={202: {"headers": PLACE}})
def asked(
    here: Here, caller: ForAsking, group: GroupName, wish: Wish, key: IdempotencyKey, response: Response
) -> ComputationBody:
    """Ask a group for a computation, which costs the boards of their budget. What becomes of it is
    told by events, and at its Location."""
    caller.must_ask(group, wish.function)
    request = f"POST computations {group} {wish.model_dump_json()}".encode()
    made: list[Computation] = []  # none if it was asked before

    def ask(connection: Connection) -> bytes:
        made.append(_kept(connection, here, caller, group, wish))
        return ComputationBody.of(made[0], caller).model_dump_json().encode()

    body = ComputationBody.model_validate_json(once(here, caller, key, request, ask))
    for each in made:
        here.computations.asked(each)
    response.headers["Location"] = f"/api/v1/computations/{body.id}"
    return body


@router.get("/computations")
def listed(
    here: Here,
    caller: ForAsking,
    request: Request,
    response: Response,
    group: Annotated[str | None, Query(pattern=NAME, description="Only those of this group.")] = None,
    after: After = None,
    limit: Limit = paging.LIMIT,
) -> Page[ComputationBody]:
    """List the computations that the token might ask, whoever has asked them, the newest first."""
    before = paging.place(after, paging.NUMBER_MOST)
    found, more = here.book.read(computations.page, caller.asks, group, before, limit)
    return Page(items=[ComputationBody.of(one, caller) for one in found], next=paging.link(request, response, more))


@router.get("/computations/{id}")
def one(here: Here, caller: ForAsking, identifier: ComputationId) -> ComputationBody:
    """Tell how a computation stands."""
    return ComputationBody.of(found(here, caller, identifier), caller)


@router.delete("/computations/{id}", status_code=204)
def forgotten(here: Here, caller: ForAsking, identifier: ComputationId) -> None:
    """Forget a computation. Nobody waits any longer for one that is not over; what was asked of
    boards goes on, has cost them of their budget, and its answer is told to nobody."""
    number = found(here, caller, identifier).number
    here.computations.forgotten(number, here.book.write(computations.forget, number))


def _kind(protocol: str) -> str | None:
    """Return the kind of computations that a group of a protocol is asked for."""
    return QUERY if protocol in QUERIES else ROUND if protocol == SUMS else None


def _cost(wish: Wish, found: Group) -> float | None:
    """Return what a try costs each board, in epsilon: a round of sums costs none."""
    return 0.0 if found.roster.protocol == SUMS else cost_of(wish.wanted(), found)


def _hindered(here: Serving, group: str) -> tuple[str | None, str | None]:
    """Return why a group cannot be asked with success now, in a word and in a sentence."""
    watch, standing = here.computations.watch, here.members.standing(group)
    found = watch.group(group)
    if found is None or not here.feed.linked:
        return "no-link", here.feed.unknown(group) or "the gateway has no link to the broker"
    if standing is None or watch.coordinator is False:
        return "no-coordinator", here.feed.unknown(group) or "the coordinator is not there"
    ready = sum(member.state == "ready" for member in standing.members)
    if _kind(found.roster.protocol) == QUERY and ready < needed(found):
        return "too-few", f"{ready} of {len(standing.members)} boards are ready; a query takes {needed(found)}"
    if here.book.read(computations.waiting, group) >= LIVE_OF_GROUP:
        return "busy", f"{LIVE_OF_GROUP} computations of {group} are not over; wait for one, or forget it"
    return None, None


def _askable(here: Serving, group: str, wish: Wish) -> Group:
    """Return the group that this may be asked of. Raises Problem."""
    protocol = here.roster(group).protocol
    kind = _kind(protocol)
    if kind is None:
        raise Problem(422, "no-queries", f"{group} runs {protocol}, which answers no queries; {', '.join(QUERIES)} do")
    found = here.computations.watch.group(group)
    if found is None:
        detail = f"the broker has handed out no roster of {group} yet; ask again later"
        raise Problem(503, "no-roster", detail, {"Retry-After": str(AGAIN_S)})
    try:
        if kind == ROUND:
            _check_round(wish, found)
        else:
            check(wish.wanted(), found)
    except ClientError as error:
        raise Problem(422, "cannot-be-asked", error.args[0]) from None
    return found


def _check_round(wish: Wish, found: Group) -> None:
    """Raise ClientError unless a sum off the grid may be asked for so."""
    slots = [name for name, _, _ in found.roster.slots]
    if wish.slot not in slots:
        raise ClientError(f"slot {wish.slot!r}: {found.name} has {', '.join(slots)}")
    if wish.function != SUM or wish.parameters or wish.between or wish.epsilon or wish.record_epsilon:
        raise ClientError(f"{found.name} runs {SUMS}: it is asked for the function {SUM}, exact and of all, alone")
    check(WantedRound(wish.tries), found)


def _kept(connection: Connection, here: Serving, caller: Caller, group: str, wish: Wish) -> Computation:
    """Keep what is asked, and return it. Raises Problem."""
    wanted = wish.wanted()
    asked_of = _askable(here, group, wish)
    kind, cost = _kind(asked_of.roster.protocol) or QUERY, _cost(wish, asked_of)
    try:
        return computations.ask(connection, group, wanted, wish.wait_s, cost, caller.token.id, kind)
    except Busy:
        detail = f"as many computations as there may be are not over, {LIVE_OF_GROUP} of a group"
        raise Problem(429, "busy", detail, {"Retry-After": str(AGAIN_S)}) from None


def found(here: Serving, caller: Caller, identifier: str) -> Computation:
    """Return a computation that the token might ask. Raises Problem."""
    found = here.book.read(computations.one, int(identifier))
    if found is None:
        raise Problem(404, "unknown-computation", f"there is no computation {identifier}, or it was forgotten")
    caller.must_ask(found.group, found.wanted.function)
    return found
