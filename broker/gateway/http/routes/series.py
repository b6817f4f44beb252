"""A slot over time, for charts and other programs: JSON, CSV, InfluxDB's line protocol."""

import csv
import io
import math
import re
import time
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response

from broker.client.units import unit_of
from broker.gateway.book import rounds
from broker.gateway.http.bodies import SeriesBody, StepBody, stamp
from broker.gateway.http.problems import Problem
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.routes.rounds import Since, Until
from broker.gateway.http.scopes import ForSums
from broker.gateway.http.serving import Here
from broker.gateway.series import Step, bounds, steps

router = APIRouter(tags=["rounds"])

DAY = 86_400
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY}
STEP_MOST = 366 * DAY
STEPS_MOST = 10_000
ROUNDS_MOST = 100_000
COLUMNS = ("start", "value", "rounds", "summed", "members", "off_grid")


class Format(StrEnum):
    """How a series is written."""

    JSON = "json"
    CSV = "csv"
    LINE = "line"


Slot = Annotated[str | None, Query(max_length=32, description="The slot; without it, the group's first.")]
StepLength = Annotated[str, Query(pattern=r"^[1-9][0-9]{0,7}[smhd]$", description="A step: 15m, 1h, 1d.")]
TEXTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {"schema": {"type": "string"}} for kind in ("text/csv", "text/plain")}}
}


@router.get("/groups/{group}/series", response_model=SeriesBody, responses=TEXTS)
def series(
    here: Here,
    caller: ForSums,
    group: GroupName,
    slot: Slot = None,
    since: Since = None,
    until: Until = None,
    step: StepLength = "15m",
    form: Annotated[Format, Query(alias="format", description="line is InfluxDB's line protocol.")] = Format.JSON,
) -> SeriesBody | Response:
    """Tell what a slot gave over time, the last day if nothing else is said. Steps begin at whole
    multiples of their length, in UTC; an instant belongs to the step that ends with it."""
    slots = [name for name, _, _ in here.roster(group).slots]
    slot = slots[0] if slot is None else slot
    if slot not in slots:
        raise Problem(422, "unknown-slot", f"{group} has the slots {', '.join(slots)}")
    length = int(step[:-1]) * SECONDS[step[-1]]
    end = until.timestamp() if until else float(math.ceil(time.time()))
    begin, end = _checked(since.timestamp() if since else end - DAY, end, length)
    found = here.book.read(rounds.complete, group, begin, end, ROUNDS_MOST + 1)
    if len(found) > ROUNDS_MOST:
        raise Problem(422, "too-much", f"these are more than {ROUNDS_MOST} rounds; ask for a shorter time")
    listed = steps(found, slot, begin, end, length)
    match form:
        case Format.CSV:
            return PlainTextResponse(_csv(listed), media_type="text/csv")
        case Format.LINE:
            return PlainTextResponse(_lines(here.site.deployment, group, slot, listed))
        case _:
            body = [StepBody(**vars(one) | {"start": stamp(one.start)}) for one in listed]
            return SeriesBody(group=group, slot=slot, unit=unit_of(slot), step_s=length, steps=body)


def _checked(since: float, until: float, length: int) -> tuple[int, int]:
    """Return the series' bounds. Raises Problem if they are too far apart."""
    if length > STEP_MOST:
        raise Problem(422, "too-much", f"a step is {STEP_MOST // DAY} days at most")
    if since > until:
        raise Problem(422, "invalid", "`from` is later than `to`")
    begin, end = bounds(since, until, length)
    if end - begin > STEPS_MOST * length:
        raise Problem(
            422, "too-much", f"these are more than {STEPS_MOST} steps; ask for longer ones, or a shorter time"
        )
    return begin, end


def _rest(one: Step) -> tuple[float | None, int, int | None, int | None, int]:
    return one.value, one.rounds, one.summed, one.members, one.off_grid


def _csv(listed: list[Step]) -> str:
    """Return the steps as CSV (RFC 4180); what is null is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((stamp(one.start), *_rest(one)) for one in listed)
    return text.getvalue()


def _lines(deployment: str, group: str, slot: str, listed: list[Step]) -> str:
    """Return the steps that have a value, a line each, stamped with their start in nanoseconds."""
    tags = ",".join(
        f"{key}={_escaped(tag)}" for key, tag in (("deployment", deployment), ("group", group), ("slot", slot))
    )
    return "".join(
        f"hum,{tags} value={one.value},rounds={one.rounds}i,summed={one.summed}i,members={one.members}i"
        f",off_grid={one.off_grid}i {one.start * 10**9}\n"
        for one in listed
        if one.value is not None
    )


def _escaped(tag: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", tag)
