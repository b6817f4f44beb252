"""A group's past, as a chart and as the table that it is drawn from, and its last rounds."""

import time
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from broker.client.units import unit_of
from broker.gateway import series
from broker.gateway.book import rounds
from broker.gateway.http.app import PREFIX
from broker.gateway.http.bodies import stamp
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.routes.series import ROUNDS_MOST
from broker.gateway.http.scopes import MEMBERS
from broker.gateway.http.serving import Here, Serving
from broker.gateway.page import figures, history
from broker.gateway.page.answers import PageRoute, page
from broker.gateway.page.cards import card, state_of
from broker.gateway.page.figures import Figure
from broker.gateway.page.history import Span
from broker.gateway.page.links import broken
from broker.gateway.page.session import ForSums
from broker.gateway.series import Step

LAST = 10  # rounds that are listed
TIME_MOST = 2**32  # Unix seconds

router = APIRouter(include_in_schema=False, route_class=PageRoute)

View = Annotated[Literal["quarter", "day", "month"], Query()]
End = Annotated[int | None, Query(alias="to", ge=0, le=TIME_MOST)]


class Listed(NamedTuple):
    """The steps of a span that have begun, and what they come to; None if no step has a value."""

    steps: list[Step]
    whole: Figure | None
    empty: int


@router.get("/groups/{group}")
def group(
    request: Request,
    here: Here,
    caller: ForSums,
    group: GroupName,
    view: View = "quarter",
    slot: Annotated[str | None, Query(max_length=32)] = None,
    end: End = None,
) -> Response:
    """Show a group."""
    roster = here.roster(group)
    slots = [name for name, _, _ in roster.slots]
    slot = slots[0] if slot is None else slot
    if slot not in slots:
        raise Problem(404, "unknown-slot", f"{group} has the slots {', '.join(slots)}")
    now, shown = time.time(), card(here, roster)
    span = history.span(view, now if end is None else end, shown.rhythm.interval if shown.rhythm else 0.0)
    return page(
        request,
        "group",
        caller,
        card=shown,
        has_sums=roster.has_sums,
        faults=broken(here.feed, [(group, shown.rhythm)], now),
        standing=here.book.read(rounds.standing, group),
        slot=slot,
        slots=slots,
        unit=unit_of(slot) or "",
        span=span,
        views=history.VIEWS,
        listed=_listed(here, group, slot, span, now),
        recent=list(reversed(here.book.read(rounds.newest, group, LAST))),
        named=caller.has(MEMBERS),
        exports=_exports(group, slot, span),
        link=lambda **other: "?" + urlencode({"view": view, "slot": slot} | other),
        now=now,
        counted=figures.counted,
        figure=figures.figure,
        unit_of=unit_of,
        state_of=state_of,
    )


def _listed(here: Serving, group: str, slot: str, span: Span, now: float) -> Listed:
    found = here.book.read(rounds.complete, group, span.begin, span.end, ROUNDS_MOST + 1)
    if len(found) > ROUNDS_MOST:
        detail = f"these are more than {ROUNDS_MOST:,} rounds; look at days, or export them bit by bit"
        raise Problem(422, "too-much", detail)
    steps = series.steps(found, slot, span.begin, span.end, span.step)
    steps = [step for step in steps if step.start < now]
    if span.view == "month":
        steps = history.by_month(steps, slot)
    if not any(step.rounds for step in steps):
        return Listed(steps, None, len(steps))
    whole = history.merged(steps, slot)
    empty = sum(step.value is None for step in steps)
    return Listed(steps, None if whole.value is None else figures.figure(whole.value, unit_of(slot)), empty)


def _exports(group: str, slot: str, span: Span) -> list[tuple[str, str]]:
    """Return the kinds of file that the span can be had as, and where."""
    asked = {"slot": slot, "from": stamp(span.begin), "to": stamp(span.end), "step": f"{span.step}s"}
    address = f"{PREFIX}/groups/{group}/series?"
    return [(kind.upper(), address + urlencode(asked | {"format": kind})) for kind in ("csv", "json")]
