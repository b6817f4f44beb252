"""A slot over time, for charts and other programs, in several forms."""

import math
import time
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from broker.client.units import unit_of
from broker.gateway.book import rounds
from broker.gateway.exports import green_button, parquet, text
from broker.gateway.exports.exported import Exported
from broker.gateway.http.bodies import SeriesBody, StepBody, stamp
from broker.gateway.http.problems import CONTENT, Problem
from broker.gateway.http.routes.groups import GroupName
from broker.gateway.http.routes.rounds import Since, Until
from broker.gateway.http.scopes import ForSums
from broker.gateway.http.serving import Here
from broker.gateway.series import bounds, steps

router = APIRouter(tags=["rounds"])

DAY = 86_400
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY}
STEP_MOST = 366 * DAY
STEPS_MOST = 10_000
ROUNDS_MOST = 100_000
PARQUET = "application/vnd.apache.parquet"


class Format(StrEnum):
    """How a series is written."""

    JSON = "json"
    CSV = "csv"
    LINE = "line"
    PARQUET = "parquet"
    GREEN_BUTTON = "green-button"


Slot = Annotated[str | None, Query(max_length=32, description="The slot; without it, the group's first.")]
StepLength = Annotated[str, Query(pattern=r"^[1-9][0-9]{0,7}[smhd]$", description="A step: 15m, 1h, 1d.")]
OTHERS = ("text/csv", "text/plain", PARQUET, green_button.MEDIA_TYPE)
FORMS: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {"schema": {"type": "string"}} for kind in OTHERS}},
    406: {"description": "What writes this form is not installed", "content": CONTENT},
}


@router.get("/groups/{group}/series", response_model=SeriesBody, responses=FORMS)
def series(
    here: Here,
    caller: ForSums,
    group: GroupName,
    slot: Slot = None,
    since: Since = None,
    until: Until = None,
    step: StepLength = "15m",
    form: Annotated[
        Format,
        Query(alias="format", description="line is InfluxDB's line protocol; parquet is an extra of the package."),
    ] = Format.JSON,
) -> SeriesBody | Response:
    """Tell what a slot gave over time, the last day if nothing else is said. Steps begin at whole
    multiples of their length, in UTC; an instant belongs to the step that ends with it."""
    slots = here.roster(group).slots
    names = [name for name, _, _ in slots]
    slot = names[0] if slot is None else slot
    if slot not in names:
        raise Problem(422, "unknown-slot", f"{group} has the slots {', '.join(names)}")
    length = int(step[:-1]) * SECONDS[step[-1]]
    end = until.timestamp() if until else float(math.ceil(time.time()))
    begin, end = _checked(since.timestamp() if since else end - DAY, end, length)
    found = here.book.read(rounds.complete, group, begin, end, ROUNDS_MOST + 1)
    if len(found) > ROUNDS_MOST:
        raise Problem(422, "too-much", f"these are more than {ROUNDS_MOST} rounds; ask for a shorter time")
    listed = steps(found, slot, begin, end, length)
    exported = Exported(here.site.deployment, group, slot, unit_of(slot), length, listed)
    return _written(exported, form, low=next(low for name, low, _ in slots if name == slot))


def _written(exported: Exported, form: Format, low: int) -> SeriesBody | Response:
    """Return a series in a form; `low` is the least that a member's reading may be. Raises
    Problem."""
    match form:
        case Format.CSV:
            return PlainTextResponse(text.as_csv(exported), media_type="text/csv")
        case Format.LINE:
            return PlainTextResponse(text.as_lines(exported))
        case Format.PARQUET:
            try:
                return Response(parquet.as_parquet(exported), media_type=PARQUET)
            except parquet.ParquetMissing:
                wanted = f"install {parquet.LIBRARY} where the gateway runs, with pip or as Hum's extra parquet, and start it again"
                raise Problem(406, "parquet-missing", wanted) from None
        case Format.GREEN_BUTTON:
            if exported.unit != green_button.ENERGY:
                raise Problem(422, "not-energy", f"Green Button tells of energy, and {exported.slot} is none in Wh")
            if all(one.value is None for one in exported.steps):
                raise Problem(422, "nothing-there", "there is no sum in this time, and a feed has one at least")
            return StreamingResponse(
                green_button.feed(exported, low, int(time.time())), media_type=green_button.MEDIA_TYPE
            )
        case _:
            body = [StepBody(**vars(one) | {"start": stamp(one.start)}) for one in exported.steps]
            return SeriesBody(
                group=exported.group, slot=exported.slot, unit=exported.unit, step_s=exported.length, steps=body
            )


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
