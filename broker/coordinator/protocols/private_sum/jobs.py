"""What a private sum has computed away from the event loop: factors ahead, and the search for what
a unit opens to. One job is under way at a time."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from broker.coordinator.actions import LOST, Action, Compute
from broker.coordinator.protocols.private_sum.answers import Answers, Unopened
from broker.coordinator.protocols.private_sum.arithmetic.aggregation import Factors, Unit
from broker.coordinator.protocols.private_sum.records import Contribution

FACTOR_S = 60.0  # what a factor may take, some 0.02 s by itself
QUICK_S = 2.0  # what opens in this time is no long job: almost all that is honest
LONG_S = 10.0  # what the first long job of a unit may take; each further one half of that before
SEARCH_LEAST_S = 1.0
SEARCH_GRACE_S = 5.0  # beyond the end that a search keeps to by itself
OUT_OF_TIME = Unopened("out-of-time")


class Jobs:
    """The job that is under way, if any, and the factors that were made."""

    def __init__(self, factors: Factors) -> None:
        self._factors = factors
        self._under_way: tuple[str, int, int] | None = None
        # How many long jobs each (round, unit) had that did not open in QUICK_S.
        self._hard: dict[tuple[int, int], int] = {}

    def searched(self, number: int) -> int | None:
        """Return the unit of a round that is being opened, if any is."""
        what, of, at = self._under_way or ("", -1, -1)
        return at if (what, of) == ("open", number) else None

    def prepare(self, number: int, units: Iterable[Unit]) -> list[Action]:
        """Have one of the factors of a round computed that is not there yet."""
        unit = None if self._under_way else self._factors.lacking(number, units)
        if unit is None:
            return []
        return self._begin(("factor", number, unit.number), self._factors.job(number, unit), FACTOR_S)

    def search(
        self, number: int, answers: Answers, contributions: Mapping[str, Contribution], seconds: float
    ) -> list[Action]:
        """Have a unit opened that has enough answers: first in QUICK_S, then as long jobs, in
        `seconds`, or LONG_S or less if that is less, or SEARCH_LEAST_S if that is more."""
        at = None if self._under_way else answers.next_unit()
        if at is None:
            return []
        hard = (number, at) in self._hard
        if hard:  # each further answer has it tried again: all of that has a bound
            seconds = max(min(seconds, LONG_S / 2 ** self._hard[number, at]), SEARCH_LEAST_S)
            self._hard[number, at] += 1
        else:
            seconds = QUICK_S
        unit = answers.units[at]
        known = self._factors.get(number, unit)
        factor = partial(int, known) if known is not None else self._factors.job(number, unit)
        job = answers.opening(at, factor, contributions, seconds)
        return self._begin(("open", number, at), job, seconds + SEARCH_GRACE_S, hard)

    def done(self, key: tuple[str, int, int], outcome: Any, number: int, answers: Answers | None) -> None:
        """A job has come to `outcome`, while the round `number` is in progress, or to come. What it
        was for may be over."""
        self._under_way = None
        what, of, at = key  # of a factor it is the number of the set
        if what == "factor":
            self._factors.keep(of, at, None if outcome is LOST else outcome)
        elif of == number and answers and outcome == OUT_OF_TIME and (of, at) not in self._hard:
            self._hard = {one: tries for one, tries in self._hard.items() if one[0] == number} | {(of, at): 0}
            answers.try_again(at)
        elif of == number and answers:
            answers.take(at, OUT_OF_TIME if outcome is LOST else outcome)

    def _begin(
        self, key: tuple[str, int, int], job: Callable[[], Any], seconds: float, long: bool = False
    ) -> list[Action]:
        self._under_way = key
        return [Compute(key, job, seconds, long)]
