"""A group's past: which steps a view has, and what is in them. No I/O."""

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple

from broker.client.units import unit_of
from broker.gateway.series import Step

QUARTER, DAY = 900, 86_400  # seconds
DAYS, MONTHS = 31, 12  # of a view

VIEWS = ("quarter", "day", "month")


class Span(NamedTuple):
    """What a view shows, from `begin` to `end` in Unix seconds, in steps of `step` seconds; those
    of months are days at first. `before` and `after` are the ends of the spans beside it."""

    view: str
    begin: int
    end: int
    step: int
    before: int
    after: int

    @property
    def word(self) -> str:
        """How long a step is, in words."""
        if self.view == "month":
            return "month"
        return "day" if self.step == DAY else f"{self.step // 60} min"


def span(view: str, end: float, interval: float) -> Span:
    """Return the span of a view that has `end` in its last step; `interval` is that of rounds, in
    seconds: no step is shorter."""
    if view == "month":
        last = _months(end, 0 if _is_begin_of_month(end) else 1)
        return Span(view, _months(last, -MONTHS), last, DAY, _months(last, -MONTHS), _months(last, MONTHS))
    step = DAY if view == "day" else QUARTER * math.ceil(min(max(interval, 1.0), DAY) / QUARTER)
    last, length = math.ceil(end / step) * step, DAYS * DAY if view == "day" else DAY // step * step
    return Span(view, last - length, last, step, last - length, last + length)


def by_month(days: Iterable[Step], slot: str) -> list[Step]:
    """Return the steps of days, in their order, as steps of months."""
    return [merged(list(some), slot) for _, some in groupby(days, key=_month)]


def merged(some: list[Step], slot: str) -> Step:
    """Return several steps as one: values add up, those of power are averaged over the rounds."""
    known = [(step.value, step.rounds) for step in some if step.value is not None]
    rounds = sum(number for _, number in known)
    value: float | None = None
    if known:
        power = unit_of(slot) == "W"
        value = sum(each * (number if power else 1) for each, number in known) / (rounds if power else 1)
    return Step(
        some[0].start, value, rounds, _known(min, (s.summed for s in some)), _known(max, (s.members for s in some))
    )


def _known(choice: Callable[[list[int]], int], values: Iterable[int | None]) -> int | None:
    found = [value for value in values if value is not None]
    return choice(found) if found else None


def _month(step: Step) -> tuple[int, int]:
    at = datetime.fromtimestamp(step.start, UTC)
    return at.year, at.month


def _is_begin_of_month(at: float) -> bool:
    return _months(at, 0) == at


def _months(at: float, more: int) -> int:
    """Return the begin of the month that `at` is in, or of one so many months later."""
    found = datetime.fromtimestamp(at, UTC)
    year, month = divmod(found.year * 12 + found.month - 1 + more, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp())
